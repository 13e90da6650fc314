// kazuto1011/deeplab-pytorch: DeepLab v2 with ResNet-101, its weights from Caffe or trained the same way. Facts from its
// libs/models/{deeplabv2,resnet,msc}.py and configs/*.yaml.

import type { Archive } from '../archive';
import { classKeys } from './classes';
import { type Layout, prefixOf, pytorchBatchNorm, Selection, sizeOf } from './layout';
import { type ResNetUnit, resNetBackbone, resNetUnits, takeAspp } from './resnet';

const name = 'deeplab-pytorch';
const anchor = 'layer1.conv1.conv.weight';

/** The convolutions of a bottleneck under its names; `proj` is what older files call the shortcut. */
const parts = { conv1: ['reduce'], conv2: ['conv3x3'], conv3: ['increase'], downsample: ['shortcut', 'proj'] } as const;

/** The scope of a convolution and its batch norm. Layer 1 there is the first convolution, layers 2 to 5 are ours. */
function scopeOf(archive: Archive, prefix: string, { layer, block, part }: ResNetUnit): string {
  if (part === 'stem') return `${prefix}layer1.conv1`;
  const bottleneck = `${prefix}layer${layer + 1}.block${block + 1}`;
  const [usual, ...older] = parts[part];
  const used = older.find((scope) => archive.tensors.has(`${bottleneck}.${scope}.conv.weight`)) ?? usual;
  return `${bottleneck}.${used}`;
}

/** DeepLab v2 of kazuto1011/deeplab-pytorch, with or without the wrapper for several scales. */
export const deeplabPytorch: Layout = {
  name,
  title: 'kazuto1011/deeplab-pytorch: DeepLab v2, ResNet',
  recognises: (archive) => {
    const prefix = prefixOf(archive, anchor);
    return prefix !== undefined && archive.tensors.has(`${prefix}layer5.block1.reduce.conv.weight`);
  },
  import: (archive) => {
    // `base.` in published files, `scale.` in older ones, nothing without the wrapper MSC.
    const prefix = prefixOf(archive, anchor) ?? '';
    const backbone = resNetBackbone(archive, (block) =>
      archive.tensors.has(`${prefix}layer4.block${block + 1}.reduce.conv.weight`),
    );
    const selection = new Selection(archive, name);
    for (const unit of resNetUnits(backbone)) {
      const scope = scopeOf(archive, prefix, unit);
      selection.takeUnit(unit, { weight: `${scope}.conv.weight`, bn: pytorchBatchNorm(`${scope}.bn`) });
    }
    const older = archive.tensors.has(`${prefix}aspp.stages.c0.weight`);
    const aspp = `${prefix}aspp.${older ? 'stages.' : ''}c`;
    const classes = sizeOf(archive, `${aspp}0.weight`, 0);
    takeAspp(selection, classes, (branch) => [`${aspp}${branch}.weight`, `${aspp}${branch}.bias`]);
    selection.leave((tensor) => tensor.endsWith('.num_batches_tracked'), 'counts batches, for training');
    return selection.finish({
      architecture: 'deeplab_v2',
      backbone,
      output_stride: '8',
      aspp_rates: '6,12,18,24',
      stride_placement: '1x1',
      max_pool: 'kernel 3, stride 2, padding 1, ceil',
      stem_padding: '3',
      bn_eps: '1e-5',
      upsample: 'half_pixel',
      ...classKeys(archive, classes),
      channel_order: 'bgr',
      value_range: '0..255',
      mean: '104.008,116.669,122.675',
      std: '1,1,1',
    });
  },
};
