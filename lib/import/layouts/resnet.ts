// The convolutions of the bottleneck ResNets (He et al. 2016, table 1), and of DeepLab v2's head on them, as every layout
// has them under its own names.

import type { Archive } from '../archive';
import { type ConvolutionUnit, type Selection, unsupported } from './layout';
import { asStored, type Turn } from './turn';

/** One convolution, with where it stands. */
export interface ResNetUnit extends ConvolutionUnit {
  /** 0 for the first convolution, else 1 to 4. */
  readonly layer: number;
  /** From 0 on. */
  readonly block: number;
  readonly part: 'stem' | 'conv1' | 'conv2' | 'conv3' | 'downsample';
}

/** The backbones that there are, by the number of bottlenecks in layer 3. */
const backbones: ReadonlyMap<number, 'resnet50' | 'resnet101'> = new Map([
  [6, 'resnet50'],
  [23, 'resnet101'],
]);

/** What the backbones with so many bottlenecks in each of the four layers have. */
export type ResNetBackbone = 'resnet50' | 'resnet101';

/** Channels of the last layer, which the head reads. */
export const resNetChannels = 2048;

/**
 * Which of the backbones an archive has.
 *
 * @param hasBlock - Whether layer 3 has the bottleneck of this number, from 0 on.
 * @throws ERR_UNSUPPORTED_MODEL if it is neither of them.
 */
export function resNetBackbone(archive: Archive, hasBlock: (block: number) => boolean): ResNetBackbone {
  let blocks = 0;
  while (hasBlock(blocks)) blocks++;
  const backbone = backbones.get(blocks);
  if (backbone !== undefined) return backbone;
  throw unsupported(archive, `has a ResNet with ${blocks} bottlenecks in layer 3: expected 6 (ResNet-50) or 23 (101)`);
}

/** All convolutions, from the image on. */
export function* resNetUnits(backbone: ResNetBackbone): Generator<ResNetUnit> {
  yield { layer: 0, block: 0, part: 'stem', conv: 'conv1', bn: 'bn1', shape: [64, 3, 7, 7] };
  let inputs = 64;
  for (const [i, blocks] of [3, 4, backbone === 'resnet50' ? 6 : 23, 3].entries()) {
    const layer = i + 1;
    const width = 64 << i;
    const outputs = 4 * width;
    for (let block = 0; block < blocks; block++) {
      const name = `layer${layer}.${block}`;
      const unit = (part: 'conv1' | 'conv2' | 'conv3', shape: readonly number[]): ResNetUnit => {
        return { layer, block, part, conv: `${name}.${part}`, bn: `${name}.bn${part.slice(4)}`, shape };
      };
      yield unit('conv1', [width, inputs, 1, 1]);
      yield unit('conv2', [width, width, 3, 3]);
      yield unit('conv3', [outputs, width, 1, 1]);
      if (block === 0) {
        const [conv, bn] = [`${name}.downsample.0`, `${name}.downsample.1`];
        yield { layer, block, part: 'downsample', conv, bn, shape: [outputs, inputs, 1, 1] };
      }
      inputs = outputs;
    }
  }
}

/** The four branches of DeepLab v2's ASPP, given the names of each one's kernel and bias in the archive. */
export function takeAspp(
  selection: Selection,
  classes: number,
  names: (branch: number) => readonly [weight: string, bias: string],
  turn: Turn = asStored,
): void {
  for (let branch = 0; branch < 4; branch++) {
    const target = `aspp.branches.${branch}`;
    const [weight, bias] = names(branch);
    selection.take(`${target}.weight`, weight, [classes, resNetChannels, 3, 3], turn);
    selection.take(`${target}.bias`, bias, [classes]);
  }
}
