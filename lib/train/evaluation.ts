// How well the network does in the middle of a training: its weights are evaluated as any model's.

import type { Device } from '../device';
import { evaluate } from '../evaluate';
import type { Config } from './config';
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
  const choice = { format: data.format, path: data.path, split: evaluation.split };
  const { miou, pixelAccuracy, iou, images } = await evaluate(file, choice, {
    limit: evaluation.limit ?? undefined,
    device: device as Device,
    precision,
    threads: threads ?? undefined,
    cudnn,
    signal,
  });
  const seconds = Math.round(performance.now() - start) / 1000;
  return { miou, pixelAccuracy, iou, images: images.length, seconds };
}
