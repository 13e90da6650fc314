// Archives with the names and shapes that published files have, and random numbers: what tests of the layouts import.
// They are written down here from the frameworks' side, apart from the tables in lib/import/layouts/.

import type { Archive, ArchiveFormat, ArchiveTensor } from '../lib/import/archive';

type Shape = readonly number[];

// In locals, for speed: jest's sandbox makes every look-up of a global slow.
const { fround, imul } = Math;
const unit = 2 ** -24;

function hashOf(name: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) h = imul(h ^ name.charCodeAt(i), 0x01000193);
  return h;
}

/** From 0.25 to 1.25. */
function numberOf(hash: number, at: number): number {
  let h = imul(hash ^ at, 0x85ebca6b);
  h = imul(h ^ (h >>> 13), 0xc2b2ae35);
  return fround(((h ^ (h >>> 16)) >>> 8) * unit + 0.25);
}

/** Elements by name and place, the same in every run. */
export function elementOf(name: string, at: number): number {
  return numberOf(hashOf(name), at);
}

function elementsOf(name: string, count: number, offset: number, factor: number): Float32Array {
  const hash = hashOf(name);
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) values[i] = (numberOf(hash, i) + offset) * factor;
  return values;
}

/**
 * Offset and factor with which activations neither die nor explode on the way through a network; the same as `tame` in
 * import/networks/synthetic.py.
 */
export function tame(name: string, shape: Shape): readonly [offset: number, factor: number] {
  const product = (sizes: Shape) => sizes.reduce((count, size) => count * size, 1);
  if (shape.length === 4) {
    const fanIn = product(name.includes('/') ? shape.slice(0, -1) : shape.slice(1));
    return [-0.75, 2 * Math.sqrt(6 / (name.endsWith('depthwise_weights') ? 9 : fanIn))];
  }
  if (/(bn3\.weight|branch2c\/gamma)$/.test(name)) return [0, 0.2];
  return /(\.weight|\/gamma|running_var|moving_variance)$/.test(name) ? [0.25, 1] : [-0.75, 0.2];
}

/** An archive in memory, whose numbers are made when they are read. */
export function archiveOf(
  format: ArchiveFormat,
  shapes: Readonly<Record<string, Shape>>,
  range: (name: string, shape: Shape) => readonly [offset: number, factor: number] = () => [0, 1],
): Archive {
  const tensors = new Map<string, ArchiveTensor>();
  for (const [name, shape] of Object.entries(shapes)) {
    const count = shape.reduce((product, size) => product * size, 1);
    tensors.set(name, { shape, read: async () => elementsOf(name, count, ...range(name, shape)) });
  }
  return { format, file: 'synthetic', tensors, metadata: {}, close: async () => {} };
}

/** A convolution of a bottleneck ResNet: layer from 1 on, block from 0 on; kind 1 to 3, or `down`. */
type ResNetVisit = (
  layer: number,
  block: number,
  kind: 1 | 2 | 3 | 'down',
  out: number,
  inputs: number,
  k: number,
) => void;

function visitResNet(blocks: readonly number[], visit: ResNetVisit): void {
  let inputs = 64;
  for (const [i, count] of blocks.entries()) {
    const width = [64, 128, 256, 512][i] as number;
    for (let block = 0; block < count; block++) {
      visit(i + 1, block, 1, width, inputs, 1);
      visit(i + 1, block, 2, width, width, 3);
      visit(i + 1, block, 3, width * 4, width, 1);
      if (block === 0) visit(i + 1, block, 'down', width * 4, inputs, 1);
      inputs = width * 4;
    }
  }
}

export const blocksOf = { resnet50: [3, 4, 6, 3], resnet101: [3, 4, 23, 3] } as const;

/** A batch norm as PyTorch names it. */
function torchNorm(shapes: Record<string, Shape>, bn: string, channels: number): void {
  for (const part of ['weight', 'bias', 'running_mean', 'running_var']) shapes[`${bn}.${part}`] = [channels];
  shapes[`${bn}.num_batches_tracked`] = [];
}

