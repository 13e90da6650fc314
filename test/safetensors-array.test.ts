// Arrays in safetensors files, as `deeplab crf` reads them. Weights files are read natively: test/safetensors.test.ts.

import { readFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { decodeSafetensor } from '../lib/safetensors';
import { temporaryFolder } from './folder';
import { type StoredTensor, writeSafetensors } from './safetensors';

const folder = temporaryFolder();
const six = new Float32Array([1, -2, 3.5, 0, 1e-30, 6]);
const stored: StoredTensor = { dtype: 'F32', shape: [1, 2, 3], data: six };

function fileOf(tensors: Readonly<Record<string, StoredTensor>>): Buffer {
  const file = path.join(folder, 'a.safetensors');
  writeSafetensors(file, { note: 'test' }, tensors);
  return readFileSync(file);
}

/** A file of this header, as it stands, and so many bytes of data. */
function rawFile(header: string, dataBytes: number, headerLength = Buffer.byteLength(header)): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(headerLength));
  return Buffer.concat([length, Buffer.from(header), Buffer.alloc(dataBytes)]);
}

const entry = (from: number, to: number, shape: readonly unknown[] = [1]) =>
  JSON.stringify({ a: { dtype: 'F32', shape, data_offsets: [from, to] } });
const read = (bytes: Uint8Array) => decodeSafetensor(bytes, 'probabilities', 'a.safetensors');

test.each<[string, NodeJS.ArrayBufferView, readonly number[]]>([
  ['F32', six, [...six]],
  ['F64', new Float64Array([0.1, 2]), [Math.fround(0.1), 2]],
  ['F16', new Uint16Array([0x3c00, 0xc000]), [1, -2]],
])('%s is read', (dtype, data, values) => {
  const array = read(fileOf({ a: { dtype, shape: [values.length], data } }));
  expect(array.shape).toEqual([values.length]);
  expect([...array.data]).toEqual(values);
});

test('of several tensors, the one with the name that is wanted is read', () => {
  const other = { dtype: 'I64', shape: [1], data: new BigInt64Array(1) };
  expect([...read(fileOf({ b: other, probabilities: stored, c: other })).data]).toEqual([...six]);
});

test.each<[string, () => Buffer, RegExp]>([
  ['nothing', () => Buffer.alloc(0), /^a\.safetensors is no \.safetensors file, or is truncated$/],
  ['a header longer than the file', () => rawFile('{}', 0, 3), /truncated/],
  ['a header longer than can be counted', () => Buffer.alloc(20, 0xff), /truncated/],
  ['a header that is no JSON', () => rawFile('{"a":', 0), /its header is no JSON object/],
  ['a header that is no object', () => rawFile('[1]', 0), /its header is no JSON object/],
  ['no tensor', () => fileOf({}), /has 0 tensors \(\): expected one/],
  ['several tensors', () => fileOf({ b: stored, c: stored }), /2 tensors \(b, c\): .* or one called probabilities/],
  ['integers', () => fileOf({ a: { ...stored, dtype: 'I32' } }), /holds I32 in the tensor a: expected one of F16, F32/],
  ['a type called as a method is', () => fileOf({ a: { ...stored, dtype: 'toString' } }), /holds toString/],
  ['an entry that is none', () => rawFile('{"a":{"dtype":"F32"}}', 4), /does not say dtype, shape and data_offsets of/],
  ['a shape of halves', () => rawFile(entry(0, 2, [0.5]), 4), /does not say/],
  ['a negative size', () => rawFile(entry(0, 4, [-1, -1]), 4), /does not say/],
  ['a tensor that ends outside', () => rawFile(entry(4, 8), 4), /bytes 4 to 8 of 4: expected 4 for shape \[1\]/],
  ['offsets that are not the size', () => rawFile(entry(0, 8), 8), /expected 4 for shape \[1\]/],
  ['offsets in the wrong order', () => rawFile(entry(4, 0, [0]), 8), /bytes 4 to 0 of 8/],
  ['a size beyond counting', () => rawFile(entry(0, 4, [1e9, 1e9, 1e9]), 4), /expected 4e\+27/],
])('%s: refused', (_, make, message) => {
  expect(() => read(make())).toThrow(
    expect.objectContaining({
      name: 'DeepLabError',
      code: 'ERR_INVALID_ARRAY',
      message: expect.stringMatching(message),
    }),
  );
});

test('a file with some byte changed is read or refused, and nothing else', () => {
  const file = fileOf({ a: stored });
  fc.assert(
    fc.property(fc.nat(file.length - 1), fc.nat(255), (at, value) => {
      const changed = Buffer.from(file);
      changed[at] = value;
      try {
        read(changed);
      } catch (error) {
        expect(error).toMatchObject({ code: 'ERR_INVALID_ARRAY' });
      }
    }),
    { numRuns: 2000 },
  );
});
