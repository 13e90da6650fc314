// For the tests of the readers of weights: what a file holds, and whether a damaged one is told from a sound one.

import { copyFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { DeepLabError } from '../lib';
import type { OpenArchive } from '../lib/import/archive';

/** As the generators in test/import describe a tensor. */
export interface DescribedTensor {
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

/** All tensors of a file, read. */
export async function contentOf(open: OpenArchive, file: string): Promise<Record<string, DescribedTensor>> {
  const archive = await open(file);
  try {
    const content: Record<string, DescribedTensor> = {};
    for (const [name, tensor] of archive.tensors) {
      content[name] = { shape: [...tensor.shape], values: [...(await tensor.read())] };
    }
    return content;
  } finally {
    await archive.close();
  }
}

/** What JSON says, its numbers rounded to 32 bits. */
export function rounded(tensors: Readonly<Record<string, DescribedTensor>>): Record<string, DescribedTensor> {
  const entries = Object.entries(tensors).map(([name, { shape, values }]) => [
    name,
    { shape, values: values.map(Math.fround) },
  ]);
  return Object.fromEntries(entries);
}

/** Opens and reads a file that may be damaged: what its error is, or undefined if it has none. */
async function errorOf(open: OpenArchive, file: string): Promise<unknown> {
  try {
    await contentOf(open, file);
    return undefined;
  } catch (error) {
    return error;
  }
}

/** Copies of the files of one model, whose names all begin with `name`. */
export function copyModel(from: string, name: string, to: string): void {
  for (const file of readdirSync(from).filter((file) => file.startsWith(name))) {
    copyFileSync(path.join(from, file), path.join(to, file));
  }
}

/**
 * Cuts off `part` at every byte, and checks that reading `file` then fails as it should or, where the cut happens to
 * leave a sound file, succeeds. How often it failed.
 */
export async function cutEverywhere(open: OpenArchive, file: string, part: string): Promise<number> {
  const bytes = readFileSync(part);
  let failures = 0;
  for (let length = 0; length < bytes.length; length++) {
    writeFileSync(part, bytes.subarray(0, length));
    const error = await errorOf(open, file);
    if (error === undefined) continue;
    failures++;
    if (!isExpected(error)) throw new Error(`cut off at ${length}`, { cause: error });
  }
  writeFileSync(part, bytes);
  return failures;
}

/**
 * Overwrites a few bytes of `part` again and again, and checks the same.
 *
 * @param repair - Makes checksums right again, so that what lies behind them is reached.
 */
export async function overwriteAnywhere(
  open: OpenArchive,
  file: string,
  part: string,
  repair: (bytes: Buffer) => void = () => {},
): Promise<void> {
  const bytes = readFileSync(part);
  // Besides any byte, those that make lengths and offsets large.
  const byte = fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constantFrom(0, 1, 127, 128, 255));
  const change = fc.record({ at: fc.nat(bytes.length - 1), values: fc.array(byte, { minLength: 1, maxLength: 5 }) });
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
      const damaged = Buffer.from(bytes);
      for (const { at, values } of changes) damaged.set(values.slice(0, bytes.length - at), at);
      repair(damaged);
      writeFileSync(part, damaged);
      const error = await errorOf(open, file);
      if (error !== undefined && !isExpected(error)) throw error;
    }),
    { numRuns: 300 },
  );
  writeFileSync(part, bytes);
}

function isExpected(error: unknown): boolean {
  const codes = ['ERR_INVALID_WEIGHTS', 'ERR_UNSUPPORTED_MODEL', 'ERR_NOT_FOUND'];
  return error instanceof DeepLabError && codes.includes(error.code);
}
