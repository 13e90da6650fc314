// DeepLab v2 on a ResNet under the names of TensorFlow's slim (`resnet_v1_101/block3/unit_23/bottleneck_v1/conv2`), with
// the head of zhengyang-wang/Deeplab-v2--ResNet-101--Tensorflow. Facts from its network.py, class ResNet_segmentation,
// and model.py: the stride is on the first unit's 1x1 there, not on the last unit as in slim itself. Its README says
// that some train on RGB instead: no file tells.

import type { Archive } from '../archive';
import { classKeys } from './classes';
import { type Layout, Selection, sizeOf, tensorflowBatchNorm, unsupported } from './layout';
import { isOptimizerState } from './optimizer-state';
import { type ResNetUnit, resNetBackbone, resNetUnits, takeAspp } from './resnet';
import { hwio } from './turn';

const name = 'slim-resnet';
const pattern = /^(resnet_v1_(?:50|101))\/block1\/unit_1\/bottleneck_v1\/conv1\/weights$/;
const aspp = 'decoder/aspp/conv';

function scopeOf(archive: Archive): string | undefined {
  for (const tensor of archive.tensors.keys()) {
    const [, scope] = pattern.exec(tensor) ?? [];
    if (scope !== undefined) return scope;
  }
  return undefined;
}

function placeOf({ layer, block, part }: ResNetUnit): string {
  if (part === 'stem') return 'conv1';
  return `block${layer}/unit_${block + 1}/bottleneck_v1/${part === 'downsample' ? 'shortcut' : part}`;
}

/** Checkpoints of zhengyang-wang/Deeplab-v2--ResNet-101--Tensorflow on slim's ResNets. */
export const slimResNet: Layout = {
  name,
  title: 'zhengyang-wang/Deeplab-v2--ResNet-101--Tensorflow: DeepLab v2, slim ResNet',
  recognises: (archive) => scopeOf(archive) !== undefined,
  import: (archive) => {
    const scope = scopeOf(archive) ?? 'resnet_v1_101';
    if (!archive.tensors.has(`${scope}/conv1/weights`)) {
      throw unsupported(archive, `has the ResNet "beta" of tensorflow/models, whose first layer is three convolutions`);
    }
    if (!archive.tensors.has(`${aspp}1/weights`)) {
      throw unsupported(
        archive,
        `has slim's ResNet, but not the head of DeepLab v2 that can be built (${aspp}1/weights)`,
      );
    }
    const backbone = resNetBackbone(archive, (block) =>
      archive.tensors.has(`${scope}/block3/unit_${block + 1}/bottleneck_v1/conv1/weights`),
    );
    const selection = new Selection(archive, name);
    for (const unit of resNetUnits(backbone)) {
      const place = `${scope}/${placeOf(unit)}`;
      selection.takeUnit(unit, { weight: `${place}/weights`, bn: tensorflowBatchNorm(`${place}/BatchNorm`) }, hwio);
    }
    const classes = sizeOf(archive, `${aspp}1/weights`, -1);
    takeAspp(selection, classes, (branch) => [`${aspp}${branch + 1}/weights`, `${aspp}${branch + 1}/biases`], hwio);
    selection.leave(isOptimizerState, "is the optimiser's state, for training");
    return selection.finish({
      architecture: 'deeplab_v2',
      backbone,
      output_stride: '8',
      aspp_rates: '6,12,18,24',
      stride_placement: '1x1',
      stride_unit: 'first',
      max_pool: 'kernel 3, stride 2, same',
      stem_padding: 'same',
      bn_eps: '1e-3',
      upsample: 'asymmetric',
      ...classKeys(archive, classes),
      channel_order: 'bgr',
      value_range: '0..255',
      mean: '104.00698793,116.66876762,122.67891434',
      std: '1,1,1',
    });
  },
};
