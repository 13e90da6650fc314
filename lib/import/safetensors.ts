// Opens safetensors files to import from, whatever network their tensors are of
// (https://github.com/huggingface/safetensors#format). Files that are ready for use are read natively, and arrays of
// floats by lib/safetensors.ts.

import { isSafetensorsEntry, parseSafetensorsHeader, type SafetensorsEntry } from '../safetensors';
import { type Archive, type ArchiveTensor, mostDimensions, mostTensors } from './archive';
import { decodeElements, type ElementType, elementBytes, elementsOf } from './elements';
import { type ByteRange, type WeightsFile, withWeightsFile } from './weights-file';

/** The limit of the format's own implementation. */
const mostHeaderBytes = 100_000_000;

/** Types by their names in the header. Those of other numbers (F8_E4M3, C64 and the like) are left out. */
const types: Readonly<Record<string, ElementType>> = {
  F64: 'f64',
  F32: 'f32',
  F16: 'f16',
  BF16: 'bf16',
  I64: 'i64',
  U64: 'u64',
  I32: 'i32',
  U32: 'u32',
  I16: 'i16',
  U16: 'u16',
  I8: 'i8',
  U8: 'u8',
  BOOL: 'u8',
};

/** Whether a file that begins with `head` (512 bytes) may be one: a length, and then a JSON object. */
export function looksLikeSafetensors(head: Uint8Array): boolean {
  if (head.length < 10) return false;
  const length = Buffer.from(head.subarray(0, 8)).readBigUInt64LE();
  return length <= mostHeaderBytes && /^\s*\{\s*["}]/.test(Buffer.from(head.subarray(8, 64)).toString('latin1'));
}

/**
 * Opens a safetensors file. A tensor of I8 with `<name>.scale` beside it is given as the numbers that it stands for
 * (docs/weights.md), and its scales are left out.
 *
 * @throws ERR_INVALID_WEIGHTS naming the tensor that is damaged, ERR_NOT_FOUND.
 */
export async function openSafetensors(path: string): Promise<Archive> {
  return withWeightsFile(path, async (file) => {
    const { header, data } = await readHeader(file);
    const { __metadata__: texts = {}, ...rest } = header;
    const entries = checkEntries(file, rest, data.size);
    const tensors = new Map<string, ArchiveTensor>();
    const scales = new Set<string>();
    for (const [name, entry] of entries) {
      const scale = entry.dtype === 'I8' ? entries.get(`${name}.scale`) : undefined;
      if (scale !== undefined) scales.add(`${name}.scale`);
      const tensor = scale === undefined ? plain(data, entry) : scaled(file, data, name, entry, scale);
      if (tensor !== undefined) tensors.set(name, tensor);
    }
    for (const name of scales) tensors.delete(name);
    return { format: 'safetensors', file: path, tensors, metadata: metadataOf(file, texts), close: () => file.close() };
  });
}

async function readHeader(file: WeightsFile) {
  const length = file.size < 8 ? undefined : (await file.read(0, 8)).readBigUInt64LE();
  if (length === undefined || length > mostHeaderBytes || Number(length) > file.size - 8) {
    throw file.invalid('is no safetensors file, or is truncated in its header');
  }
  const start = 8 + Number(length);
  const header = parseSafetensorsHeader(await file.read(8, Number(length)));
  if (header === undefined) throw file.invalid('is no safetensors file: its header is no JSON object');
  return { header, data: file.range(start, file.size - start) };
}

function metadataOf(file: WeightsFile, texts: unknown): Readonly<Record<string, string>> {
  const entries = typeof texts === 'object' && texts !== null ? Object.entries(texts) : undefined;
  if (entries?.every((entry): entry is [string, string] => typeof entry[1] === 'string')) {
    return Object.fromEntries(entries);
  }
  throw file.invalid('has __metadata__ that are not all strings');
}

/** Every byte belongs to one tensor: overlaps and gaps hide something, such as a tensor whose name stands twice. */
function checkEntries(file: WeightsFile, header: Readonly<Record<string, unknown>>, size: number) {
  const entries = new Map<string, SafetensorsEntry>();
  for (const [name, entry] of Object.entries(header)) {
    if (!isSafetensorsEntry(entry)) throw file.invalid(`does not say dtype, shape and data_offsets of ${name}`);
    if (entry.shape.length > mostDimensions) throw file.invalid(`has ${entry.shape.length} dimensions in ${name}`);
    entries.set(name, entry);
  }
  if (entries.size > mostTensors) throw file.invalid(`has ${entries.size} tensors: expected at most ${mostTensors}`);

  const inOrder = [...entries].sort(([, a], [, b]) => {
    return a.data_offsets[0] - b.data_offsets[0] || a.data_offsets[1] - b.data_offsets[1];
  });
  let end = 0;
  for (const [name, { dtype, shape, data_offsets: offsets }] of inOrder) {
    if (offsets[0] !== end || offsets[1] < end || offsets[1] > size) {
      throw file.invalid(`has ${name} in bytes ${offsets.join(' to ')} of ${size}: expected it to begin at ${end}`);
    }
    end = offsets[1];
    const type = Object.hasOwn(types, dtype) ? types[dtype] : undefined;
    if (type === undefined) continue;
    const expected = elementsOf(shape) * elementBytes[type];
    if (end - offsets[0] !== expected) {
      throw file.invalid(
        `has ${end - offsets[0]} bytes of ${name}: expected ${expected} for shape [${shape.join(',')}]`,
      );
    }
  }
  if (end !== size) throw file.invalid(`has ${size - end} bytes at its end that belong to no tensor`);
  return entries;
}

/** Undefined for numbers that no network has. */
function plain(data: ByteRange, { dtype, shape, data_offsets: [start, end] }: SafetensorsEntry) {
  const type = Object.hasOwn(types, dtype) ? types[dtype] : undefined;
  if (type === undefined) return undefined;
  return { shape, read: async () => decodeElements(await data.read(start, end - start), type) };
}

/** Integers times the scale of their output channel, the first index. */
function scaled(
  file: WeightsFile,
  data: ByteRange,
  name: string,
  entry: SafetensorsEntry,
  scale: SafetensorsEntry,
): ArchiveTensor {
  const [channels = 1] = entry.shape;
  const scales = plain(data, scale);
  if (scales === undefined || !/^B?F\d+$/.test(scale.dtype) || elementsOf(scale.shape) !== channels) {
    const given = `${scale.dtype} [${scale.shape.join(',')}]`;
    throw file.invalid(`has ${name}.scale of ${given}: expected floats [${channels}] for the I8 beside them`);
  }
  return {
    shape: entry.shape,
    read: async () => {
      const [start, end] = entry.data_offsets;
      const values = decodeElements(await data.read(start, end - start), 'i8');
      const factors = await scales.read();
      const each = values.length / channels;
      for (let i = 0; i < values.length; i++) {
        values[i] = (values[i] as number) * (factors[Math.floor(i / each)] as number);
      }
      return values;
    },
  };
}
