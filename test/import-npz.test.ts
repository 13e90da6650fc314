// Archives of NumPy, as numpy.savez and numpy.savez_compressed wrote them: test/import/generate_npz.py.

import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import zlib from 'node:zlib';
import type { ArchiveTensor } from '../lib/import/archive';
import { looksLikeNpz, openNpz } from '../lib/import/npz';
import { zipHolds } from '../lib/import/zip';
import { temporaryFolder } from './folder';
import { changeBytes, cutAnywhere, expectedTensors, fixture, readTensors, refusal } from './import/archives';
import { npy, zip } from './import/zip';
import { pythonWith } from './python';

const folder = temporaryFolder();
const file = path.join(folder, 'weights.npz');
const expected = expectedTensors('npz');

test.each(Object.keys(expected))('%s: the arrays of numbers are those that NumPy stored', async (name) => {
  expect(await readTensors(openNpz, fixture(name))).toEqual(expected[name]);
});

test('an archive is told from one of PyTorch by what is in it', async () => {
  expect(looksLikeNpz(readFileSync(fixture('npz-stored.npz')).subarray(0, 512))).toBe(true);
  expect(looksLikeNpz(readFileSync(fixture('keras-legacy.h5')).subarray(0, 512))).toBe(false);
  expect(await zipHolds(fixture('npz-deflated.npz'))).toBe('npz');
  expect(await zipHolds(fixture('pytorch-zip.pth'))).toBe('pytorch');
  expect(await zipHolds(fixture('keras-legacy.h5'))).toBeUndefined();
  writeFileSync(file, zip({ 'a.txt': { data: Buffer.from('a') } }));
  expect(await zipHolds(file)).toBeUndefined();
});

test('arrays are read one at a time, as often as they are asked for, until the file is closed', async () => {
  const archive = await openNpz(fixture('npz-deflated.npz'));
  expect(archive).toMatchObject({ format: 'npz', file: fixture('npz-deflated.npz'), metadata: {} });
  const tensor = archive.tensors.get('conv1/weights') as ArchiveTensor;
  (await tensor.read()).fill(0);
  expect([...(await tensor.read())]).toEqual(expected['npz-deflated.npz']?.['conv1/weights']?.[1]);
  await archive.close();
  await archive.close();
  await expect(tensor.read()).rejects.toMatchObject({ name: 'DeepLabError' });
});

test('a file that is not there is ERR_NOT_FOUND, and so is a folder', async () => {
  await expect(openNpz(path.join(folder, 'none.npz'))).rejects.toMatchObject({ code: 'ERR_NOT_FOUND' });
  await expect(openNpz(folder)).rejects.toMatchObject({ code: 'ERR_NOT_FOUND' });
});

const six = new Float32Array([1, 2, 3, 4, 5, 6]);

test.each<[string, () => Buffer, RegExp]>([
  ['nothing', () => Buffer.alloc(0), /weights\.npz is no sound zip file/],
  ['text', () => Buffer.from('1 2 3'), /is no sound zip file/],
  ['an array that is none', () => zip({ 'a.npy': { data: Buffer.from('numbers') } }), /a\.npy is no \.npy file/],
  ['too few numbers', () => zip({ 'a.npy': { data: npy('<f4', '7,', six) } }), /152 bytes in a\.npy: expected 156/],
  ['too many numbers', () => zip({ 'a.npy': { data: npy('<f4', '5,', six) } }), /expected 148 for <f4 \[5\]/],
  [
    'a size beyond counting',
    () => zip({ 'a.npy': { data: npy('<f4', '9999999999, 9999999999', six) } }),
    /expected 399999/,
  ],
  [
    '17 dimensions',
    () => zip({ 'a.npy': { data: npy('<f4', `${'1, '.repeat(16)}6`, six) } }),
    /17 dimensions in a\.npy/,
  ],
  [
    'numbers whose checksum differs',
    () => zip({ 'a.npy': { data: npy('<f4', '6,', six), crc32: 1 } }),
    /damaged in a\.npy: its checksum differs/,
  ],
  [
    'a name that stands twice',
    () =>
      zip([
        ['a.npy', { data: npy('<f4', '6,', six) }],
        ['a.npy', { data: npy('<f4', '6,', six) }],
      ]),
    /it has a\.npy twice/,
  ],
  [
    'an encrypted entry',
    () => zip({ 'a.npy': { data: npy('<f4', '6,', six), flags: 1 } }),
    /a\.npy is encrypted|mismatch/,
  ],
  ['another compression', () => zip({ 'a.npy': { data: npy('<f4', '6,', six), method: 14 } }), /by method 14/],
])('%s: refused', async (_, make, message) => {
  expect(await refusal(openNpz, file, make())).toMatchObject({
    code: 'ERR_INVALID_WEIGHTS',
    message: expect.stringMatching(message),
  });
});

