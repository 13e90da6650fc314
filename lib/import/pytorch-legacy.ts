// What torch.save wrote before PyTorch 1.6: pickles one after the other with the storages behind them, and, before
// 0.1.10, a tar file of `storages`, `tensors` and `pickle`. Both formats: `_legacy_load` in torch/serialization.py.
// They were little-endian wherever they were written.

import { mostDimensions, mostTensors } from './archive';
import { readPickle } from './pickle';
import type { Checkpoint } from './pytorch';
import { isKey, isSize, storageOf, TorchStorage, TorchTensor, TorchType, torchRules } from './pytorch-objects';
import type { ByteRange, WeightsFile } from './weights-file';

/** MAGIC_NUMBER 0x1950a86a20f9469cfc6c as pickles have it: in bytes since protocol 2, in decimal before. */
const magic = 0x1950a86a20f9469cfc6cn;
const magicBytes = Buffer.from(magic.toString(16), 'hex').reverse();
const protocolVersion = 1001;

export function looksLikeLegacyStream(head: Uint8Array): boolean {
  const start = Buffer.from(head.subarray(0, 64));
  return start.includes(magicBytes) || start.toString('latin1').startsWith(`L${magic}`);
}

/** Magic number, version, facts about the machine, the object, the keys of the storages; then the storages. */
export async function openLegacyStream(file: WeightsFile): Promise<Checkpoint> {
  const storages = new Map<string, TorchStorage>();
  const rules = torchRules(file.path, (id) => {
    const [kind, type, key, , elements, view] = Array.isArray(id) ? (id as readonly unknown[]) : [];
    if (kind !== 'storage') throw file.invalid('refers to something outside of its pickle that is no storage');
    const storage = storageOf(file.path, type, key, elements, view);
    const before = storages.get(storage.key);
    if (before !== undefined && before.rootElements * before.type.bytes !== storage.rootElements * storage.type.bytes) {
      throw file.invalid(`says two sizes of the storage ${storage.key}`);
    }
    if (before === undefined) storages.set(storage.key, storage);
    return storage;
  });
  const number = await readPickle(file, 0, file.path, rules);
  const version = await readPickle(file, number.end, file.path, rules);
  if (number.value !== magic || version.value !== protocolVersion) {
    throw file.invalid(`is of version ${version.value} of torch.save's pickles: expected ${protocolVersion}`);
  }
  const system = await readPickle(file, version.end, file.path, rules);
  const { value, end } = await readPickle(file, system.end, file.path, rules);
  const keys = await readPickle(file, end, file.path, rules);
  if (!Array.isArray(keys.value)) throw file.invalid('does not list the keys of its storages');

  const bytes = new Map<string, ByteRange>();
  let at = keys.end;
  for (const key of keys.value) {
    const storage = storages.get(String(key));
    if (storage === undefined || bytes.has(storage.key)) {
      throw file.invalid(`lists the storage ${String(key)}, which no tensor has, or which was there before`);
    }
    const range = await countedRange(file, at, storage.type);
    bytes.set(storage.key, range);
    at += 8 + range.size;
  }
  return { value, bytesOf: ({ key }) => bytes.get(key), bigEndian: false };
}

/** A storage as it lies in a file: its number of elements in 8 bytes, and the elements. */
async function countedRange(source: WeightsFile | FileRange, at: number, type: TorchType): Promise<ByteRange> {
  const elements = Number((await source.read(at, 8)).readBigInt64LE());
  return source.range(at + 8, elements * type.bytes);
}

/** A part of a file, of which there are parts in turn. */
interface FileRange extends ByteRange {
  range(start: number, size: number): ByteRange;
}

const block = 512;

/** POSIX.1, "ustar Interchange Format": the name in the first 100 bytes, the magic in those from 257 on. */
export function looksLikeLegacyTar(head: Uint8Array): boolean {
  return head.length >= block && Buffer.from(head.subarray(257, 262)).toString('latin1') === 'ustar';
}

/** All that has a name in the file, which is nothing but headers of 512 bytes and contents: no library is needed. */
async function readTar(file: WeightsFile): Promise<ReadonlyMap<string, FileRange>> {
  const members = new Map<string, FileRange>();
  let at = 0;
  // torch.save wrote four of them, each perhaps with a header of more attributes before it.
  for (let i = 0; i < 20 && at + block <= file.size; i++) {
    const header = await file.read(at, block);
    if (header.every((byte) => byte === 0)) break;
    if (!looksLikeLegacyTar(header)) throw file.invalid(`has no header of a tar file at byte ${at}`);
    const name = header.toString('latin1', 0, 100).replace(/\0.*$/s, '');
    const size = sizeOf(header.subarray(124, 136));
    if (size === undefined) throw file.invalid(`does not say the size of ${name} in its tar file`);
    const start = at + block;
    file.range(start, size);
    members.set(name.replace(/^\.\//, ''), {
      ...file.range(start, size),
      range: (from, length) => {
        if (from + length > size)
          throw file.invalid(`has ${size} bytes in ${name}: expected ${length} from ${from} on`);
        return file.range(start + from, length);
      },
    });
    at = start + Math.ceil(size / block) * block;
  }
  return members;
}

