// A dataset in the form of CamVid and a configuration that learns it in seconds: rectangles whose colours say their
// classes, and the smallest network that there is.

import { mkdirSync } from 'node:fs';
import path from 'node:path';
import sharp from 'sharp';
import type { TrainConfig } from '../lib';
import { Random } from '../lib/train/random';

const colors = [
  [40, 60, 200],
  [200, 50, 40],
  [30, 180, 60],
] as const;

/** Writes some images of 48x40 pixels as splits train and val of `folder`, the last rows void. */
export async function writeTrainingData(folder: string, { images = 6, voidRows = 1 } = {}): Promise<void> {
  const [width, height] = [48, 40];
  for (const split of ['train', 'val']) {
    for (const kind of ['images', 'labels']) mkdirSync(path.join(folder, split, kind), { recursive: true });
    for (let i = 0; i < images; i++) {
      const random = new Random(i + (split === 'val' ? 1000 : 0), 'order', 0);
      const labels = Buffer.alloc(width * height);
      for (let part = 0; part < 4; part++) {
        const [left, top] = [random.below(width), random.below(height)];
        const label = random.below(3);
        for (let y = top; y < height; y++) labels.fill(label, y * width + left, (y + 1) * width);
      }
      const pixels = Buffer.from(Array.from(labels).flatMap((label) => colors[label] as readonly number[]));
      labels.fill(11, (height - voidRows) * width);
      const file = (kind: string) => path.join(folder, split, kind, `scene${i}.png`);
      await sharp(pixels, { raw: { width, height, channels: 3 } }).toFile(file('images'));
      await sharp(labels, { raw: { width, height, channels: 1 } })
        .toColourspace('b-w')
        .toFile(file('labels'));
    }
  }
}

/** Eight iterations on that data, with two evaluations and four checkpoints. */
export function smallTraining(data: string, out: string, more: Partial<TrainConfig> = {}): TrainConfig {
  return {
    model: {
      architecture: 'deeplab_v3',
      backbone: 'mobilenet_v2',
      width_multiplier: '0.1',
      channel_divisor: '1',
      head_channels: '8',
      output_stride: '16',
      mean: '0.5,0.5,0.5',
      std: '0.5,0.5,0.5',
    },
    data: { format: 'camvid', path: data, workers: 1 },
    augment: { width: 33, height: 33 },
    batch: 2,
    iterations: 8,
    learningRate: 0.05,
    multipliers: { head: 1, headBias: 1 },
    batchNorm: 'trained',
    loss: 'image',
    device: 'cpu',
    precision: 'f32',
    threads: 1,
    evaluation: { every: 4, limit: 2 },
    checkpoint: { every: 2, minutes: null },
    out,
    ...more,
  };
}
