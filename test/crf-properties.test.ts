// What must hold of a fully connected CRF whatever its numbers are: symmetries, limits, threads.

import path from 'node:path';
import fc from 'fast-check';
import sharp from 'sharp';
import { native } from '../lib/native';
import { bilateral, crfOf, difference, gaussian, type Inference, infer, smoothImage, smoothUnary } from './crf-scenes';
import { type PlainImage, plainCrf } from './plain-crf';

jest.setTimeout(300_000);

const marginalsOf = ({ marginals }: Inference) => marginals as Float32Array;
const kernels = [gaussian([3, 2], 3), bilateral([12, 10, 14, 13, 15], 4)];
const scene = fc.record({
  width: fc.integer({ min: 1, max: 40 }),
  height: fc.integer({ min: 1, max: 30 }),
  classes: fc.integer({ min: 2, max: 23 }),
  seed: fc.integer({ min: 0, max: 1_000_000 }),
});

/** Planes of [C,H,W] in another order: plane c of the result is plane order[c] of the data. */
function reordered(data: Float32Array, order: readonly number[]): Float32Array {
  const points = data.length / order.length;
  return Float32Array.from(
    data,
    (_, i) => data[(order[Math.floor(i / points)] as number) * points + (i % points)] as number,
  );
}

test('permuting the classes permutes the marginals', async () => {
  const property = fc.asyncProperty(scene, fc.integer(), async ({ width, height, classes, seed }, shift) => {
    const image = smoothImage(width, height, seed);
    const unary = smoothUnary(width, height, classes, seed);
    // By multiplication with a number prime to all counts of classes that are drawn, and a turn.
    const turn = ((shift % classes) + classes) % classes;
    const order = Array.from({ length: classes }, (_, c) => (c * 29 + turn) % classes);
    const straight = await infer(image, crfOf(...kernels), { kind: 'unary', data: unary, classes });
    const permuted = await infer(image, crfOf(...kernels), { kind: 'unary', data: reordered(unary, order), classes });
    // Not bit for bit: the sum of a softmax has another order, and classes are not all treated in registers of a width.
    const { max } = difference(marginalsOf(permuted), reordered(marginalsOf(straight), order));
    expect(max).toBeLessThan(2e-5);
  });
  await fc.assert(property, { seed: 1, numRuns: 40 });
});

test("adding a number to a pixel's energies changes nothing", async () => {
  const property = fc.asyncProperty(scene, async ({ width, height, classes, seed }) => {
    const image = smoothImage(width, height, seed);
    const unary = smoothUnary(width, height, classes, seed);
    const points = width * height;
    // Numbers of -50 to 50. Not bit for bit: near 50, float32 has steps of 4e-6, to which the energies are rounded.
    const shifted = unary.map((value, i) => value + (((i % points) * 37) % 101) - 50);
    const straight = await infer(image, crfOf(...kernels), { kind: 'unary', data: unary, classes });
    const other = await infer(image, crfOf(...kernels), { kind: 'unary', data: shifted, classes });
    expect(difference(marginalsOf(other), marginalsOf(straight)).max).toBeLessThan(1e-4);
  });
  await fc.assert(property, { seed: 2, numRuns: 40 });
});

describe('the result is softmax(-unary)', () => {
  const [width, height, classes] = [33, 21, 7];
  const image = smoothImage(width, height, 3);
  const data = smoothUnary(width, height, classes, 4);
  const softmax = plainCrf(image, { ...crfOf(), iterations: 0 }, data).marginals;
  const expectSoftmax = async (options: Parameters<typeof infer>[1]) => {
    const result = await infer(image, options, { kind: 'unary', data, classes });
    expect(difference(marginalsOf(result), softmax).max).toBeLessThan(1e-6);
  };

  test('where the pairwise weights are 0', () =>
    expectSoftmax(crfOf(gaussian([3, 2], 0), bilateral([12, 10, 14, 13, 15], 0))));
  test('where there is no iteration', () => expectSoftmax({ ...crfOf(...kernels), iterations: 0 }));
});

