// What the doctor and its child process say to each other.

import type { NativeCuda, NativeSystem, Precision } from '../native';

/** What the child is told. */
export interface TrialInput {
  /** As NativeLoadOptions has it. */
  readonly cudnn: string;
  /** The file of the self-test; empty if there is none, and no test. */
  readonly weights: string;
}

/** A library in the process. */
export interface Library {
  /** Such as `libgomp`. */
  readonly name: string;
  /** Empty if it does not tell. */
  readonly version: string;
  readonly path: string;
}

/** An inference whose result is known. */
export interface SelfTest {
  /** Such as `cpu` or `cuda:0`. */
  readonly device: string;
  readonly precision: Precision | 'auto';
  /** What is wrong; empty if the result is right. */
  readonly reason: string;
  /** How far logits are from PyTorch's, relative to the largest; null if there are none. */
  readonly error: number | null;
  /** Of loading the weights, of the first image, which compiles the network, and of the second; null if not reached. */
  readonly loadMs: number | null;
  readonly firstMs: number | null;
  readonly inferenceMs: number | null;
}

/** What the child is about to do. */
export type TrialStep =
  | { readonly name: 'load' | 'system' | 'sharp' | 'cuda' }
  | { readonly name: 'self-test'; readonly device: string; readonly precision: Precision | 'auto' };

/** What the child says, a line each. */
export type TrialMessage =
  | { readonly kind: 'step'; readonly step: TrialStep }
  /** The step failed, in a way that leaves the process alive. */
  | { readonly kind: 'failed'; readonly step: TrialStep; readonly reason: string }
  | { readonly kind: 'addon'; readonly path: string }
  | { readonly kind: 'system'; readonly system: NativeSystem }
  | { readonly kind: 'cuda'; readonly cuda: NativeCuda }
  | { readonly kind: 'sharp'; readonly version: string; readonly libvips: string }
  | { readonly kind: 'self-test'; readonly result: SelfTest }
  | { readonly kind: 'libraries'; readonly libraries: readonly Library[] }
  | { readonly kind: 'end' };

/** What begins a line that is a message: libraries may print what they like. */
export const messageMark = 'deeplab-trial ';
