// Reads arrays of floats from safetensors files (https://github.com/huggingface/safetensors#format). A model's weights
// are not read here: native code does, without holding the file in memory. Those to import are import/safetensors.ts's.

import { DeepLabError } from './errors';
import { decodeFloats, type FloatType, floatBytes } from './floats';
import { Tensor } from './tensor';

const types: Readonly<Record<string, FloatType>> = { F16: 'f16', F32: 'f32', F64: 'f64' };

/** What a header says of a tensor. */
export interface SafetensorsEntry {
  readonly dtype: string;
  readonly shape: readonly number[];
  /** First byte and the one after the last, counted from the end of the header. */
  readonly data_offsets: readonly [number, number];
}

/**
 * The tensor of a file that has only one, or else the one called `wanted`; its numbers are rounded to 32 bits.
 *
 * @param name - What errors call the file.
 * @throws ERR_INVALID_ARRAY if the file is damaged or does not have such a tensor.
 */
export function decodeSafetensor(bytes: Uint8Array, wanted: string, name: string): Tensor<Float32Array> {
  const { header, start } = splitHeader(bytes, name);
  const names = Object.keys(header).filter((tensor) => tensor !== '__metadata__');
  const [only, second] = names;
  const chosen = second === undefined ? only : names.find((tensor) => tensor === wanted);
  if (chosen === undefined) {
    throw invalid(name, `has ${names.length} tensors (${names.join(', ')}): expected one, or one called ${wanted}`);
  }
  const entry: unknown = header[chosen];
  if (!isSafetensorsEntry(entry))
    throw invalid(name, `does not say dtype, shape and data_offsets of the tensor ${chosen}`);
  const { dtype, shape, data_offsets: offsets } = entry;
  const type = Object.hasOwn(types, dtype) ? types[dtype] : undefined;
  if (type === undefined) {
    throw invalid(name, `holds ${dtype} in the tensor ${chosen}: expected one of ${Object.keys(types).join(', ')}`);
  }
  const length = shape.reduce((product, size) => product * size, floatBytes[type]);
  const [from, to] = offsets;
  if (to - from !== length || from > to || start + to > bytes.length) {
    const place = `bytes ${from} to ${to} of ${bytes.length - start}`;
    throw invalid(name, `has the tensor ${chosen} in ${place}: expected ${length} for shape [${shape.join(',')}]`);
  }
  return new Tensor(decodeFloats(bytes.subarray(start + from, start + to), type), shape);
}

/** Eight bytes of length, then JSON; the tensors' bytes follow. */
function splitHeader(bytes: Uint8Array, name: string) {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.length < 8 ? undefined : view.readBigUInt64LE();
  if (length === undefined || length > view.length - 8) throw invalid(name, 'is no .safetensors file, or is truncated');
  const start = 8 + Number(length);
  const header = parseSafetensorsHeader(view.subarray(8, start));
  if (header === undefined) throw invalid(name, 'is no .safetensors file: its header is no JSON object');
  return { header, start };
}

/** The JSON between the length and the tensors' bytes; undefined if it is no object. */
export function parseSafetensorsHeader(json: Buffer): Record<string, unknown> | undefined {
  try {
    const header: unknown = JSON.parse(json.toString());
    return isRecord(header) ? header : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a value of the header, other than `__metadata__`, says all that it should. */
export function isSafetensorsEntry(entry: unknown): entry is SafetensorsEntry {
  if (!isRecord(entry)) return false;
  const { dtype, shape, data_offsets: offsets } = entry;
  return typeof dtype === 'string' && isSizes(shape) && isSizes(offsets) && offsets.length === 2;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isSizes(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

function invalid(name: string, what: string): DeepLabError {
  return new DeepLabError('ERR_INVALID_ARRAY', `${name} ${what}`);
}
