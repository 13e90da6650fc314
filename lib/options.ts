// The check that every options object goes through: no misspelt names, no wrong types. What each option must be is
// said beside the function that takes it.

import { invalidArgument } from './errors';

/** What an option must be: `expected` completes "Expected ... for <option>". */
export interface OptionRule {
  readonly expected: string;
  readonly accepts: (value: unknown) => boolean;
}

export const booleanRule: OptionRule = { expected: 'boolean', accepts: (value) => typeof value === 'boolean' };

export function integerRule(lowest: number, highest: number): OptionRule {
  return {
    expected: `integer from ${lowest} to ${highest}`,
    accepts: (value) => Number.isInteger(value) && (value as number) >= lowest && (value as number) <= highest,
  };
}

export function oneOfRule(values: readonly string[]): OptionRule {
  return {
    expected: `one of ${values.join(', ')}`,
    accepts: (value) => values.includes(value as string),
  };
}

/**
 * Holds `options` against `rules`, which name every option there is; an option that is undefined counts as not given.
 *
 * @throws ERR_INVALID_ARGUMENT naming the first option that is unknown or wrong.
 */
export function checkOptions<T extends object>(options: T, rules: Readonly<Record<keyof T, OptionRule>>): void {
  if (typeof options !== 'object' || options === null) throw invalidArgument('options', 'object', options);
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(rules, name)) {
      throw invalidArgument('option name', `one of ${Object.keys(rules).join(', ')}`, name);
    }
    const rule = rules[name as keyof T];
    if (value !== undefined && !rule.accepts(value)) throw invalidArgument(name, rule.expected, value);
  }
}
