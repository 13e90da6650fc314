// The smallest network that there is, for tests of files: MobileNetV2 of a tenth of the width, 300 kB.

import { DeepLab } from '../lib';
import { mobileNetChannels, mobileNetUnits } from '../lib/import/layouts/mobilenet';
import { classifierShape, headUnits } from '../lib/import/layouts/v3-head';
import { type StoredTensor, writeSafetensors } from './safetensors';
import { elementOf } from './synthetic-archives';

/** Element `index` of a tensor. */
export type ElementOf = (name: string, index: number) => number;

/** What weights there are where nothing else is said. */
export const smallElement: ElementOf = (name, index) => elementOf(name, index) - 0.2;

/** Writes the network as one of our weights files. */
export function writeSmallModel(file: string, dtype: 'F32' = 'F32', element = smallElement): void {
  const width = { multiplier: 0.1, divisor: 1 };
  const head = { inputs: mobileNetChannels(width), channels: 8, rates: 0, pooling: true, conv: false };
  const shapes: [string, readonly number[]][] = [];
  for (const { conv, bn, shape } of [...mobileNetUnits(width), ...headUnits(head)]) {
    shapes.push([`${conv}.weight`, shape]);
    for (const part of ['weight', 'bias', 'running_mean', 'running_var'])
      shapes.push([`${bn}.${part}`, [shape[0] ?? 0]]);
  }
  shapes.push(['classifier.weight', classifierShape(3, 8)], ['classifier.bias', [3]]);
  const tensors: Record<string, StoredTensor> = {};
  for (const [name, shape] of shapes) {
    const count = shape.reduce((product, size) => product * size, 1);
    tensors[name] = { dtype, shape, data: Float32Array.from({ length: count }, (_, i) => element(name, i)) };
  }
  writeSafetensors(
    file,
    {
      architecture: 'deeplab_v3',
      backbone: 'mobilenet_v2',
      width_multiplier: '0.1',
      channel_divisor: '1',
      head_channels: '8',
      aspp_rates: '',
      classes: 'sky,road,tree',
      channel_order: 'rgb',
      value_range: '0..1',
      mean: '0.5,0.5,0.5',
      std: '0.5,0.5,0.5',
    },
    tensors,
  );
}

/** The smallest model, of which each class has its pixels in the image: left to itself, it takes all for one class. */
export async function writeBalancedModel(file: string, image: string): Promise<void> {
  writeSmallModel(file);
  const plain = await DeepLab.load(file, { device: 'cpu', precision: 'f32', threads: 1 });
  const { data = new Float32Array() } = (await plain.segment(image, { logits: true })).logits ?? {};
  await plain.close();
  const cells = data.length / 3;
  const means = [0, 1, 2].map((id) => data.subarray(id * cells, (id + 1) * cells).reduce((a, b) => a + b, 0) / cells);
  const spread = Math.max(...data.map((logit, at) => Math.abs(logit - (means[Math.floor(at / cells)] as number))));
  writeSmallModel(file, 'F32', (name, at) => {
    const element = smallElement(name, at);
    if (name === 'classifier.bias') return (3 / spread) * (element - (means[at] as number));
    return name === 'classifier.weight' ? (3 / spread) * element : element;
  });
}
