// Writes weights files for tests, sound ones and, given odd dtypes, shapes or sizes, unsound ones: nothing is checked.
// The format: eight bytes of header length, a JSON header, the tensors' bytes without a gap
// (https://github.com/huggingface/safetensors#format).

import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';

export interface StoredTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  /** The values as they are stored; a function is called when its turn to be written comes, to save memory. */
  readonly data: NodeJS.ArrayBufferView | (() => NodeJS.ArrayBufferView);
}

const elementBytes: Readonly<Record<string, number>> = {
  F64: 8,
  I64: 8,
  F32: 4,
  I32: 4,
  F16: 2,
  BF16: 2,
  I8: 1,
  U8: 1,
};

/** Bytes of the tensor: those of its data, or, where they are not made yet, those that its shape and dtype ask for. */
function byteLength({ dtype, shape, data }: StoredTensor): number {
  if (typeof data !== 'function') return data.byteLength;
  const size = elementBytes[dtype];
  if (size === undefined) throw new Error(`unknown dtype ${dtype}`);
  return shape.reduce((product, dim) => product * dim, size);
}

/** Writes `tensors` to `path` in the order of the record's keys. */
export function writeSafetensors(
  path: string,
  metadata: Readonly<Record<string, string>>,
  tensors: Readonly<Record<string, StoredTensor>>,
): void {
  const header: Record<string, unknown> = { __metadata__: metadata };
  let offset = 0;
  for (const [name, tensor] of Object.entries(tensors)) {
    const end = offset + byteLength(tensor);
    header[name] = { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [offset, end] };
    offset = end;
  }
  const json = Buffer.from(JSON.stringify(header));
  const padded = Buffer.alloc(Math.ceil(json.length / 8) * 8, ' ');
  json.copy(padded);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));

  const file = openSync(path, 'w');
  try {
    writeSync(file, length);
    writeSync(file, padded);
    for (const { data } of Object.values(tensors)) writeSync(file, typeof data === 'function' ? data() : data);
  } finally {
    closeSync(file);
  }
}

/** Reads a file that writeSafetensors wrote; the tensors' data are copies. */
export function readSafetensors(path: string): {
  metadata: Record<string, string>;
  tensors: Record<string, StoredTensor>;
} {
  const bytes = readFileSync(path);
  const start = 8 + Number(bytes.readBigUInt64LE());
  const { __metadata__: metadata, ...entries } = JSON.parse(bytes.subarray(8, start).toString());
  const tensors: Record<string, StoredTensor> = {};
  for (const [name, { dtype, shape, data_offsets: offsets }] of Object.entries<{
    dtype: string;
    shape: number[];
    data_offsets: [number, number];
  }>(entries)) {
    tensors[name] = { dtype, shape, data: Buffer.from(bytes.subarray(start + offsets[0], start + offsets[1])) };
  }
  return { metadata, tensors };
}
