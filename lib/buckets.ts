// Sizes that images are padded to, so that they share compiled networks and batches: the option and what it means.
// Padding and cropping are native.

import { invalidArgument } from './errors';
import type { ImageSize } from './image';
import type { NativeLoadOptions } from './native';
import { checkOptions, integerRule, type OptionRule } from './options';

/**
 * Sizes that images are padded to. `exact`: their own. `multipleOf`: both sides are rounded up to a multiple of a number.
 * `sizes`: the smallest of these that holds the image; one that fits in none keeps its own size.
 */
export type ShapeBuckets = 'exact' | { readonly multipleOf: number } | { readonly sizes: readonly ImageSize[] };

const sideRule: OptionRule = { ...integerRule(1, 65_535), required: true };
const mostSizes = 64;

/** The rule of the option `shapeBuckets`. {@link readBuckets} checks the rest. */
export const bucketsRule: OptionRule = {
  expected: "'exact', { multipleOf } or { sizes }",
  accepts: (value) =>
    value === 'exact' || (typeof value === 'object' && value !== null && ('multipleOf' in value || 'sizes' in value)),
};

/** @throws ERR_INVALID_ARGUMENT for sides that are not integers from 1 to 65535, no sizes, or more than 64. */
export function readBuckets(buckets: ShapeBuckets): Pick<NativeLoadOptions, 'bucketMultiple' | 'bucketSizes'> {
  if (buckets === 'exact') return { bucketMultiple: 1, bucketSizes: [] };
  if ('multipleOf' in buckets) {
    checkOptions(buckets, { multipleOf: sideRule }, 'shapeBuckets');
    return { bucketMultiple: buckets.multipleOf, bucketSizes: [] };
  }
  const { sizes } = buckets;
  if (!Array.isArray(sizes) || sizes.length < 1 || sizes.length > mostSizes) {
    throw invalidArgument('shapeBuckets.sizes', `array of 1 to ${mostSizes} { width, height }`, sizes);
  }
  for (const [i, size] of sizes.entries()) {
    checkOptions(size as ImageSize, { width: sideRule, height: sideRule }, `shapeBuckets.sizes[${i}]`);
  }
  return { bucketMultiple: 1, bucketSizes: sizes.map(({ width, height }: ImageSize) => ({ width, height })) };
}
