// How well the network does in the middle of a training: its weights are loaded as any model's, and their labels of a split
// compared with the true ones.

import { DeepLab } from '../deeplab';
import type { Device } from '../device';
import type { Config } from './config';
import { openImages } from './images';
import type { EvaluationRecord } from './log';

/** What an evaluation measures. */
export type Measured = Omit<EvaluationRecord, 'kind' | 'iteration' | 'best'>;

/** Evaluates the weights in `file`, at one scale, as the configuration says. */
export async function evaluateTraining(
  file: string,
  { data, evaluation, device, precision, threads }: Config,
  cudnn: string | undefined,
  signal: AbortSignal,
): Promise<Measured> {
  const start = performance.now();
  const { split, limit } = evaluation;
  const images = await openImages({ ...data, split, limit });
  const classes = images.classes.length;
  const confusion = new Float64Array(classes * classes);
  const model = await DeepLab.load(file, {
    device: device as Device,
    precision,
    threads: threads ?? undefined,
    cudnn,
    signal,
  });
  try {
    for (const index of images.names.keys()) {
      const { pixels, labels, width, height } = await images.read(index);
      const found = await model.segment({ data: pixels, width, height, channels: 3 }, { signal });
      for (const [i, label] of labels.entries()) {
        if (label >= classes) continue;
        const cell = label * classes + (found.labels[i] as number);
        confusion[cell] = (confusion[cell] as number) + 1;
      }
    }
  } finally {
    await model.close();
  }
  const seconds = Math.round(performance.now() - start) / 1000;
  return { ...scores(confusion, classes), images: images.names.length, seconds };
}

function scores(confusion: Float64Array, classes: number): Pick<Measured, 'miou' | 'pixelAccuracy' | 'iou'> {
  const cell = (truth: number, found: number) => confusion[truth * classes + found] as number;
  const ids = Array.from({ length: classes }, (_, id) => id);
  const iou = ids.map((id) => {
    const union = ids.reduce((sum, other) => sum + cell(id, other) + cell(other, id), 0) - cell(id, id);
    return union === 0 ? null : cell(id, id) / union;
  });
  const known = iou.filter((value) => value !== null);
  const right = ids.reduce((sum, id) => sum + cell(id, id), 0);
  const all = confusion.reduce((sum, count) => sum + count, 0);
  return { miou: known.reduce((sum, value) => sum + value, 0) / known.length, pixelAccuracy: right / all, iou };
}
