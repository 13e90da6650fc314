// The CRF's public API: what it takes, what it gives and what it refuses. That its numbers are right is
// test/crf-exactness.test.ts; unaries and terms have tests of their own.

import { getEventListeners } from 'node:events';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import sharp from 'sharp';
import {
  crfPresets,
  DenseCrf,
  type DenseCrfOptions,
  denseCrf,
  type ImageInput,
  type PairwiseTerm,
  type UnaryInput,
} from '../lib';
import {
  area,
  bilateral,
  classes,
  difference,
  energies,
  features,
  gaussian,
  height,
  image,
  marginalsOf,
  painted,
  pairwise,
  probabilities,
  refusal,
  same,
  width,
} from './crf-inputs';
import { argmax, smoothImage, smoothUnary } from './crf-scenes';
import { temporaryFolder } from './folder';

const folder = temporaryFolder();
const { data } = image;
const unary = { probabilities };
/** An image on which an iteration takes long enough to be interrupted. */
const { pixels, ...size } = smoothImage(640, 480, 1);
const large = { ...size, data: pixels, channels: 3 as const };
const largeUnary = { unary: smoothUnary(640, 480, 8, 2) };

describe('denseCrf', () => {
  test('gives labels and marginals of the size of the image', async () => {
    const result = await denseCrf(image, unary);
    expect(result).toMatchObject({ width, height, classes, iterations: 10 });
    expect(result.labels).toBeInstanceOf(Uint8Array);
    expect(result.labels.length).toBe(area);
    const marginals = marginalsOf(result);
    expect(marginals.length).toBe(classes * area);
    for (let pixel = 0; pixel < area; pixel++) {
      const ofPixel = [0, 1, 2, 3].map((id) => marginals[id * area + pixel] ?? Number.NaN);
      expect(ofPixel.reduce((sum, value) => sum + value, 0)).toBeCloseTo(1, 4);
      expect(ofPixel[result.labels[pixel] ?? -1]).toBe(Math.max(...ofPixel));
    }
  });

  test('smooths: fewer neighbours have unlike labels than before', async () => {
    const edges = (labels: Uint8Array) => labels.filter((label, i) => label !== labels[i + 1]).length;
    const { labels } = await denseCrf(image, unary, { pairwise });
    expect(edges(labels)).toBeLessThan(edges(painted));
  });

  test('has marginals unless they are not wanted, and the KL divergence if it is', async () => {
    const bare = await denseCrf(image, unary, { marginals: false });
    expect(Object.keys(bare).sort()).toEqual(['classes', 'height', 'iterations', 'labels', 'width']);
    const full = await denseCrf(image, unary, { klDivergence: true, iterations: 4 });
    expect(full.labels).toEqual((await denseCrf(image, unary, { iterations: 4 })).labels);
    expect(full.klDivergence).toHaveLength(5);
    const [start = 0, ...later] = full.klDivergence ?? [];
    expect(later.every((value) => value < start)).toBe(true);
  });

  test('without iterations the marginals are the probabilities that went in', async () => {
    const result = await denseCrf(image, unary, { iterations: 0, klDivergence: true });
    expect(result.iterations).toBe(0);
    expect(difference(marginalsOf(result), probabilities)).toBeLessThan(1e-6);
    expect(result.klDivergence).toHaveLength(1);
  });

  test('without terms the marginals are the probabilities that went in', async () => {
    const result = await denseCrf({ width, height }, unary, { pairwise: [] });
    expect(difference(marginalsOf(result), probabilities)).toBeLessThan(1e-6);
  });

  test('with a tolerance it stops early, at what that many iterations give', async () => {
    const stopped = await denseCrf(image, unary, { pairwise, iterations: 1000, tolerance: 1e-3 });
    expect(stopped.iterations).toBeGreaterThan(0);
    expect(stopped.iterations).toBeLessThan(1000);
    expect(stopped.klDivergence).toBeUndefined();
    const counted = await denseCrf(image, unary, { pairwise, iterations: stopped.iterations, klDivergence: true });
    expect(same(marginalsOf(stopped), marginalsOf(counted))).toBe(true);
    const measured = await denseCrf(image, unary, { pairwise, iterations: 1000, tolerance: 1e-3, klDivergence: true });
    expect(measured.klDivergence).toEqual(counted.klDivergence);
    const drops = (counted.klDivergence ?? []).map((value, i, all) => ((all[i - 1] ?? Infinity) - value) / area);
    expect(drops.slice(1, -1).every((drop) => drop >= 1e-3)).toBe(true);
    expect(drops.at(-1)).toBeLessThan(1e-3);
  });

  test('a tolerance that is never met lets all iterations run', async () => {
    const result = await denseCrf(image, unary, { iterations: 3, tolerance: 1e-30, klDivergence: true });
    expect(result.iterations).toBe(3);
    expect(result.klDivergence).toHaveLength(4);
  });

  test('by default it has the terms of DeepLab v2 with ResNet-101', async () => {
    const spelled = await denseCrf(image, unary, {
      pairwise: [
        { kernel: 'bilateral', xy: [67, 67], rgb: [3, 3, 3], compatibility: 4, normalization: 'symmetric' },
        { kernel: 'gaussian', xy: [1, 1], compatibility: 3, normalization: 'symmetric' },
      ],
      coordinates: 'yx',
      iterations: 10,
      tolerance: 0,
      marginals: true,
      klDivergence: false,
      threads: undefined,
      signal: undefined,
      limitInputPixels: undefined,
    });
    expect(same(marginalsOf(await denseCrf(image, unary)), marginalsOf(spelled))).toBe(true);
  });

  test('the same picture gives the same, however it is given', async () => {
    const picture = () => sharp(data, { raw: { width, height, channels: 3 } });
    const png = await picture().png().toBuffer();
    const file = path.join(folder, 'image.png');
    await writeFile(file, png);
    const rgba = await picture().ensureAlpha(0.5).raw().toBuffer();
    const expected = marginalsOf(await denseCrf(image, unary, { pairwise }));
    const inputs: ImageInput[] = [file, png, picture(), { ...image, data: rgba, channels: 4 }];
    for (const input of inputs) {
      expect(same(marginalsOf(await denseCrf(input, unary, { pairwise })), expected)).toBe(true);
    }
  });

  test('the size of the image is enough where no colours are compared', async () => {
    const terms = [gaussian, features];
    const expected = marginalsOf(await denseCrf(image, unary, { pairwise: terms }));
    const result = await denseCrf({ width, height }, unary, { pairwise: terms });
    expect(same(marginalsOf(result), expected)).toBe(true);
  });

  test.each([
    [1, 1],
    [37, 1],
    [1, 29],
  ])('an image of %ix%i pixels is an image', async (width, height) => {
    const { pixels: data } = smoothImage(width, height, 3);
    const unary = smoothUnary(width, height, 3, 4);
    const result = await denseCrf({ data, width, height, channels: 3 }, { unary }, { pairwise });
    expect(result).toMatchObject({ width, height, classes: 3 });
    expect(result.labels).toEqual(argmax(marginalsOf(result), width * height));
  });

  test('threads make no difference', async () => {
    const [one, three] = [
      await denseCrf(image, unary, { pairwise, threads: 1 }),
      await denseCrf(image, unary, { pairwise, threads: 3 }),
    ];
    expect(same(marginalsOf(one), marginalsOf(three))).toBe(true);
  });

  test('what changes after the call does not matter', async () => {
    const terms: PairwiseTerm[] = [bilateral, { ...features, compatibility: [1, 2, 3, 4] }];
    const expected = marginalsOf(await denseCrf(image, unary, { pairwise: terms }));
    const mine = {
      data: data.slice(),
      probabilities: probabilities.slice(),
      features: features.features.slice(),
      compatibility: Float32Array.of(1, 2, 3, 4),
    };
    const png = await sharp(data, { raw: { width, height, channels: 3 } })
      .png()
      .toBuffer();
    for (const input of [{ ...image, data: mine.data }, png]) {
      const pending = denseCrf(
        input,
        { probabilities: mine.probabilities },
        { pairwise: [bilateral, { ...features, features: mine.features, compatibility: mine.compatibility }] },
      );
      for (const array of Object.values(mine)) array.fill(0);
      expect(same(marginalsOf(await pending), expected)).toBe(true);
      mine.probabilities.set(probabilities);
      mine.features.set(features.features);
      mine.compatibility.set([1, 2, 3, 4]);
    }
  });
});

