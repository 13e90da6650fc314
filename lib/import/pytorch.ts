// Checkpoints of torch.save: the zip files that it writes since PyTorch 1.6 (torch/serialization.py; the entries
// `<prefix>/data.pkl`, `<prefix>/data/<key>` and `<prefix>/byteorder`), and, by pytorch-legacy.ts, what came before.
// Here tensors get their names: their path in the object, joined by dots. Numbers are read when they are asked for.

import { type Archive, type ArchiveTensor, mostTensors } from './archive';
import { decodeElements, type ElementType, elementsOf, gather } from './elements';
import { readPickle } from './pickle';
import { looksLikeLegacyStream, looksLikeLegacyTar, openLegacyStream, openLegacyTar } from './pytorch-legacy';
import { storageOf, type TorchStorage, TorchTensor, torchRules } from './pytorch-objects';
import { type ByteRange, type WeightsFile, withWeightsFile } from './weights-file';
import { looksLikeZip, readZip, type ZipEntry } from './zip';

/** What a checkpoint says, and where the bytes of its storages are. */
export interface Checkpoint {
  readonly value: unknown;
  /** Undefined if the file does not have them. */
  readonly bytesOf: (storage: TorchStorage) => ByteRange | undefined;
  readonly bigEndian: boolean;
}

/** Bounds of the walk through a checkpoint: its objects may contain each other, or one of them a thousand times. */
const mostVisits = 2_000_000;
const deepest = 100;
const mostTexts = 1000;
const longestText = 10_000;
const longestName = 1000;

/** Elements of a tensor that any file may have; beyond, expanded tensors may have one for each byte of the file. */
const elementsFreely = 2 ** 20;

/** Whether a file that begins with `head` (512 bytes) may be of PyTorch. A zip file may be another: ask zipHolds. */
export function looksLikePytorch(head: Uint8Array): boolean {
  return looksLikeZip(head) || looksLikeLegacyStream(head) || looksLikeLegacyTar(head);
}

/**
 * Opens a checkpoint of torch.save. Nothing in it is called.
 *
 * @throws ERR_UNSAFE_WEIGHTS naming the function or class of Python that it asks for, ERR_INVALID_WEIGHTS if it is
 * damaged or none, ERR_NOT_FOUND.
 */
export async function openPytorch(path: string): Promise<Archive> {
  return withWeightsFile(path, async (file) => {
    const head = await file.read(0, Math.min(512, file.size));
    let checkpoint: Checkpoint;
    if (looksLikeZip(head)) checkpoint = await openZip(file);
    else if (looksLikeLegacyTar(head)) checkpoint = await openLegacyTar(file);
    else if (looksLikeLegacyStream(head)) checkpoint = await openLegacyStream(file);
    else throw file.invalid('is no checkpoint of PyTorch: expected a zip file, a pickle or a tar file of torch.save');
    const { tensors: found, metadata } = named(file, checkpoint.value);
    const tensors = new Map<string, ArchiveTensor>();
    for (const [name, tensor] of found) {
      const { element } = tensor.type;
      if (element !== undefined) tensors.set(name, archiveTensor(file, checkpoint, name, tensor, element));
    }
    return { format: 'pytorch', file: path, tensors, metadata, close: () => file.close() };
  });
}

async function openZip(file: WeightsFile): Promise<Checkpoint> {
  const entries = await readZip(file);
  const pickles = [...entries.values()].filter(({ name }) => /^(.*\/)?data\.pkl$/.test(name));
  const [pickle, second] = pickles;
  if (pickle === undefined || second !== undefined) {
    throw file.invalid(`is a zip file with ${pickles.length} entries data.pkl: expected one, as torch.save writes it`);
  }
  const prefix = pickle.name.slice(0, -'data.pkl'.length);
  const where = `${file.path} (${pickle.name})`;
  const rules = torchRules(where, (id) => {
    const [kind, type, key, , elements] = Array.isArray(id) ? (id as readonly unknown[]) : [];
    if (kind !== 'storage') throw file.invalid('refers to something outside of it that is no storage');
    return storageOf(where, type, key, elements, undefined);
  });
  const { value } = await readPickle(pickle, 0, where, rules);
  return {
    value,
    bytesOf: ({ key }) => entries.get(`${prefix}data/${key}`),
    bigEndian: await isBigEndian(file, entries.get(`${prefix}byteorder`)),
  };
}

/** Files without the entry are older than it, and little-endian. */
async function isBigEndian(file: WeightsFile, entry: ZipEntry | undefined): Promise<boolean> {
  const order = entry === undefined ? 'little' : (await entry.head(16)).toString();
  if (order !== 'little' && order !== 'big')
    throw file.invalid(`has the byte order '${order}': expected little or big`);
  return order === 'big';
}

/** Tensors and text by their path through dicts and lists. */
function named(file: WeightsFile, root: unknown) {
  const tensors = new Map<string, TorchTensor>();
  const metadata: Record<string, string> = Object.create(null);
  const open = new Set<unknown>();
  let visits = 0;
  let texts = 0;

  function visit(value: unknown, path: string): void {
    visits++;
    if (visits > mostVisits) throw file.invalid(`has more than ${mostVisits} objects, each as often as it is met`);
    if (value instanceof TorchTensor) {
      const name = path === '' ? 'tensor' : path;
      if (tensors.has(name)) throw file.invalid(`has two tensors called ${name}`);
      if (tensors.size === mostTensors) throw file.invalid(`has more than ${mostTensors} tensors`);
      tensors.set(name, value);
    } else if (typeof value === 'string' && path !== '' && value.length <= longestText && texts < mostTexts) {
      metadata[path] = value;
      texts++;
    } else if ((value instanceof Map || Array.isArray(value)) && !open.has(value)) {
      if (open.size === deepest) throw file.invalid(`has objects inside each other more than ${deepest} deep: ${path}`);
      open.add(value);
      for (const [key, child] of value.entries()) {
        const step = typeof key === 'object' ? 'None' : String(key);
        if (path.length + step.length > longestName) {
          throw file.invalid(`has a name of more than ${longestName} letters: ${(path || step).slice(0, 100)}...`);
        }
        visit(child, path === '' ? step : `${path}.${step}`);
      }
      open.delete(value);
    }
  }

  visit(root, '');
  return { tensors, metadata };
}

function archiveTensor(
  file: WeightsFile,
  { bytesOf, bigEndian }: Checkpoint,
  name: string,
  tensor: TorchTensor,
  element: ElementType,
): ArchiveTensor {
  const { storage, shape, strides, offset, span, type } = tensor;
  const bytes = bytesOf(storage);
  if (bytes === undefined) throw file.invalid(`does not have the numbers of ${name} (storage ${storage.key})`);
  const expected = storage.rootElements * storage.type.bytes;
  if (bytes.size !== expected) {
    throw file.invalid(`has ${bytes.size} bytes in the storage ${storage.key} of ${name}: expected ${expected}`);
  }
  const most = Math.max(elementsFreely, file.size);
  if (elementsOf(shape) > most) {
    throw file.invalid(`has shape [${shape.join(',')}] for ${name}: expected at most ${most} elements`);
  }
  const start = storage.start * storage.type.bytes + offset * type.bytes;
  return {
    shape,
    read: async () => {
      const read = await bytes.read(start, span * type.bytes);
      return gather(decodeElements(read, element, bigEndian), shape, strides);
    },
  };
}
