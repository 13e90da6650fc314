// torchvision's deeplabv3_resnet50 and deeplabv3_resnet101. Facts from pytorch/vision,
// torchvision/models/segmentation/deeplabv3.py, torchvision/models/resnet.py (a layer whose stride became a rate starts
// with the rate before) and the presets of transforms.

import type { Archive } from '../archive';
import { classKeys } from './classes';
import { type Layout, prefixOf, pytorchBatchNorm, Selection, sizeOf, unsupported } from './layout';
import { resNetBackbone, resNetUnits } from './resnet';
import { classifierShape, headUnits } from './v3-head';

const name = 'torchvision';
const resNet = 'backbone.conv1.weight';
const mobileNet = 'backbone.0.0.weight';
/** A classifier of images names its ResNet without `backbone.`, and ends in a fully connected layer. */
const classifier = ['layer4.0.downsample.0.weight', 'fc.weight'];

/** A convolution with batch norm as a Sequential of theirs: the two indices in it. */
function sequential(prefix: string, conv = 0) {
  return { weight: `${prefix}.${conv}.weight`, bn: pytorchBatchNorm(`${prefix}.${conv + 1}`) };
}

function backboneOf(archive: Archive): string {
  const prefix = prefixOf(archive, resNet);
  if (prefix !== undefined && archive.tensors.has(`${prefix}classifier.0.project.0.weight`)) return prefix;
  if (prefixOf(archive, mobileNet) !== undefined) {
    throw unsupported(
      archive,
      'is a deeplabv3_mobilenet_v3_large: of torchvision, only those with a ResNet can be built',
    );
  }
  if (prefix !== undefined) {
    throw unsupported(
      archive,
      "has torchvision's backbone, but not the head of DeepLab v3 (classifier.0.project.0.weight)",
    );
  }
  throw unsupported(archive, 'is a ResNet that classifies images: a backbone without the head that segments');
}

/** Import of the two networks; deeplabv3_mobilenet_v3_large and classifiers are recognised and refused. */
export const torchvision: Layout = {
  name,
  title: 'torchvision: DeepLab v3, ResNet',
  recognises: (archive) => {
    const has = (anchor: string) => prefixOf(archive, anchor) !== undefined;
    return has(resNet) || (has(mobileNet) && has('classifier.4.weight')) || classifier.every(has);
  },
  import: (archive) => {
    const prefix = backboneOf(archive);
    const scope = `${prefix}backbone.`;
    const backbone = resNetBackbone(archive, (block) => archive.tensors.has(`${scope}layer3.${block}.conv1.weight`));
    const selection = new Selection(archive, name);
    for (const unit of resNetUnits(backbone)) {
      const bn = pytorchBatchNorm(`${scope}${unit.bn}`);
      selection.takeUnit(unit, { weight: `${scope}${unit.conv}.weight`, bn });
    }
    const head = `${prefix}classifier`;
    const channels = sizeOf(archive, `${head}.0.project.0.weight`, 0);
    for (const unit of headUnits({ inputs: 2048, channels, rates: 3, pooling: true, conv: true })) {
      // Branches 0 to 3, then the pooling, whose index 0 is the average.
      const names = {
        branch: sequential(`${head}.0.convs.${unit.branch}`),
        pooling: sequential(`${head}.0.convs.4`, 1),
        project: sequential(`${head}.0.project`),
        conv: sequential(head, 1),
      };
      selection.takeUnit(unit, names[unit.part]);
    }
    const classes = sizeOf(archive, `${head}.4.weight`, 0);
    selection.take('classifier.weight', `${head}.4.weight`, classifierShape(classes, channels));
    selection.take('classifier.bias', `${head}.4.bias`, [classes]);
    selection.leave((tensor) => tensor.endsWith('.num_batches_tracked'), 'counts batches, for training');
    selection.leave(
      (tensor) => tensor.startsWith(`${prefix}aux_classifier.`),
      'is the auxiliary classifier, for training',
    );
    return selection.finish({
      architecture: 'deeplab_v3',
      backbone,
      output_stride: '8',
      aspp_rates: '12,24,36',
      aspp_fusion: 'concat',
      image_pooling: 'yes',
      head_channels: String(channels),
      head_conv: '3x3',
      stride_placement: '3x3',
      dilation_start: 'second',
      max_pool: 'kernel 3, stride 2, padding 1, floor',
      stem_padding: '3',
      bn_eps: '1e-5',
      upsample: 'half_pixel',
      ...classKeys(archive, classes),
      channel_order: 'rgb',
      value_range: '0..1',
      mean: '0.485,0.456,0.406',
      std: '0.229,0.224,0.225',
    });
  },
};
