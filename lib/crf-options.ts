// The parameters of a fully connected CRF that are tuned together, the published ones, and their native form.

import type { NativeCrfOptions } from './native';
import { checkOptions, integerRule, type OptionRule, oneOfRule } from './options';
import { type CheckedTerm, checkClasses, type PairwiseTerm, readTerms, termOf } from './pairwise';

/** What a fully connected CRF is made of, and how long it is inferred. */
export interface CrfOptions {
  /** The pairwise terms. Default: those of DeepLab v2 with ResNet-101, `crfPresets['deeplab-v2-resnet101']`. */
  readonly pairwise?: readonly PairwiseTerm[] | undefined;
  /**
   * Which coordinate comes first in the features of gaussian and bilateral terms. The lattice that approximates the
   * kernels is not symmetric in them, so that a few labels depend on it. Default `yx`, as in pydensecrf's functions for
   * any dimension (`create_pairwise_bilateral`); `xy` is the order in its DenseCRF2D.
   */
  readonly coordinates?: 'yx' | 'xy' | undefined;
  /** Mean-field iterations, 0..10000; the most of them where there is a tolerance. Default 10. */
  readonly iterations?: number | undefined;
  /**
   * Stop after an iteration that has lowered the KL divergence by less than this, in nats per pixel, 0 or above.
   * Default 0: never. Measuring it costs the time of one more iteration, and room for the marginals once more.
   */
  readonly tolerance?: number | undefined;
}

/** {@link CrfOptions} of which each is decided. */
export type CrfParameters = { readonly [Option in keyof CrfOptions]-?: NonNullable<CrfOptions[Option]> };

/**
 * Published parameters: those of the DeepLab papers' networks, and those of the example in pydensecrf's README.
 *
 * @example
 * ```ts
 * import { crfPresets, denseCrf } from 'deeplab';
 *
 * const labels = new Uint8Array(49 * 33).fill(1, 500);
 * const unary = { labels, classes: 2, gtProb: 0.9 };
 * const refined = await denseCrf(photoPath, unary, { ...crfPresets.pydensecrf, iterations: 3 });
 * console.log(refined.iterations); // 3
 * ```
 */
export const crfPresets = {
  'deeplab-v2-resnet101': preset({ weight: 4, xy: 67, rgb: 3 }, { weight: 3, xy: 1 }, 10),
  'deeplab-v2-vgg16': preset({ weight: 4, xy: 65, rgb: 3 }, { weight: 2, xy: 2 }, 10),
  'deeplab-v1': preset({ weight: 4, xy: 49, rgb: 5 }, { weight: 3, xy: 3 }, 10),
  pydensecrf: preset({ weight: 10, xy: 80, rgb: 13 }, { weight: 3, xy: 3 }, 5),
} as const;

function preset(
  bilateral: { readonly weight: number; readonly xy: number; readonly rgb: number },
  gaussian: { readonly weight: number; readonly xy: number },
  iterations: number,
) {
  const terms: readonly PairwiseTerm[] = [
    { kernel: 'bilateral', xy: bilateral.xy, rgb: bilateral.rgb, compatibility: bilateral.weight },
    { kernel: 'gaussian', xy: gaussian.xy, compatibility: gaussian.weight },
  ];
  return { pairwise: terms, coordinates: 'yx', iterations } as const;
}

/** What is used where nothing is said. */
export const defaultCrf = { ...crfPresets['deeplab-v2-resnet101'], tolerance: 0 } as const;

/** The rules of {@link CrfOptions}; terms are checked by readTerms. */
export const crfRules: Readonly<Record<keyof CrfOptions, OptionRule>> = {
  pairwise: { expected: 'array of pairwise terms', accepts: Array.isArray },
  coordinates: oneOfRule(['yx', 'xy']),
  iterations: integerRule(0, 10_000),
  tolerance: {
    expected: 'finite number from 0 on',
    accepts: (value) => typeof value === 'number' && value >= 0 && Number.isFinite(value),
  },
};

/**
 * A model's parameters with what the caller has to say about them.
 *
 * @param path - What errors call the options: `crf`.
 * @param own - The model's parameters.
 * @throws ERR_INVALID_ARGUMENT
 */
export function overrideCrf(
  options: CrfOptions,
  path: string,
  own: NativeCrfOptions,
  classes: number,
): NativeCrfOptions {
  checkOptions(options, crfRules, path);
  const { pairwise, coordinates, iterations, tolerance } = options;
  let terms: readonly CheckedTerm[] | undefined;
  if (pairwise !== undefined) {
    terms = readTerms(pairwise, `${path}.pairwise`, ['gaussian', 'bilateral']);
    checkClasses(terms, classes);
  }
  return {
    pairwise: terms?.map(({ native }) => native) ?? own.pairwise,
    coordinates: coordinates ?? own.coordinates,
    iterations: iterations ?? own.iterations,
    tolerance: tolerance ?? own.tolerance,
  };
}

/** Native parameters as a user would write them. */
export function crfOptionsOf(native: NativeCrfOptions, classes: number): CrfParameters {
  const { pairwise, coordinates, iterations, tolerance } = native;
  return { pairwise: pairwise.map((term) => termOf(term, classes)), coordinates, iterations, tolerance };
}
