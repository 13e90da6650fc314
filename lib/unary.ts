// What is known of each pixel before a CRF looks at its surroundings: probabilities, energies or somebody's labels. Here
// the shapes are checked; the values are native code's to check, on its way through them.

import { types } from 'node:util';
import { maxClasses } from './compatibility';
import { copyBytes, copyFloats } from './copies';
import { invalidArgument } from './errors';
import type { NativeUnary } from './native';
import { checkOptions, integerRule, type OptionRule } from './options';
import { Tensor } from './tensor';

/**
 * Probabilities are raised to this before their logarithm is taken, so that no class is ruled out for good, and as
 * pydensecrf's `unary_from_softmax` does.
 */
export const probabilityFloor = 1e-5;

/** Probabilities, such as `Segmentation.scores`. */
export interface ProbabilitiesUnary {
  /**
   * float32 [C,H,W], 2..256 classes; 0 or above, the sum over C 1 at each pixel to within 1e-3. Those below
   * {@link probabilityFloor} count as that.
   */
  readonly probabilities: Float32Array | Tensor<Float32Array>;
}

/** Energies: the paper's unary potentials. */
export interface EnergiesUnary {
  /** float32 [C,H,W], 2..256 classes, in nats: -log p or anything else from -1e9 to 1e9; less is likelier. */
  readonly unary: Float32Array | Tensor<Float32Array>;
}

/** Labels that are right with some probability, as painted by hand; pydensecrf's `unary_from_labels`. */
export interface LabelsUnary {
  /** uint8 [H,W]: class ids 0..classes-1, or `unknown`. */
  readonly labels: Uint8Array | Tensor<Uint8Array>;
  /** Number of classes, 2..256. */
  readonly classes: number;
  /**
   * Probability that a label is right, between 0 and 1 and neither of them. Default 0.7. A pixel's label costs
   * -log(gtProb), each of the others -log((1 - gtProb) / (classes - 1)).
   */
  readonly gtProb?: number | undefined;
  /** The label, 0..255, of pixels of which nothing is known: there each class costs -log(1 / classes). Default none. */
  readonly unknown?: number | undefined;
}

/** What is known of each pixel of an image, in one of three ways. */
export type UnaryInput = ProbabilitiesUnary | EnergiesUnary | LabelsUnary;

/** What a {@link UnaryInput} says, checked for all that can be said without knowing the image's size. */
export type CheckedUnary = Values | Labels;

interface Values {
  readonly kind: 'probabilities' | 'unary';
  readonly data: Float32Array;
  /** A tensor's. */
  readonly shape: readonly number[] | undefined;
}

interface Labels {
  readonly kind: 'labels';
  readonly data: Uint8Array;
  /** A tensor's. */
  readonly shape: readonly number[] | undefined;
  readonly classes: number;
  readonly gtProb: number;
  readonly unknown: number | undefined;
}

const classesRule = integerRule(2, maxClasses);

const valuesRule: OptionRule = {
  expected: 'Float32Array or Tensor of f32',
  accepts: (value) => types.isFloat32Array(value instanceof Tensor ? value.data : value),
};

const labelsRules: Readonly<Record<keyof LabelsUnary, OptionRule>> = {
  labels: {
    expected: 'Uint8Array or Tensor of u8',
    accepts: (value) => types.isUint8Array(value instanceof Tensor ? value.data : value),
  },
  classes: { ...classesRule, required: true },
  gtProb: {
    expected: 'number between 0 and 1',
    accepts: (value) => typeof value === 'number' && value > 0 && value < 1,
  },
  unknown: integerRule(0, 255),
};

/** @throws ERR_INVALID_ARGUMENT */
export function readUnary(unary: UnaryInput): CheckedUnary {
  const kinds = ['probabilities', 'unary', 'labels'] as const;
  if (typeof unary !== 'object' || unary === null) {
    throw invalidArgument('unary', `object with one of ${kinds.join(', ')}`, unary);
  }
  const given = kinds.filter((kind) => kind in unary);
  if (given.length !== 1) throw invalidArgument('unary', `exactly one of ${kinds.join(', ')}`, given.join(', '));
  if ('labels' in unary) {
    checkOptions(unary, labelsRules, 'unary');
    const { labels, classes, gtProb = 0.7, unknown } = unary;
    return { kind: 'labels', ...parts(labels), classes, gtProb, unknown };
  }
  if ('probabilities' in unary) {
    checkOptions(unary, { probabilities: valuesRule }, 'unary');
    return { kind: 'probabilities', ...parts(unary.probabilities) };
  }
  checkOptions(unary, { unary: valuesRule }, 'unary');
  return { kind: 'unary', ...parts(unary.unary) };
}

function parts<D extends Float32Array | Uint8Array>(
  data: D | Tensor<D>,
): { data: D; shape: readonly number[] | undefined } {
  return data instanceof Tensor ? data : { data, shape: undefined };
}

/** A unary that was read without complaint, with data of its own, which nobody changes. */
export function copyUnary(unary: UnaryInput): UnaryInput {
  if ('labels' in unary) {
    return { ...unary, labels: copied(unary.labels, (data) => copyBytes('labels', data)) };
  }
  return 'probabilities' in unary
    ? { probabilities: copied(unary.probabilities, (data) => copyFloats('probabilities', data)) }
    : { unary: copied(unary.unary, (data) => copyFloats('unary', data)) };
}

function copied<D extends Float32Array | Uint8Array>(data: D | Tensor<D>, copy: (data: D) => D): D | Tensor<D> {
  return data instanceof Tensor ? new Tensor(copy(data.data), data.shape) : copy(data);
}

/**
 * Holds a unary's size against the image's, and counts its classes.
 *
 * @throws ERR_INVALID_ARGUMENT
 */
export function fitUnary(unary: CheckedUnary, width: number, height: number): NativeUnary {
  const { kind, data, shape } = unary;
  const area = height * width;
  const size = `${height},${width}`;
  if (kind === 'labels') {
    if (shape !== undefined && shape.join() !== size) throw wrongShape(kind, `[${size}]`, shape);
    if (data.length !== area) throw invalidArgument('labels.length', `${area} (${height}x${width})`, data.length);
    const { classes, gtProb, unknown = -1 } = unary;
    return { kind, data: unary.data, classes, gtProb, unknown };
  }
  if (shape !== undefined && (shape.length !== 3 || shape.slice(1).join() !== size)) {
    throw wrongShape(kind, `[C,${size}]`, shape);
  }
  if (data.length === 0 || data.length % area !== 0) {
    throw invalidArgument(`${kind}.length`, `multiple of ${area} (${height}x${width})`, data.length);
  }
  const classes = data.length / area;
  if (!classesRule.accepts(classes)) throw invalidArgument('number of classes', classesRule.expected, classes);
  return { kind, data: unary.data, classes };
}

function wrongShape(kind: CheckedUnary['kind'], expected: string, shape: readonly number[]) {
  return invalidArgument(`${kind}.shape`, expected, `[${shape.join(',')}]`);
}
