// Safetensors files to import from, as the format's own library wrote them: test/import/generate_safetensors.py. Those
// that are loaded as they are: test/safetensors.test.ts.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { looksLikeSafetensors, openSafetensors } from '../lib/import/safetensors';
import { temporaryFolder } from './folder';
import { changeBytes, cutAnywhere, expectedTensors, fixture, readTensors, refusal } from './import/archives';
import { type StoredTensor, writeSafetensors } from './safetensors';

const folder = temporaryFolder();
const file = path.join(folder, 'weights.safetensors');
const expected = expectedTensors('safetensors');
const types = 'safetensors-types.safetensors';
const two: StoredTensor = { dtype: 'F32', shape: [2], data: new Float32Array([1, 2]) };

test.each(Object.keys(expected))('%s: the tensors are those that safetensors stored, integers scaled', async (name) => {
  expect(await readTensors(openSafetensors, fixture(name))).toEqual(expected[name]);
});

test('the metadata are those of the file', async () => {
  const archive = await openSafetensors(fixture(types));
  expect(archive.format).toBe('safetensors');
  expect(archive.metadata).toEqual({ architecture: 'deeplab_v2', classes: 'a,b' });
  await archive.close();
});

test('it is told by its beginning', () => {
  expect(looksLikeSafetensors(readFileSync(fixture(types)).subarray(0, 512))).toBe(true);
  for (const other of ['pytorch-zip.pth', 'pytorch-legacy.pth', 'pytorch-tar.pth', 'keras-legacy.h5']) {
    expect(looksLikeSafetensors(readFileSync(fixture(other)).subarray(0, 512))).toBe(false);
  }
  expect(looksLikeSafetensors(Buffer.alloc(0))).toBe(false);
});

/** A file of this header and so many bytes of data. */
function rawFile(header: string, dataBytes: number, headerLength = Buffer.byteLength(header)): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(headerLength));
  return Buffer.concat([length, Buffer.from(header), Buffer.alloc(dataBytes)]);
}

function fileOf(tensors: Readonly<Record<string, StoredTensor>>): Buffer {
  writeSafetensors(file, {}, tensors);
  return readFileSync(file);
}

const entry = (begin: number, end: number, shape: readonly number[] = [(end - begin) / 4], dtype = 'F32') =>
  JSON.stringify({ dtype, shape, data_offsets: [begin, end] });
const bytes = (...values: number[]): StoredTensor => ({
  dtype: 'I8',
  shape: [values.length],
  data: Int8Array.from(values),
});

test.each<[string, () => Buffer, RegExp]>([
  ['nothing', () => Buffer.alloc(0), /weights\.safetensors is no safetensors file, or is truncated/],
  ['a header longer than the file', () => rawFile('{}', 0, 3), /truncated in its header/],
  ['a header longer than the format allows', () => rawFile('{}', 0, 2 ** 40), /truncated in its header/],
  ['a header that is no JSON', () => rawFile('{"a":', 0), /its header is no JSON object/],
  ['a header nested deeply', () => rawFile(`{"a":${'['.repeat(1e5)}${']'.repeat(1e5)}}`, 0), /no JSON|does not say/],
  [
    'metadata that are no strings',
    () => rawFile('{"__metadata__":{"a":1}}', 0),
    /__metadata__ that are not all strings/,
  ],
  [
    'a name twice',
    () => rawFile(`{"a":${entry(0, 4)},"a":${entry(4, 8)}}`, 8),
    /a in bytes 4 to 8 of 8: .* begin at 0/,
  ],
  ['overlapping tensors', () => rawFile(`{"a":${entry(0, 8)},"b":${entry(4, 12)}}`, 12), /b in bytes .* begin at 8/],
  ['a gap', () => rawFile(`{"a":${entry(0, 4)},"b":${entry(8, 12)}}`, 12), /b in bytes .* begin at 4/],
  ['bytes of no tensor', () => rawFile(`{"a":${entry(0, 4)}}`, 12), /8 bytes at its end/],
  ['an offset outside', () => rawFile(`{"a":${entry(0, 400)}}`, 8), /a in bytes 0 to 400 of 8/],
  [
    'a shape of another size',
    () => rawFile(`{"a":${entry(0, 8, [3])}}`, 8),
    /8 bytes of a: expected 12 for shape \[3\]/,
  ],
  ['a shape beyond counting', () => rawFile(`{"a":${entry(0, 8, [2 ** 40, 2 ** 40])}}`, 8), /expected 4\.8/],
  ['17 dimensions', () => rawFile(`{"a":${entry(0, 4, Array(17).fill(1))}}`, 4), /17 dimensions in a/],
  [
    'scales of another number',
    () => fileOf({ a: bytes(1, 2, 3), 'a.scale': two }),
    /a\.scale of F32 \[2\]: .*floats \[3\]/,
  ],
  [
    'scales that are integers',
    () => fileOf({ a: bytes(1), 'a.scale': bytes(1) }),
    /a\.scale of I8 \[1\]: expected floats/,
  ],
])('%s: refused', async (_, make, message) => {
  expect(await refusal(openSafetensors, file, make())).toMatchObject({
    code: 'ERR_INVALID_WEIGHTS',
    message: expect.stringMatching(message),
  });
});

test('names of objects of JavaScript are names like others', async () => {
  writeFileSync(file, rawFile(`{"__proto__":${entry(0, 4)},"toString":${entry(4, 8)}}`, 8));
  const archive = await openSafetensors(file);
  expect([...archive.tensors.keys()].sort()).toEqual(['__proto__', 'toString']);
  await archive.close();
});

test('a file cut at any byte is refused', async () => {
  expect(await cutAnywhere(openSafetensors, file, readFileSync(fixture(types)))).toEqual([]);
});

test('a file with bytes changed is read or refused, and no more', () =>
  changeBytes(openSafetensors, file, readFileSync(fixture(types)), 1000));

const camvid = path.join(__dirname, '../../shared/models/deeplabv2-resnet101-camvid.safetensors');

test('a file that is cut while it is open is refused when its tensors are read', async () => {
  writeFileSync(file, readFileSync(fixture(types)));
  const archive = await openSafetensors(file);
  writeFileSync(file, readFileSync(file).subarray(0, 300));
  const reads = Array.from(archive.tensors.values(), (tensor) => tensor.read());
  const settled = await Promise.allSettled(reads);
  expect(settled.some(({ status }) => status === 'rejected')).toBe(true);
  for (const one of settled) {
    if (one.status === 'rejected') expect(one.reason).toMatchObject({ code: 'ERR_INVALID_WEIGHTS' });
  }
  await archive.close();
});

(existsSync(camvid) ? test : test.skip)('a whole network is read (skipped without ../shared)', async () => {
  const archive = await openSafetensors(camvid);
  expect(archive.metadata.architecture).toBe('deeplab_v2');
  expect(archive.tensors.get('conv1.weight')?.shape).toEqual([64, 3, 7, 7]);
  const values = (await archive.tensors.get('layer4.2.conv3.weight')?.read()) as Float32Array;
  expect(values).toHaveLength(2048 * 512);
  expect(values.every(Number.isFinite)).toBe(true);
  await archive.close();
});
