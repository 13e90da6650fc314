import { getEventListeners } from 'node:events';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import sharp from 'sharp';
import { DeepLab, type LoadOptions, type RawImage, Segmentation, type SegmentOptions, vocPalette } from '../lib';
import { agreement } from './comparison';
import { temporaryFolder } from './folder';
import { randomImage, randomModel } from './models';

const folder = temporaryFolder();
const small = randomImage(65, 49, 7);
const large = randomImage(385, 385, 8);

const encode = ({ data, width, height, channels }: RawImage) => sharp(data, { raw: { width, height, channels } });
const bytesOf = (labels: Uint8Array) => Buffer.from(labels).toString('hex');

let weights: string;
let model: DeepLab;
beforeAll(async () => {
  weights = await randomModel({ backbone: 'resnet50' });
  model = await DeepLab.load(weights, { device: 'cpu', precision: 'f32' });
});
afterAll(() => model.close());

describe('load', () => {
  test('tells what it has loaded', () => {
    expect(model).toBeInstanceOf(DeepLab);
    expect(model).toMatchObject({ architecture: 'deeplab_v2', backbone: 'resnet50', device: 'cpu', precision: 'f32' });
    expect(model.threads).toBeGreaterThanOrEqual(1);
    expect(model.metadata.aspp_rates).toBe('6,12,18,24');
  });

  test('classes of a file without a palette have the colours of PASCAL VOC', () => {
    const palette = vocPalette(5);
    expect(model.classes).toEqual([0, 1, 2, 3, 4].map((id) => ({ id, name: `class${id}`, color: palette[id] })));
  });

  test('options are heeded', async () => {
    const single = await DeepLab.load(weights, {
      device: 'cpu',
      precision: 'f32',
      threads: 1,
      winograd: false,
      cacheSize: 1,
    });
    expect(single.threads).toBe(1);
    const [direct, winograd] = await Promise.all([single.segment(small), model.segment(small)]);
    expect(agreement(direct.labels, winograd.labels)).toBeGreaterThan(0.99);
    await single.close();
  });

  test('undefined options count as not given', async () => {
    const loaded = await DeepLab.load(weights, { device: undefined, precision: undefined, threads: undefined });
    expect(loaded.device).not.toBe('auto');
    expect(['f32', 'bf16', 'f16']).toContain(loaded.precision);
    await loaded.close();
  });

  test.each([
    [{ device: 'gpu' }, 'Expected auto, cpu, cuda or cuda:<number> for device but received "gpu" of type string'],
    [{ device: 'cuda:' }, 'Expected auto, cpu, cuda or cuda:<number> for device but received "cuda:" of type string'],
    [{ precision: 'f8' }, 'Expected one of auto, f32, tf32, bf16, f16 for precision but received "f8" of type string'],
    [{ cudnn: '' }, 'Expected path of a folder for cudnn but received "" of type string'],
    [{ cudnn: 9 }, 'Expected path of a folder for cudnn but received 9 of type number'],
    [{ threads: 0 }, 'Expected integer from 1 to 1024 for threads but received 0 of type number'],
    [{ threads: '2' }, 'Expected integer from 1 to 1024 for threads but received "2" of type string'],
    [{ winograd: 1 }, 'Expected boolean for winograd but received 1 of type number'],
    [{ cacheSize: 1.5 }, 'Expected integer from 1 to 1024 for cacheSize but received 1.5 of type number'],
    [
      { thread: 2 },
      /^Expected one of outputStride, device, precision, .* for option name but received "thread" of type string$/,
    ],
    [null, 'Expected object for options but received null of type object'],
    ['cpu', 'Expected object for options but received "cpu" of type string'],
  ])('refuses the options %j', async (options, message) => {
    await expect(DeepLab.load(weights, options as LoadOptions)).rejects.toMatchObject({
      name: 'DeepLabError',
      code: 'ERR_INVALID_ARGUMENT',
      message: typeof message === 'string' ? message : expect.stringMatching(message),
    });
  });

  test('a file that is not there is ERR_NOT_FOUND, with a stack that leads to the caller', async () => {
    const error = await DeepLab.load('none.safetensors').catch((failure: Error) => failure);
    expect(error).toMatchObject({ code: 'ERR_NOT_FOUND', message: expect.stringContaining('none.safetensors') });
    expect((error as Error).stack).toContain('deeplab.test.ts');
  });

  test('a file that is not a weights file is ERR_INVALID_WEIGHTS, with a stack that leads to the caller', async () => {
    const file = path.join(folder, 'text.safetensors');
    await writeFile(file, 'These are not weights.');
    const error = await DeepLab.load(file).catch((failure: Error) => failure);
    expect(error).toMatchObject({ name: 'DeepLabError', code: 'ERR_INVALID_WEIGHTS' });
    expect((error as Error).stack).toContain('deeplab.test.ts');
  });
});