/** Octal digits, or, from 8 GiB on, a binary number after the byte 0x80. */
function sizeOf(field: Buffer): number | undefined {
  if (field[0] === 0x80) {
    const size = field.readBigUInt64BE(4);
    return size < 2n ** 53n ? Number(size) : undefined;
  }
  const text = field.toString('latin1').replace(/[\0 ]+$/, '');
  return /^[0-7]+$/.test(text) ? Number.parseInt(text, 8) : undefined;
}

/** Storages and tensors have numbers, by which `pickle` refers to them. */
export async function openLegacyTar(file: WeightsFile): Promise<Checkpoint> {
  const members = await readTar(file);
  const member = (name: string) => {
    const found = members.get(name);
    if (found === undefined) throw file.invalid(`is a tar file without ${name}: expected one of torch.save`);
    return found;
  };
  const { storages, bytes } = await readStorages(file, member('storages'));
  const tensors = await readTensors(file, member('tensors'), storages);
  const rules = torchRules(file.path, (id) => {
    const found = isKey(id) ? (tensors.get(String(id)) ?? storages.get(String(id))) : undefined;
    if (found === undefined) throw file.invalid('refers to a tensor that is not there');
    return found;
  });
  const { value } = await readPickle(member('pickle'), 0, `${file.path} (pickle)`, rules);
  return { value, bytesOf: ({ key }) => bytes.get(key), bigEndian: false };
}

/** Their number; key, location and type of each with its elements; and which of them are parts of others. */
async function readStorages(file: WeightsFile, source: FileRange) {
  const name = `${file.path} (storages)`;
  const rules = torchRules(name, () => {
    throw file.invalid('refers to something outside of its storages');
  });
  const storages = new Map<string, TorchStorage>();
  const bytes = new Map<string, ByteRange>();
  const count = await readPickle(source, 0, name, rules);
  let at = count.end;
  for (let i = 0; i < countOf(file, count.value); i++) {
    const { value, end } = await readPickle(source, at, name, rules);
    const [key, , type] = Array.isArray(value) ? (value as readonly unknown[]) : [];
    if (!isKey(key) || !(type instanceof TorchType)) throw file.invalid('has a storage without key or type');
    const range = await countedRange(source, end, type);
    storages.set(String(key), new TorchStorage(type, String(key), range.size / type.bytes));
    bytes.set(String(key), range);
    at = end + 8 + range.size;
  }
  const views = (await readPickle(source, at, name, rules)).value;
  if (!Array.isArray(views)) throw file.invalid('does not say which storages are parts of others');
  for (const view of views) {
    const [key, root, start, elements] = Array.isArray(view) ? (view as readonly unknown[]) : [];
    const whole = isKey(root) ? storages.get(String(root)) : undefined;
    if (!isKey(key) || whole === undefined) throw file.invalid('has a part of a storage that is not there');
    storages.set(String(key), storageOf(name, whole.type, whole.key, whole.rootElements, [key, start, elements]));
  }
  return { storages, bytes };
}

/** Their number; key, storage and type of each with dimensions (4 bytes, 4 unused), sizes, strides and offset. */
async function readTensors(file: WeightsFile, source: FileRange, storages: ReadonlyMap<string, TorchStorage>) {
  const name = `${file.path} (tensors)`;
  const rules = torchRules(name, () => {
    throw file.invalid('refers to something outside of its tensors');
  });
  const tensors = new Map<string, TorchTensor>();
  const count = await readPickle(source, 0, name, rules);
  let at = count.end;
  for (let i = 0; i < countOf(file, count.value); i++) {
    const { value, end } = await readPickle(source, at, name, rules);
    const [key, storage] = Array.isArray(value) ? (value as readonly unknown[]) : [];
    if (!isKey(key) || !isKey(storage)) throw file.invalid('has a tensor without key or storage');
    const dimensions = (await source.read(end, 8)).readInt32LE();
    if (!(dimensions >= 0 && dimensions <= mostDimensions)) {
      throw file.invalid(`has a tensor of ${dimensions} dimensions`);
    }
    const counts = await source.read(end + 8, dimensions * 16 + 8);
    const numbers = Array.from({ length: dimensions * 2 + 1 }, (_, j) => Number(counts.readBigInt64LE(j * 8)));
    const [shape, strides] = [numbers.slice(0, dimensions), numbers.slice(dimensions, -1)];
    tensors.set(String(key), new TorchTensor(name, storages.get(String(storage)), numbers.at(-1), shape, strides));
    at = end + 8 + counts.length;
  }
  return tensors;
}

function countOf(file: WeightsFile, value: unknown): number {
  if (isSize(value) && value <= mostTensors) return value;
  throw file.invalid(`counts ${String(value)} storages or tensors: expected at most ${mostTensors}`);
}
