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

  private constructor(trainer: NativeTrainer) {
    this.native = trainer;
  }

  /** @throws What {@link NativeTrainer} can fail with, as a DeepLabError; ERR_ABORTED. */
  static async create(file: string, options: NativeTrainerOptions, signal: AbortSignal): Promise<NetworkTrainer> {
    return new NetworkTrainer(await awaitNative(() => native().createTrainer(file, options), signal));
  }

  get parameters(): readonly NativeParameter[] {
    return this.native.parameters;
  }

  /** Forward and backward, to a loss. The batch is copied before this returns. */
  async accumulate(
    { pixels, labels }: TrainingBatch,
    options: { readonly scale: number; readonly seed: number },
    signal: AbortSignal,
  ): Promise<number> {
    const start = () => this.native.accumulate(pixels, labels, options);
    // The signal lives as long as the training: each request has one of its own, which is forgotten with it.
    const request = new AbortController();
    const stop = () => request.abort(signal.reason);
    signal.throwIfAborted();
    signal.addEventListener('abort', stop, { once: true });
    try {
      return (await this.#request(start, request.signal)).loss;
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  /** Never cancelled: a network is either of one iteration or of the next. */
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

  #request<T>(
    start: () => { readonly id: number; readonly result: Promise<T> },
    signal = new AbortController().signal,
  ): Promise<T> {
    return awaitRequest({ start, cancel: (id) => this.native.cancel(id) }, signal);
  }
}
