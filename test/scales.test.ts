// The options `scales`, `fuse` and `flip` of `segment`: the network at several scales and mirrored, its logits as one.

import sharp from 'sharp';
import { DeepLab, denseCrf, type RawImage, type SegmentOptions } from '../lib';
import { agreement, relativeError } from './comparison';
import { difference, same } from './crf-inputs';
import { smoothImage } from './crf-scenes';
import { randomImage, randomModel } from './models';

type Mode = Pick<SegmentOptions, 'scales' | 'fuse' | 'flip'>;

/** Rows of `width` elements, each of `step` values, turned left to right. */
function mirrored<T extends Uint8Array | Float32Array>(data: T, width: number, step = 1): T {
  const result = data.slice() as T;
  for (let i = 0; i < data.length / step; i++) {
    const from = i - (i % width) + (width - 1 - (i % width));
    result.set(data.subarray(from * step, (from + 1) * step), i * step);
  }
  return result;
}

const mirroredImage = (image: RawImage): RawImage => ({
  ...image,
  data: mirrored(image.data as Uint8Array, image.width, 3),
});

const rules = {
  max: (a: number, b: number) => Math.max(a, b),
  mean: (a: number, b: number) => (a + b) / 2,
};

const fused = (fuse: keyof typeof rules, a: Float32Array, b: Float32Array) =>
  a.map((value, i) => rules[fuse](value, b[i] ?? Number.NaN));

const image = randomImage(65, 49, 7);

let weights: string;
let model: DeepLab;
beforeAll(async () => {
  weights = await randomModel({ backbone: 'resnet50' });
  // Winograd's own error would hide smaller ones.
  model = await DeepLab.load(weights, { device: 'cpu', precision: 'f32', winograd: false });
});
afterAll(() => model.close());

async function segment(input: RawImage, options: SegmentOptions = {}) {
  const result = await model.segment(input, { ...options, scores: true, logits: true });
  const { labels, scores = new Float32Array(), logits } = result;
  return { labels, scores, logits: (logits?.data ?? new Float32Array()) as Float32Array, shape: logits?.shape ?? [] };
}

test.each<Mode>([
  { scales: [1] },
  { fuse: 'mean' },
  { flip: false },
  { scales: [1], fuse: 'mean', flip: false },
  { scales: undefined, fuse: undefined, flip: undefined },
])('%j is what no option is, bit for bit', async (mode) => {
  const plain = await segment(image);
  const result = await segment(image, mode);
  expect(same(result.logits, plain.logits)).toBe(true);
  expect(same(result.scores, plain.scores)).toBe(true);
  expect(result.labels).toEqual(plain.labels);
});

test.each<Mode>([
  { scales: [0.5, 1] },
  { scales: [1, 1.5], fuse: 'mean' },
  { flip: true },
  { scales: [0.5, 0.75, 1], fuse: 'mean', flip: true },
])('%j has logits of its own, on the grid of scale 1', async (mode) => {
  const plain = await segment(image);
  const { logits, shape } = await segment(image, mode);
  expect(shape).toEqual(plain.shape);
  expect(logits.every(Number.isFinite)).toBe(true);
  expect(relativeError(logits, plain.logits)).toBeGreaterThan(1e-2);
});

test('max and mean differ', async () => {
  const [max, mean] = [
    await segment(image, { scales: [0.5, 1] }),
    await segment(image, { scales: [0.5, 1], fuse: 'mean' }),
  ];
  expect(relativeError(max.logits, mean.logits)).toBeGreaterThan(1e-2);
});

