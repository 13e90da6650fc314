// Opens a file of weights of whatever format, which its first bytes tell.

import { open } from 'node:fs/promises';
import { DeepLabError } from '../errors';
import type { Archive, OpenArchive } from './archive';
import { looksLikeCaffe, openCaffe } from './caffe';
import { looksLikeKeras, openKeras } from './keras';
import { openNpz } from './npz';
import { looksLikePytorch, openPytorch } from './pytorch';
import { looksLikeSafetensors, openSafetensors } from './safetensors';
import { looksLikeTensorflowCheckpoint, openTensorflowCheckpoint } from './tensorflow-checkpoint';
import { looksLikeTensorflowLite, openTensorflowLite } from './tensorflow-lite';
import { zipHolds } from './zip';

/** A format: whether a file is of it, given its first 512 bytes (none if there is no such file), and its reader. */
interface Format {
  readonly title: string;
  readonly looksLike: (head: Uint8Array, file: string) => boolean;
  readonly open: OpenArchive;
}

/** The first that a file looks like is taken: Caffe's has no mark of its own, so it comes last. */
const formats: readonly Format[] = [
  { title: 'PyTorch (.pth) and NumPy (.npz)', looksLike: looksLikePytorch, open: openPytorchOrNpz },
  { title: 'safetensors', looksLike: looksLikeSafetensors, open: openSafetensors },
  { title: 'Keras (.h5)', looksLike: looksLikeKeras, open: openKeras },
  { title: 'TensorFlow Lite (.tflite)', looksLike: looksLikeTensorflowLite, open: openTensorflowLite },
  {
    title: 'TensorFlow checkpoints (by their prefix)',
    looksLike: looksLikeTensorflowCheckpoint,
    open: openTensorflowCheckpoint,
  },
  { title: 'Caffe (.caffemodel)', looksLike: looksLikeCaffe, open: openCaffe },
];

const headBytes = 512;

/** Both are zip files, but for older ones of PyTorch's. */
async function openPytorchOrNpz(file: string): Promise<Archive> {
  return (await zipHolds(file)) === 'npz' ? await openNpz(file) : await openPytorch(file);
}

/**
 * Opens a file of weights.
 *
 * @param file - The file; of a TensorFlow checkpoint also its prefix.
 * @throws ERR_NOT_FOUND, ERR_UNSUPPORTED_MODEL for a format that is not known, and what the format's reader throws.
 */
export async function openArchive(file: string): Promise<Archive> {
  const { head, failure } = await headOf(file);
  const format = formats.find(({ looksLike }) => looksLike(head, file));
  if (format !== undefined) return await format.open(file);
  if (failure !== undefined) {
    throw new DeepLabError('ERR_NOT_FOUND', `${file} cannot be read: ${failure.message}`, { cause: failure });
  }
  const known = formats.map(({ title }) => title).join(', ');
  const start = Buffer.from(head.subarray(0, 8)).toString('hex');
  const seen = head.length === 0 ? 'it is empty' : `it begins with the bytes ${start}`;
  throw new DeepLabError('ERR_UNSUPPORTED_MODEL', `${file} is of no format that is read (${known}): ${seen}`);
}

/** The first bytes; none, and why, if there is no file of that name, as there is none of a checkpoint's prefix. */
async function headOf(file: string): Promise<{ head: Uint8Array; failure?: Error }> {
  try {
    const handle = await open(file);
    try {
      const { bytesRead, buffer } = await handle.read(new Uint8Array(headBytes), 0, headBytes, 0);
      return { head: buffer.subarray(0, bytesRead) };
    } finally {
      await handle.close();
    }
  } catch (error) {
    return { head: new Uint8Array(), failure: error as Error };
  }
}
