// Images that ride together: the same bits as alone, whatever they ride with; and what buckets, priorities and the
// statistics make of them.

import { createHash } from 'node:crypto';
import { DeepLab, denseCrf, type LoadOptions, type Segmentation, type SegmentOptions } from '../lib';
import { native } from '../lib/native';
import { familyModel, randomImage, randomModel } from './models';
import { until } from './until';

const options: LoadOptions = { device: 'cpu', threads: 2, maxBatch: 8, maxDelayMs: 1000, cacheSize: 16 };

const parts = ({ labels, scores, logits }: Segmentation) => [labels, scores, logits?.data].map(bitsOf);
const runsOf = (model: DeepLab) => Object.fromEntries(model.stats().batches.map(({ size, runs }) => [size, runs]));

/** Segments `images` one after the other, without waiting for company. */
async function singly(
  file: string,
  load: LoadOptions,
  images: Parameters<DeepLab['segment']>[0][],
  how: SegmentOptions,
) {
  await using model = await DeepLab.load(file, { ...load, maxBatch: 1 });
  const results: Segmentation[] = [];
  for (const image of images) results.push(await model.segment(image, how));
  expect(runsOf(model)).toEqual({ 1: images.length });
  return results.map(parts);
}

/** A digest of numbers, since a test that prints thousands of them says nothing. */
const bitsOf = (values: Uint8Array | Float32Array = new Uint8Array()) =>
  createHash('sha256').update(values).digest('hex');

const resnet = () => randomModel({ backbone: 'resnet50' });
const mobilenet = () => familyModel('v3-mobilenet-v2');
const precisions = native()
  .system('')
  .precisions.filter((precision) => precision === 'f32' || precision === 'bf16');

describe.each(precisions)('in %s', (precision) => {
  test.each<[name: string, count: number, side: number, file: () => string | Promise<string>, winograd: boolean]>([
    ['ResNet-50', 2, 65, resnet, true],
    ['ResNet-50 without Winograd', 5, 33, resnet, false],
    ['MobileNetV2', 2, 33, mobilenet, true],
    ['MobileNetV2', 8, 97, mobilenet, true],
    ['VGG-16', 4, 41, () => familyModel('vgg16-large-fov'), true],
  ])('%s: %i images of side %i at once are the same bits as each alone', async (_, count, side, file, winograd) => {
    const images = Array.from({ length: count }, (_, i) => randomImage(side, side - 8, i));
    const how = { scores: true, logits: true };
    const load = { ...options, precision, winograd };
    await using model = await DeepLab.load(await file(), { ...load, maxBatch: count });
    const results = await Promise.all(images.map((image) => model.segment(image, how)));
    expect(runsOf(model)).toEqual({ [count]: 1 });
    expect(results.map(parts)).toEqual(await singly(await file(), load, images, how));
  });
});

