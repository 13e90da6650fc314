// What the tests of all readers of weights share: the fixtures, what their writers say is in them, and the promise that
// a damaged file is refused and nothing else.

import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
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

/** The error that reading `bytes` gives, which has a code of its own; undefined if they can be read. */
export async function refusal(open: OpenArchive, file: string, bytes: Uint8Array): Promise<DeepLabError | undefined> {
  writeFileSync(file, bytes);
  try {
    await readTensors(open, file);
    return undefined;
  } catch (error) {
    if (error instanceof DeepLabError && /^ERR_(INVALID|UNSAFE)_WEIGHTS$/.test(error.code)) return error;
    throw error;
  }
}

/** Reads `original` cut at every `step`-th byte: each time it is refused. */
export async function cutAnywhere(open: OpenArchive, file: string, original: Buffer, step: number): Promise<void> {
  for (let length = 0; length < original.length; length += step) {
    if ((await refusal(open, file, original.subarray(0, length))) === undefined) {
      throw new Error(`the first ${length} of ${original.length} bytes are taken for a whole file`);
    }
  }
}

/** Reads `original` with up to four bytes changed, again and again: each time it is read or refused. */
export async function changeBytes(open: OpenArchive, file: string, original: Buffer, runs: number): Promise<void> {
  const change = fc.tuple(fc.nat(original.length - 1), fc.oneof(fc.constantFrom(0, 1, 127, 255), fc.nat(255)));
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
      const changed = Buffer.from(original);
      for (const [at, value] of changes) changed[at] = value;
      await refusal(open, file, changed);
    }),
    { numRuns: runs },
  );
}

/** A Python that has these modules: DEEPLAB_PYTHON or python3; undefined if neither does. */
export function pythonWith(...modules: readonly string[]): string | undefined {
  const candidates = [process.env.DEEPLAB_PYTHON, 'python3'].filter((python) => python !== undefined);
  return candidates.find((python) => {
    try {
      execFileSync(python, ['-c', `import ${modules.join(', ')}`], { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  });
}
