// DeepLab v3 with MobileNetV2 of tensorflow/models: checkpoints of its model zoo, and TensorFlow Lite files that were made
// of them, whose batch norms are folded. Facts from research/deeplab/model.py (pooling is concatenated first, epsilon 1e-5
// in the head, logits resized with align_corners), core/feature_extractor.py (pixels become -1..1),
// g3doc/model_zoo.md (output stride 8, no atrous branches) and research/slim/nets/mobilenet (SAME, epsilon 1e-3).

import type { Archive } from '../archive';
import type { LiteOperator, LiteValue } from '../tensorflow-lite';
import { classKeys } from './classes';
import { type ConvolutionUnit, type Layout, Selection, sizeOf, tensorflowBatchNorm, unsupported } from './layout';
import { type MobileNetUnit, mobileNetChannels, mobileNetUnits, mobileNetWidth } from './mobilenet';
import { isOptimizerState } from './optimizer-state';
import { hwc1, hwio, ihwc, ohwi } from './turn';
import { classifierShape, type HeadUnit, headUnits, poolingLast } from './v3-head';

const name = 'tensorflow-mobilenet';
const first = 'MobilenetV2/Conv/weights';
/** What else that code trains; the head's names tell the second from classifiers. */
const others = /^(xception_\d+|MobilenetV3|resnet_v1_\d+_beta)\//;

function backboneScope({ part, block }: MobileNetUnit): string {
  if (part === 'stem') return 'MobilenetV2/Conv';
  return `MobilenetV2/expanded_conv${block === 0 ? '' : `_${block}`}/${part}`;
}

function headScope({ part, branch }: HeadUnit): string {
  if (part === 'branch') return `aspp${branch}`;
  return part === 'pooling' ? 'image_pooling' : 'concat_projection';
}

/** Refuses what that code can train and this library cannot build, by name. */
function check(archive: Archive): void {
  const found = [...archive.tensors.keys()];
  const has = (start: string) => found.some((tensor) => tensor.startsWith(start));
  const other = found.map((tensor) => others.exec(tensor)?.[1]).find((scope) => scope !== undefined);
  if (!has(first)) throw unsupported(archive, `has the backbone ${other}: expected MobilenetV2`);
  if (has('decoder/')) throw unsupported(archive, 'has a decoder: DeepLab v3+ cannot be built, only v3');
  if (has('aspp1_depthwise/')) {
    throw unsupported(archive, 'has separable atrous convolutions (aspp1_depthwise), which cannot be built');
  }
  if (!has('logits/semantic/')) throw unsupported(archive, 'has no classifier of pixels (logits/semantic): no DeepLab');
}

/** Channels of the first convolution and of the bottlenecks, of which the widths are told. */
function channelsOf(archive: Archive, axis: number): number[] {
  const scopes = Array.from({ length: 17 }, (_, block) => backboneScope({ part: 'project', block } as MobileNetUnit));
  return ['MobilenetV2/Conv', ...scopes].map((scope) => sizeOf(archive, `${scope}/weights`, axis));
}

