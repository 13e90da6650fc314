import { existsSync } from 'node:fs';
import { mkdir, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DeepLab } from '../lib';
import { cachedModel } from '../lib/cache';
import { defaultModel, defaultWeights, resolveDefaultWeights, resolveWeights, unpacked } from '../lib/weights';
import { temporaryFolder } from './folder';
import { readSafetensors } from './safetensors';

const folder = temporaryFolder();
const packaged = path.join(__dirname, '../weights');

test('an absolute path is taken as it is', async () => {
  const file = path.join(folder, 'model.safetensors');
  await writeFile(file, '');
  expect(await resolveWeights(file)).toBe(file);
});

test('a relative path is made absolute', async () => {
  expect(await resolveWeights('package.json')).toBe(path.resolve('package.json'));
});

test('a name means a file of the weights folder of this package', async () => {
  const name = `test-${process.pid}`;
  const file = path.join(packaged, `${name}.safetensors`);
  await mkdir(packaged, { recursive: true });
  await writeFile(file, '');
  try {
    expect(await resolveWeights(name)).toBe(file);
  } finally {
    await rm(file);
  }
});

test('what is not there is ERR_NOT_FOUND, with the places', async () => {
  const places = [
    path.resolve('no-such-model'),
    path.join(packaged, 'no-such-model.safetensors'),
    cachedModel('no-such-model'),
  ];
  await expect(resolveWeights('no-such-model')).rejects.toMatchObject({
    code: 'ERR_NOT_FOUND',
    message: `There is no weights file "no-such-model": looked for ${places.join(' and ')}`,
  });
});

test('a path is not looked for in the weights folder', async () => {
  const error = await resolveWeights('models/none.safetensors').catch((failure: Error) => failure);
  expect(error).toMatchObject({ code: 'ERR_NOT_FOUND' });
  expect(String(error)).not.toContain(packaged);
});

test('a folder is not a weights file', async () => {
  await expect(resolveWeights(folder)).rejects.toMatchObject({ code: 'ERR_NOT_FOUND' });
});

test('a path with a null byte is ERR_NOT_FOUND too', async () => {
  await expect(resolveWeights('a\0b')).rejects.toMatchObject({ code: 'ERR_NOT_FOUND' });
});

test.each([undefined, null, 5, '', {}])('%p is not a path', async (value) => {
  await expect(resolveWeights(value as string)).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' });
});

describe('the model that ships', () => {
  const there = existsSync(defaultWeights);
  if (!there) process.stdout.write(`skipped: ${defaultWeights} is not there\n`);

  test('is in the weights folder, by a name that is its path as well', () => {
    expect(defaultWeights).toBe(path.join(packaged, `${defaultModel.name}.safetensors`));
  });

  (there ? test : test.skip)('is what is loaded without a name, and by its name', async () => {
    expect(await resolveDefaultWeights()).toBe(defaultWeights);
    expect(await resolveWeights(defaultModel.name)).toBe(defaultWeights);
    await using model = await DeepLab.load(undefined, { device: 'cpu', threads: 1 });
    const { architecture, backbone, classes, metadata } = model;
    expect({ architecture, backbone, count: classes.length }).toEqual({
      architecture: 'deeplab_v2',
      backbone: 'resnet101',
      count: 11,
    });
    expect(metadata.licence).toMatch(/non-commercial/);
  });

  (there ? test : test.skip)('fits into 50 MB, in int8', async () => {
    expect((await stat(defaultWeights)).size).toBeLessThan(50e6);
    const { tensors } = readSafetensors(defaultWeights);
    const kernels = Object.values(tensors).filter(({ shape }) => shape.length === 4);
    expect(new Set(kernels.map(({ dtype }) => dtype))).toEqual(new Set(['I8']));
  });

  test('is looked for where Electron unpacks it', () => {
    expect(unpacked('/app/resources/app.asar/node_modules/deeplab/weights')).toBe(
      '/app/resources/app.asar.unpacked/node_modules/deeplab/weights',
    );
    expect(unpacked('/home/me/app.asar.unpacked/weights')).toBe('/home/me/app.asar.unpacked/weights');
    expect(unpacked(packaged)).toBe(packaged);
  });
});
