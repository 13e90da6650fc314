// Images and unaries for tests of the CRF, made from a seed, and what the addon makes of them.

import {
  type NativeCrfOptions,
  type NativeCrfResult,
  type NativePairwise,
  type NativeUnary,
  native,
} from '../lib/native';
import { randomImage } from './models';
import type { PlainImage } from './plain-crf';

export interface Inference extends NativeCrfResult {
  readonly vertices: readonly number[];
  readonly latticeBytes: number;
}

// In locals, for speed: jest's sandbox makes every look-up of a global slow.
const { ceil, floor } = Math;

/** Random values 8 pixels apart, interpolated, and a tenth of noise: float64 [channels,H,W], 0..255. */
export function smooth(width: number, height: number, channels: number, seed: number): Float64Array {
  const [columns, rows] = [ceil(width / 8) + 1, ceil(height / 8) + 1];
  const coarse = randomImage(columns, rows * channels, seed).data;
  const noise = randomImage(width, height * channels, seed + 1).data;
  return Float64Array.from({ length: channels * height * width }, (_, i) => {
    const [x, y, channel] = [(i % width) / 8, (floor(i / width) % height) / 8, floor(i / (width * height))];
    const [left, top] = [floor(x), floor(y)];
    const at = (column: number, row: number) => coarse[(channel * rows + row) * columns + column] as number;
    const along = (row: number) => at(left, row) + (x - left) * (at(left + 1, row) - at(left, row));
    return 0.9 * (along(top) + (y - top) * (along(top + 1) - along(top))) + 0.1 * (noise[i] as number);
  });
}

/** A picture of soft blobs, uint8 [H,W,channels]. */
export function smoothImage(width: number, height: number, seed: number, channels = 3): Required<PlainImage> {
  const planes = smooth(width, height, channels, seed);
  const pixels = Uint8Array.from(
    planes,
    (_, i) => planes[(i % channels) * width * height + floor(i / channels)] as number,
  );
  return { width, height, channels, pixels };
}

/** Energies of 0 to 4 nats, float32 [C,H,W]. */
export function smoothUnary(width: number, height: number, classes: number, seed: number): Float32Array {
  return Float32Array.from(smooth(width, height, classes, seed), (value) => value / 64);
}

/** exp(-unary), normalised over the classes: float32 [C,H,W]. */
export function probabilitiesOf(unary: Float32Array, classes: number): Float32Array {
  const points = unary.length / classes;
  const sums = new Float64Array(points);
  for (const [i, energy] of unary.entries()) sums[i % points] = (sums[i % points] as number) + Math.exp(-energy);
  return unary.map((energy, i) => Math.exp(-energy) / (sums[i % points] as number));
}

/** The label of the largest marginal of each pixel. */
export function argmax(marginals: ArrayLike<number>, points: number): Uint8Array {
  const labels = new Uint8Array(points);
  for (let i = points; i < marginals.length; i++) {
    const pixel = i % points;
    const best = marginals[(labels[pixel] as number) * points + pixel] as number;
    if ((marginals[i] as number) > best) labels[pixel] = floor(i / points);
  }
  return labels;
}

export const gaussian = (deviations: readonly [number, number], ...weights: readonly number[]): NativePairwise => ({
  kernel: 'gaussian',
  deviations,
  compatibility: Float32Array.from(weights),
  normalization: 'symmetric',
});

export const bilateral = (
  deviations: readonly [number, number, number, number, number],
  ...weights: readonly number[]
): NativePairwise => ({
  kernel: 'bilateral',
  deviations,
  compatibility: Float32Array.from(weights),
  normalization: 'symmetric',
});

/** Ten iterations of a term or several. */
export const crfOf = (...pairwise: readonly NativePairwise[]): NativeCrfOptions => ({
  pairwise,
  coordinates: 'yx',
  iterations: 10,
  tolerance: 0,
});

/** The largest and the mean absolute difference. */
export function difference(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
): { readonly max: number; readonly mean: number } {
  expect(a).toHaveLength(b.length);
  let [largest, sum] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    const own = Math.abs((a[i] as number) - (b[i] as number));
    // Not Math.max, which would let NaN through in one order.
    if (!(own <= largest)) largest = own;
    sum += own;
  }
  return { max: largest, mean: sum / a.length };
}

/** Builds the lattices, infers once and frees everything. */
export async function infer(
  { width, height, channels, pixels }: PlainImage,
  { pairwise, coordinates, iterations, tolerance }: NativeCrfOptions,
  unary: NativeUnary,
  { threads = 2, marginals = true, klDivergence = true } = {},
): Promise<Inference> {
  const crf = await native().createCrf(pixels, width, height, channels, {
    pairwise,
    coordinates,
    threads,
    device: 'cpu',
    cudnn: '',
  }).made;
  try {
    const { vertices, latticeBytes } = crf;
    const { result } = crf.infer(unary, { iterations, tolerance, marginals, klDivergence });
    return { ...(await result), vertices, latticeBytes };
  } finally {
    await crf.close();
  }
}