/** Checkpoints and .tflite files of DeepLab v3 with MobileNetV2. */
export const tensorflowMobileNet: Layout = {
  name,
  title: 'TensorFlow DeepLab v3, MobileNetV2 (checkpoint or .tflite)',
  recognises: ({ tensors }) => {
    if (tensors.has(first)) return true;
    const names = [...tensors.keys()];
    return names.some((tensor) => others.test(tensor)) && names.some((tensor) => tensor.startsWith('logits/'));
  },
  import: (archive) => {
    check(archive);
    // Files of TensorFlow Lite have other axis orders, and biases instead of batch norms.
    const folded = archive.tensors.has('MobilenetV2/Conv/Conv2D_bias');
    const [conv, depthwise, outputAxis] = folded ? [ohwi, ihwc, 0] : [hwio, hwc1, -1];
    const width = mobileNetWidth(archive, channelsOf(archive, outputAxis));
    const selection = new Selection(archive, name);
    const normalize = (unit: ConvolutionUnit, scope: string, bias: string) => {
      const channels = unit.shape.slice(0, 1);
      if (folded) selection.take(`${unit.conv}.bias`, `${scope}/${bias}`, channels);
      else {
        const sources = Object.entries(tensorflowBatchNorm(`${scope}/BatchNorm`));
        for (const [part, source] of sources) selection.take(`${unit.bn}.${part}`, source, channels);
      }
    };
    for (const unit of mobileNetUnits(width)) {
      const scope = backboneScope(unit);
      const wide = unit.part === 'depthwise';
      const [kernel, turn] = wide ? ['depthwise_weights', depthwise] : ['weights', conv];
      selection.take(`${unit.conv}.weight`, `${scope}/${kernel}`, unit.shape, turn);
      normalize(unit, scope, wide ? 'depthwise_bias' : 'Conv2D_bias');
    }
    const channels = sizeOf(archive, 'aspp0/weights', outputAxis);
    const pooling = archive.tensors.has('image_pooling/weights');
    const rates = archive.tensors.has('aspp1/weights') ? 3 : 0;
    const sizes = { inputs: mobileNetChannels(width), channels, rates, pooling, conv: false };
    for (const unit of headUnits(sizes)) {
      const scope = headScope(unit);
      const reorder = unit.part === 'project' && pooling;
      const change = (values: Float32Array) => (reorder ? poolingLast(values, channels, channels) : values);
      selection.take(`${unit.conv}.weight`, `${scope}/weights`, unit.shape, conv, change);
      normalize(unit, scope, 'Conv2D_bias');
    }
    const lite = folded ? liteGrid(archive) : undefined;
    const classes = sizeOf(archive, 'logits/semantic/weights', outputAxis);
    selection.take('classifier.weight', 'logits/semantic/weights', classifierShape(classes, channels), conv);
    selection.take('classifier.bias', `logits/semantic/${folded ? 'Conv2D_bias' : 'biases'}`, [classes]);
    selection.leave(isOptimizerState, "is the optimiser's state, for training");
    return selection.finish({
      architecture: 'deeplab_v3',
      backbone: 'mobilenet_v2',
      output_stride: lite?.outputStride ?? '8',
      aspp_rates: rates === 0 ? '' : '12,24,36',
      aspp_fusion: 'concat',
      image_pooling: pooling ? 'yes' : 'no',
      head_channels: String(channels),
      width_multiplier: String(width.multiplier),
      channel_divisor: String(width.divisor),
      ...(folded ? { batch_norm: 'folded' } : { bn_eps: '1e-3', head_bn_eps: '1e-5' }),
      stem_padding: 'same',
      upsample: 'align_corners',
      ...classKeys(archive, classes),
      channel_order: 'rgb',
      value_range: '0..255',
      mean: '127.5,127.5,127.5',
      std: '127.5,127.5,127.5',
      ...inputSize(lite, classes),
    });
  },
};

/**
 * Networks with image-level features were trained on crops of one size, and are run on images that are fitted into it
 * (research/deeplab/deeplab_demo.ipynb): 513x513, but for Cityscapes, whose images are taken as they are. A .tflite file
 * has its size in it.
 */
function inputSize(lite: LiteGrid | undefined, classes: number): Record<string, string> {
  if (lite !== undefined) return { input_size: lite.inputSize };
  return classes === 19 ? {} : { input_size: 'longest 513', pad_to_multiple: '513' };
}

/** What a .tflite file says of its grids. */
interface LiteGrid {
  readonly inputSize: string;
  readonly outputStride: string;
}

/** The size of the image, and how much smaller the features are that the head reads: sides are 1 + stride * (side - 1). */
function liteGrid(archive: Archive): LiteGrid {
  const inputs: LiteValue[] = JSON.parse(archive.metadata.inputs ?? '[]');
  const operators: LiteOperator[] = JSON.parse(archive.metadata.operators ?? '[]');
  const [, height, width] = inputs[0]?.shape ?? [];
  const [, rows] = operators.find((operator) => operator.inputs.includes('aspp0/weights'))?.outputs[0]?.shape ?? [];
  const stride = [8, 16].find((choice) => height !== undefined && Math.ceil(height / choice) === rows);
  if (width === undefined || stride === undefined) {
    throw unsupported(
      archive,
      `has an image of height ${height} and features of height ${rows}: expected stride 8 or 16`,
    );
  }
  return { inputSize: `${width}x${height}`, outputStride: String(stride) };
}
