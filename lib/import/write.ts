// Writes an imported model as one of our weights files (docs/weights.md), tensor by tensor, so that no more than one is
// in memory. What the file must have to be a network is for native code to judge, which loads it before it gets its name.

import { randomUUID } from 'node:crypto';
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { endianness } from 'node:os';
import path from 'node:path';
import { breathe } from '../abort';
import { DeepLab } from '../deeplab';
import { DeepLabError } from '../errors';
import type { ImportedModel, ImportedTensor } from './layouts/layout';
import { quantizeKernel, type StoragePrecision, toBfloat, toHalf } from './precision';

/** Names of dtypes (https://github.com/huggingface/safetensors#format) and the bytes of an element. */
const dtypeBytes = { F32: 4, F16: 2, BF16: 2, I8: 1 } as const;
type Dtype = keyof typeof dtypeBytes;

/** What the kernels of convolutions are stored as; everything else is small, and stays as it is. */
const kernelDtypes: Readonly<Record<StoragePrecision, Dtype>> = { f32: 'F32', f16: 'F16', bf16: 'BF16', int8: 'I8' };

interface Entry {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [from: number, to: number];
}

/** What was written. */
export interface Written {
  /** Size of the file in bytes. */
  readonly bytes: number;
  /** What native code reads in it; names of the classes, by id. */
  readonly architecture: string;
  readonly backbone: string;
  readonly classes: readonly string[];
}

/**
 * Writes `model` to `file`, which is always either what it was or complete and sound.
 *
 * @param signal - Ends it, between two tensors.
 * @throws ERR_INVALID_WEIGHTS for values that are not finite and for what the network needs and does not have,
 * ERR_UNSUPPORTED_MODEL, ERR_WRITE.
 */
export async function writeModel(
  model: ImportedModel,
  file: string,
  precision: StoragePrecision,
  signal: AbortSignal = new AbortController().signal,
): Promise<Written> {
  const folder = path.dirname(path.resolve(file));
  const temporary = path.join(folder, `.${randomUUID()}.tmp`);
  try {
    await mkdir(folder, { recursive: true });
    const handle = await open(temporary, 'wx');
    let bytes: number;
    try {
      bytes = await writeTensors(handle, model, precision, signal);
    } finally {
      await handle.close();
    }
    const network = await loaded(temporary, signal);
    await rename(temporary, file);
    return { bytes, ...network };
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => {});
    if (cause instanceof DeepLabError) {
      // Native code knows the file by its temporary name only.
      throw new DeepLabError(cause.code, cause.message.replaceAll(temporary, file), { cause });
    }
    throw new DeepLabError('ERR_WRITE', `${file} cannot be written: ${(cause as Error).message}`, { cause });
  }
}

/** Loads the network as any other, by which every tensor of it is checked. */
async function loaded(file: string, signal: AbortSignal): Promise<Omit<Written, 'bytes'>> {
  const model = await DeepLab.load(file, { device: 'cpu', precision: 'f32', signal });
  const { architecture, backbone, classes } = model;
  await model.close();
  return { architecture, backbone, classes: classes.map(({ name }) => name) };
}

async function writeTensors(
  handle: FileHandle,
  model: ImportedModel,
  precision: StoragePrecision,
  signal: AbortSignal,
): Promise<number> {
  const entries = layOut(model, precision);
  const header = encodeHeader({ __metadata__: { ...model.metadata }, ...Object.fromEntries(entries) });
  await writeAll(handle, header, 0);
  let end = header.length;
  for (const [name, tensor] of model.tensors) {
    await breathe(signal);
    const values = await tensor.read();
    check(name, values, tensor);
    for (const [part, stored] of Object.entries(encode(name, values, tensor, precision))) {
      const [from, to] = (entries.get(part) as Entry).data_offsets;
      await writeAll(handle, new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength), header.length + from);
      end = Math.max(end, header.length + to);
    }
  }
  return end;
}

/** Where each tensor lies: those of wider elements first, so that all are aligned. */
function layOut({ tensors }: ImportedModel, precision: StoragePrecision): Map<string, Entry> {
  const stored = [...tensors].flatMap(([name, { shape }]): [string, Dtype, readonly number[]][] => {
    const dtype = shape.length === 4 ? kernelDtypes[precision] : 'F32';
    const kernel: [string, Dtype, readonly number[]] = [name, dtype, shape];
    return dtype === 'I8' ? [kernel, [scaleOf(name), 'F32', shape.slice(0, 1)]] : [kernel];
  });
  stored.sort(([, a], [, b]) => dtypeBytes[b] - dtypeBytes[a]);
  const entries = new Map<string, Entry>();
  let offset = 0;
  for (const [name, dtype, shape] of stored) {
    const end = offset + shape.reduce((product, size) => product * size, dtypeBytes[dtype]);
    entries.set(name, { dtype, shape, data_offsets: [offset, end] });
    offset = end;
  }
  return entries;
}

function scaleOf(name: string): string {
  return `${name}.scale`;
}

/** Eight bytes of length, then JSON, padded with spaces so that the tensors are aligned. */
export function encodeHeader(header: unknown): Buffer {
  const json = Buffer.from(JSON.stringify(header));
  const length = Math.ceil(json.length / 8) * 8;
  const bytes = Buffer.alloc(8 + length, ' ');
  bytes.writeBigUInt64LE(BigInt(length));
  json.copy(bytes, 8);
  return bytes;
}

/** The tensors of the file that one of the model becomes. */
function encode(
  name: string,
  values: Float32Array,
  { shape }: ImportedTensor,
  precision: StoragePrecision,
): Record<string, NodeJS.TypedArray> {
  if (shape.length !== 4 || precision === 'f32') return { [name]: littleEndian(values) };
  if (precision === 'int8') {
    const kernel = quantizeKernel(values, shape[0] as number);
    return { [name]: kernel.values, [scaleOf(name)]: littleEndian(kernel.scales) };
  }
  const [narrow, infinite] = precision === 'f16' ? [toHalf, 0x7c00] : [toBfloat, 0x7f80];
  const stored = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    const bits = narrow(value);
    if ((bits & 0x7fff) >= infinite) throw invalid(name, `has the value ${value}, which ${precision} cannot hold`);
    stored[i] = bits;
  }
  return { [name]: littleEndian(stored) };
}

function check(name: string, values: Float32Array, { shape }: ImportedTensor): void {
  const count = shape.reduce((product, size) => product * size, 1);
  if (values.length !== count) throw invalid(name, `has ${values.length} values: expected ${count}`);
  // The difference of a number and itself is NaN unless it is finite; to look up Number.isFinite for each takes seconds.
  const at = values.findIndex((value) => value - value !== 0);
  if (at >= 0) throw invalid(name, `has the value ${values[at]} at ${at}: weights are finite`);
}

/** Turns elements around on the machines that have them the other way. */
export function littleEndian<T extends Float32Array | Uint16Array>(values: T): Buffer | T {
  if (endianness() === 'LE') return values;
  const bytes = Buffer.from(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  return values.BYTES_PER_ELEMENT === 4 ? bytes.swap32() : bytes.swap16();
}

/** A single call may write less than it was given. */
async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await handle.write(bytes, done, bytes.length - done, position + done)).bytesWritten;
  }
}

function invalid(name: string, what: string): DeepLabError {
  return new DeepLabError('ERR_INVALID_WEIGHTS', `The tensor ${name} ${what}`);
}