/** The example photo, `width` pixels wide, and labels by its colours, of which a third are noise. */
async function noisyPhoto(width: number) {
  const { data, info } = await sharp(path.join(__dirname, '..', 'examples', 'berlin-cathedral.jpg'))
    .resize({ width })
    .removeAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
  const image: Required<PlainImage> = { width: info.width, height: info.height, channels: 3, pixels: data };
  const labels = Uint8Array.from({ length: info.width * info.height }, (_, i) => {
    const [r, g, b] = data.subarray(3 * i, 3 * i + 3) as unknown as [number, number, number];
    const hash = Math.imul(i + 1, 0x9e3779b1) >>> 16;
    if (hash % 3 === 0) return hash % 4;
    if (b > r + 10) return 0;
    return r + g + b > 480 ? 1 : r + g + b > 240 ? 2 : 3;
  });
  return { image, labels };
}

/** [H,W,channels] with its columns in the opposite order. */
function mirrored(data: Uint8Array, width: number, channels: number): Uint8Array {
  return Uint8Array.from(data, (_, i) => {
    const [channel, x, row] = [i % channels, Math.floor(i / channels) % width, Math.floor(i / channels / width)];
    return data[(row * width + width - 1 - x) * channels + channel] as number;
  });
}

test('a mirrored photo has mirrored labels, but for what the lattice, which has an origin, makes of it', async () => {
  const { image, labels: data } = await noisyPhoto(240);
  const options = crfOf(gaussian([3, 3], 3), bilateral([40, 40, 13, 13, 13], 10));
  const labelsOf = async (pixels: Uint8Array, labels: Uint8Array) => {
    const unary = { kind: 'labels', data: labels, classes: 4, gtProb: 0.6, unknown: -1 } as const;
    return (await infer({ ...image, pixels }, options, unary)).labels;
  };
  const straight = await labelsOf(image.pixels, data);
  const turned = await labelsOf(mirrored(image.pixels, image.width, 3), mirrored(data, image.width, 1));
  const expected = mirrored(straight, image.width, 1);
  const share = (a: Uint8Array, b: Uint8Array) => a.filter((label, i) => label === b[i]).length / a.length;
  process.stdout.write(`mirrored photo: ${(100 * share(turned, expected)).toFixed(2)} % of labels are mirrored\n`);
  expect(share(turned, expected)).toBeGreaterThanOrEqual(0.98);
  expect(share(straight, data)).toBeLessThan(0.85); // the CRF did something
});

describe('marginals, labels and the divergence are the same, bit for bit', () => {
  const cases = [
    [150, 101, 21],
    [64, 48, 2],
    [301, 7, 5],
    [3, 2, 4],
  ] as const;

  test.each(cases)('with 1, 2, 3 and 8 threads: %ix%i, %i classes', async (width, height, classes) => {
    const image = smoothImage(width, height, 5);
    const data = smoothUnary(width, height, classes, 6);
    const run = (threads: number) => infer(image, crfOf(...kernels), { kind: 'unary', data, classes }, { threads });
    const alone = await run(1);
    for (const threads of [2, 3, 8]) expect(await run(threads)).toEqual(alone);
  });

  test.each(cases)('whatever else is asked for: %ix%i, %i classes', async (width, height, classes) => {
    const image = smoothImage(width, height, 5);
    const unary = { kind: 'unary', data: smoothUnary(width, height, classes, 6), classes } as const;
    const { labels, marginals } = await infer(image, crfOf(...kernels), unary);
    const plain = { marginals: true, klDivergence: false };
    expect((await infer(image, crfOf(...kernels), unary, plain)).marginals).toEqual(marginals);
    expect((await infer(image, crfOf(...kernels), unary, { ...plain, marginals: false })).labels).toEqual(labels);
  });

  test.each(cases)(
    'at the second inference on the same lattices: %ix%i, %i classes',
    async (width, height, classes) => {
      const { pixels, channels } = smoothImage(width, height, 5);
      const { pairwise, coordinates, ...rest } = crfOf(...kernels);
      const options = { ...rest, marginals: true, klDivergence: true };
      const crf = await native().createCrf(pixels, width, height, channels, {
        pairwise,
        coordinates,
        threads: 2,
        device: 'cpu',
        cudnn: '',
      }).made;
      const unary = (seed: number) =>
        ({ kind: 'unary', data: smoothUnary(width, height, classes, seed), classes }) as const;
      const first = crf.infer(unary(7), options).result;
      await crf.infer(unary(8), options).result;
      const again = await crf.infer(unary(7), options).result;
      expect(again).toEqual(await first);
      await crf.close();
    },
  );
});
