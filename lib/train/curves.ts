// The curves of a training, from its log: loss, learning rate and mIoU over the iterations.

import { type PlotPanel, plot } from '../plot';
import type { EvaluationRecord, LogRecord, StepRecord } from './log';

/** More points than this are as wide as a pixel: neighbours are averaged. */
const mostPoints = 800;

/** A PNG with a panel for each of them; mIoU only where there were evaluations. */
export async function drawCurves(records: readonly LogRecord[]): Promise<Buffer> {
  const steps = records.filter((record): record is StepRecord => record.kind === 'step');
  const evaluations = records.filter((record): record is EvaluationRecord => record.kind === 'evaluation');
  const size = Math.max(1, Math.ceil(steps.length / mostPoints));
  const x = averaged(
    steps.map(({ iteration }) => iteration),
    size,
  );
  const losses = steps.map(({ loss }) => loss);
  const panels: PlotPanel[] = [
    {
      title: 'Loss',
      x: 'iteration',
      series: [
        { name: 'loss', x, y: averaged(losses, size), color: '#b8cfe0', dots: false },
        { name: 'smoothed', x, y: averaged(smoothed(losses), size), color: '#0072b2', dots: false },
      ],
    },
    {
      title: 'Learning rate',
      x: 'iteration',
      series: [
        {
          name: 'learning rate',
          x,
          y: averaged(
            steps.map(({ learningRate }) => learningRate),
            size,
          ),
          dots: false,
        },
      ],
    },
  ];
  if (evaluations.length > 0) {
    panels.push({
      title: 'mIoU',
      x: 'iteration',
      y: '%',
      series: [
        {
          name: 'mIoU',
          x: evaluations.map(({ iteration }) => iteration),
          y: evaluations.map(({ miou }) => 100 * miou),
        },
      ],
    });
  }
  return await plot({ panels });
}

/** Means of `size` neighbours. */
function averaged(values: readonly number[], size: number): number[] {
  const means: number[] = [];
  for (let from = 0; from < values.length; from += size) {
    const part = values.slice(from, from + size);
    means.push(part.reduce((sum, value) => sum + value, 0) / part.length);
  }
  return means;
}

/** An exponential mean over about a fiftieth of them. */
function smoothed(values: readonly number[]): number[] {
  const newest = Math.min(1, Math.max(0.005, 50 / values.length));
  let mean = values[0] ?? 0;
  return values.map((value) => {
    mean += newest * (value - mean);
    return mean;
  });
}
