// Archives of NumPy: zip files of .npy files, stored (numpy.savez) or deflated (numpy.savez_compressed). Arrays of
// objects are pickles, which are not read: they are left out, as text is.

import { DeepLabError } from '../errors';
import { decodeNpyHeader } from '../npy';
import { type Archive, type ArchiveTensor, mostDimensions, mostTensors } from './archive';
import { columnMajor, decodeElements, elementBytes, elementsOf, gather, isElementType } from './elements';
import { type WeightsFile, withWeightsFile } from './weights-file';
import { looksLikeZip, readZip, type ZipEntry } from './zip';

/** Headers have 128 bytes, or a multiple of 64 more for many dimensions. */
const headBytes = 4096;

/** Whether a file that begins with `head` (512 bytes) may be one. A zip file may be another: ask zipHolds. */
export function looksLikeNpz(head: Uint8Array): boolean {
  return looksLikeZip(head);
}

/**
 * Opens an archive of numpy.savez or numpy.savez_compressed: its arrays of numbers, by their names.
 *
 * @throws ERR_INVALID_WEIGHTS naming the array that is damaged, ERR_NOT_FOUND.
 */
export async function openNpz(path: string): Promise<Archive> {
  return withWeightsFile(path, async (file) => {
    const tensors = new Map<string, ArchiveTensor>();
    for (const [name, entry] of await readZip(file)) {
      if (!name.endsWith('.npy')) continue;
      if (tensors.size === mostTensors) throw file.invalid(`has more than ${mostTensors} arrays`);
      const tensor = await openArray(file, entry);
      if (tensor !== undefined) tensors.set(name.slice(0, -'.npy'.length), tensor);
    }
    return { format: 'npz', file: path, tensors, metadata: {}, close: () => file.close() };
  });
}

/** Undefined for an array of anything but numbers. */
async function openArray(file: WeightsFile, entry: ZipEntry): Promise<ArchiveTensor | undefined> {
  const { descr, fortranOrder, shape, start } = headerOf(file, entry, await entry.head(headBytes));
  const [, order, letter, digits] = /^([<>|=])?([fiub])(\d)$/.exec(descr ?? '') ?? [];
  const type = letter === 'b' ? 'u8' : `${letter}${Number(digits) * 8}`;
  if (!isElementType(type) || type === 'bf16') return undefined;

  if (shape.length > mostDimensions) throw file.invalid(`has ${shape.length} dimensions in ${entry.name}`);
  const expected = start + elementsOf(shape) * elementBytes[type];
  if (entry.size !== expected) {
    const given = `${descr} [${shape.join(',')}]`;
    throw file.invalid(`has ${entry.size} bytes in ${entry.name}: expected ${expected} for ${given}`);
  }
  return {
    shape,
    read: async () => {
      const values = decodeElements((await entry.all()).subarray(start), type, order === '>');
      return fortranOrder ? gather(values, shape, columnMajor(shape)) : values;
    },
  };
}

function headerOf(file: WeightsFile, entry: ZipEntry, head: Buffer) {
  try {
    return decodeNpyHeader(head, entry.name);
  } catch (cause) {
    if (!(cause instanceof DeepLabError)) throw cause;
    throw file.invalid(`is damaged: ${cause.message}`, cause);
  }
}