describe('segment', () => {
  test('gives every pixel a class of the model', async () => {
    const result = await model.segment(small);
    expect(result).toBeInstanceOf(Segmentation);
    expect(result).toMatchObject({ width: 65, height: 49 });
    expect(result.labels.length).toBe(65 * 49);
    expect(Math.max(...result.labels)).toBeLessThan(5);
    expect(result.classes.map(({ name }) => name)).toEqual(model.classes.map(({ name }) => name));
    expect(result.classes.reduce((sum, { pixels }) => sum + pixels, 0)).toBe(65 * 49);
    expect(new Set(result.labels).size).toBeGreaterThan(1);
  });

  test('the same picture has the same labels, however it is given', async () => {
    const png = await encode(small).png().toBuffer();
    const file = path.join(folder, 'small.png');
    await writeFile(file, png);
    const rgba = await encode(small).ensureAlpha(0.5).raw().toBuffer();
    const expected = bytesOf((await model.segment(small)).labels);
    for (const input of [
      file,
      png,
      new Uint8Array(png),
      encode(small),
      sharp(png),
      { data: rgba, width: 65, height: 49, channels: 4 as const },
    ]) {
      expect(bytesOf((await model.segment(input)).labels)).toBe(expected);
    }
  });

  test('grey pixels are segmented as RGB pixels of that grey', async () => {
    const data = randomImage(33, 9, 3).data.subarray(0, 33 * 33);
    const side = Math.floor(Math.sqrt(data.length));
    const grey = { data: data.subarray(0, side * side), width: side, height: side, channels: 1 as const };
    const rgb = {
      ...grey,
      data: Uint8Array.from({ length: side * side * 3 }, (_, i) => data[Math.floor(i / 3)] ?? 0),
      channels: 3 as const,
    };
    const [fromGrey, fromRgb] = await Promise.all([model.segment(grey), model.segment(rgb)]);
    expect(bytesOf(fromGrey.labels)).toBe(bytesOf(fromRgb.labels));
  });

  test('a photo with an EXIF orientation is segmented upright', async () => {
    // Tag 6: the camera was turned, so that a turn of 90 degrees clockwise sets the stored picture upright.
    const turned = await encode(small).rotate(270).withMetadata({ orientation: 6 }).png().toBuffer();
    const result = await model.segment(turned);
    expect(result).toMatchObject({ width: 65, height: 49 });
    expect(bytesOf(result.labels)).toBe(bytesOf((await model.segment(small)).labels));
  });

  test('a picture of one pixel has one label', async () => {
    const result = await model.segment({ data: new Uint8Array([10, 20, 30]), width: 1, height: 1, channels: 3 });
    expect(result.labels.length).toBe(1);
  });

  test('pixels that change after the call do not matter', async () => {
    const data = small.data.slice();
    const pending = model.segment({ ...small, data });
    data.fill(0);
    expect(bytesOf((await pending).labels)).toBe(bytesOf((await model.segment(small)).labels));
  });

  test('scores are probabilities, and the label is the most probable class', async () => {
    const { labels, scores = new Float32Array() } = await model.segment(small, { scores: true });
    const area = 65 * 49;
    expect(scores.length).toBe(5 * area);
    for (let pixel = 0; pixel < area; pixel++) {
      const ofPixel = [0, 1, 2, 3, 4].map((id) => scores[id * area + pixel] ?? Number.NaN);
      expect(ofPixel.reduce((sum, score) => sum + score, 0)).toBeCloseTo(1, 4);
      expect(Math.min(...ofPixel)).toBeGreaterThanOrEqual(0);
      expect(ofPixel[labels[pixel] ?? -1]).toBeGreaterThanOrEqual(Math.max(...ofPixel) - 1e-6);
    }
  });

  test('logits are the output at an eighth of the size', async () => {
    const { logits } = await model.segment(small, { logits: true });
    expect(logits).toMatchObject({ dtype: 'f32', shape: [5, 7, 9] });
    expect(logits?.data.every(Number.isFinite)).toBe(true);
  });

  test('scores and logits are not there unless asked for', async () => {
    const result = await model.segment(small);
    expect(result.scores).toBeUndefined();
    expect(result.logits).toBeUndefined();
  });

  test('calls at the same time do not mix', async () => {
    const images = [11, 12, 13, 14].map((seed) => randomImage(41 + seed, 33, seed));
    const apart: string[] = [];
    for (const image of images) apart.push(bytesOf((await model.segment(image)).labels));
    const together = await Promise.all(images.map((image) => model.segment(image)));
    expect(together.map(({ labels }) => bytesOf(labels))).toEqual(apart);
  });

  test('more image sizes than the cache holds make no difference', async () => {
    const one = await DeepLab.load(weights, { device: 'cpu', precision: 'f32', cacheSize: 1 });
    const wide = randomImage(81, 25, 9);
    const first = bytesOf((await one.segment(small)).labels);
    await one.segment(wide);
    expect(bytesOf((await one.segment(small)).labels)).toBe(first);
    await one.close();
  });

  test.each([
    [
      { score: true },
      /one of fit, size, overlap, scales, fuse, flip, crf, scores, logits, priority, limitInputPixels, signal, timeoutMs for option name but received "score"/,
    ],
    [{ scales: 0.5 }, /^Expected array of numbers for scales but received 0.5 of type number$/],
    [{ scales: null }, /^Expected array of numbers for scales but received null of type object$/],
    [{ scales: new Float64Array([1]) }, /^Expected array of numbers for scales but received Float64Array of type/],
    [{ scales: [] }, /^Expected integer from 1 to 8 for scales.length but received 0 of type number$/],
    [
      { scales: [1, 2, 3, 4, 0.5, 0.6, 0.7, 0.8, 0.9] },
      /^Expected integer from 1 to 8 for scales.length but received 9 of type number$/,
    ],
    [{ scales: [1, 0.2] }, /^Expected number from 0.25 to 4 for scales\[1\] but received 0.2 of type number$/],
    [{ scales: [4.01, 1] }, /^Expected number from 0.25 to 4 for scales\[0\] but received 4.01 of type number$/],
    [{ scales: [1, Number.NaN] }, /for scales\[1\] but received NaN of type number$/],
    [{ scales: [1, '2'] }, /^Expected number from 0.25 to 4 for scales\[1\] but received "2" of type string$/],
    [{ scales: new Array(1) }, /for scales\[0\] but received undefined of type undefined$/],
    [
      { scales: [1, 0.5, 1] },
      /^Expected number that was not there before for scales\[2\] but received 1 of type number$/,
    ],
    [{ scales: [0.5, 2] }, /^Expected array with 1 among its numbers for scales but received Array of type object$/],
    [{ fuse: 'sum' }, /^Expected one of max, mean for fuse but received "sum" of type string$/],
    [{ fuse: null }, /^Expected one of max, mean for fuse but received null of type object$/],
    [{ flip: 'yes' }, /^Expected boolean for flip but received "yes" of type string$/],
    [{ scores: 'yes' }, /Expected boolean for scores but received "yes" of type string/],
    [{ logits: 0 }, /Expected boolean for logits but received 0 of type number/],
    [{ signal: {} }, /Expected AbortSignal for signal but received Object of type object/],
    [{ signal: null }, /Expected AbortSignal for signal but received null of type object/],
    [{ limitInputPixels: 0 }, /Expected positive integer or false for limitInputPixels but received 0/],
    [{ limitInputPixels: true }, /limitInputPixels but received true of type boolean/],
  ])('refuses the options %j', async (options, message) => {
    await expect(model.segment(small, options as SegmentOptions)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringMatching(message),
    });
  });

  test('limitInputPixels guards', async () => {
    await expect(model.segment(small, { limitInputPixels: 100 })).rejects.toMatchObject({
      code: 'ERR_IMAGE_TOO_LARGE',
    });
  });

  test('a failure has a stack that leads to the caller, and does not harm the model', async () => {
    const error = await model.segment(Buffer.from('no image')).catch((failure: Error) => failure);
    expect(error).toMatchObject({ name: 'DeepLabError', code: 'ERR_INVALID_IMAGE' });
    expect((error as Error).stack).toContain('deeplab.test.ts');
    expect((await model.segment(small)).labels.length).toBe(65 * 49);
  });

  test('timers keep their beat meanwhile', async () => {
    let beats = 0;
    const start = performance.now();
    const timer = setInterval(() => beats++, 10);
    await model.segment(large);
    await model.segment(large);
    clearInterval(timer);
    expect(beats).toBeGreaterThanOrEqual((performance.now() - start) / 10 / 2);
  });
});