describe('a bomb is not inflated', () => {
  const zeros = zlib.deflateRawSync(Buffer.alloc(2 ** 25));

  test('when it says how large it is', async () => {
    const bomb = zip({ 'a.npy': { data: zeros, method: 8, size: 2 ** 25 } });
    expect((await refusal(openNpz, file, bomb))?.message).toMatch(/would inflate from \d+ to 33554432 bytes/);
  });

  test('when it says that it is small', async () => {
    const data = zlib.deflateRawSync(Buffer.concat([npy('<f4', '6,', six), Buffer.alloc(2 ** 25)]));
    const bomb = zip({ 'a.npy': { data, method: 8, size: npy('<f4', '6,', six).length } });
    expect((await refusal(openNpz, file, bomb))?.message).toMatch(
      /damaged in a\.npy: Cannot create a Buffer larger than 153 bytes/,
    );
  });

  test('when it is a header of 4 GB', async () => {
    const header = npy('<f4', '6,', six);
    header[6] = 2;
    header.writeUInt32LE(0xffffffff, 8);
    expect((await refusal(openNpz, file, zip({ 'a.npy': { data: header } })))?.message).toMatch(
      /truncated in its header/,
    );
  });
});

test.each(['../escaped.npy', '/tmp/deeplab-escaped.npy', 'a/../../escaped.npy', 'C:\\escaped.npy', '..\\escaped.npy'])(
  'an entry called %s leads nowhere',
  async (name) => {
    await refusal(openNpz, file, zip({ [name]: { data: npy('<f4', '6,', six) } }));
    expect(readdirSync(folder)).toEqual(['weights.npz']);
    expect(existsSync(path.join(folder, '..', 'escaped.npy'))).toBe(false);
    expect(existsSync('/tmp/deeplab-escaped.npy')).toBe(false);
  },
);

test('a file cut at any byte is refused', async () => {
  expect(await cutAnywhere(openNpz, file, zip({ 'a.npy': { data: npy('<f4', '6,', six) } }))).toEqual([]);
  expect(await cutAnywhere(openNpz, file, readFileSync(fixture('npz-deflated.npz')), 13)).toEqual([]);
});

test.each(['npz-stored.npz', 'npz-deflated.npz'])('%s with bytes changed is read or refused, and no more', (name) =>
  changeBytes(openNpz, file, readFileSync(fixture(name)), 500),
);

const python = pythonWith('numpy');

(python === undefined ? test.skip : test)('what NumPy writes now is read (skipped without NumPy)', async () => {
  const script = [
    'import sys, numpy',
    'numpy.savez_compressed(sys.argv[1], a=numpy.arange(6, dtype="f4").reshape(2, 3).T, b=numpy.arange(3))',
  ].join('\n');
  execFileSync(python as string, ['-c', script, file]);
  expect(await readTensors(openNpz, file)).toEqual({
    a: [
      [3, 2],
      [0, 3, 1, 4, 2, 5],
    ],
    b: [[3], [0, 1, 2]],
  });
});
