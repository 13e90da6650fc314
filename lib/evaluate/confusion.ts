// Which classes are taken for which, and the figures that benchmarks make of it. Long, Shelhamer and Darrell, "Fully
// Convolutional Networks", 2015, section 5, define all four.

import { invalidArgument } from '../errors';

/** How well labels agree with the true ones, all 0..1, over the pixels that are not void. NaN where there are none. */
export interface Scores {
  /** Intersection over union of each class; null for a class that neither the truth nor the prediction has. */
  readonly iou: readonly (number | null)[];
  /** Mean of those that are not null. */
  readonly miou: number;
  /** Part of the pixels that are right. */
  readonly pixelAccuracy: number;
  /** Mean, over the classes that the truth has, of the part of their pixels that are right. */
  readonly meanAccuracy: number;
  /** Mean of the IoUs, each weighted by the class's part of the true pixels. */
  readonly frequencyWeightedIou: number;
}

/** A confusion matrix: pixels by their true and their predicted class. */
export class Confusion {
  readonly classes: number;
  /** [truth, prediction], row by row. */
  readonly counts: Float64Array;

  constructor(classes: number, counts?: readonly number[]) {
    this.classes = classes;
    this.counts = new Float64Array(classes * classes);
    if (counts !== undefined) this.counts.set(counts);
  }

  /**
   * Counts the pixels of an image; those whose true label is no class, such as 255, count for nothing.
   *
   * @throws ERR_INVALID_ARGUMENT for predictions that are no class, or not as many.
   */
  add(truth: Uint8Array, prediction: Uint8Array): void {
    const { classes, counts } = this;
    if (prediction.length !== truth.length) {
      throw invalidArgument('prediction.length', String(truth.length), prediction.length);
    }
    for (let pixel = 0; pixel < truth.length; pixel++) {
      const label = truth[pixel] as number;
      if (label >= classes) continue;
      const found = prediction[pixel] as number;
      if (found >= classes) throw invalidArgument(`prediction[${pixel}]`, `class below ${classes}`, found);
      const cell = label * classes + found;
      counts[cell] = (counts[cell] as number) + 1;
    }
  }

  /** Counts what another one has counted. */
  merge({ counts }: Confusion): void {
    for (const [cell, count] of counts.entries()) this.counts[cell] = (this.counts[cell] as number) + count;
  }

  /** A row per true class. */
  rows(): number[][] {
    const { classes, counts } = this;
    return Array.from({ length: classes }, (_, id) => [...counts.subarray(id * classes, (id + 1) * classes)]);
  }

  scores(): Scores {
    const rows = this.rows();
    const hits = rows.map((row, id) => row[id] as number);
    const truths = rows.map((row) => sum(row));
    const found = rows.map((_, id) => sum(rows.map((row) => row[id] as number)));
    const iou = hits.map((hit, id) => {
      const union = (truths[id] as number) + (found[id] as number) - hit;
      return union === 0 ? null : hit / union;
    });
    const pixels = sum(truths);
    const accuracies = hits.map((hit, id) => hit / (truths[id] as number)).filter((value) => !Number.isNaN(value));
    return {
      iou,
      miou: mean(iou.filter((value) => value !== null)),
      pixelAccuracy: sum(hits) / pixels,
      meanAccuracy: mean(accuracies),
      frequencyWeightedIou: sum(iou.map((value, id) => ((truths[id] as number) * (value ?? 0)) / pixels)),
    };
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function mean(values: readonly number[]): number {
  return sum(values) / values.length;
}