describe('abort', () => {
  test('a signal that is aborted already stops the call', async () => {
    await expect(model.segment(small, { signal: AbortSignal.abort('too late') })).rejects.toMatchObject({
      name: 'DeepLabError',
      code: 'ERR_ABORTED',
      cause: 'too late',
    });
  });

  test('a call that waits or runs is stopped, the others are not', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const calls = [
      model.segment(large, { signal }),
      model.segment(small),
      model.segment(large, { signal }),
      model.segment(small),
    ];
    setTimeout(() => controller.abort(), 20);
    const outcomes = await Promise.allSettled(calls);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'rejected', 'fulfilled']);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'ERR_ABORTED' });
    }
  });

  test('an abort after the result changes nothing, and no listener is left on the signal', async () => {
    const controller = new AbortController();
    const result = await model.segment(small, { signal: controller.signal });
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
    controller.abort();
    expect(result.labels.length).toBe(65 * 49);
    await expect(
      model.segment(Buffer.from('no image'), { signal: new AbortController().signal }),
    ).rejects.toMatchObject({
      code: 'ERR_INVALID_IMAGE',
    });
  });
});

describe('close', () => {
  test('calls made before are finished, calls made after are refused', async () => {
    const closing = await DeepLab.load(weights, { device: 'cpu', precision: 'f32' });
    const png = await encode(small).png().toBuffer();
    const before = [closing.segment(small), closing.segment(png)];
    const closed = closing.close();
    await expect(closing.segment(small)).rejects.toMatchObject({ code: 'ERR_CLOSED' });
    for (const result of await Promise.all(before)) expect(result.labels.length).toBe(65 * 49);
    await closed;
    await expect(closing.segment(small)).rejects.toMatchObject({ code: 'ERR_CLOSED' });
  });

  test('twice is once', async () => {
    const closing = await DeepLab.load(weights, { device: 'cpu', precision: 'f32' });
    const closed = closing.close();
    expect(closing.close()).toBe(closed);
    await closed;
    expect(closing.close()).toBe(closed);
  });

  test('results outlive their model', async () => {
    const closing = await DeepLab.load(weights, { device: 'cpu', precision: 'f32' });
    const result = await closing.segment(small);
    await closing.close();
    expect((await result.toPng()).length).toBeGreaterThan(0);
    expect((await result.overlay()).length).toBeGreaterThan(0);
  });

  test('await using closes', async () => {
    let kept: DeepLab;
    {
      await using scoped = await DeepLab.load(weights, { device: 'cpu', precision: 'f32' });
      kept = scoped;
      await scoped.segment(small);
    }
    await expect(kept.segment(small)).rejects.toMatchObject({ code: 'ERR_CLOSED' });
  });
});
