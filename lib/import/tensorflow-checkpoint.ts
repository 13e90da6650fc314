// TensorFlow's checkpoints. Version 2, the "bundle": a table `<prefix>.index` that says what the tensors are and where in
// `<prefix>.data-00000-of-00001` their bytes (tensorflow/core/util/tensor_bundle/tensor_bundle.h). Version 1, in which
// the networks of TensorFlow slim were published: one table with the tensors in it
// (tensorflow/core/util/tensor_slice_writer.h). Graphs (.meta) are not read, and no object graph: tensors keep the
// names that they were saved under.

import { existsSync } from 'node:fs';
import { DeepLabError } from '../errors';
import { type Archive, type ArchiveTensor, mostDimensions, mostTensors } from './archive';
import { maskedCrc32c } from './crc32c';
import { decodeElements, type ElementType, elementBytes, elementsIn } from './elements';
import { LeveldbTable } from './leveldb-table';
import { decodeMessage } from './message';
import {
  type BundleEntry,
  type BundleHeader,
  dataTypes,
  messages,
  type SavedSlice,
  type SavedTensorSliceMeta,
  type SavedTensorSlices,
  type Shape,
  sizesOf,
  type TensorProto,
} from './tensorflow-schema';
import { damaged, WeightsFile } from './weights-file';

/** What object-based checkpoints (tf.train.Checkpoint) put behind the path of a variable. */
const variableSuffix = '/.ATTRIBUTES/VARIABLE_VALUE';

/** Bytes that an entry of the index may have, and the list of a version 1 checkpoint's tensors. */
const mostEntryBytes = 2 ** 16;
const mostMetaBytes = 2 ** 24;
const mostShards = 1000;

/**
 * Whether a file is a checkpoint, or is the prefix of one, or one of its parts.
 *
 * @param head - The first 512 bytes of the file, or all it has; none if there is no file of that name.
 */
export function looksLikeTensorflowCheckpoint(head: Uint8Array, file: string): boolean {
  if (prefixOf(file) !== undefined) return true;
  if (head.length === 0) return existsSync(`${file}.index`);
  // A table begins with its first entry: no bytes of the key before, none of its own, the length of the value; and the
  // value with number 1 (version 2: number of shards; version 1: list of tensors).
  if (head[0] !== 0 || head[1] !== 0) return false;
  let at = 2;
  while (at < 7 && (head[at] ?? 0) >= 128) at++;
  const first = head[at + 1];
  return first === 0x08 || first === 0x0a;
}

/** The prefix of a checkpoint that `file` names a part of; undefined if it does not. */
function prefixOf(file: string): string | undefined {
  return /^(.*)\.(?:index|data-\d{5}-of-\d{5})$/s.exec(file)?.[1];
}

/**
 * Opens a checkpoint. Tensors of strings, resources and the like are left out.
 *
 * @param file - Its prefix (`model.ckpt-1000`), its index, one of its data files, or a file of version 1.
 * @throws ERR_INVALID_WEIGHTS, ERR_NOT_FOUND. Reading a tensor that was saved in slices throws ERR_UNSUPPORTED_MODEL.
 */
