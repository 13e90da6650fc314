// How images of any size meet the network: as they are, resized, or in tiles whose logits are blended.

import { DeepLab, type Segmentation, type SegmentOptions } from '../lib';
import { agreement } from './comparison';
import { familyModel, randomImage, randomModel } from './models';

// VGG-16 with a 4x4 fc6 of rate 4 sees 323 pixels: what is 168 or farther from an edge does not see it.
const reach = 168 / 8;
let vgg: DeepLab;

beforeAll(async () => {
  vgg = await DeepLab.load(familyModel('vgg16-fc6-4x4-rate-4'), { device: 'cpu', precision: 'f32', winograd: false });
});
afterAll(() => vgg.close());

/** The column of logits, of the first row and class, at cell `x`. */
function logit({ logits }: Segmentation, x: number): number {
  return logits?.at(0, 0, x) ?? Number.NaN;
}

describe('tiles', () => {
  it('that hold the whole image give what no tiles give, bit for bit', async () => {
    for (const [width, height] of [
      [65, 49],
      [1, 130],
      [77, 1],
    ] as const) {
      const image = randomImage(width, height, 3);
      const whole = await vgg.segment(image, { logits: true, scores: true });
      const tiled = await vgg.segment(image, { logits: true, scores: true, fit: 'tile', size: 513 });
      expect(tiled.logits).toEqual(whole.logits);
      expect(tiled.scores).toEqual(whole.scores);
      expect(tiled.labels).toEqual(whole.labels);
    }
  });

  it('give the logits of the whole image wherever no edge of a tile is seen', async () => {
    const image = randomImage(1001, 17, 4);
    const whole = await vgg.segment(image, { logits: true });
    // Two tiles: [0, 641) and [360, 1001), which are cells 0 to 80 and 45 to 125.
    const tiled = await vgg.segment(image, { logits: true, fit: 'tile', size: 641, overlap: 273 });
    expect(tiled.logits?.shape).toEqual(whole.logits?.shape);
    const differences = Array.from({ length: 126 }, (_, x) => Math.abs(logit(tiled, x) - logit(whole, x)));
    const scale = Math.max(...Array.from({ length: 126 }, (_, x) => Math.abs(logit(whole, x))));
    const seesAnEdge = (x: number) => (x > 80 - reach && x <= 80) || (x >= 45 && x < 45 + reach);
    for (const [x, difference] of differences.entries()) {
      if (!seesAnEdge(x)) expect(difference).toBeLessThan(1e-5 * scale);
    }
    // And the edges are seen: the test would notice cells in the wrong place.
    expect(Math.max(...differences)).toBeGreaterThan(1e-4 * scale);
    expect(agreement(tiled.labels, whole.labels)).toBeGreaterThan(0.97);
  });

  it('cover images of any size and aspect, in rows and columns', async () => {
    for (const [width, height, size, overlap] of [
      [150, 94, 65, 16],
      [9, 700, 129, 64],
      [700, 1, 65, 0],
      [131, 131, 33, 32],
      [66, 64, 65, 20],
    ] as const) {
      const image = randomImage(width, height, 5);
      const whole = await vgg.segment(image, { logits: true });
      const tiled = await vgg.segment(image, { logits: true, fit: 'tile', size, overlap });
      expect(tiled.logits?.shape).toEqual(whole.logits?.shape);
      expect(tiled.labels).toHaveLength(width * height);
      expect(tiled.logits?.data.every(Number.isFinite)).toBe(true);
    }
  });

  it('blend a constant image into constant logits, away from its border', async () => {
    const side = 700;
    const image = { data: new Uint8Array(side * 9 * 3).fill(90), width: side, height: 9, channels: 3 } as const;
    const whole = await vgg.segment(image, { logits: true });
    const tiled = await vgg.segment(image, { logits: true, fit: 'tile', size: 449, overlap: 321 });
    expect(logit(tiled, 44)).toBeCloseTo(logit(whole, 44), 4);
  });

  it('work with scales, mirroring, scores and the CRF', async () => {
    const image = randomImage(100, 40, 6);
    const tile = { fit: 'tile', size: 65, overlap: 24 } as const;
    const plain = await vgg.segment(image, tile);
    const several = await vgg.segment(image, { ...tile, scales: [0.5, 1], fuse: 'mean', flip: true, scores: true });
    expect(several.scores).toHaveLength(5 * 4000);
    expect(several.labels).not.toEqual(plain.labels);
    const refined = await vgg.segment(image, { ...tile, crf: true });
    expect(refined.labels).toHaveLength(4000);
  });

  it('can be aborted between one and the next', async () => {
    const controller = new AbortController();
    const pending = vgg.segment(randomImage(4000, 65, 7), { fit: 'tile', size: 65, signal: controller.signal });
    controller.abort();
    await expect(pending).rejects.toMatchObject({ code: 'ERR_ABORTED' });
    await expect(vgg.segment(randomImage(33, 33, 1))).resolves.toBeDefined();
  });
});

describe('resize', () => {
  it('makes the longer side what a weights file would make it', async () => {
    const options = { backbone: 'resnet50', padding: 'ceil' } as const;
    const asked = await DeepLab.load(await randomModel(options), { device: 'cpu', precision: 'f32' });
    const written = await DeepLab.load(await randomModel({ ...options, metadata: { input_size: 'longest 65' } }), {
      device: 'cpu',
      precision: 'f32',
    });
    const image = randomImage(120, 90, 8);
    const here = await asked.segment(image, { fit: 'resize', size: 65, logits: true });
    const there = await written.segment(image, { logits: true });
    expect(here.logits).toEqual(there.logits);
    expect(here.labels).toEqual(there.labels);
    // And the file's rule can be left: as it is, in a size of its own, in tiles.
    const native = await written.segment(image, { fit: 'native', logits: true });
    expect(native.logits).toEqual((await asked.segment(image, { logits: true })).logits);
    expect((await written.segment(image, { fit: 'resize', logits: true })).logits).toEqual(there.logits);
    expect((await written.segment(image, { fit: 'tile', logits: true })).logits?.shape).toEqual(native.logits?.shape);
    await Promise.all([asked.close(), written.close()]);
  });
});

describe('options', () => {
  it.each<[SegmentOptions, string]>([
    [{ fit: 'cover' as 'tile' }, 'one of native, resize, tile'],
    [{ size: 100 }, "undefined, without fit 'resize' or 'tile'"],
    [{ fit: 'native', size: 100 }, "undefined, without fit 'resize' or 'tile'"],
    [{ fit: 'resize', overlap: 8 }, "undefined, without fit 'tile'"],
    [{ fit: 'tile', size: 0 }, 'integer from 1 to 32768'],
    [{ fit: 'tile', size: 100, overlap: 100 }, 'integer from 0 to 99'],
  ])('%j is ERR_INVALID_ARGUMENT', async (options, expected) => {
    await expect(vgg.segment(randomImage(8, 8, 1), options)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringContaining(expected),
    });
  });
});