/** A batch norm as TensorFlow names it. */
function tensorflowNorm(shapes: Record<string, Shape>, scope: string, channels: number): void {
  for (const part of ['gamma', 'beta', 'moving_mean', 'moving_variance']) shapes[`${scope}/${part}`] = [channels];
}

/** kazuto1011/deeplab-pytorch; the older names with the prefix `scale.`. */
export function deeplabPytorchShapes(prefix: string, classes: number, older = false): Record<string, Shape> {
  const shapes: Record<string, Shape> = { [`${prefix}layer1.conv1.conv.weight`]: [64, 3, 7, 7] };
  torchNorm(shapes, `${prefix}layer1.conv1.bn`, 64);
  visitResNet(blocksOf.resnet101, (layer, block, kind, out, inputs, k) => {
    const names = { 1: 'reduce', 2: 'conv3x3', 3: 'increase', down: older ? 'proj' : 'shortcut' };
    const scope = `${prefix}layer${layer + 1}.block${block + 1}.${names[kind]}`;
    shapes[`${scope}.conv.weight`] = [out, inputs, k, k];
    torchNorm(shapes, `${scope}.bn`, out);
  });
  for (let i = 0; i < 4; i++) {
    const branch = `${prefix}aspp.${older ? 'stages.' : ''}c${i}`;
    shapes[`${branch}.weight`] = [classes, 2048, 3, 3];
    shapes[`${branch}.bias`] = [classes];
  }
  return shapes;
}

/** torchvision's ResNet under a prefix; with its classifier of images if there is none. */
export function torchvisionResNetShapes(backbone: keyof typeof blocksOf, prefix: string): Record<string, Shape> {
  const shapes: Record<string, Shape> = { [`${prefix}conv1.weight`]: [64, 3, 7, 7] };
  torchNorm(shapes, `${prefix}bn1`, 64);
  visitResNet(blocksOf[backbone], (layer, block, kind, out, inputs, k) => {
    const scope = `${prefix}layer${layer}.${block}`;
    const [conv, bn] = kind === 'down' ? ['downsample.0', 'downsample.1'] : [`conv${kind}`, `bn${kind}`];
    shapes[`${scope}.${conv}.weight`] = [out, inputs, k, k];
    torchNorm(shapes, `${scope}.${bn}`, out);
  });
  if (prefix === '') Object.assign(shapes, { 'fc.weight': [1000, 2048], 'fc.bias': [1000] });
  return shapes;
}

/** torchvision's deeplabv3_resnet50 and 101. */
export function torchvisionShapes(backbone: keyof typeof blocksOf, classes: number): Record<string, Shape> {
  const shapes = torchvisionResNetShapes(backbone, 'backbone.');
  const unit = (conv: string, bn: string, shape: Shape) => {
    shapes[`classifier.${conv}.weight`] = shape;
    torchNorm(shapes, `classifier.${bn}`, shape[0] as number);
  };
  unit('0.convs.0.0', '0.convs.0.1', [256, 2048, 1, 1]);
  for (let i = 1; i <= 3; i++) unit(`0.convs.${i}.0`, `0.convs.${i}.1`, [256, 2048, 3, 3]);
  unit('0.convs.4.1', '0.convs.4.2', [256, 2048, 1, 1]);
  unit('0.project.0', '0.project.1', [256, 1280, 1, 1]);
  unit('1', '2', [256, 256, 3, 3]);
  Object.assign(shapes, { 'classifier.4.weight': [classes, 256, 1, 1], 'classifier.4.bias': [classes] });
  Object.assign(shapes, { 'aux_classifier.0.weight': [256, 1024, 3, 3], 'aux_classifier.4.bias': [classes] });
  return shapes;
}

/** The name that the authors of ResNet gave a convolution, as `4b22_branch2b`. */
function msraName(backbone: keyof typeof blocksOf, layer: number, block: number, kind: 1 | 2 | 3 | 'down'): string {
  const numbered = backbone === 'resnet101' && (layer === 2 || layer === 3) && block > 0;
  const letter = numbered ? `b${block}` : 'abcdef'[block];
  const branch = { 1: 'branch2a', 2: 'branch2b', 3: 'branch2c', down: 'branch1' }[kind];
  return `${layer + 1}${letter}_${branch}`;
}

