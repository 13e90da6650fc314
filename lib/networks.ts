// The networks that this library builds, with what they cost and what their papers say of them. Costs are counted from
// the same graph that computes.

import { type InspectOptions, sideRule } from './inspect';
import { fromNative, native } from './native';
import { checkOptions } from './options';
import { formatCount } from './quantity';
import { formatTable } from './table';

/** A network of the family. */
export interface NetworkInfo {
  /** Such as `v3-resnet101-aspp`. */
  readonly name: string;
  /** The keys of a weights file's `__metadata__` that make it (docs/weights.md), with 21 classes. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Multiply-accumulates for one image of the size asked for. */
  readonly macs: number;
  /** Trained parameters. */
  readonly parameters: number;
  /** The mIoU that was published, in percent, on PASCAL VOC 2012 val at one scale; null where none was. */
  readonly accuracy: number | null;
  /** The same after the fully connected CRF; null where it was not published. */
  readonly accuracyWithCrf: number | null;
  /** Where it was published. */
  readonly source: string;
}

/** The image size that costs are counted for. */
export type NetworksOptions = Pick<InspectOptions, 'width' | 'height'>;

interface Entry extends Omit<NetworkInfo, 'macs' | 'parameters'> {}

const v1 = 'arXiv 1412.7062';
const v2 = 'arXiv 1606.00915';
const v3 = 'arXiv 1706.05587';

const vgg = { backbone: 'vgg16', max_pool: 'kernel 3, stride 2, padding 1, ceil' };
const largeFov = { ...vgg, aspp_rates: '12', pool5a: 'average' };
const resnetV2 = {
  architecture: 'deeplab_v2',
  backbone: 'resnet101',
  stride_placement: '1x1',
  max_pool: 'kernel 3, stride 2, padding 1, ceil',
};
const resnetV3 = {
  architecture: 'deeplab_v3',
  backbone: 'resnet101',
  stride_placement: '3x3',
  output_stride: '16',
  aspp_rates: '6,12,18',
  multi_grid: '1,2,4',
};
const atStride8 = { output_stride: '8', aspp_rates: '12,24,36' };
const cascade = { ...resnetV3, aspp_fusion: 'none', aspp_rates: '', cascade_blocks: '3', multi_grid: '1,2,1' };
const torchvision = {
  ...resnetV3,
  ...atStride8,
  multi_grid: '1,1,1',
  head_conv: '3x3',
  dilation_start: 'second',
};
const mobilenet = {
  architecture: 'deeplab_v3',
  backbone: 'mobilenet_v2',
  output_stride: '16',
  stem_padding: 'same',
  upsample: 'align_corners',
};
const modelZoo = 'tensorflow/models, DeepLab model zoo; arXiv 1801.04381';

