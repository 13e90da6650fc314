// The scales at which a network runs, and how their logits become one: the options and what they must be.

import { invalidArgument } from './errors';
import { type OptionRule, oneOfRule } from './options';

/** How logits of several scales become one. */
export const fuseChoices = ['max', 'mean'] as const;

export const fuseRule: OptionRule = oneOfRule(fuseChoices);

/** What is checked of scales first; {@link readScales} checks the rest. */
export const scalesRule: OptionRule = { expected: 'array of numbers', accepts: Array.isArray };

const lowest = 0.25;
const highest = 4;
const most = 8;

/**
 * A copy of the scales, which the caller cannot change any more.
 *
 * @throws ERR_INVALID_ARGUMENT unless there are 1..8 different numbers from 0.25 to 4, 1 among them.
 */
export function readScales(given: readonly number[]): readonly number[] {
  const scales = [...given];
  if (scales.length < 1 || scales.length > most) {
    throw invalidArgument('scales.length', `integer from 1 to ${most}`, scales.length);
  }
  for (const [i, scale] of scales.entries()) {
    if (!(typeof scale === 'number' && scale >= lowest && scale <= highest)) {
      throw invalidArgument(`scales[${i}]`, `number from ${lowest} to ${highest}`, scale);
    }
    if (scales.indexOf(scale) < i) throw invalidArgument(`scales[${i}]`, 'number that was not there before', scale);
  }
  if (!scales.includes(1)) throw invalidArgument('scales', 'array with 1 among its numbers', given);
  return scales;
}