describe('a model with batches', () => {
  let file: string;
  let model: DeepLab;
  beforeAll(async () => {
    file = mobilenet();
  });
  beforeEach(async () => {
    model = await DeepLab.load(file, { ...options, precision: 'f32' });
  });
  afterEach(() => model.close());

  test('takes together what has one size and the same options, and nothing else', async () => {
    const small = randomImage(33, 25, 1);
    const calls = [
      model.segment(small),
      model.segment(small, { scores: true }),
      model.segment(small, { flip: true }),
      model.segment(small, { crf: true }),
      model.segment(small, { crf: { iterations: 2 } }),
      model.segment(small, { priority: 'bulk' }),
      model.segment(small, { fit: 'tile', size: 33, overlap: 8 }),
      model.segment(randomImage(25, 33, 1)),
      model.segment({ ...small, channels: 1, data: small.data.subarray(0, 33 * 25) }),
      model.segment(small),
    ];
    await Promise.all(calls);
    expect(runsOf(model)).toEqual({ 1: 8, 2: 1 });
  });

  test('refines each image of a batch by its own CRF', async () => {
    const images = [1, 2, 3, 4].map((seed) => randomImage(41, 33, seed));
    const how: SegmentOptions = { crf: { iterations: 3 }, scores: true };
    const results = await Promise.all(images.map((image) => model.segment(image, how)));
    expect(runsOf(model)).toEqual({ 4: 1 });
    expect(results.map(parts)).toEqual(await singly(file, { ...options, precision: 'f32' }, images, how));
  });

  test('answers a call that is cancelled at once, and the others as if it had not been', async () => {
    const images = [1, 2, 3, 4].map((seed) => randomImage(769, 769, seed));
    const controller = new AbortController();
    const calls = images.map((image, i) => model.segment(image, i === 1 ? { signal: controller.signal } : {}));
    const outcomes = Promise.allSettled(calls);
    await until(() => model.stats().running === 4);
    controller.abort();
    await expect(calls[1]).rejects.toMatchObject({ code: 'ERR_ABORTED' });
    expect(model.stats().running).toBe(3);
    expect((await outcomes).map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled']);
  });

  test('computes interactive calls before bulk ones', async () => {
    await using one = await DeepLab.load(file, { device: 'cpu', precision: 'f32', threads: 2 });
    const done: string[] = [];
    const image = randomImage(769, 769, 1);
    const call = async (name: string, priority: SegmentOptions['priority']) => {
      await one.segment(image, { priority });
      done.push(name);
    };
    const bulk = [1, 2, 3].map((i) => call(`bulk ${i}`, 'bulk'));
    await until(() => one.stats().running === 1 && one.stats().queued === 2);
    await Promise.all([...bulk, ...[1, 2].map((i) => call(`interactive ${i}`, 'interactive'))]);
    expect(done).toEqual(['bulk 1', 'interactive 1', 'interactive 2', 'bulk 2', 'bulk 3']);
  });

  test('does not let a lone call wait longer than maxDelayMs', async () => {
    await using patient = await DeepLab.load(file, { ...options, precision: 'f32', maxDelayMs: 50 });
    await patient.segment(randomImage(33, 33, 1));
    const { queue } = patient.stats().latency;
    expect(queue.min).toBeGreaterThanOrEqual(49.9);
    await using hasty = await DeepLab.load(file, { ...options, precision: 'f32', maxDelayMs: 0 });
    await hasty.segment(randomImage(33, 33, 1));
    expect(hasty.stats().latency.queue.max).toBeLessThan(500);
  });
});

describe('buckets', () => {
  const mean = [104, 117, 123];
  const metadata = { mean: mean.join(','), std: '1,1,1', value_range: '0..255' };

  test.each<[LoadOptions['shapeBuckets'], size: [number, number], padded: [number, number]]>([
    [{ multipleOf: 16 }, [33, 25], [48, 32]],
    [{ multipleOf: 16 }, [48, 32], [48, 32]],
    [
      {
        sizes: [
          { width: 65, height: 65 },
          { width: 49, height: 33 },
          { width: 33, height: 49 },
        ],
      },
      [33, 25],
      [49, 33],
    ],
    [{ sizes: [{ width: 65, height: 65 }] }, [66, 20], [66, 20]],
    ['exact', [33, 25], [33, 25]],
  ])('%j: an image of %j is computed as one of %j', async (shapeBuckets, [width, height], [wide, high]) => {
    const file = await randomModel({ backbone: 'resnet50', metadata });
    const load = { device: 'cpu', precision: 'f32' } as const;
    await using padding = await DeepLab.load(file, { ...load, shapeBuckets });
    await using exact = await DeepLab.load(file, load);
    const image = randomImage(width, height, 1);
    const data = Uint8Array.from({ length: wide * high * 3 }, (_, i) => mean[i % 3] as number);
    for (let y = 0; y < height; y++) data.set(image.data.subarray(y * width * 3, (y + 1) * width * 3), y * wide * 3);
    const canvas = { data, width: wide, height: high, channels: 3 as const };
    const found = await padding.segment(image, { scores: true, logits: true });
    const expected = await exact.segment(canvas, { scores: true, logits: true });
    expect(bitsOf(found.logits?.data)).toEqual(bitsOf(expected.logits?.data));
    const inside = (plane: ArrayLike<number>, classes: number) =>
      Array.from({ length: classes * width * height }, (_, i) => {
        const [c, y, x] = [Math.floor(i / (width * height)), Math.floor(i / width) % height, i % width];
        return plane[(c * high + y) * wide + x] as number;
      });
    expect(bitsOf(found.labels)).toEqual(bitsOf(Uint8Array.from(inside(expected.labels, 1))));
    expect(bitsOf(found.scores)).toEqual(bitsOf(Float32Array.from(inside(expected.scores ?? [], 5))));
  });

  test('let images of different sizes ride together', async () => {
    const file = await randomModel({ backbone: 'resnet50' });
    await using model = await DeepLab.load(file, { ...options, precision: 'f32', shapeBuckets: { multipleOf: 32 } });
    const images = [randomImage(40, 50, 1), randomImage(64, 64, 2), randomImage(33, 60, 3), randomImage(50, 40, 4)];
    const results = await Promise.all(images.map((image) => model.segment(image)));
    expect(runsOf(model)).toEqual({ 4: 1 });
    for (const [i, { labels }] of results.entries()) {
      expect(bitsOf(labels)).toEqual(bitsOf((await model.segment(images[i] as (typeof images)[0])).labels));
    }
  });

  test('leave the padding out of the CRF', async () => {
    const file = await randomModel({ backbone: 'resnet50' });
    const load = { device: 'cpu', precision: 'f32', threads: 2 } as const;
    await using padding = await DeepLab.load(file, { ...load, shapeBuckets: { multipleOf: 64 } });
    const image = randomImage(49, 41, 5);
    const { scores: probabilities = new Float32Array() } = await padding.segment(image, { scores: true });
    const expected = await denseCrf(image, { probabilities }, { ...padding.crf, device: 'cpu', threads: 2 });
    const { labels, scores } = await padding.segment(image, { crf: true, scores: true });
    expect(bitsOf(labels)).toBe(bitsOf(expected.labels));
    expect(bitsOf(scores)).toBe(bitsOf(expected.marginals));
  });

  test.each<[unknown, string]>([
    ['16', "Expected 'exact', { multipleOf } or { sizes } for shapeBuckets"],
    [{ multipleOf: 0 }, 'Expected integer from 1 to 65535 for shapeBuckets.multipleOf'],
    [{ multipleOf: 8, sizes: [] }, 'Expected one of multipleOf for option name in shapeBuckets'],
    [{ sizes: [] }, 'Expected array of 1 to 64 { width, height } for shapeBuckets.sizes'],
    [{ sizes: [{ width: 8 }] }, 'Expected integer from 1 to 65535 for shapeBuckets.sizes[0].height'],
  ])('refuse %j', async (shapeBuckets, message) => {
    const load = DeepLab.load('any.safetensors', { shapeBuckets } as LoadOptions);
    await expect(load).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringContaining(message),
    });
  });
});
