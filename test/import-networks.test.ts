// Imported networks compute what the frameworks do that their names are from: torchvision itself, and the operators of
// TensorFlow (import/networks/*.py, in float64). The weights are made from the names, so that no file is needed.

import { readFileSync } from 'node:fs';
import path from 'node:path';
import sharp from 'sharp';
import { DeepLab, importWeights } from '../lib';
import type { Archive, ArchiveFormat } from '../lib/import/archive';
import { layoutOf } from '../lib/import/layouts';
import type { StoragePrecision } from '../lib/import/precision';
import { temporaryFolder } from './folder';
import { held, readReference } from './import/references';
import {
  archiveOf,
  tame,
  tensorflowMobileNetShapes,
  tensorflowResNetShapes,
  torchvisionShapes,
} from './synthetic-archives';

const folder = temporaryFolder();

const mobileNet = () => archiveOf('tensorflow-checkpoint', tensorflowMobileNetShapes(19), tame);
const tensorflowResNet = () => archiveOf('tensorflow-checkpoint', tensorflowResNetShapes('resnet50', 21), tame);

/** The same tensors under other names. */
function renamed(archive: Archive, format: ArchiveFormat, rename: (name: string) => string): Archive {
  return {
    ...archive,
    format,
    tensors: new Map(Array.from(archive.tensors, ([name, tensor]) => [rename(name), tensor])),
  };
}

/** How bonlime/keras-deeplab-v3-plus calls a tensor of TensorFlow's checkpoint. */
function kerasName(name: string): string {
  const [, scope = '', norm, part = ''] = /^(.*?)(\/BatchNorm)?\/([^/]*)$/.exec(name) ?? [];
  const layer = `${scope.replace('MobilenetV2/', '').replaceAll('/', '_')}${norm ? '_BN' : ''}`;
  return `${layer}/${layer}/${part.replace('weights', 'kernel').replace('biases', 'bias')}:0`;
}

/** How slim calls a tensor of DrSleep's checkpoint; the networks are the same. */
function slimName(name: string): string {
  const head = /^fc1_voc12_c(\d)\/(.*)$/.exec(name);
  if (head !== null) return `decoder/aspp/conv${Number(head[1]) + 1}/${head[2]}`;
  const stem = /^(bn_)?conv1\/(.*)$/.exec(name);
  if (stem !== null) return `resnet_v1_50/conv1/${stem[1] ? 'BatchNorm/' : ''}${stem[2]}`;
  const [, kind, layer, block = '', branch = '', part] = /^(res|bn)(\d)(\w)_branch(\w+)\/(.*)$/.exec(name) ?? [];
  const unit = `block${Number(layer) - 1}/unit_${'abcdef'.indexOf(block) + 1}/bottleneck_v1`;
  const conv = branch === '1' ? 'shortcut' : `conv${'abc'.indexOf(branch.slice(1)) + 1}`;
  return `resnet_v1_50/${unit}/${conv}/${kind === 'bn' ? 'BatchNorm/' : ''}${part}`;
}

const lines = {
  torchvision: () => archiveOf('pytorch', torchvisionShapes('resnet50', 21), tame),
  'tensorflow-resnet': tensorflowResNet,
  'tensorflow-mobilenet': mobileNet,
};

/** The import of an archive held against a reference. */
function computed(archive: Archive, line: string, precision: StoragePrecision = 'f32') {
  const file = path.join(folder, `${layoutOf(archive).name}-${precision}.safetensors`);
  return held(archive, readReference(line), file, precision);
}

test.each([
  ['keras-mobilenet', () => renamed(mobileNet(), 'keras', kerasName), 'tensorflow-mobilenet'],
  ['slim-resnet', () => renamed(tensorflowResNet(), 'tensorflow-checkpoint', slimName), 'tensorflow-resnet'],
])('%s has those of the same network under other names', async (layout, archive, line) => {
  expect(layoutOf(archive()).name).toBe(layout);
  const { error, same } = await computed(archive(), line);
  expect(error).toBeLessThan(1e-5);
  expect(same).toBeGreaterThanOrEqual(0.999);
});

test.each(Object.entries(lines))('%s has the logits and the labels of its framework', async (line, archive) => {
  const { error, same } = await computed(archive(), line);
  expect(error).toBeLessThan(1e-5); // the rounding of f32 through fifty layers
  expect(same).toBeGreaterThanOrEqual(0.999);
});

// Random weights take more harm than trained ones.
test.each([
  ['f16', 2e-2, 0.99],
  ['bf16', 0.15, 0.9],
  ['int8', 0.3, 0.8],
] as const)('stored in %s it is near them', async (precision, most, least) => {
  const { error, same } = await computed(mobileNet(), 'tensorflow-mobilenet', precision);
  expect(error).toBeLessThan(most);
  expect(same).toBeGreaterThanOrEqual(least);
});

describe('the .tflite that TensorFlow published for phones', () => {
  const shared = path.join(__dirname, '../../shared/models/deeplabv3-mobilenetv2-voc');
  let there = true;
  try {
    readFileSync(`${shared}.tflite`);
  } catch {
    there = false;
    process.stdout.write(`skipped: ${shared}.tflite is not there\n`);
  }

  (there ? test : test.skip)('gives every pixel of the label map that its makers published', async () => {
    const file = path.join(folder, 'phone.safetensors');
    const { format, layout, classes } = await importWeights(`${shared}.tflite`, file);
    expect([format, layout, classes.length]).toEqual(['tensorflow-lite', 'tensorflow-mobilenet', 21]);
    await using model = await DeepLab.load(file, { device: 'cpu', precision: 'f32' });
    const { labels } = await model.segment(`${shared}-input.jpg`);
    const golden = await sharp(`${shared}-golden.png`).extractChannel(0).raw().toBuffer();
    expect(labels.every((label, i) => label * 10 === golden[i])).toBe(true);
  });
});
