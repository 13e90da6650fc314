// The convolutions of MobileNetV2 (Sandler et al. 2018, table 2) up to its 17th bottleneck, which is where DeepLab v3
// stops, as every layout has them under its own names.

import type { Archive } from '../archive';
import { type ConvolutionUnit, unsupported } from './layout';

/** Channels of the 17 bottlenecks at width 1. */
const outputs = [16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320];
const stemOutputs = 32;
const expansion = 6;

/** Width multipliers that are tried, and what channels are rounded to multiples of: 8 in slim, 1 in some TFLite files. */
const widths = [1, 0.75, 0.5, 0.35, 0.25, 1.3, 1.4];
const divisors = [8, 1, 2, 4, 16, 32];

/** How wide a network is. */
export interface MobileNetWidth {
  readonly multiplier: number;
  readonly divisor: number;
}

/** One convolution, with where it stands. */
export interface MobileNetUnit extends ConvolutionUnit {
  readonly part: 'stem' | 'expand' | 'depthwise' | 'project';
  /** From 0 on. */
  readonly block: number;
}

/** To the nearest multiple, but not less than nine tenths (tensorflow/models, slim/nets/mobilenet/mobilenet.py). */
function scaled(channels: number, { multiplier, divisor }: MobileNetWidth): number {
  const exact = channels * multiplier;
  const rounded = Math.max(divisor, Math.floor((exact + divisor / 2) / divisor) * divisor);
  return rounded < 0.9 * exact ? rounded + divisor : rounded;
}

/**
 * The width at which the bottlenecks have the channels that an archive's have.
 *
 * @param channels - Of the first convolution, and of the 17 bottlenecks.
 * @throws ERR_UNSUPPORTED_MODEL if there is none.
 */
export function mobileNetWidth(archive: Archive, channels: readonly number[]): MobileNetWidth {
  const expected = [stemOutputs, ...outputs];
  const measured = (channels.at(-1) ?? 0) / (outputs.at(-1) ?? 1);
  for (const multiplier of [...widths, measured]) {
    for (const divisor of divisors) {
      const width = { multiplier, divisor };
      if (expected.every((count, i) => scaled(count, width) === channels[i])) return width;
    }
  }
  throw unsupported(archive, `has a MobileNetV2 whose channels (${channels.join(', ')}) fit no width multiplier`);
}

/** Channels of the last bottleneck, which the head reads. */
export function mobileNetChannels(width: MobileNetWidth): number {
  return scaled(outputs.at(-1) ?? 0, width);
}

/** All convolutions, from the image on. Kernels of depthwise ones are [channels,1,3,3]. */
export function* mobileNetUnits(width: MobileNetWidth): Generator<MobileNetUnit> {
  let inputs = scaled(stemOutputs, width);
  yield { part: 'stem', block: 0, conv: 'stem.conv', bn: 'stem.bn', shape: [inputs, 3, 3, 3] };
  for (const [block, channels] of outputs.entries()) {
    const unit = (part: 'expand' | 'depthwise' | 'project', shape: readonly number[]): MobileNetUnit => {
      return { part, block, conv: `blocks.${block}.${part}.conv`, bn: `blocks.${block}.${part}.bn`, shape };
    };
    const expanded = block === 0 ? inputs : inputs * expansion;
    if (block > 0) yield unit('expand', [expanded, inputs, 1, 1]);
    yield unit('depthwise', [expanded, 1, 3, 3]);
    const projected = scaled(channels, width);
    yield unit('project', [projected, expanded, 1, 1]);
    inputs = projected;
  }
}
