// From the first call to the last of an object that holds native memory: calls made before `close` are finished, calls
// made after it are refused.

import { DeepLabError } from './errors';
import { fromNative } from './native';
import { booleanRule, type OptionRule } from './options';

/** Options of {@link DeepLab.close} and {@link DenseCrf.close}. */
export interface CloseOptions {
  /** Whether calls that are not done are given up, ERR_CLOSED, instead of being finished. Default false. */
  readonly abort?: boolean | undefined;
}

export const closeRules: Readonly<Record<keyof CloseOptions, OptionRule>> = { abort: booleanRule };

/** A native object with a queue. */
interface Closable {
  /** Frees what it holds, when its calls are done. */
  close(): Promise<void>;
  /** Gives up all of its calls. */
  abort(): void;
}

/** The calls of one object that can be closed. */
export class Lifetime {
  readonly #subject: string;
  readonly #native: Closable;
  readonly #running = new Set<Promise<unknown>>();
  #closing: Promise<void> | undefined;

  /**
   * @param subject - What errors call the object: `model`.
   * @param native - What the object holds; closed once, when no call runs any more.
   */
  constructor(subject: string, native: Closable) {
    this.#subject = subject;
    this.#native = native;
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

  /**
   * Waits for the calls made before, then frees. Every call returns the same promise.
   *
   * @param abort - Whether these calls are given up.
   */
  close(abort = false): Promise<void> {
    if (abort) this.#native.abort();
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.allSettled(this.#running);
    try {
      await this.#native.close();
    } catch (error) {
      throw fromNative(error);
    }
  }
}
