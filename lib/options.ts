// The check that every options object goes through: no misspelt names, no wrong types. What each option must be is
// said beside the function that takes it.

import { invalidArgument } from './errors';

/** What an option must be: `expected` completes "Expected ... for <option>". */
export interface OptionRule {
  readonly expected: string;
  readonly accepts: (value: unknown) => boolean;
  /** Whether it must be given. Default false. */
  readonly required?: boolean;
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

/** Pixels of a network's input for each cell of its logits. */
export const outputStrideRule: OptionRule = {
  expected: '8 or 16',
  accepts: (value) => value === 8 || value === 16,
};

/** CPU threads that a computation may use. */
export const threadsRule: OptionRule = integerRule(1, 1024);

/**
 * Holds `options` against `rules`, which name every option there is; an option that is undefined counts as not given.
 *
 * @param path - Where the object is in the caller's options, such as `crf.pairwise[0]`; empty for the options themselves.
 * @throws ERR_INVALID_ARGUMENT naming the first option that is unknown, wrong or missing.
 */
export function checkOptions<T extends object>(
  options: T,
  rules: Readonly<Record<keyof T, OptionRule>>,
  path = '',
): void {
  if (typeof options !== 'object' || options === null) throw invalidArgument(path || 'options', 'object', options);
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(rules, name)) {
      const place = path === '' ? 'option name' : `option name in ${path}`;
      throw invalidArgument(place, `one of ${Object.keys(rules).join(', ')}`, name);
    }
    const rule = rules[name as keyof T];
    if (value !== undefined && !rule.accepts(value)) {
      throw invalidArgument(nameIn(path, name), rule.expected, value);
    }
  }
  for (const [name, { required, expected }] of Object.entries<OptionRule>(rules)) {
    if (required && options[name as keyof T] === undefined)
      throw invalidArgument(nameIn(path, name), expected, undefined);
  }
}

function nameIn(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`;
}
