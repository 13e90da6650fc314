// What a model has done and is doing, for whoever watches over a server.

import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import type { DeepLabError } from './errors';

/** How long something took, in milliseconds; zeros where it has not happened yet. Accurate to 0.1 %. */
export interface Latency {
  readonly count: number;
  readonly mean: number;
  readonly min: number;
  readonly max: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
}

/** The stages of a call, in their order. */
export const stages = ['decode', 'queue', 'compute', 'total'] as const;

/** What {@link DeepLab.stats} returns. */
export interface ModelStats {
  /** Calls whose images are being decoded. */
  readonly decoding: number;
  /** Calls that wait for their turn. */
  readonly queued: number;
  /** Calls that are computed. */
  readonly running: number;
  /** Calls that are done, since the model was loaded. */
  readonly completed: number;
  /** Calls that failed: bad images, too little memory. */
  readonly failed: number;
  /** Calls that were cancelled, by a signal, a time limit or `close`. */
  readonly cancelled: number;
  /** Calls that were turned away, ERR_QUEUE_FULL. */
  readonly refused: number;
  /** Runs of the network so far, by the number of images that they computed at once. */
  readonly batches: readonly { readonly size: number; readonly runs: number }[];
  /**
   * How long the calls took that are done. `decode`: from the file to pixels; `queue`: waiting for the device, and for
   * company; `compute`: network, CRF and transfers, of the whole batch; `total`: all of it.
   */
  readonly latency: Readonly<Record<(typeof stages)[number], Latency>>;
  readonly bytes: {
    /** Of the images and results of calls that are not done: see {@link QueueLimit}. */
    readonly requests: number;
    /** That the model holds in the process: weights in the device's layout, activations. As of its last run. */
    readonly model: number;
    /** The same on a GPU. */
    readonly device: number;
  };
}

/** Counts the calls of a model. */
export class CallStatistics {
  readonly #histograms = Object.fromEntries(stages.map((stage) => [stage, createHistogram()])) as Record<
    (typeof stages)[number],
    RecordableHistogram
  >;
  decoding = 0;
  #completed = 0;
  #failed = 0;
  #cancelled = 0;

  /** A call that is done, and the milliseconds that its stages took. */
  completed(milliseconds: Readonly<Record<(typeof stages)[number], number>>): void {
    this.#completed++;
    // In microseconds, of which a histogram takes no fewer than one.
    for (const stage of stages) this.#histograms[stage].record(Math.max(1, Math.round(milliseconds[stage] * 1000)));
  }

  failed({ code }: DeepLabError): void {
    if (code === 'ERR_ABORTED' || code === 'ERR_TIMEOUT' || code === 'ERR_CLOSED') this.#cancelled++;
    else if (code !== 'ERR_QUEUE_FULL') this.#failed++;
  }

  summary(): Pick<ModelStats, 'decoding' | 'completed' | 'failed' | 'cancelled' | 'latency'> {
    const latency = Object.fromEntries(stages.map((stage) => [stage, summarize(this.#histograms[stage])]));
    return {
      decoding: this.decoding,
      completed: this.#completed,
      failed: this.#failed,
      cancelled: this.#cancelled,
      latency: latency as ModelStats['latency'],
    };
  }
}

function summarize(histogram: RecordableHistogram): Latency {
  const { count } = histogram;
  const ms = (microseconds: number) => (count === 0 ? 0 : microseconds / 1000);
  return {
    count,
    mean: ms(histogram.mean),
    min: ms(histogram.min),
    max: ms(histogram.max),
    p50: ms(histogram.percentile(50)),
    p90: ms(histogram.percentile(90)),
    p99: ms(histogram.percentile(99)),
    p999: ms(histogram.percentile(99.9)),
  };
}
