// Sessions and worker_threads with the same weights file hold it, and its packed weights, once.

import { copyFileSync, readFileSync, renameSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { DeepLab } from '../lib';
import { temporaryFolder } from './folder';
import { familyModel, randomImage, randomModel } from './models';

const folder = temporaryFolder();
const options = { device: 'cpu', precision: 'f32', threads: 1 } as const;
const image = randomImage(49, 33, 1);

const megabytes = () => process.memoryUsage.rss() / 1e6;
const mappings = (file: string) =>
  readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => line.includes(file)).length;
const logits = async (model: DeepLab) => (await model.segment(image, { logits: true })).logits?.data;

test('four models of one file take well under twice what one takes, and answer alike', async () => {
  const file = await randomModel({ backbone: 'resnet50' });
  const before = megabytes();
  const models = [await DeepLab.load(file, options)];
  const one = megabytes() - before;
  models.push(...(await Promise.all([1, 2, 3].map(() => DeepLab.load(file, options)))));
  const four = megabytes() - before;
  expect(one).toBeGreaterThan(200); // packed in f32, the 3x3 kernels for Winograd
  expect(four).toBeLessThan(1.3 * one);
  expect(mappings(file)).toBe(1);
  const results = await Promise.all(models.map(logits));
  for (const result of results) expect(result).toEqual(results[0]);
  // What is shared goes with the last of them.
  for (const model of models.slice(1)) await model.close();
  expect(await logits(models[0] as DeepLab)).toEqual(results[0]);
  await models[0]?.close();
  expect(megabytes() - before).toBeLessThan(0.5 * one);
  expect(mappings(file)).toBe(0);
});

test('a worker_thread takes what the main thread has', async () => {
  const file = familyModel('v3-resnet50-slim');
  await using model = await DeepLab.load(file, options);
  expect(mappings(file)).toBe(1);
  const library = path.join(__dirname, '..', 'dist', 'index.js');
  const script = `
    const { parentPort, workerData } = require('node:worker_threads');
    const { DeepLab } = require(workerData.library);
    DeepLab.load(workerData.file, workerData.options).then(async (model) => {
      const { logits } = await model.segment(workerData.image, { logits: true });
      parentPort.postMessage(logits.data);
      parentPort.once('message', () => model.close());
    });`;
  const worker = new Worker(script, { eval: true, workerData: { library, file, options, image } });
  const answer = await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
  expect(mappings(file)).toBe(1);
  const exit = new Promise((resolve) => worker.once('exit', resolve));
  worker.postMessage('close');
  await exit;
  expect(answer).toEqual(await logits(model));
});

test('the same weights in networks of other rates, with or without Winograd, are others', async () => {
  const file = await randomModel({ backbone: 'resnet50' });
  const variants = [{}, { winograd: false, outputStride: 16 }] as const;
  const alone = [];
  for (const variant of variants) {
    await using model = await DeepLab.load(file, { ...options, ...variant });
    alone.push(await logits(model));
  }
  const models = await Promise.all(variants.map((variant) => DeepLab.load(file, { ...options, ...variant })));
  expect(await Promise.all(models.map(logits))).toEqual(alone);
  expect(alone[0]).not.toEqual(alone[1]);
  for (const model of models) await model.close();
});

describe('a file that has changed is another', () => {
  const first = familyModel('v3-mobilenet-v2');
  const second = familyModel('v3-mobilenet-v2-aspp');

  test('by renaming: who has the old one keeps it', async () => {
    const file = path.join(folder, 'renamed.safetensors');
    copyFileSync(first, file);
    await using old = await DeepLab.load(file, options);
    const before = await logits(old);
    copyFileSync(second, `${file}.new`);
    renameSync(`${file}.new`, file);
    await using fresh = await DeepLab.load(file, options);
    await using expected = await DeepLab.load(second, options);
    expect(await logits(fresh)).toEqual(await logits(expected));
    expect(await logits(old)).toEqual(before);
  });

  test('by writing to it, with a time of its own', async () => {
    const file = path.join(folder, 'written.safetensors');
    copyFileSync(first, file);
    await using _ = await DeepLab.load(file, options);
    writeFileSync(file, readFileSync(second));
    utimesSync(file, 1, 2);
    await using fresh = await DeepLab.load(file, options);
    await using expected = await DeepLab.load(second, options);
    expect(await logits(fresh)).toEqual(await logits(expected));
  });
});
