// DeepLab v2 with ResNet under the names that its authors gave it in Caffe (`res4b22_branch2b`): the official .caffemodel
// files, and DrSleep's conversion of them to TensorFlow. Facts of the first from misc/deploy.prototxt and of the second
// from kaffe/tensorflow/network.py, deeplab_resnet/model.py and inference.py of DrSleep/tensorflow-deeplab-resnet; the
// average of Caffe's batch norm is from BVLC/caffe, src/caffe/layers/batch_norm_layer.cpp.

import type { Archive } from '../archive';
import { classKeys } from './classes';
import { type Layout, Selection, sizeOf, tensorflowBatchNorm, unsupported } from './layout';
import { isOptimizerState } from './optimizer-state';
import { type ResNetUnit, resNetBackbone, resNetUnits, takeAspp } from './resnet';
import { hwio } from './turn';

const branches = { conv1: 'branch2a', conv2: 'branch2b', conv3: 'branch2c', downsample: 'branch1' } as const;

/** Names such as `4b22` of the bottlenecks: 4a, 4b1, 4b2, ... in ResNet-101, 4a, 4b, 4c, ... where layers are short. */
function bottleneckName(archive: Archive, suffix: string, layer: number, block: number): string {
  const numbered = `${layer + 1}b${block}`;
  if (block > 0 && archive.tensors.has(`res${numbered}_branch2a/${suffix}`)) return numbered;
  return `${layer + 1}${String.fromCharCode('a'.charCodeAt(0) + block)}`;
}

/** Which ResNet it is, given how kernels are called: `<layer>/<suffix>`. */
function backboneOf(archive: Archive, suffix: string) {
  return resNetBackbone(archive, (block) =>
    archive.tensors.has(`res${bottleneckName(archive, suffix, 3, block)}_branch2a/${suffix}`),
  );
}

/** What follows `res`, `bn` and `scale` in the names of a convolution, its batch norm and its scale. */
function placeOf(archive: Archive, suffix: string, { layer, block, part }: ResNetUnit): string {
  return part === 'stem' ? '' : `${bottleneckName(archive, suffix, layer, block)}_${branches[part]}`;
}

/** `fc1_voc12_c` of `fc1_voc12_c0`: the name of the data set stands between. */
function headOf(archive: Archive, suffix: string): string {
  for (const name of archive.tensors.keys()) {
    const [, head] = /^(fc1_[^/]*_c)0\/(.*)$/.exec(name) ?? [];
    if (head !== undefined && name === `${head}0/${suffix}`) return head;
  }
  throw unsupported(archive, `has no ASPP (fc1_voc12_c0/${suffix}): it is not DeepLab v2`);
}

const description = {
  architecture: 'deeplab_v2',
  output_stride: '8',
  aspp_rates: '6,12,18,24',
  stride_placement: '1x1',
  channel_order: 'bgr',
  value_range: '0..255',
  std: '1,1,1',
};

/** The copies of all layers for the image at 0.75 and 0.5 of its size, which share their weights. */
const isScaledCopy = (name: string) => /_res0(75|5)\b/.test(name);

/** The official ResNet-101 of DeepLab v2. */
export const caffeResNet: Layout = {
  name: 'caffe-resnet',
  title: 'DeepLab v2 in Caffe, ResNet',
  recognises: ({ tensors }) => tensors.has('res2a_branch2a/0') && tensors.has('conv1/0'),
  import: (archive) => {
    const backbone = backboneOf(archive, '0');
    const selection = new Selection(archive, 'caffe-resnet');
    for (const unit of resNetUnits(backbone)) {
      const place = placeOf(archive, '0', unit);
      const [conv, bn, scale] =
        unit.part === 'stem' ? ['conv1', 'bn_conv1', 'scale_conv1'] : [`res${place}`, `bn${place}`, `scale${place}`];
      const channels = unit.shape.slice(0, 1);
      selection.take(`${unit.conv}.weight`, `${conv}/0`, unit.shape);
      selection.take(`${unit.bn}.weight`, `${scale}/0`, channels);
      selection.take(`${unit.bn}.bias`, `${scale}/1`, channels);
      for (const [blob, part] of ['running_mean', 'running_var'].entries()) {
        const sources = [
          [`${bn}/${blob}`, channels],
          [`${bn}/2`, [1]],
        ] as const;
        selection.derive(`${unit.bn}.${part}`, channels, sources, averaged);
      }
    }
    const head = headOf(archive, '0');
    const classes = sizeOf(archive, `${head}0/0`, 0);
    takeAspp(selection, classes, (branch) => [`${head}${branch}/0`, `${head}${branch}/1`]);
    selection.leave(isScaledCopy, 'shares its weights with the layer at the full size');
    return selection.finish({
      ...description,
      backbone,
      max_pool: 'kernel 3, stride 2, padding 1, ceil',
      stem_padding: '3',
      bn_eps: '1e-5',
      upsample: 'align_corners',
      ...classKeys(archive, classes),
      mean: '104.008,116.669,122.675',
    });
  },
};

/** Caffe keeps sums of the statistics, and how much was summed. */
function averaged(sums: Float32Array, total: Float32Array): Float32Array {
  const factor = total[0] === 0 ? 0 : 1 / (total[0] ?? 0);
  return sums.map((sum) => sum * factor);
}

/** Checkpoints of DrSleep/tensorflow-deeplab-resnet. */
export const tensorflowResNet: Layout = {
  name: 'tensorflow-resnet',
  title: 'DrSleep/tensorflow-deeplab-resnet: DeepLab v2, ResNet',
  recognises: ({ tensors }) => tensors.has('res2a_branch2a/weights') && tensors.has('conv1/weights'),
  import: (archive) => {
    const backbone = backboneOf(archive, 'weights');
    const selection = new Selection(archive, 'tensorflow-resnet');
    for (const unit of resNetUnits(backbone)) {
      const place = placeOf(archive, 'weights', unit);
      const [conv, bn] = unit.part === 'stem' ? ['conv1', 'bn_conv1'] : [`res${place}`, `bn${place}`];
      selection.takeUnit(unit, { weight: `${conv}/weights`, bn: tensorflowBatchNorm(bn) }, hwio);
    }
    const head = headOf(archive, 'weights');
    const classes = sizeOf(archive, `${head}0/weights`, -1);
    takeAspp(selection, classes, (branch) => [`${head}${branch}/weights`, `${head}${branch}/biases`], hwio);
    selection.leave(isOptimizerState, "is the optimiser's state, for training");
    return selection.finish({
      ...description,
      backbone,
      // Padding SAME everywhere, slim's default epsilon, and resize_bilinear of TensorFlow 1 without align_corners.
      max_pool: 'kernel 3, stride 2, same',
      stem_padding: 'same',
      bn_eps: '1e-3',
      upsample: 'asymmetric',
      ...classKeys(archive, classes),
      mean: '104.00698793,116.66876762,122.67891434',
    });
  },
};