describe('options', () => {
  test.each<[unknown, string | RegExp]>([
    [
      { iteration: 3 },
      /^Expected one of pairwise, .*, iterations, .* for option name but received "iteration" of type string$/,
    ],
    [{ iterations: -1 }, 'Expected integer from 0 to 10000 for iterations but received -1 of type number'],
    [{ iterations: 10_001 }, /iterations but received 10001/],
    [{ iterations: 1.5 }, /iterations but received 1.5/],
    [{ tolerance: -1 }, 'Expected finite number from 0 on for tolerance but received -1 of type number'],
    [{ tolerance: Number.NaN }, /tolerance but received NaN/],
    [{ tolerance: Number.POSITIVE_INFINITY }, /tolerance but received Infinity/],
    [{ coordinates: 'rc' }, 'Expected one of yx, xy for coordinates but received "rc" of type string'],
    [{ marginals: 1 }, 'Expected boolean for marginals but received 1 of type number'],
    [{ klDivergence: 'yes' }, /Expected boolean for klDivergence/],
    [{ threads: 0 }, 'Expected integer from 1 to 1024 for threads but received 0 of type number'],
    [{ signal: {} }, 'Expected AbortSignal for signal but received Object of type object'],
    [{ limitInputPixels: 0 }, 'Expected positive integer or false for limitInputPixels but received 0 of type number'],
    [null, 'Expected object for options but received null of type object'],
  ])('%j: refused', async (options, message) => {
    await expect(denseCrf(image, unary, options as DenseCrfOptions)).rejects.toMatchObject(refusal(message));
  });

  test('what belongs to the other half is refused', async () => {
    await expect(DenseCrf.create(image, { marginals: false } as object)).rejects.toMatchObject(refusal(/"marginals"/));
    await using crf = await DenseCrf.create(image);
    await expect(crf.infer(unary, { pairwise } as object)).rejects.toMatchObject(refusal(/"pairwise"/));
  });

  test.each<[unknown, string | RegExp]>([
    [null, /^Expected file path, Buffer, .* for input but received null of type object$/],
    [
      { width, height },
      'Expected picture, since a bilateral term compares colours, for image but received Object of type object',
    ],
    [{ width: 0, height }, 'Expected integer from 1 to 1048576 for image.width but received 0 of type number'],
    [{ width, height: 2.5 }, /image\.height but received 2\.5/],
    [{ width: 2 ** 31, height }, /image\.width but received 2147483648/],
    [{ width, height, channels: 3 }, /width, height for option name in image but received "channels"/],
  ])('the image %j: refused', async (wrong, message) => {
    await expect(denseCrf(wrong as ImageInput, unary)).rejects.toMatchObject(refusal(message));
  });

  test('pixels that are not of their size are refused', async () => {
    await expect(denseCrf({ ...image, height: 34 }, unary)).rejects.toMatchObject(refusal(/data\.length/));
  });

  test('images that cannot be read or decoded have errors of their own', async () => {
    await expect(denseCrf('none.png', unary)).rejects.toMatchObject({ code: 'ERR_NOT_FOUND' });
    await expect(denseCrf(Buffer.from('no image'), unary)).rejects.toMatchObject({ code: 'ERR_INVALID_IMAGE' });
  });

  test('limitInputPixels guards against pictures and sizes', async () => {
    const large = { code: 'ERR_IMAGE_TOO_LARGE' };
    await expect(denseCrf(image, unary, { limitInputPixels: 100 })).rejects.toMatchObject(large);
    const size = { width: 2 ** 20, height: 2 ** 20 };
    await expect(DenseCrf.create(size, { pairwise: [gaussian] })).rejects.toMatchObject(large);
  });

  test('sizes that no memory holds are ERR_OUT_OF_MEMORY', async () => {
    const size = { width: 2 ** 20, height: 2 ** 20 };
    await expect(DenseCrf.create(size, { pairwise: [gaussian], limitInputPixels: false })).rejects.toMatchObject({
      code: 'ERR_OUT_OF_MEMORY',
    });
  });

  test('a failure has a stack that leads to the caller', async () => {
    for (const wrong of [{ probabilities: new Float32Array(1) }, { probabilities: new Float32Array(2 * area) }]) {
      const error = await denseCrf(image, wrong).catch((failure: Error) => failure);
      expect((error as Error).stack).toContain('crf.test.ts');
    }
  });
});

