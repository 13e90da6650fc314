// The pairwise terms of a fully connected CRF: which pixels are alike, and what it costs to give alike pixels unlike
// labels. Here they are checked and brought into the form that native code takes, and back.

import { types } from 'node:util';
import {
  type Compatibility,
  type CompatibilityForm,
  checkCompatibility,
  compatibilityOf,
  readCompatibility,
} from './compatibility';
import { copyFloats } from './copies';
import { invalidArgument } from './errors';
import type { NativePairwise } from './native';
import { checkOptions, integerRule, type OptionRule, oneOfRule } from './options';

interface PairwiseBase {
  /** What it costs to give two pixels that the kernel finds alike the labels that they get. */
  readonly compatibility: Compatibility;
  /**
   * Whether the kernel's sums are divided by what the kernel makes of ones, since pixels that are like many others would
   * otherwise outweigh the rest. Default `symmetric`, by its root before and after filtering, which is what the paper's
   * code does; `before` or `after` divides once; `none` does not.
   */
  readonly normalization?: 'symmetric' | 'before' | 'after' | 'none' | undefined;
}

/** Pixels near each other are alike: the smoothness kernel of the paper's equation 3. */
export interface GaussianTerm extends PairwiseBase {
  readonly kernel: 'gaussian';
  /** Standard deviation of the position in pixels, above 0: one for both directions or [x,y]. */
  readonly xy: number | readonly [x: number, y: number];
}

/** Pixels near each other and of similar colour are alike: the appearance kernel of the paper's equation 3. */
export interface BilateralTerm extends PairwiseBase {
  readonly kernel: 'bilateral';
  /** Standard deviation of the position in pixels, above 0: one for both directions or [x,y]. */
  readonly xy: number | readonly [x: number, y: number];
  /** Standard deviation of the colour, whose channels are 0..255, above 0: one for all channels or [r,g,b]. */
  readonly rgb: number | readonly [r: number, g: number, b: number];
}

/** Pixels with similar features are alike, whatever the features are: depth, texture, infrared. */
export interface FeaturesTerm extends PairwiseBase {
  readonly kernel: 'features';
  /** float32 [dimensions,H,W], each divided by its standard deviation already. Copied. */
  readonly features: Float32Array;
  /** Number of features of a pixel, 1..16. */
  readonly dimensions: number;
}

/** A pairwise term of a fully connected CRF. */
export type PairwiseTerm = GaussianTerm | BilateralTerm | FeaturesTerm;

/** A term that was checked for all that can be said without knowing the image and the classes. */
export interface CheckedTerm {
  readonly native: NativePairwise;
  readonly form: CompatibilityForm;
  /** Number of features of a pixel, where the features are the caller's. */
  readonly dimensions?: number;
  /** Where the term is in the caller's options: `pairwise[0]`. */
  readonly path: string;
}

const sharedRules = {
  kernel: oneOfRule(['gaussian', 'bilateral', 'features']),
  compatibility: {
    expected: 'number, Float32Array, array of numbers or array of rows',
    // What is wrong with one is readCompatibility's to say.
    accepts: () => true,
    required: true,
  },
  normalization: oneOfRule(['symmetric', 'before', 'after', 'none']),
};
const gaussianRules = { ...sharedRules, xy: deviationsRule(['x', 'y']) };
const bilateralRules = { ...gaussianRules, rgb: deviationsRule(['r', 'g', 'b']) };
const featuresRules = {
  ...sharedRules,
  features: { expected: 'Float32Array', accepts: types.isFloat32Array, required: true },
  dimensions: { ...integerRule(1, 16), required: true },
};

/** One number for all axes or one for each. In native code they are 32-bit floats, and must be above 0 as such. */
function deviationsRule(axes: readonly string[]): OptionRule {
  const isDeviation = (value: unknown) =>
    typeof value === 'number' && Math.fround(value) > 0 && Number.isFinite(Math.fround(value));
  return {
    expected: `finite number above 0 or [${axes.join(',')}] of such numbers`,
    accepts: (value) =>
      isDeviation(value) || (Array.isArray(value) && value.length === axes.length && value.every(isDeviation)),
    required: true,
  };
}

