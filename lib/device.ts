// Where and how a network or a CRF is computed: the options that say so, for every function that takes them.

import path from 'node:path';
import type { Precision } from './native';
import { type OptionRule, oneOfRule } from './options';

/** What the option `device` may be. */
export type Device = 'auto' | 'cpu' | 'cuda' | `cuda:${number}`;

/** What the option `precision` may be. */
export const precisionChoices: readonly ('auto' | Precision)[] = ['auto', 'f32', 'tf32', 'bf16', 'f16'];

export const deviceRule: OptionRule = {
  expected: 'auto, cpu, cuda or cuda:<number>',
  accepts: (value) => typeof value === 'string' && /^(auto|cpu|cuda(:\d{1,4})?)$/.test(value),
};

export const precisionRule: OptionRule = oneOfRule(precisionChoices);

export const cudnnRule: OptionRule = {
  expected: 'path of a folder',
  accepts: (value) => typeof value === 'string' && value !== '',
};

/** The option `cudnn` as native code takes it: an absolute path, or empty for the places that it knows. */
export function cudnnFolder(folder: string | undefined): string {
  return folder === undefined ? '' : path.resolve(folder);
}
