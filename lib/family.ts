// The family: the networks of the three papers' line by name, with what makes each of them and what was published of its
// accuracy. What they cost is networks.ts's, which weights there are for them manifest.ts's.

/** A network of the family, as it is known without building it. */
export interface FamilyMember {
  /** Such as `v3-resnet101-aspp`. */
  readonly name: string;
  /** The keys of a weights file's `__metadata__` that make it (docs/weights.md), with 21 classes. */
  readonly metadata: Readonly<Record<string, string>>;
  /**
   * The mIoU that was published, in percent, on PASCAL VOC 2012 val, at one scale unless `source` says otherwise; null
   * where none was.
   */
  readonly accuracy: number | null;
  /** The same after the fully connected CRF; null where it was not published. */
  readonly accuracyWithCrf: number | null;
  /** Where it was published. */
  readonly source: string;
}

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
export const family: readonly FamilyMember[] = [
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
  entry('v3-mobilenetv2-half', { ...mobilenet, width_multiplier: '0.5', channel_divisor: '1' }, 70.19, null, modelZoo),
];

function entry(
  name: string,
  metadata: Readonly<Record<string, string>>,
  accuracy: number | null,
  accuracyWithCrf: number | null,
  source: string,
): FamilyMember {
  return { name, metadata, accuracy, accuracyWithCrf, source };
}