/**
 * Checks terms, and copies what may change before native code reads it.
 *
 * @param path - What errors call the list: `pairwise`.
 * @param kernels - The kernels that may be used.
 * @throws ERR_INVALID_ARGUMENT
 */
export function readTerms(
  pairwise: readonly PairwiseTerm[],
  path: string,
  kernels: readonly PairwiseTerm['kernel'][] = ['gaussian', 'bilateral', 'features'],
): CheckedTerm[] {
  if (!Array.isArray(pairwise)) throw invalidArgument(path, 'array of pairwise terms', pairwise);
  return pairwise.map((term: PairwiseTerm, i) => {
    const { kernel } = term ?? {};
    if (kernel !== undefined && !kernels.includes(kernel)) {
      throw invalidArgument(`${path}[${i}].kernel`, `one of ${kernels.join(', ')}`, kernel);
    }
    return readTerm(term, `${path}[${i}]`);
  });
}

function readTerm(term: PairwiseTerm, path: string): CheckedTerm {
  switch (term?.kernel) {
    case 'gaussian': {
      checkOptions(term, gaussianRules, path);
      return checked(term, path, each(term.xy, 2));
    }
    case 'bilateral': {
      checkOptions(term, bilateralRules, path);
      return checked(term, path, [...each(term.xy, 2), ...each(term.rgb, 3)]);
    }
    case 'features': {
      checkOptions(term, featuresRules, path);
      const { native, form } = checked(term, path, []);
      return {
        native: { ...native, features: copyFloats(`${path}.features`, term.features) },
        form,
        dimensions: term.dimensions,
        path,
      };
    }
    default:
      throw typeof term === 'object' && term !== null
        ? invalidArgument(`${path}.kernel`, sharedRules.kernel.expected, (term as { kernel: unknown }).kernel)
        : invalidArgument(path, 'pairwise term', term);
  }
}

function checked(
  { kernel, compatibility, normalization = 'symmetric' }: PairwiseTerm,
  path: string,
  deviations: readonly number[],
): CheckedTerm {
  const { form, values } = readCompatibility(compatibility, `${path}.compatibility`);
  return { native: { kernel, deviations, compatibility: values, normalization }, form, path };
}

function each(deviation: number | readonly number[], axes: number): readonly number[] {
  return typeof deviation === 'number' ? new Array<number>(axes).fill(deviation) : [...deviation];
}

/**
 * Holds the sizes of features against the image's.
 *
 * @throws ERR_INVALID_ARGUMENT
 */
export function checkFeatures(terms: readonly CheckedTerm[], width: number, height: number): void {
  for (const { native, dimensions, path } of terms) {
    if (dimensions === undefined) continue;
    const length = dimensions * height * width;
    const given = native.features?.length;
    if (given !== length) {
      throw invalidArgument(`${path}.features.length`, `${length} (${dimensions}x${height}x${width})`, given);
    }
  }
}

/**
 * Holds what the compatibilities say of classes against their number.
 *
 * @throws ERR_INVALID_ARGUMENT
 */
export function checkClasses(terms: readonly CheckedTerm[], classes: number): void {
  for (const { native, form, path } of terms) {
    checkCompatibility(form, native.compatibility, classes, `${path}.compatibility`);
  }
}

/** A term as a user would write it, from one of a model's, whose kernels are gaussian or bilateral. */
export function termOf(native: NativePairwise, classes: number): PairwiseTerm {
  const [x = 0, y = 0, r = 0, g = 0, b = 0] = native.deviations;
  const shared = {
    xy: x === y ? x : ([x, y] as const),
    compatibility: compatibilityOf(native.compatibility, classes),
    normalization: native.normalization,
  };
  if (native.kernel === 'gaussian') return { kernel: 'gaussian', ...shared };
  return { kernel: 'bilateral', ...shared, rgb: r === g && g === b ? r : ([r, g, b] as const) };
}
