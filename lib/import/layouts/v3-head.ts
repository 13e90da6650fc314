// The convolutions of the head of DeepLab v3 (arXiv 1706.05587, section 3.3), as every layout has them under its own
// names, and the one thing in which TensorFlow's order of channels differs from ours.

import type { ConvolutionUnit } from './layout';

/** What heads differ in. */
export interface HeadSizes {
  /** Channels of the backbone. */
  readonly inputs: number;
  /** Channels of each branch and of the projection. */
  readonly channels: number;
  /** Number of atrous branches beside the 1x1. */
  readonly rates: number;
  /** Whether there is a branch of image-level features. */
  readonly pooling: boolean;
  /** Whether a 3x3 convolution stands before the classifier. */
  readonly conv: boolean;
}

/** One convolution of a head. */
export interface HeadUnit extends ConvolutionUnit {
  readonly part: 'branch' | 'pooling' | 'project' | 'conv';
  /** Its number, if it is a branch; 0 is the 1x1. */
  readonly branch: number;
}

/** All convolutions with a batch norm. */
export function* headUnits({ inputs, channels, rates, pooling, conv }: HeadSizes): Generator<HeadUnit> {
  const unit = (part: HeadUnit['part'], scope: string, shape: readonly number[], branch = 0): HeadUnit => {
    return { part, branch, conv: `${scope}.conv`, bn: `${scope}.bn`, shape };
  };
  yield unit('branch', 'aspp.branches.0', [channels, inputs, 1, 1]);
  for (let branch = 1; branch <= rates; branch++) {
    yield unit('branch', `aspp.branches.${branch}`, [channels, inputs, 3, 3], branch);
  }
  if (pooling) yield unit('pooling', 'aspp.pooling', [channels, inputs, 1, 1]);
  yield unit('project', 'aspp.project', [channels, channels * (1 + rates + (pooling ? 1 : 0)), 1, 1]);
  if (conv) yield unit('conv', 'head', [channels, channels, 3, 3]);
}

/** Of `classifier.weight`. */
export function classifierShape(classes: number, channels: number): readonly number[] {
  return [classes, channels, 1, 1];
}

/**
 * The projection's kernel [out,in,1,1] that reads the pooling last, from one that reads it first, as TensorFlow's
 * does.
 */
export function poolingLast(values: Float32Array, outputs: number, channels: number): Float32Array {
  const result = new Float32Array(values.length);
  const inputs = values.length / outputs;
  for (let row = 0; row < values.length; row += inputs) {
    result.set(values.subarray(row + channels, row + inputs), row);
    result.set(values.subarray(row, row + channels), row + inputs - channels);
  }
  return result;
}
