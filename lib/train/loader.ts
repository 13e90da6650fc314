// Batches of crops, made in threads ahead of their use. Which images a batch has, and what is random about their crops,
// depends on the seed and on the batch's number alone: not on the threads, nor on where a training began.

import os from 'node:os';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { DeepLabError, type DeepLabErrorCode } from '../errors';
import type { Padding } from './augmentation';
import type { Config } from './config';
import type { LoaderAnswer, LoaderRequest, LoaderThreadInput } from './loader-thread';
import type { TrainingBatch } from './network-trainer';
import { Random, shuffled } from './random';

/** A batch, and what it was made of. */
export interface LoadedBatch extends TrainingBatch {
  /** Indices of the images, in the order of the batch. */
  readonly images: readonly number[];
}

/** A batch in the making. */
interface Pending {
  readonly images: readonly number[];
  readonly buffer: number;
  readonly done: Promise<unknown>;
}

/** As from lib/, which has no JavaScript, as from dist/. */
const script = path.join(__dirname, '..', '..', 'dist', 'train', 'loader-thread.js');

/** Threads that keep batches ready. */
export class Loader {
  readonly #config: Config;
  readonly #imageCount: number;
  readonly #threads: Worker[];
  readonly #buffers: LoaderThreadInput['buffers'];
  readonly #requests = new Map<
    number,
    { resolve(answer: Uint32Array | undefined): void; reject(error: Error): void }
  >();
  readonly #pending: Pending[] = [];
  #order: { readonly epoch: number; readonly images: Uint32Array } | undefined;
  #nextBatch: number;
  #nextId = 0;
  #failure: Error | undefined;
  /** Of the batch that `next` gave last; it is filled anew when `next` is called again. */
  #lent: number | undefined;

  /**
   * @param imageCount - Of the split.
   * @param firstBatch - The number of the first batch that is wanted.
   */
  constructor(config: Config, imageCount: number, padding: Padding, firstBatch: number) {
    const { data, augment, batch, seed } = config;
    this.#config = config;
    this.#imageCount = imageCount;
    this.#nextBatch = firstBatch;
    const area = augment.width * augment.height;
    this.#buffers = buffersOf(data.prefetch + 1, area * batch);
    const threads = data.workers ?? Math.max(1, Math.min(8, os.availableParallelism() - 1));
    const { format, path: place, split, limit } = data;
    const workerData: LoaderThreadInput = {
      data: { format, path: place, split, limit },
      augmentation: augment,
      padding,
      seed,
      cacheBytes: Math.floor(data.cacheBytes / threads),
      buffers: this.#buffers,
    };
    this.#threads = Array.from({ length: threads }, () => this.#start(workerData));
  }

  #start(workerData: LoaderThreadInput): Worker {
    const thread = new Worker(script, { workerData });
    // It holds the process only while somebody waits for it.
    thread.unref();
    thread.on('message', (answer: LoaderAnswer) => {
      const request = this.#requests.get(answer.id);
      this.#requests.delete(answer.id);
      if (this.#requests.size === 0) for (const each of this.#threads) each.unref();
      if ('error' in answer) {
        const { code, message } = answer.error;
        request?.reject(new DeepLabError(code as DeepLabErrorCode, message));
      } else request?.resolve(answer.counts);
    });
    const fail = (message: string, cause?: Error) => {
      this.#failure ??= new DeepLabError('ERR_INTERNAL', `A thread that loads images ended: ${message}`, { cause });
      for (const { reject } of this.#requests.values()) reject(this.#failure);
      this.#requests.clear();
    };
    thread.on('error', (cause) => fail(cause.message, cause));
    thread.on('exit', (code) => fail(`exit code ${code}`));
    return thread;
  }

  /** The next batch. Its arrays are overwritten after the next call. */
  async next(): Promise<LoadedBatch> {
    this.#lent = undefined;
    this.#fill();
    const { images, buffer, done } = this.#pending.shift() as Pending;
    await done;
    this.#lent = buffer;
    this.#fill();
    const { pixels, labels } = this.#buffers[buffer] as LoaderThreadInput['buffers'][number];
    return { pixels: new Uint8Array(pixels), labels: new Uint8Array(labels), images };
  }

  /** Has every free buffer filled. */
  #fill(): void {
    const used = new Set(this.#pending.map(({ buffer }) => buffer));
    if (this.#lent !== undefined) used.add(this.#lent);
    for (const buffer of this.#buffers.keys()) {
      if (!used.has(buffer)) this.#pending.push(this.#make(this.#nextBatch++, buffer));
    }
  }

  #make(number: number, buffer: number): Pending {
    const { batch } = this.#config;
    const slots = Array.from({ length: batch }, (_, slot) => ({ slot, position: number * batch + slot }));
    const images = slots.map(({ position }) => this.#imageAt(position));
    const done = Promise.all(
      slots.map(({ slot, position }) => {
        return this.#ask({ kind: 'crop', image: images[slot] as number, position, buffer, slot });
      }),
    );
    // Whoever waits for it hears of a failure; until then it is nobody's.
    done.catch(() => {});
    return { images, buffer, done };
  }

  /** The image of a position: every epoch has an order of its own. */
  #imageAt(position: number): number {
    const epoch = Math.floor(position / this.#imageCount);
    if (this.#order?.epoch !== epoch) {
      this.#order = { epoch, images: shuffled(this.#imageCount, new Random(this.#config.seed, 'order', epoch)) };
    }
    return this.#order.images[position % this.#imageCount] as number;
  }

  #ask(request: Omit<Extract<LoaderRequest, { kind: 'crop' }>, 'id'> | { kind: 'count'; image: number }) {
    return new Promise<Uint32Array | undefined>((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure);
      const id = this.#nextId++;
      this.#requests.set(id, { resolve, reject });
      // Always the same thread for an image, which then has it already.
      const thread = this.#threads[request.image % this.#threads.length] as Worker;
      thread.ref();
      thread.postMessage({ ...request, id });
    });
  }

  /** Pixels of each label 0..255 in each image, which are then in memory, as far as they may be. */
  async counts(signal: AbortSignal): Promise<readonly Uint32Array[]> {
    const aborted = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    });
    const all = Array.from({ length: this.#imageCount }, (_, image) => this.#ask({ kind: 'count', image }));
    return (await Promise.race([Promise.all(all), aborted])) as Uint32Array[];
  }

  async close(): Promise<void> {
    for (const thread of this.#threads) thread.removeAllListeners('exit');
    await Promise.all(this.#threads.map((thread) => thread.terminate()));
  }
}

/** @throws ERR_OUT_OF_MEMORY */
function buffersOf(count: number, pixels: number): LoaderThreadInput['buffers'] {
  try {
    return Array.from({ length: count }, () => ({
      pixels: new SharedArrayBuffer(3 * pixels),
      labels: new SharedArrayBuffer(pixels),
    }));
  } catch (cause) {
    const message = `${count} batches of ${4 * pixels} bytes, which are kept ready, are more than there is memory for`;
    throw new DeepLabError('ERR_OUT_OF_MEMORY', message, { cause });
  }
}
