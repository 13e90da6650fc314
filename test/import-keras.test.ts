// Weights of Keras, as Keras 3 and h5py wrote them: test/import/generate_keras.py. libhdf5 reads them in a thread.

import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, ftruncateSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { looksLikeKeras, openKeras } from '../lib/import/keras';
import { temporaryFolder } from './folder';
import { changeBytes, cutAnywhere, expectedTensors, fixture, readTensors, refusal } from './import/archives';
import { pythonWith } from './python';

const folder = temporaryFolder();
const file = path.join(folder, 'weights.h5');
const expected = expectedTensors('keras');

test.each(Object.keys(expected))('%s: the tensors are those that h5py reads', async (name) => {
  expect(await readTensors(openKeras, fixture(name))).toEqual(expected[name]);
});

test('tensors are called as the datasets are, in each of the layouts', async () => {
  expect(Object.keys(await readTensors(openKeras, fixture('keras-legacy.h5')))).toContain(
    'expanded_conv_depthwise/expanded_conv_depthwise/kernel:0',
  );
  expect(Object.keys(await readTensors(openKeras, fixture('keras-3.weights.h5')))).toContain('layers/conv2d/vars/0');
});

test('what a whole model says of itself is given as metadata', async () => {
  const archive = await openKeras(fixture('keras-model.h5'));
  expect(archive).toMatchObject({ format: 'keras', file: fixture('keras-model.h5') });
  expect(archive.metadata.backend).toBe('tensorflow');
  expect(JSON.parse(archive.metadata.model_config as string).config.layers).toHaveLength(5);
  await archive.close();
});

test('tensors are read at the same time, until the file is closed', async () => {
  const archive = await openKeras(fixture('keras-legacy.h5'));
  const all = await Promise.all(Array.from(archive.tensors.values(), (tensor) => tensor.read()));
  expect(all.map(({ length }) => length)).toEqual(
    Array.from(archive.tensors.values(), ({ shape }) => shape.reduce((product, size) => product * size, 1)),
  );
  const [tensor] = archive.tensors.values();
  await archive.close();
  await expect(tensor?.read()).rejects.toMatchObject({ code: 'ERR_CLOSED' });
  await archive.close();
});

test('it is told by its beginning', () => {
  expect(looksLikeKeras(readFileSync(fixture('keras-legacy.h5')).subarray(0, 512))).toBe(true);
  expect(looksLikeKeras(readFileSync(fixture('npz-stored.npz')).subarray(0, 512))).toBe(false);
});

test('a file that is not there is ERR_NOT_FOUND, and so is a folder', async () => {
  await expect(openKeras(path.join(folder, 'none.h5'))).rejects.toMatchObject({ code: 'ERR_NOT_FOUND' });
  await expect(openKeras(folder)).rejects.toMatchObject({ code: 'ERR_NOT_FOUND' });
});

test('a process ends by itself though an archive was not closed', () => {
  const built = path.join(__dirname, '../dist/import/keras.js');
  if (!existsSync(built)) throw new Error('dist/ is missing: npm run build:lib');
  const script = [
    `const { openKeras } = require(${JSON.stringify(built)});`,
    `openKeras(${JSON.stringify(fixture('keras-legacy.h5'))}).then((archive) => console.log(archive.tensors.size));`,
  ].join('\n');
  expect(execFileSync(process.execPath, ['-e', script], { encoding: 'utf8', timeout: 60_000 })).toBe('8\n');
});

describe('a damaged file is refused within seconds', () => {
  const legacy = readFileSync(fixture('keras-legacy.h5'));
  const stored = readFileSync(fixture('keras-stored.h5'));

  test.each<[string, () => Buffer]>([
    ['nothing', () => Buffer.alloc(0)],
    ['the signature alone', () => legacy.subarray(0, 8)],
    ['a file that is cut', () => legacy.subarray(0, 9000)],
    ['zeros behind the signature', () => Buffer.concat([legacy.subarray(0, 8), Buffer.alloc(10_000)])],
    ['ones behind the signature', () => Buffer.concat([legacy.subarray(0, 8), Buffer.alloc(10_000, 255)])],
  ])('%s', async (_, make) => {
    expect(await refusal(openKeras, file, make())).toMatchObject({ code: 'ERR_INVALID_WEIGHTS' });
  });

  test('with the reason that libhdf5 gives', async () => {
    expect((await refusal(openKeras, file, legacy.subarray(0, 9000)))?.message).toMatch(
      /weights\.h5 is damaged: truncated file: eof = 9000/,
    );
  });

  test('cut anywhere', async () => expect(await cutAnywhere(openKeras, file, legacy, 907)).toEqual([]));

  test('or read, with bytes changed, and no more', async () => {
    // Each starts a thread, and may be waited for until it is given up.
    await changeBytes(openKeras, file, legacy.subarray(0, 4096), 10);
    await changeBytes(openKeras, file, stored, 25);
  });
});

const python = pythonWith('h5py');
const withHdf = python === undefined ? test.skip : test;

function write(script: string): void {
  execFileSync(python as string, ['-c', `import sys, h5py, numpy\nf = h5py.File(sys.argv[1], "w")\n${script}`, file]);
}

withHdf('links and storage in other files are not followed (skipped without h5py)', async () => {
  const secret = path.join(folder, 'secret.bin');
  writeFileSync(secret, Buffer.alloc(16, 1));
  write(`f.create_dataset("stolen", (4,), "f4", external=[(${JSON.stringify(secret)}, 0, 16)])`);
  expect(await refusal(openKeras, file, readFileSync(file))).toMatchObject({ code: 'ERR_INVALID_WEIGHTS' });
  write(`f["linked"] = h5py.ExternalLink(${JSON.stringify(fixture('keras-legacy.h5'))}, "/Conv"); f["a"] = 1.5`);
  expect(await readTensors(openKeras, file)).toEqual({ a: [[], [1.5]] });
});

withHdf('numbers that the file does not have are not made up (skipped without h5py)', async () => {
  write('f.create_dataset("a", (2**20, 2**20), "f4", chunks=(64, 64))');
  expect(await refusal(openKeras, file, readFileSync(file))).toMatchObject({
    code: 'ERR_INVALID_WEIGHTS',
    message: expect.stringMatching(/a of \[1048576,1048576\]: expected at most \d+ bytes/),
  });
});

withHdf('a bomb is not inflated (skipped without h5py)', async () => {
  write('f.create_dataset("a", data=numpy.zeros(2**24, "f4"), chunks=(2**22,), compression="gzip")');
  expect((await refusal(openKeras, file, readFileSync(file)))?.message).toMatch(/expected at most/);
});

withHdf('a large file is not read before its tensors are (skipped without h5py)', async () => {
  write('f["a"] = numpy.arange(3, dtype="f4")\nf.create_dataset("b", (2**20,), "f4")[:] = 1');
  const descriptor = openSync(file, 'r+');
  ftruncateSync(descriptor, 2 ** 33); // 8 GiB, of which nothing is there
  closeSync(descriptor);
  const archive = await openKeras(file);
  const [a, b] = await Promise.all(['a', 'b'].map((name) => archive.tensors.get(name)?.read()));
  expect([...(a ?? [])]).toEqual([0, 1, 2]);
  expect(b?.every((value) => value === 1)).toBe(true);
  await archive.close();
});
