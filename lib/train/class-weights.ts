// How much the pixels of each class count in the loss.

import { invalidArgument } from '../errors';

/**
 * Median frequency balancing (Eigen and Fergus, arXiv 1411.4734, section 6.3.2): the median of the classes' frequencies
 * over the frequency, which is of the pixels of the images that have the class. A class that no image has gets 1, and
 * never needs it.
 *
 * @param counts - Pixels of each label in each image.
 */
export function medianFrequencyWeights(counts: readonly Uint32Array[], classes: number): Float32Array {
  const frequencies = Array.from({ length: classes }, (_, id) => {
    let [of, pixels] = [0, 0];
    for (const image of counts) {
      const own = image[id] as number;
      if (own === 0) continue;
      of += own;
      // Void is no class, and its pixels are none to be frequent among.
      pixels += image.subarray(0, classes).reduce((sum, count) => sum + count, 0);
    }
    return of / pixels;
  });
  const known = frequencies.filter((frequency) => frequency > 0).sort((a, b) => a - b);
  const middle = known.length >> 1;
  const median =
    known.length % 2 === 1 ? (known[middle] as number) : ((known[middle - 1] ?? 1) + (known[middle] ?? 1)) / 2;
  return Float32Array.from(frequencies, (frequency) => (frequency > 0 ? median / frequency : 1));
}

/** @throws ERR_INVALID_ARGUMENT for another number of weights. */
export function givenWeights(weights: readonly number[] | 'none', classes: number): Float32Array {
  if (weights === 'none') return new Float32Array(classes).fill(1);
  if (weights.length !== classes) {
    throw invalidArgument('classWeights', `${classes} numbers, one per class`, weights.join());
  }
  return Float32Array.from(weights);
}
