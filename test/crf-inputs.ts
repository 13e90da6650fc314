// What the tests of the CRF's public API share: a small picture, what is known of its pixels, terms, comparisons.

import type { BilateralTerm, CrfResult, FeaturesTerm, GaussianTerm } from '../lib';
import { argmax, probabilitiesOf, smooth, smoothImage, smoothUnary } from './crf-scenes';

export const [width, height, classes] = [45, 33, 4];
export const area = width * height;
const { pixels: data } = smoothImage(width, height, 1);
export const image = { data, width, height, channels: 3 } as const;
export const energies = smoothUnary(width, height, classes, 2);
export const probabilities = probabilitiesOf(energies, classes);
/** The likeliest class of each pixel. */
export const painted = argmax(probabilities, area);

export const gaussian: GaussianTerm = { kernel: 'gaussian', xy: 3, compatibility: 3 };
export const bilateral: BilateralTerm = { kernel: 'bilateral', xy: 20, rgb: 13, compatibility: 5 };
export const features: FeaturesTerm = {
  kernel: 'features',
  features: Float32Array.from(smooth(width, height, 3, 5), (value) => value / 40),
  dimensions: 3,
  compatibility: 2,
};
export const pairwise = [gaussian, bilateral];

export const marginalsOf = ({ marginals = new Float32Array() }: CrfResult) => marginals;

/** Whether two arrays are the same bit for bit. */
export const same = (a: Float32Array, b: Float32Array) =>
  Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(Buffer.from(b.buffer, b.byteOffset, b.byteLength));

/** The largest absolute difference, NaN if there is one; infinite between arrays of different lengths. */
export function difference(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - (b[i] as number))), 0);
}

/** What an error of this message looks like. */
export const refusal = (message: string | RegExp) => ({
  name: 'DeepLabError',
  code: 'ERR_INVALID_ARGUMENT',
  message: typeof message === 'string' ? message : expect.stringMatching(message),
});
