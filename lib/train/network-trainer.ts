// A native trainer with promises that a signal cancels, and its tensors by name. What is learnt, and how fast, is the
// loop's (run.ts).

import { awaitNative, awaitRequest } from '../abort';
import {
  type NativeParameter,
  type NativeParameterValues,
  type NativeTrainer,
  type NativeTrainerOptions,
  type NativeUpdate,
  native,
} from '../native';

/** A batch of crops. */
export interface TrainingBatch {
  /** uint8 [N,H,W,3]. */
  readonly pixels: Uint8Array;
  /** uint8 [N,H,W]. */
  readonly labels: Uint8Array;
}

/** A network that learns. */
export class NetworkTrainer {
  readonly native: NativeTrainer;
  readonly parameters: readonly NativeParameter[];

  private constructor(trainer: NativeTrainer) {
    this.native = trainer;
    this.parameters = trainer.parameters;
  }

  /** @throws What {@link NativeTrainer} can fail with, as a DeepLabError; ERR_ABORTED. */
  static async create(file: string, options: NativeTrainerOptions, signal: AbortSignal): Promise<NetworkTrainer> {
    const make = (making: AbortSignal) => awaitNative(() => native().createTrainer(file, options), making);
    return new NetworkTrainer(await within(signal, make));
  }

  /**
   * Forward and backward, to a loss. The batch is copied before this returns. Neither this nor an update is ever cancelled:
   * half a step would have changed running statistics, and a network is either of one iteration or of the next.
   */
  async accumulate(
    { pixels, labels }: TrainingBatch,
    options: { readonly scale: number; readonly seed: number },
  ): Promise<number> {
    return (await this.#request(() => this.native.accumulate(pixels, labels, options))).loss;
  }

  async update(options: NativeUpdate): Promise<void> {
    await this.#request(() => this.native.update(options));
  }

  async read(index: number, values: NativeParameterValues): Promise<Float32Array> {
    return (await this.#request(() => this.native.read(index, values))).data;
  }

  async write(index: number, values: NativeParameterValues, data: Float32Array): Promise<void> {
    await this.#request(() => this.native.write(index, values, data));
  }

  async close(): Promise<void> {
    this.native.abort();
    await this.native.close();
  }

  #request<T>(start: () => { readonly id: number; readonly result: Promise<T> }): Promise<T> {
    return awaitRequest({ start, cancel: (id) => this.native.cancel(id) }, new AbortController().signal);
  }
}

/**
 * Makes a call with a signal of its own, which says nothing any more when the call is over: the training's own lives for
 * hours, and its end must neither end what was made long ago nor be listened to by every call that was.
 */
async function within<T>(signal: AbortSignal, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
  signal.throwIfAborted();
  const own = new AbortController();
  const stop = () => own.abort(signal.reason);
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await call(own.signal);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
