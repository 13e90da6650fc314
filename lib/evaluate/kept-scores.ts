// The networks' scores of many images, kept until they are needed again and again: in memory as far as it goes, the rest
// in files of a temporary folder. Which images they belong to is the caller's.

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { DeepLabError } from '../errors';

/** Scores by number, in the order in which they were added. Close it, or the files stay. */
export class KeptScores {
  readonly #limit: number;
  readonly #kept: (Float32Array | string)[] = [];
  #bytes = 0;
  #folder: string | undefined;
  #last: { readonly index: number; readonly scores: Promise<Float32Array> } | undefined;

  /** @param limit - Most bytes in memory. Each reader has one image's in addition. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Whether some are in files. */
  get onDisk(): boolean {
    return this.#folder !== undefined;
  }

  /** @throws ERR_WRITE */
  async add(scores: Float32Array): Promise<void> {
    if (this.#bytes + scores.byteLength <= this.#limit) {
      this.#bytes += scores.byteLength;
      this.#kept.push(scores);
      return;
    }
    try {
      this.#folder ??= await mkdtemp(path.join(os.tmpdir(), `deeplab-scores-${process.pid}-`));
      const file = path.join(this.#folder, `${this.#kept.length}.f32`);
      await writeFile(file, new Uint8Array(scores.buffer, scores.byteOffset, scores.byteLength));
      this.#kept.push(file);
    } catch (cause) {
      const message = `Scores cannot be kept in ${os.tmpdir()}: ${(cause as Error).message}`;
      throw new DeepLabError('ERR_WRITE', message, { cause });
    }
  }

  /** Reading the same ones again right away, even at once, reads the file once. */
  async at(index: number): Promise<Float32Array> {
    const kept = this.#kept[index] as Float32Array | string;
    if (typeof kept !== 'string') return kept;
    if (this.#last?.index !== index) this.#last = { index, scores: read(kept) };
    return await this.#last.scores;
  }

  /** Removes the files. */
  async close(): Promise<void> {
    this.#last = undefined;
    this.#kept.length = 0;
    if (this.#folder !== undefined) await rm(this.#folder, { recursive: true, force: true });
  }
}

/** As this machine has written it, so that no byte need be turned. */
async function read(file: string): Promise<Float32Array> {
  try {
    // A copy, since a view must start at a multiple of four.
    return new Float32Array(Uint8Array.from(await readFile(file)).buffer);
  } catch (cause) {
    throw new DeepLabError('ERR_NOT_FOUND', `Kept scores cannot be read: ${(cause as Error).message}`, { cause });
  }
}
