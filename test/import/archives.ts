// What the tests of all readers of weights share: the fixtures, what their writers say is in them, and the promise that
// a damaged file is refused and nothing else.

import { copyFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { DeepLabError } from '../../lib';
import type { OpenArchive } from '../../lib/import/archive';

/** Shape and values of tensors by their names. */
export type Tensors = Readonly<Record<string, readonly [shape: readonly number[], values: readonly number[]]>>;

export function fixture(name: string): string {
  return path.join(__dirname, 'fixtures', name);
}

/** What the writer's own reader finds in each fixture of a format. */
export function expectedTensors(format: string): Readonly<Record<string, Tensors>> {
  return JSON.parse(readFileSync(fixture(`${format}.json`), 'utf8'));
}

/** All that a file has, in the order of its names. */
export async function readTensors(open: OpenArchive, file: string): Promise<Tensors> {
  const archive = await open(file);
  try {
    const found: [string, [readonly number[], readonly number[]]][] = [];
    for (const [name, tensor] of archive.tensors) found.push([name, [tensor.shape, [...(await tensor.read())]]]);
    return Object.fromEntries(found.sort(([a], [b]) => (a < b ? -1 : 1)));
  } finally {
    await archive.close();
  }
}

/** As some of the generators describe tensors; numbers are rounded to 32 bits. */
export type DescribedTensors = Readonly<
  Record<string, { readonly shape: readonly number[]; readonly values: readonly number[] }>
>;

/** The same as `Tensors`, in the order of the names. */
export function rounded(described: DescribedTensors = {}): Tensors {
  const pairs = Object.entries(described).map(([name, { shape, values }]) => [name, [shape, values.map(Math.fround)]]);
  return Object.fromEntries(pairs);
}

/** Copies of the files of one model, whose names all begin with `name`. */
export function copyModel(from: string, name: string, to: string): void {
  for (const file of readdirSync(from).filter((file) => file.startsWith(name))) {
    copyFileSync(path.join(from, file), path.join(to, file));
  }
}

/**
 * The error that reading `file` gives once `bytes` are in it, which has a code of its own; undefined if it can be read.
 *
 * @param part - Where the bytes go, if the model has several files.
 */
export async function refusal(
  open: OpenArchive,
  file: string,
  bytes: Uint8Array,
  part: string = file,
): Promise<DeepLabError | undefined> {
  writeFileSync(part, bytes);
  try {
    await readTensors(open, file);
    return undefined;
  } catch (error) {
    // A damaged part may name others that are not there.
    const codes = ['ERR_INVALID_WEIGHTS', 'ERR_UNSAFE_WEIGHTS', 'ERR_UNSUPPORTED_MODEL'];
    if (part !== file) codes.push('ERR_NOT_FOUND');
    if (error instanceof DeepLabError && codes.includes(error.code)) return error;
    throw error;
  }
}

/** Reads `original` cut at every `step`-th byte: the lengths at which it was not refused. */
export async function cutAnywhere(
  open: OpenArchive,
  file: string,
  original: Buffer,
  step = 1,
  part: string = file,
): Promise<readonly number[]> {
  const taken: number[] = [];
  for (let length = 0; length < original.length; length += step) {
    if ((await refusal(open, file, original.subarray(0, length), part)) === undefined) taken.push(length);
  }
  writeFileSync(part, original);
  return taken;
}

/** What else {@link changeBytes} is told. */
export interface Change {
  readonly part?: string;
  /** Makes checksums right again, so that what lies behind them is reached. */
  readonly repair?: (bytes: Buffer) => void;
}

/** Reads `original` with a few bytes changed, again and again: each time it is read or refused. */
export async function changeBytes(
  open: OpenArchive,
  file: string,
  original: Buffer,
  runs: number,
  { part = file, repair = () => {} }: Change = {},
): Promise<void> {
  // Besides any byte, those that make lengths and offsets large.
  const byte = fc.oneof(fc.constantFrom(0, 1, 127, 128, 255), fc.nat(255));
  const change = fc.tuple(fc.nat(original.length - 1), fc.array(byte, { minLength: 1, maxLength: 5 }));
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
      const changed = Buffer.from(original);
      for (const [at, values] of changes) changed.set(values.slice(0, original.length - at), at);
      repair(changed);
      await refusal(open, file, changed, part);
    }),
    { numRuns: runs },
  );
  writeFileSync(part, original);
}