describe('DenseCrf', () => {
  test('knows its size and what it takes', async () => {
    await using crf = await DenseCrf.create(image, { pairwise });
    expect(crf).toMatchObject({ width, height });
    expect(crf.vertices).toHaveLength(2);
    expect(crf.vertices.every((count) => Number.isInteger(count) && count > 0)).toBe(true);
    expect(crf.latticeBytes).toBeGreaterThan(area);
    expect(crf.inferenceBytes(21)).toBeGreaterThan(crf.inferenceBytes(2));
    expect(crf.inferenceBytes(21) - crf.inferenceBytes(21, false)).toBe(21 * area * 4);
    expect(() => crf.inferenceBytes(1)).toThrow(expect.objectContaining(refusal(/2 to 256 for classes/)));
    expect(() => crf.inferenceBytes(2, 1 as unknown as boolean)).toThrow(expect.objectContaining(refusal(/boolean/)));
  });

  test('infers as often as one likes what denseCrf infers once', async () => {
    await using crf = await DenseCrf.create(image, { pairwise });
    const unaries: UnaryInput[] = [
      unary,
      { labels: painted, classes },
      { unary: energies.subarray(0, 2 * area) },
      unary,
    ];
    for (const each of unaries) {
      const [again, once] = [await crf.infer(each), await denseCrf(image, each, { pairwise })];
      expect(again).toMatchObject({ width, height, classes: once.classes, iterations: 10 });
      expect(same(marginalsOf(again), marginalsOf(once))).toBe(true);
      expect(again.labels).toEqual(once.labels);
    }
  });

  test('calls at the same time do not mix, and copy their unary at once', async () => {
    await using crf = await DenseCrf.create(image, { pairwise });
    const unaries = [11, 12, 13].map((seed) => smoothUnary(width, height, classes, seed));
    const apart: Float32Array[] = [];
    for (const unary of unaries) apart.push(marginalsOf(await crf.infer({ unary })));
    const together = unaries.map((unary) => crf.infer({ unary }));
    for (const unary of unaries) unary.fill(0);
    const results = await Promise.all(together);
    expect(results.map((result, i) => same(marginalsOf(result), apart[i] as Float32Array))).toEqual([true, true, true]);
  });

  test('a refused unary does no harm', async () => {
    await using crf = await DenseCrf.create(image, { pairwise });
    const before = marginalsOf(await crf.infer(unary));
    await expect(crf.infer({ unary: energies.map(() => Number.NaN) })).rejects.toMatchObject(refusal(/pixel \(0, 0\)/));
    expect(same(marginalsOf(await crf.infer(unary)), before)).toBe(true);
  });

  test('is closed when its calls are finished, and refuses later ones', async () => {
    const crf = await DenseCrf.create(image, { pairwise });
    const before = [crf.infer(unary), crf.infer({ unary: energies })];
    const closed = crf.close();
    const error = { name: 'DeepLabError', code: 'ERR_CLOSED', message: 'The CRF is closed' };
    await expect(crf.infer(unary)).rejects.toMatchObject(error);
    for (const result of await Promise.all(before)) expect(result.labels.length).toBe(area);
    await closed;
    expect(crf.close()).toBe(closed);
    await expect(crf.infer(unary)).rejects.toMatchObject(error);
    expect(() => crf.inferenceBytes(2)).toThrow(expect.objectContaining(error));
    expect(crf.width).toBe(width);
  });

  test('await using closes', async () => {
    let kept: DenseCrf;
    {
      await using scoped = await DenseCrf.create(image);
      kept = scoped;
      await scoped.infer(unary);
    }
    await expect(kept.infer(unary)).rejects.toMatchObject({ code: 'ERR_CLOSED' });
  });
});

