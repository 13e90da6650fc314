// From the first call to the last of an object that holds native memory: calls made before `close` are finished, calls
// made after it are refused.

import { DeepLabError } from './errors';
import { fromNative } from './native';

/** The calls of one object that can be closed. */
export class Lifetime {
  readonly #subject: string;
  readonly #free: () => Promise<void>;
  readonly #running = new Set<Promise<unknown>>();
  #closing: Promise<void> | undefined;

  /**
   * @param subject - What errors call the object: `model`.
   * @param free - Frees what the object holds; called once, when no call runs any more.
   */
  constructor(subject: string, free: () => Promise<void>) {
    this.#subject = subject;
    this.#free = free;
  }

  /** @throws ERR_CLOSED after `close` was called. */
  check(): void {
    if (this.#closing !== undefined) throw new DeepLabError('ERR_CLOSED', `The ${this.#subject} is closed`);
  }

  /**
   * Runs `call`, for which `close` waits.
   *
   * @throws ERR_CLOSED after `close` was called.
   */
  async run<T>(call: () => Promise<T>): Promise<T> {
    this.check();
    const run = call();
    this.#running.add(run);
    try {
      return await run;
    } finally {
      this.#running.delete(run);
    }
  }

  /** Waits for the calls made before, then frees. Every call returns the same promise. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.allSettled(this.#running);
    try {
      await this.#free();
    } catch (error) {
      throw fromNative(error);
    }
  }
}