/** In the order of the papers. VGG-16's field-of-view variants: table 1 of the second paper. */
const entries: readonly Entry[] = [
  entry(
    'v1-vgg16-7x7',
    { ...vgg, architecture: 'deeplab_v1', fc6_kernel: '7', aspp_rates: '4', head_channels: '4096' },
    64.38,
    67.64,
    `${v1}, ${v2}`,
  ),
  entry(
    'v1-vgg16-4x4',
    { ...vgg, architecture: 'deeplab_v1', fc6_kernel: '4', aspp_rates: '4', head_channels: '4096' },
    59.8,
    63.74,
    `${v1}, ${v2}`,
  ),
  entry(
    'v1-vgg16-4x4-rate8',
    { ...vgg, architecture: 'deeplab_v1', fc6_kernel: '4', aspp_rates: '8', head_channels: '4096' },
    63.41,
    67.14,
    `${v1}, ${v2}`,
  ),
  entry('v1-vgg16-largefov', { ...largeFov, architecture: 'deeplab_v1' }, 62.25, 67.64, `${v1}, ${v2}`),
  entry('v2-vgg16-largefov', { ...largeFov, architecture: 'deeplab_v2' }, 65.76, 69.84, v2),
  entry('v2-vgg16-aspp-s', { ...vgg, architecture: 'deeplab_v2', aspp_rates: '2,4,8,12' }, 66.98, 69.73, v2),
  entry('v2-vgg16-aspp-l', { ...vgg, architecture: 'deeplab_v2', aspp_rates: '6,12,18,24' }, 68.96, 71.57, v2),
  entry('v2-resnet50-aspp', { ...resnetV2, backbone: 'resnet50', aspp_rates: '6,12,18,24' }, null, null, v2),
  entry(
    'v2-resnet101-largefov',
    { ...resnetV2, aspp_rates: '12' },
    75.54,
    null,
    `${v2}, with scales, COCO and augmentation`,
  ),
  entry(
    'v2-resnet101-aspp',
    { ...resnetV2, aspp_rates: '6,12,18,24' },
    76.35,
    77.69,
    `${v2}, with scales, COCO and augmentation`,
  ),
  entry(
    'v3-resnet50-torchvision',
    { ...torchvision, backbone: 'resnet50' },
    null,
    null,
    'torchvision: 66.4 on COCO val2017, VOC classes',
  ),
  entry('v3-resnet101-torchvision', torchvision, null, null, 'torchvision: 67.4 on COCO val2017, VOC classes'),
  entry('v3-resnet101-aspp', resnetV3, 77.21, null, v3),
  entry('v3-resnet101-aspp-stride8', { ...resnetV3, ...atStride8 }, 78.51, null, v3),
  entry('v3-resnet101-cascade', cascade, 76.66, null, v3),
  entry('v3-resnet101-cascade-stride8', { ...cascade, output_stride: '8' }, 78.05, null, v3),
  entry('v3-mobilenetv2', mobilenet, 75.32, null, modelZoo),
  entry('v3-mobilenetv2-half', { ...mobilenet, width_multiplier: '0.5', channel_divisor: '1' }, 71.83, null, modelZoo),
];

function entry(
  name: string,
  metadata: Readonly<Record<string, string>>,
  accuracy: number | null,
  accuracyWithCrf: number | null,
  source: string,
): Entry {
  return { name, metadata, accuracy, accuracyWithCrf, source };
}

/** What costs do not depend on, but a config must have. */
const anyPreprocessing = {
  classes: Array.from({ length: 21 }, (_, i) => `class${i}`).join(','),
  channel_order: 'rgb',
  value_range: '0..1',
  mean: '0,0,0',
  std: '1,1,1',
};

/**
 * The networks of the three papers' line that can be built, with their cost and published accuracy. Any other
 * combination of their parts, such as other rates, is described in the `__metadata__` of a weights file.
 *
 * @throws ERR_INVALID_ARGUMENT, ERR_NATIVE_ADDON.
 *
 * @example
 * ```ts
 * import { networks } from 'deeplab';
 *
 * for (const { name, macs, parameters } of networks({ width: 513, height: 513 })) {
 *   console.log(name, `${(macs / 1e9).toFixed(1)} GMAC`, `${(parameters / 1e6).toFixed(1)} M parameters`);
 * }
 * ```
 */
export function networks(options: NetworksOptions = {}): readonly NetworkInfo[] {
  checkOptions(options, { width: sideRule, height: sideRule });
  const { width = 513, height = 513 } = options;
  const addon = native();
  try {
    return entries.map((network) => {
      const { macs, parameters } = addon.inspectConfig({ ...network.metadata, ...anyPreprocessing }, width, height);
      return { ...network, macs, parameters };
    });
  } catch (error) {
    throw fromNative(error);
  }
}

/** The networks as a table. */
export function formatNetworks(list: readonly NetworkInfo[]): string {
  const percent = (value: number | null) => (value === null ? '' : value.toFixed(2));
  return formatTable(
    [
      { title: 'network', align: 'left' },
      { title: 'MACs', align: 'right' },
      { title: 'parameters', align: 'right' },
      { title: 'mIoU', align: 'right' },
      { title: 'with CRF', align: 'right' },
      { title: 'published in', align: 'left' },
    ],
    list.map(({ name, macs, parameters, accuracy, accuracyWithCrf, source }) => [
      name,
      formatCount(macs),
      formatCount(parameters),
      percent(accuracy),
      percent(accuracyWithCrf),
      source,
    ]),
  );
}