describe.each(['max', 'mean'] as const)('fused by %s', (fuse) => {
  test.each([
    [65, 49],
    [64, 33],
  ])('logits of a flip are those of a %dx%d image and, mirrored back, of its mirror image', async (width, height) => {
    const upright = randomImage(width, height, 5);
    const [one, other] = [await segment(upright), await segment(mirroredImage(upright))];
    const back = mirrored(other.logits, other.shape[2] ?? 0);
    const { logits } = await segment(upright, { fuse, flip: true });
    expect(relativeError(logits, fused(fuse, one.logits, back))).toBeLessThan(1e-5);
  });

  // Halved with half-pixel centres, an image of 2x2 blocks is the image of these blocks as pixels.
  test('logits of scale 0.5 are those of the halved image, enlarged bilinearly', async () => {
    const [width, height] = [48, 32];
    const halved = randomImage(width, height, 6);
    const area = 4 * width * height;
    const data = new Uint8Array(area * 3);
    for (let i = 0; i < area; i++) {
      const [x, y] = [(i % (2 * width)) >> 1, Math.floor(i / (2 * width)) >> 1];
      for (let c = 0; c < 3; c++) data[i * 3 + c] = halved.data[(y * width + x) * 3 + c] ?? 0;
    }
    const blocks = { data, width: 2 * width, height: 2 * height, channels: 3 } as const;

    const [whole, half] = [await segment(blocks), await segment(halved)];
    const [, h = 0, w = 0] = half.shape;
    expect(whole.shape).toEqual([5, 2 * h, 2 * w]);
    const near = (i: number, size: number) => {
      const position = Math.max((i + 0.5) / 2 - 0.5, 0);
      const low = Math.floor(position);
      return { low, high: Math.min(low + 1, size - 1), part: position - low };
    };
    const enlarged = whole.logits.map((_, i) => {
      const [x, y] = [near(i % (2 * w), w), near(Math.floor(i / (2 * w)) % (2 * h), h)];
      const plane = Math.floor(i / (4 * w * h)) * w * h;
      const at = (row: number, column: number) => half.logits[plane + row * w + column] ?? Number.NaN;
      const row = (r: number) => at(r, x.low) * (1 - x.part) + at(r, x.high) * x.part;
      return row(y.low) * (1 - y.part) + row(y.high) * y.part;
    });
    const { logits } = await segment(blocks, { scales: [0.5, 1], fuse });
    expect(relativeError(logits, fused(fuse, whole.logits, enlarged))).toBeLessThan(1e-5);
  });

  test.each([[[1]], [[0.5, 1, 1.25]]])(
    'with a flip and the scales %j, a mirrored image has the mirrored labels and logits',
    async (scales) => {
      const mode = { scales, fuse, flip: true };
      const [one, other] = [await segment(image, mode), await segment(mirroredImage(image), mode)];
      expect(relativeError(mirrored(other.logits, other.shape[2] ?? 0), one.logits)).toBeLessThan(1e-5);
      expect(agreement(mirrored(other.labels, image.width), one.labels)).toBeGreaterThan(0.99);
    },
  );

  test('the order of the scales does not matter', async () => {
    const expected = await segment(image, { scales: [0.5, 0.75, 1], fuse, flip: true });
    for (const scales of [
      [1, 0.75, 0.5],
      [0.75, 1, 0.5],
    ]) {
      const { logits } = await segment(image, { scales, fuse, flip: true });
      expect(relativeError(logits, expected.logits)).toBeLessThan(1e-6);
    }
  });

  test('scores are probabilities, and the label is the most probable class', async () => {
    const { labels, scores } = await segment(image, { scales: [0.5, 1, 1.5], fuse, flip: true });
    const area = image.width * image.height;
    expect(scores.length).toBe(5 * area);
    for (let pixel = 0; pixel < area; pixel++) {
      const ofPixel = [0, 1, 2, 3, 4].map((id) => scores[id * area + pixel] ?? Number.NaN);
      expect(ofPixel.reduce((sum, score) => sum + score, 0)).toBeCloseTo(1, 4);
      expect(ofPixel[labels[pixel] ?? -1]).toBeGreaterThanOrEqual(Math.max(...ofPixel) - 1e-6);
    }
  });

  test.each([
    [1, 1],
    [1, 37],
    [37, 1],
    [2, 3],
    [33, 17],
  ])('an image of %dx%d has a label for every pixel at any scale', async (width, height) => {
    const mode = { scales: [0.25, 0.3, 0.5, 1, 1.7, 4], fuse, flip: true };
    const { labels, scores, logits } = await segment(randomImage(width, height, 9), mode);
    expect(labels.length).toBe(width * height);
    expect(Math.max(...labels)).toBeLessThan(5);
    expect(scores.every(Number.isFinite)).toBe(true);
    expect(logits.every(Number.isFinite)).toBe(true);
  });
});

