// How well the network does in the middle of a training: its weights are loaded as any model's, and their labels of a split
// compared with the true ones.

import { DeepLab } from '../deeplab';
import type { Device } from '../device';
import { Confusion } from '../evaluate/confusion';
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
  const confusion = new Confusion(images.classes.length);
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
      confusion.add(labels, found.labels);
    }
  } finally {
    await model.close();
  }
  const seconds = Math.round(performance.now() - start) / 1000;
  const { miou, pixelAccuracy, iou } = confusion.scores();
  return { miou, pixelAccuracy, iou, images: images.names.length, seconds };
}