/** The official ResNet of DeepLab v2 in Caffe, with its copies for the smaller scales. */
export function caffeResNetShapes(classes: number): Record<string, Shape> {
  const shapes: Record<string, Shape> = {};
  const unit = (conv: string, bn: string, scale: string, shape: Shape) => {
    const channels = shape.slice(0, 1);
    for (const copy of ['', '_res075', '_res05']) {
      shapes[`${conv}${copy}/0`] = shape;
      for (const blob of [0, 1]) shapes[`${bn}${copy}/${blob}`] = shapes[`${scale}${copy}/${blob}`] = channels;
      shapes[`${bn}${copy}/2`] = [1];
    }
  };
  unit('conv1', 'bn_conv1', 'scale_conv1', [64, 3, 7, 7]);
  visitResNet(blocksOf.resnet101, (layer, block, kind, out, inputs, k) => {
    const name = msraName('resnet101', layer, block, kind);
    unit(`res${name}`, `bn${name}`, `scale${name}`, [out, inputs, k, k]);
  });
  for (let i = 0; i < 4; i++) {
    for (const copy of ['', '_res075', '_res05']) {
      shapes[`fc1_voc12_c${i}${copy}/0`] = [classes, 2048, 3, 3];
      shapes[`fc1_voc12_c${i}${copy}/1`] = [classes];
    }
  }
  return shapes;
}

/** DrSleep/tensorflow-deeplab-resnet, after some steps of training. */
export function tensorflowResNetShapes(backbone: keyof typeof blocksOf, classes: number): Record<string, Shape> {
  const shapes: Record<string, Shape> = { 'conv1/weights': [7, 7, 3, 64], 'conv1/weights/Momentum': [7, 7, 3, 64] };
  tensorflowNorm(shapes, 'bn_conv1', 64);
  visitResNet(blocksOf[backbone], (layer, block, kind, out, inputs, k) => {
    const name = msraName(backbone, layer, block, kind);
    shapes[`res${name}/weights`] = [k, k, inputs, out];
    tensorflowNorm(shapes, `bn${name}`, out);
  });
  for (let i = 0; i < 4; i++) {
    shapes[`fc1_voc12_c${i}/weights`] = [3, 3, 2048, classes];
    shapes[`fc1_voc12_c${i}/biases`] = [classes];
  }
  return shapes;
}

/** zhengyang-wang/Deeplab-v2--ResNet-101--Tensorflow on a ResNet of slim. */
export function slimResNetShapes(backbone: keyof typeof blocksOf, classes: number): Record<string, Shape> {
  const scope = backbone.replace('resnet', 'resnet_v1_');
  const shapes: Record<string, Shape> = { [`${scope}/conv1/weights`]: [7, 7, 3, 64], global_step: [] };
  tensorflowNorm(shapes, `${scope}/conv1/BatchNorm`, 64);
  visitResNet(blocksOf[backbone], (layer, block, kind, out, inputs, k) => {
    const unit = `${scope}/block${layer}/unit_${block + 1}/bottleneck_v1/${kind === 'down' ? 'shortcut' : `conv${kind}`}`;
    shapes[`${unit}/weights`] = [k, k, inputs, out];
    tensorflowNorm(shapes, `${unit}/BatchNorm`, out);
  });
  for (let i = 1; i <= 4; i++) {
    shapes[`decoder/aspp/conv${i}/weights`] = [3, 3, 2048, classes];
    shapes[`decoder/aspp/conv${i}/biases`] = [classes];
  }
  return shapes;
}