describe('abort', () => {
  const abortedError = (cause: unknown) => ({
    name: 'DeepLabError',
    code: 'ERR_ABORTED',
    message: 'The CRF was aborted',
    cause,
  });

  test('a signal that is aborted already stops each call', async () => {
    const signal = AbortSignal.abort('too late');
    await expect(denseCrf(image, unary, { signal })).rejects.toMatchObject(abortedError('too late'));
    await expect(DenseCrf.create(image, { signal })).rejects.toMatchObject(abortedError('too late'));
    await using crf = await DenseCrf.create(image);
    await expect(crf.infer(unary, { signal })).rejects.toMatchObject(abortedError('too late'));
  });

  test('building is given up once it is done', async () => {
    const controller = new AbortController();
    const pending = DenseCrf.create(large, { signal: controller.signal });
    setImmediate(() => controller.abort('enough'));
    await expect(pending).rejects.toMatchObject(abortedError('enough'));
  });

  test('a call that waits or runs is stopped, the others are not', async () => {
    await using crf = await DenseCrf.create(large);
    const controller = new AbortController();
    const { signal } = controller;
    const calls = [
      crf.infer(largeUnary, { iterations: 10_000, signal }),
      crf.infer(largeUnary, { iterations: 1 }),
      crf.infer(largeUnary, { iterations: 10_000, signal }),
    ];
    setTimeout(() => controller.abort('enough'), 50);
    const outcomes = await Promise.allSettled(calls);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'rejected']);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject(abortedError('enough'));
    }
  });

  test('no listener is left on the signal', async () => {
    const { signal } = new AbortController();
    await denseCrf(image, unary, { signal });
    await expect(denseCrf(image, { unary: energies.map(() => Number.NaN) }, { signal })).rejects.toThrow();
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });
});

test('what create is told of iterations and tolerance holds for infer, unless infer is told otherwise', async () => {
  const crf = await DenseCrf.create(image, { ...crfPresets.pydensecrf, tolerance: 0 });
  expect((await crf.infer(unary)).iterations).toBe(5);
  expect((await crf.infer(unary, { iterations: 2 })).iterations).toBe(2);
  await crf.close();
});
