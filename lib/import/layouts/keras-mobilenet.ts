// DeepLab v3 with MobileNetV2 of bonlime/keras-deeplab-v3-plus, whose published weights are those of TensorFlow's model
// zoo under Keras's names. Facts from its model.py (epsilon 1e-3 in the backbone and 1e-5 in the head, the pooling is
// concatenated first, SAME; older versions resize with align_corners, as the network was trained) and README.md (images
// are fitted into 512x512, pixels become -1..1).

import type { Archive, ArchiveTensor } from '../archive';
import { classKeys } from './classes';
import { type Layout, Selection, sizeOf, tensorflowBatchNorm, unsupported } from './layout';
import { type MobileNetUnit, mobileNetChannels, mobileNetUnits, mobileNetWidth } from './mobilenet';
import { hwc1, hwio } from './turn';
import { classifierShape, type HeadUnit, headUnits, poolingLast } from './v3-head';

const name = 'keras-mobilenet';

/**
 * The archive with `<layer>/<weight>` as names. Files have `model_weights/Conv/Conv/kernel:0` and the like, according to
 * what saved them.
 */
function plain(archive: Archive): Archive {
  const tensors = new Map<string, ArchiveTensor>();
  for (const [path, tensor] of archive.tensors) tensors.set(plainName(path), tensor);
  return { ...archive, file: archive.file, tensors };
}

function plainName(path: string): string {
  return path.replace(/:\d+$/, '').split('/').slice(-2).join('/');
}

function layerOf({ part, block }: MobileNetUnit): string {
  return part === 'stem' ? 'Conv' : `expanded_conv_${block === 0 ? '' : `${block}_`}${part}`;
}

function headLayerOf({ part }: HeadUnit): string {
  if (part === 'branch') return 'aspp0';
  return part === 'pooling' ? 'image_pooling' : 'concat_projection';
}

/** The .h5 files of bonlime/keras-deeplab-v3-plus with MobileNetV2; those with Xception are recognised and refused. */
export const kerasMobileNet: Layout = {
  name,
  title: 'bonlime/keras-deeplab-v3-plus: DeepLab v3, MobileNetV2',
  recognises: (archive) => {
    const names = new Set([...archive.tensors.keys()].map(plainName));
    return names.has('concat_projection/kernel') && names.has('aspp0/kernel');
  },
  import: (given) => {
    const archive = plain(given);
    if (!archive.tensors.has('expanded_conv_depthwise/depthwise_kernel')) {
      throw unsupported(archive, 'has another backbone than MobileNetV2, as Xception: only that one can be built');
    }
    const projections = Array.from({ length: 17 }, (_, block) => layerOf({ part: 'project', block } as MobileNetUnit));
    const channels = ['Conv', ...projections].map((layer) => sizeOf(archive, `${layer}/kernel`, -1));
    const width = mobileNetWidth(archive, channels);
    const selection = new Selection(archive, name);
    for (const unit of mobileNetUnits(width)) {
      const layer = layerOf(unit);
      const [kernel, turn] = unit.part === 'depthwise' ? ['depthwise_kernel', hwc1] : ['kernel', hwio];
      selection.takeUnit(unit, { weight: `${layer}/${kernel}`, bn: tensorflowBatchNorm(`${layer}_BN`) }, turn);
    }
    const headChannels = sizeOf(archive, 'aspp0/kernel', -1);
    const sizes = { inputs: mobileNetChannels(width), channels: headChannels, rates: 0, pooling: true, conv: false };
    for (const unit of headUnits(sizes)) {
      const layer = headLayerOf(unit);
      selection.takeUnit(unit, { weight: `${layer}/kernel`, bn: tensorflowBatchNorm(`${layer}_BN`) }, hwio);
      if (unit.part !== 'project') continue;
      selection.take(`${unit.conv}.weight`, `${layer}/kernel`, unit.shape, hwio, (values) =>
        poolingLast(values, headChannels, headChannels),
      );
    }
    const logits = archive.tensors.has('logits_semantic/kernel') ? 'logits_semantic' : 'custom_logits_semantic';
    const classes = sizeOf(archive, `${logits}/kernel`, -1);
    selection.take('classifier.weight', `${logits}/kernel`, classifierShape(classes, headChannels), hwio);
    selection.take('classifier.bias', `${logits}/bias`, [classes]);
    return selection.finish({
      architecture: 'deeplab_v3',
      backbone: 'mobilenet_v2',
      output_stride: '8',
      aspp_rates: '',
      aspp_fusion: 'concat',
      image_pooling: 'yes',
      head_channels: String(headChannels),
      width_multiplier: String(width.multiplier),
      channel_divisor: String(width.divisor),
      bn_eps: '1e-3',
      head_bn_eps: '1e-5',
      stem_padding: 'same',
      upsample: 'align_corners',
      ...classKeys(archive, classes),
      channel_order: 'rgb',
      value_range: '0..255',
      mean: '127.5,127.5,127.5',
      std: '127.5,127.5,127.5',
      // The network of Cityscapes takes its images as they are, as in TensorFlow.
      ...(classes === 19 ? {} : { input_size: 'longest 512', pad_to_multiple: '512' }),
    });
  },
};