/** DeepLab with VGG-16 in Caffe: LargeFOV, or four branches; biases as old files have them if `legacy`. */
export function caffeVggShapes(branches: 1 | 4, legacy = false): Record<string, Shape> {
  const shapes: Record<string, Shape> = {};
  const layer = (name: string, shape: Shape) => {
    shapes[`${name}/0`] = shape;
    shapes[`${name}/1`] = legacy ? [1, 1, 1, shape[0] as number] : [shape[0] as number];
  };
  let inputs = 3;
  for (const name of '1_1 1_2 2_1 2_2 3_1 3_2 3_3 4_1 4_2 4_3 5_1 5_2 5_3'.split(' ')) {
    const outputs = [64, 128, 256, 512, 512][Number(name[0]) - 1] as number;
    layer(`conv${name}`, [outputs, inputs, 3, 3]);
    inputs = outputs;
  }
  for (const suffix of branches === 1 ? [''] : ['_1', '_2', '_3', '_4']) {
    layer(`fc6${suffix}`, [1024, 512, 3, 3]);
    layer(`fc7${suffix}`, [1024, 1024, 1, 1]);
    layer(`fc8_voc12${suffix}`, [21, 1024, 1, 1]);
  }
  return shapes;
}

/** A convolution of MobileNetV2 at full width, with its names in TensorFlow and in Keras. */
type MobileVisit = (scope: string, kind: 'plain' | 'depthwise', inputs: number, outputs: number, k: number) => void;

function visitMobileNet(visit: MobileVisit): void {
  visit('Conv', 'plain', 3, 32, 3);
  let inputs = 32;
  const outputs = [16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320];
  for (const [i, out] of outputs.entries()) {
    const scope = i === 0 ? 'expanded_conv' : `expanded_conv_${i}`;
    const wide = i === 0 ? inputs : inputs * 6;
    if (i > 0) visit(`${scope}/expand`, 'plain', inputs, wide, 1);
    visit(`${scope}/depthwise`, 'depthwise', wide, 1, 3);
    visit(`${scope}/project`, 'plain', wide, out, 1);
    inputs = out;
  }
}

const mobileHead = [
  ['image_pooling', 320],
  ['aspp0', 320],
  ['concat_projection', 512],
] as const;

/** The checkpoint of DeepLab v3 with MobileNetV2 in TensorFlow's model zoo. */
export function tensorflowMobileNetShapes(classes: number): Record<string, Shape> {
  const shapes: Record<string, Shape> = { global_step: [] };
  visitMobileNet((scope, kind, inputs, outputs, k) => {
    const place = `MobilenetV2/${scope}`;
    const depthwise = kind === 'depthwise';
    shapes[`${place}/${depthwise ? 'depthwise_weights' : 'weights'}`] = [k, k, inputs, outputs];
    tensorflowNorm(shapes, `${place}/BatchNorm`, depthwise ? inputs : outputs);
  });
  for (const [scope, inputs] of mobileHead) {
    shapes[`${scope}/weights`] = [1, 1, inputs, 256];
    tensorflowNorm(shapes, `${scope}/BatchNorm`, 256);
  }
  Object.assign(shapes, { 'logits/semantic/weights': [1, 1, 256, classes], 'logits/semantic/biases': [classes] });
  return shapes;
}

/** The .h5 file of bonlime/keras-deeplab-v3-plus with MobileNetV2. */
export function kerasMobileNetShapes(classes: number, logits = 'logits_semantic'): Record<string, Shape> {
  const shapes: Record<string, Shape> = {};
  const norm = (layer: string, channels: number) => {
    const parts: Record<string, Shape> = {};
    tensorflowNorm(parts, `${layer}_BN/${layer}_BN`, channels);
    for (const [name, shape] of Object.entries(parts)) shapes[`${name}:0`] = shape;
  };
  visitMobileNet((scope, kind, inputs, outputs, k) => {
    const layer = scope.replace('/', '_');
    const depthwise = kind === 'depthwise';
    shapes[`${layer}/${layer}/${depthwise ? 'depthwise_kernel' : 'kernel'}:0`] = [k, k, inputs, outputs];
    norm(layer, depthwise ? inputs : outputs);
  });
  for (const [layer, inputs] of mobileHead) {
    shapes[`${layer}/${layer}/kernel:0`] = [1, 1, inputs, 256];
    norm(layer, 256);
  }
  shapes[`${logits}/${logits}/kernel:0`] = [1, 1, 256, classes];
  shapes[`${logits}/${logits}/bias:0`] = [classes];
  return shapes;
}