export async function openTensorflowCheckpoint(file: string): Promise<Archive> {
  const prefix = prefixOf(file) ?? (existsSync(`${file}.index`) ? file : undefined);
  const name = prefix === undefined ? file : `${prefix}.index`;
  const files = [await WeightsFile.open(name)];
  const close = async () => void (await Promise.all(files.map((opened) => opened.close())));
  try {
    const table = await LeveldbTable.open(files[0] as WeightsFile);
    const header = await headerOf(table);
    const tensors =
      header[0] === 0x0a
        ? await tensorsOfVersion1(table, header)
        : await tensorsOfBundle(table, header, prefix ?? name, files);
    return { format: 'tensorflow-checkpoint', file, tensors, metadata: {}, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The value of the first, empty key. */
async function headerOf(table: LeveldbTable): Promise<Buffer> {
  const [first] = table.blocks;
  if (first !== undefined) {
    for await (const { key, value } of table.entries(first)) {
      if (key.length === 0) return value;
      break;
    }
  }
  throw table.file.invalid('is no checkpoint: its table does not begin with a header');
}

/** Opens the data files that the index speaks of, and adds them to `files`. */
async function tensorsOfBundle(table: LeveldbTable, header: Buffer, prefix: string, files: WeightsFile[]) {
  const file = table.file.path;
  const { numShards, endianness } = decodeMessage<BundleHeader>(
    messages().BundleHeader,
    header,
    mostEntryBytes,
    file,
    'its header',
  );
  if (endianness !== 0) throw damaged(file, 'was written on a big-endian machine: expected little-endian');
  if (numShards < 1 || numShards > mostShards) {
    throw damaged(file, `has ${numShards} data files: expected 1 to ${mostShards}`);
  }
  const shards = new Map<number, WeightsFile>();
  const shardOf = async (id: number): Promise<WeightsFile> => {
    if (id < 0 || id >= numShards) throw damaged(file, `names data file ${id} of ${numShards}`);
    const known = shards.get(id);
    if (known !== undefined) return known;
    const number = (value: number) => String(value).padStart(5, '0');
    const opened = await WeightsFile.open(`${prefix}.data-${number(id)}-of-${number(numShards)}`);
    files.push(opened);
    shards.set(id, opened);
    return opened;
  };

  const tensors = new Map<string, ArchiveTensor>();
  for (const block of table.blocks) {
    for await (const { key, value } of table.entries(block)) {
      // Keys that begin with 0 are slices of tensors (tensor_slice_util.h: EncodeTensorNameSlice).
      if (key.length === 0 || key[0] === 0) continue;
      const name = key.toString();
      const what = `the entry of tensor '${name}'`;
      const entry = decodeMessage<BundleEntry>(messages().BundleEntry, value, mostEntryBytes, file, what);
      const type = dataTypes[entry.dtype];
      if (type === undefined) continue;
      const shape = checkedShape(entry.shape, name, file);
      const tensor =
        entry.slices.length > 0
          ? { shape, read: () => Promise.reject(sliced(name, file)) }
          : bundleTensor(name, entry, type, shape, await shardOf(entry.shardId));
      addTensor(tensors, name, tensor, file);
    }
  }
  return tensors;
}

function bundleTensor(
  name: string,
  { offset, size, crc32c }: BundleEntry,
  type: ElementType,
  shape: readonly number[],
  shard: WeightsFile,
): ArchiveTensor {
  const expected = (elementsIn(shape) ?? Number.NaN) * elementBytes[type];
  if (size !== expected || offset < 0 || offset + size > shard.size) {
    throw shard.invalid(
      `is truncated, or the index is damaged: tensor '${name}' [${shape}] of ${type} would be ${size} bytes at ${offset} of ${shard.size}`,
    );
  }
  const read = async () => {
    const bytes = await shard.read(offset, size, `tensor '${name}'`);
    if (maskedCrc32c(bytes) !== crc32c) {
      throw shard.invalid(`is damaged: the checksum of tensor '${name}' is wrong`);
    }
    return decodeElements(bytes, type);
  };
  return { shape, read };
}

/** Of version 1 only floats are read, of 32 and 64 bits: it stores others in another way, and no weights as these. */
async function tensorsOfVersion1(table: LeveldbTable, header: Buffer): Promise<Map<string, ArchiveTensor>> {
  const file = table.file.path;
  const { meta } = decodeMessage<SavedTensorSlices>(
    messages().SavedTensorSlices,
    header,
    mostMetaBytes,
    file,
    'its header',
  );
  const { tensor: list } = decodeMessage<SavedTensorSliceMeta>(
    messages().SavedTensorSliceMeta,
    meta,
    mostMetaBytes,
    file,
    'its list of tensors',
  );
  const stored = await slicesOfVersion1(table);
  const tensors = new Map<string, ArchiveTensor>();
  for (const { name, shape: sizes, type: dataType, slice } of list) {
    const type = dataTypes[dataType];
    if (type !== 'f32' && type !== 'f64') continue;
    const shape = checkedShape(sizes, name, file);
    const read = async () => {
      const block = stored.get(name);
      if (slice.length > 1 || block === 'several') throw sliced(name, file);
      if (block === undefined) throw damaged(file, `has no data of tensor '${name}'`);
      return readVersion1(table, block, name, type, shape);
    };
    addTensor(tensors, name, { shape, read }, file);
  }
  return tensors;
}

type Block = LeveldbTable['blocks'][number];

/** In which block each tensor is. The keys say it in a code of their own, the values in plain. */
async function slicesOfVersion1(table: LeveldbTable): Promise<Map<string, Block | 'several'>> {
  const stored = new Map<string, Block | 'several'>();
  for (const block of table.blocks) {
    for await (const { key, value } of table.entries(block)) {
      if (key.length === 0) continue;
      const { name } = savedSlice(value, table.file.path);
      stored.set(name, stored.has(name) ? 'several' : block);
      if (stored.size > mostTensors) throw table.file.invalid(`has more than ${mostTensors} tensors`);
    }
  }
  return stored;
}

function savedSlice(value: Buffer, file: string): SavedSlice {
  const [most, what] = [Number.MAX_SAFE_INTEGER, 'a tensor'];
  const { data } = decodeMessage<SavedTensorSlices>(messages().SavedTensorSlices, value, most, file, what);
  return decodeMessage<SavedSlice>(messages().SavedSlice, data, most, file, what);
}

async function readVersion1(
  table: LeveldbTable,
  block: Block,
  wanted: string,
  type: 'f32' | 'f64',
  shape: readonly number[],
): Promise<Float32Array> {
  const file = table.file.path;
  for await (const { key, value } of table.entries(block)) {
    if (key.length === 0) continue;
    const { name, data } = savedSlice(value, file);
    if (name !== wanted) continue;
    const what = `tensor '${name}'`;
    const proto = decodeMessage<TensorProto>(messages().TensorProto, data, Number.MAX_SAFE_INTEGER, file, what);
    const bytes = type === 'f32' ? proto.floatVal : proto.doubleVal;
    const expected = (elementsIn(shape) ?? Number.NaN) * elementBytes[type];
    if (bytes.length !== expected) {
      throw damaged(file, `has ${bytes.length} bytes of ${what} [${shape}]: expected ${expected}`);
    }
    return decodeElements(bytes, type);
  }
  throw damaged(file, `has no data of tensor '${wanted}'`);
}

function checkedShape(stored: Shape | null, name: string, file: string): readonly number[] {
  // That of a single number may be left out.
  const shape = stored === null ? [] : sizesOf(stored);
  if (shape === undefined || shape.length > mostDimensions || elementsIn(shape) === undefined) {
    throw damaged(file, `is damaged: tensor '${name}' has no possible shape`);
  }
  return shape;
}

function addTensor(tensors: Map<string, ArchiveTensor>, stored: string, tensor: ArchiveTensor, file: string): void {
  const name = stored.endsWith(variableSuffix) ? stored.slice(0, -variableSuffix.length) : stored;
  if (tensors.has(name)) throw damaged(file, `has two tensors '${name}'`);
  tensors.set(name, tensor);
  if (tensors.size > mostTensors) throw damaged(file, `has more than ${mostTensors} tensors`);
}

function sliced(name: string, file: string): DeepLabError {
  return new DeepLabError(
    'ERR_UNSUPPORTED_MODEL',
    `${file} holds tensor '${name}' in slices, of a partitioned variable: save it whole`,
  );
}