test('images of one colour channel and of four are segmented at several scales', async () => {
  const data = Uint8Array.from({ length: 33 * 25 }, (_, i) => (i * 7) & 255);
  const mode = { scales: [0.5, 1], flip: true };
  const spread = (channels: 3 | 4) => ({
    data: Uint8Array.from({ length: data.length * channels }, (_, i) => data[Math.floor(i / channels)] ?? 0),
    width: 33,
    height: 25,
    channels,
  });
  const expected = await segment(spread(3), mode);
  expect(await segment(spread(4), mode)).toEqual(expected);
  expect(await segment({ data, width: 33, height: 25, channels: 1 }, mode)).toEqual(expected);
});

test('a CRF refines the fused scores', async () => {
  const [width, height] = [65, 49];
  const smooth = { data: smoothImage(width, height, 3).pixels, width, height, channels: 3 } as const;
  const mode: Mode = { scales: [0.5, 0.75, 1], fuse: 'mean', flip: true };
  const { scores: probabilities } = await segment(smooth, mode);
  const expected = await denseCrf(smooth, { probabilities }, { ...model.crf, device: 'cpu' });
  const { labels, scores } = await segment(smooth, { ...mode, crf: true });
  expect(difference(scores, expected.marginals ?? new Float32Array())).toBeLessThan(1e-3);
  expect(agreement(labels, expected.labels)).toBeGreaterThan(1 - 1e-3);
});

test.each([1, 8])(
  'many modes in turn and at once give what each gave at first, with a cache of %d',
  async (cacheSize) => {
    const modes: readonly Mode[] = [
      {},
      { flip: true },
      { flip: true, fuse: 'mean' },
      { scales: [0.5, 1] },
      { scales: [1, 0.5], fuse: 'mean' },
      { scales: [0.5, 1], flip: true },
      { scales: [0.75, 1] },
      { scales: [0.5, 0.75, 1, 1.25], fuse: 'mean', flip: true },
    ];
    await using own = await DeepLab.load(weights, { device: 'cpu', precision: 'f32', cacheSize });
    const logitsOf = async (mode: Mode) => (await own.segment(image, { ...mode, logits: true })).logits?.data;
    const first: unknown[] = [];
    for (const mode of modes) first.push(await logitsOf(mode));
    expect(new Set(first.map(String)).size).toBe(modes.length);
    for (const [i, mode] of modes.toReversed().entries()) {
      expect(await logitsOf(mode)).toEqual(first[modes.length - 1 - i]);
    }
    expect(await Promise.all(modes.map(logitsOf))).toEqual(first);
  },
);

test('scales that change after the call do not matter', async () => {
  const { data, width, height, channels } = image;
  const png = await sharp(data, { raw: { width, height, channels } }).png().toBuffer();
  const scales = [0.5, 1];
  const pending = model.segment(png, { scales, logits: true });
  scales.fill(9);
  const { logits } = await segment(image, { scales: [0.5, 1] });
  expect((await pending).logits?.data).toEqual(logits);
});

test('a call at several scales can be aborted, and does not harm the model', async () => {
  const controller = new AbortController();
  const large = randomImage(385, 385, 8);
  const pending = model.segment(large, { scales: [0.5, 1, 2], flip: true, signal: controller.signal });
  setTimeout(() => controller.abort('enough'), 50);
  await expect(pending).rejects.toMatchObject({ code: 'ERR_ABORTED', cause: 'enough' });
  expect((await segment(image, { scales: [0.5, 1] })).labels.length).toBe(65 * 49);
});
