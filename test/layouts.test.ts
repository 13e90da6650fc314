// The layouts of published files: archives with their names become networks that native code accepts, kernels turned to
// our order of axes. What the networks compute is compared in import.test.ts, with the frameworks themselves.

import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { DeepLabError, inspect } from '../lib';
import type { ArchiveFormat } from '../lib/import/archive';
import { layoutOf, layouts } from '../lib/import/layouts';
import type { ImportedModel } from '../lib/import/layouts/layout';
import { temporaryFolder } from './folder';
import {
  archiveOf,
  caffeResNetShapes,
  caffeVggShapes,
  deeplabPytorchShapes,
  elementOf,
  kerasMobileNetShapes,
  slimResNetShapes,
  tensorflowMobileNetShapes,
  tensorflowResNetShapes,
  torchvisionResNetShapes,
  torchvisionShapes,
} from './synthetic-archives';

const folder = temporaryFolder();
let files = 0;

/** What native code reads in a file of the model's names and shapes, whose numbers are a hole of zeros. */
async function inspected(model: ImportedModel) {
  const header: Record<string, unknown> = { __metadata__: model.metadata };
  let offset = 0;
  for (const [name, { shape }] of model.tensors) {
    const end = offset + shape.reduce((product, size) => product * size, 4);
    header[name] = { dtype: 'F32', shape, data_offsets: [offset, end] };
    offset = end;
  }
  const json = Buffer.from(JSON.stringify(header));
  const start = Buffer.alloc(8);
  start.writeBigUInt64LE(BigInt(json.length));
  const file = path.join(folder, `${files++}.safetensors`);
  const handle = openSync(file, 'w');
  writeSync(handle, Buffer.concat([start, json]));
  ftruncateSync(handle, 8 + json.length + offset);
  closeSync(handle);
  return inspect(file, { width: 65, height: 65 });
}

/** One number of a tensor of ours, and where in the archive's tensor it has to be from. */
async function expectElement(
  model: ImportedModel,
  name: string,
  at: readonly number[],
  source: string,
  sourceAt: readonly number[],
  sourceShape: readonly number[],
) {
  const tensor = model.tensors.get(name);
  if (tensor === undefined) throw new Error(`there is no tensor ${name}`);
  const flat = (place: readonly number[], shape: readonly number[]) =>
    place.reduce((index, i, axis) => index * (shape[axis] as number) + i, 0);
  const values = await tensor.read();
  expect(values[flat(at, tensor.shape)]).toBe(elementOf(source, flat(sourceAt, sourceShape)));
}

const voc = /^background,aeroplane,.*,tvmonitor$/;

const lines = [
  ['deeplab-pytorch', archiveOf('pytorch', deeplabPytorchShapes('base.', 21)), ['deeplab_v2', 'resnet101', 21]],
  [
    'deeplab-pytorch',
    archiveOf('pytorch', deeplabPytorchShapes('scale.', 182, true)),
    ['deeplab_v2', 'resnet101', 182],
  ],
  ['deeplab-pytorch', archiveOf('pytorch', deeplabPytorchShapes('', 4)), ['deeplab_v2', 'resnet101', 4]],
  ['torchvision', archiveOf('pytorch', torchvisionShapes('resnet50', 21)), ['deeplab_v3', 'resnet50', 21]],
  ['torchvision', archiveOf('pytorch', torchvisionShapes('resnet101', 19)), ['deeplab_v3', 'resnet101', 19]],
  ['caffe-resnet', archiveOf('caffe', caffeResNetShapes(21)), ['deeplab_v2', 'resnet101', 21]],
  ['caffe-vgg16', archiveOf('caffe', caffeVggShapes(1)), ['deeplab_v1', 'vgg16', 21]],
  ['caffe-vgg16', archiveOf('caffe', caffeVggShapes(1, true)), ['deeplab_v1', 'vgg16', 21]],
  ['caffe-vgg16', archiveOf('caffe', caffeVggShapes(4)), ['deeplab_v2', 'vgg16', 21]],
  [
    'tensorflow-resnet',
    archiveOf('tensorflow-checkpoint', tensorflowResNetShapes('resnet101', 21)),
    ['deeplab_v2', 'resnet101', 21],
  ],
  ['tensorflow-resnet', archiveOf('npz', tensorflowResNetShapes('resnet50', 150)), ['deeplab_v2', 'resnet50', 150]],
  ['slim-resnet', archiveOf('tensorflow-checkpoint', slimResNetShapes('resnet50', 21)), ['deeplab_v2', 'resnet50', 21]],
  [
    'tensorflow-mobilenet',
    archiveOf('tensorflow-checkpoint', tensorflowMobileNetShapes(151)),
    ['deeplab_v3', 'mobilenet_v2', 151],
  ],
  ['keras-mobilenet', archiveOf('keras', kerasMobileNetShapes(21)), ['deeplab_v3', 'mobilenet_v2', 21]],
  [
    'keras-mobilenet',
    archiveOf('keras', kerasMobileNetShapes(5, 'custom_logits_semantic')),
    ['deeplab_v3', 'mobilenet_v2', 5],
  ],
] as const;

test.each(lines)('%s is recognised, and native code accepts what it becomes', async (name, archive, expected) => {
  const layout = layoutOf(archive);
  expect(layout.name).toBe(name);
  const model = layout.import(archive);
  const { architecture, backbone, classes } = await inspected(model);
  expect([architecture, backbone, classes.length]).toEqual(expected);
});

test.each(lines)('%s: every tensor of the archive is taken or accounted for', (_, archive) => {
  const { tensors, ignored } = layoutOf(archive).import(archive);
  const kept = archive.tensors.size - ignored.length;
  // Caffe makes two statistics of three blobs.
  const shared = [...tensors.keys()].filter((name) => name.endsWith('running_mean')).length;
  expect(tensors.size).toBe(archive.format === 'caffe' ? kept - shared : kept);
  expect(ignored.filter(({ reason }) => reason === 'is no part of the network')).toEqual([]);
});

test.each(lines)('%s is recognised by no other layout', (name, archive) => {
  expect(layouts.filter((layout) => layout.recognises(archive)).map((layout) => layout.name)).toEqual([name]);
});

describe('kernels', () => {
  test('of TensorFlow [height,width,in,out] become [out,in,height,width]', async () => {
    const archive = archiveOf('tensorflow-checkpoint', tensorflowMobileNetShapes(21));
    const model = layoutOf(archive).import(archive);
    await expectElement(
      model,
      'stem.conv.weight',
      [5, 2, 0, 1],
      'MobilenetV2/Conv/weights',
      [0, 1, 2, 5],
      [3, 3, 3, 32],
    );
  });

  test('of its depthwise convolutions [height,width,channels,1] become [channels,1,height,width]', async () => {
    const archive = archiveOf('tensorflow-checkpoint', tensorflowMobileNetShapes(21));
    const model = layoutOf(archive).import(archive);
    const source = 'MobilenetV2/expanded_conv_3/depthwise/depthwise_weights';
    await expectElement(model, 'blocks.3.depthwise.conv.weight', [7, 0, 2, 1], source, [2, 1, 7, 0], [3, 3, 144, 1]);
  });

  test('of PyTorch stay as they are', async () => {
    const archive = archiveOf('pytorch', deeplabPytorchShapes('base.', 21));
    const model = layoutOf(archive).import(archive);
    const [at, shape] = [
      [17, 5, 2, 1],
      [256, 256, 3, 3],
    ];
    const source = 'base.layer4.block23.conv3x3.conv.weight';
    await expectElement(model, 'layer3.22.conv2.weight', at, source, at, shape);
  });
});

test.each([
  ['tensorflow-checkpoint', tensorflowMobileNetShapes(21), 'concat_projection/weights'],
  ['keras', kerasMobileNetShapes(21), 'concat_projection/concat_projection/kernel:0'],
] as const)('%s: the projection reads the pooling last, which TensorFlow has first', async (format, shapes, source) => {
  const archive = archiveOf(format, shapes);
  const model = layoutOf(archive).import(archive);
  const size = [1, 1, 512, 256];
  await expectElement(model, 'aspp.project.conv.weight', [9, 0, 0, 0], source, [0, 0, 256, 9], size);
  await expectElement(model, 'aspp.project.conv.weight', [9, 255, 0, 0], source, [0, 0, 511, 9], size);
  await expectElement(model, 'aspp.project.conv.weight', [9, 256, 0, 0], source, [0, 0, 0, 9], size);
  await expectElement(model, 'aspp.project.conv.weight', [9, 511, 0, 0], source, [0, 0, 255, 9], size);
});

test('the statistics of Caffe are divided by what was summed', async () => {
  const archive = archiveOf('caffe', caffeResNetShapes(21));
  const model = layoutOf(archive).import(archive);
  const mean = await model.tensors.get('layer3.22.bn2.running_mean')?.read();
  const variance = await model.tensors.get('layer3.22.bn2.running_var')?.read();
  const total = elementOf('bn4b22_branch2b/2', 0);
  expect(mean?.[3]).toBeCloseTo(elementOf('bn4b22_branch2b/0', 3) / total, 6);
  expect(variance?.[3]).toBeCloseTo(elementOf('bn4b22_branch2b/1', 3) / total, 6);
});

test('a checkpoint of our own names without metadata is DeepLab v2 as PyTorch has it', async () => {
  const shapes = torchvisionResNetShapes('resnet50', 'module.');
  for (let i = 0; i < 4; i++) {
    shapes[`module.aspp.branches.${i}.weight`] = [11, 2048, 3, 3];
    shapes[`module.aspp.branches.${i}.bias`] = [11];
  }
  const archive = archiveOf('pytorch', shapes);
  const model = layoutOf(archive).import(archive);
  expect(model.layout).toBe('deeplab');
  expect(model.metadata.classes).toBe('class0,class1,class2,class3,class4,class5,class6,class7,class8,class9,class10');
  expect((await inspected(model)).backbone).toBe('resnet50');
});

describe('classes', () => {
  const classesOf = (count: number) => {
    const archive = archiveOf('pytorch', deeplabPytorchShapes('base.', count));
    return layoutOf(archive).import(archive).metadata;
  };

  test.each([
    [21, voc],
    [19, /^road,sidewalk,.*,bicycle$/],
    [150, /^wall,building,.*,clock,flag$/],
    [182, /^person,bicycle,.*,window-other,wood$/],
    [3, /^class0,class1,class2$/],
  ])('%d of them are named', (count, names) => {
    const { classes } = classesOf(count);
    expect(classes).toMatch(names);
    expect(new Set(classes?.split(',')).size).toBe(count);
  });

  test('only Cityscapes brings colours', () => {
    expect(classesOf(19).palette?.split(';')).toHaveLength(19);
    expect(classesOf(21).palette).toBeUndefined();
  });

  test('more than a label map can hold are refused', () => {
    expect(() => classesOf(257)).toThrow(/has 257 classes: expected 1 to 256/);
  });
});

describe('what cannot be imported is named', () => {
  const importing = (shapes: Readonly<Record<string, readonly number[]>>) => () => {
    const archive = archiveOf('pytorch', shapes);
    return layoutOf(archive).import(archive);
  };
  const without = (shapes: Record<string, readonly number[]>, name: string) => {
    delete shapes[name];
    return shapes;
  };

  test.each([
    [
      'a tensor that is missing',
      without(deeplabPytorchShapes('base.', 21), 'base.layer4.block7.increase.bn.running_var'),
      'ERR_INVALID_WEIGHTS',
      /no tensor base\.layer4\.block7\.increase\.bn\.running_var \[1024\]/,
    ],
    [
      'a tensor of another shape',
      { ...tensorflowResNetShapes('resnet50', 21), 'res2a_branch2b/weights': [64, 64, 3, 3] },
      'ERR_INVALID_WEIGHTS',
      /res2a_branch2b\/weights \[64,64,3,3\]: expected \[3,3,64,64\], for layer1\.0\.conv2\.weight/,
    ],
    [
      'a depth between the two',
      without(torchvisionShapes('resnet101', 21), 'backbone.layer3.17.conv1.weight'),
      'ERR_UNSUPPORTED_MODEL',
      /17 bottlenecks in layer 3/,
    ],
    ['a classifier', torchvisionResNetShapes('resnet50', ''), 'ERR_UNSUPPORTED_MODEL', /classifies images/],
    [
      "torchvision's MobileNetV3",
      { 'backbone.0.0.weight': [16, 3, 3, 3], 'classifier.4.weight': [21, 256, 1, 1] },
      'ERR_UNSUPPORTED_MODEL',
      /deeplabv3_mobilenet_v3_large/,
    ],
    [
      'separable atrous convolutions',
      { ...tensorflowMobileNetShapes(21), 'aspp1_depthwise/depthwise_weights': [3, 3, 320, 1] },
      'ERR_UNSUPPORTED_MODEL',
      /separable/,
    ],
    [
      'a decoder',
      { ...tensorflowMobileNetShapes(21), 'decoder/feature_projection0/weights': [1, 1, 24, 48] },
      'ERR_UNSUPPORTED_MODEL',
      /DeepLab v3\+/,
    ],
    [
      'Xception',
      { 'xception_65/entry_flow/conv1_1/weights': [3, 3, 3, 32], 'logits/semantic/weights': [1, 1, 256, 21] },
      'ERR_UNSUPPORTED_MODEL',
      /xception_65/,
    ],
    [
      'Xception in Keras',
      { 'concat_projection/kernel': [1, 1, 1280, 256], 'aspp0/kernel': [1, 1, 2048, 256] },
      'ERR_UNSUPPORTED_MODEL',
      /Xception/,
    ],
    ['a MobileNetV2 of uneven channels', oddMobileNet(), 'ERR_UNSUPPORTED_MODEL', /fit no width multiplier/],
    [
      'slim without the head',
      without(slimResNetShapes('resnet50', 21), 'decoder/aspp/conv1/weights'),
      'ERR_UNSUPPORTED_MODEL',
      /head of DeepLab v2/,
    ],
    ['three branches of VGG-16', threeBranches(), 'ERR_UNSUPPORTED_MODEL', /3 branches fc6_\*/],
    ['names of nothing known', { 'some.weight': [1], 'other.weight': [2] }, 'ERR_UNSUPPORTED_MODEL', /some\.weight/],
    ['an empty archive', {}, 'ERR_UNSUPPORTED_MODEL', /no tensors/],
  ])('%s', (_, shapes, code, message) => {
    expect(importing(shapes)).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }));
  });

  function oddMobileNet() {
    return { ...tensorflowMobileNetShapes(21), 'MobilenetV2/expanded_conv_4/project/weights': [1, 1, 192, 40] };
  }

  function threeBranches() {
    const shapes = caffeVggShapes(4);
    return Object.fromEntries(Object.entries(shapes).filter(([name]) => !name.includes('_4/')));
  }
});

const archives: readonly (readonly [ArchiveFormat, Readonly<Record<string, readonly number[]>>])[] = [
  ['pytorch', torchvisionShapes('resnet50', 21)],
  ['pytorch', deeplabPytorchShapes('base.', 21)],
  ['caffe', caffeResNetShapes(21)],
  ['caffe', caffeVggShapes(1)],
  ['caffe', caffeVggShapes(4)],
  ['tensorflow-checkpoint', tensorflowResNetShapes('resnet50', 21)],
  ['tensorflow-checkpoint', slimResNetShapes('resnet50', 21)],
  ['tensorflow-checkpoint', tensorflowMobileNetShapes(21)],
  ['keras', kerasMobileNetShapes(21)],
];

test.each(archives.map(([format, shapes]) => [layoutOf(archiveOf(format, shapes)).name, format, shapes] as const))(
  '%s: with a tensor missing or of another shape it is refused, or a network that native code takes',
  async (_, format, shapes) => {
    const names = Object.keys(shapes);
    // Sizes that stand elsewhere in the network, none, one, and more than fit into memory.
    const size = fc.oneof(fc.constantFrom(0, 1, 3, 21, 22, 64, 256, 512, 2048, 2 ** 31, 2 ** 52), fc.nat(5000));
    const shape = fc.option(fc.array(size, { maxLength: 5 }));
    await fc.assert(
      fc.asyncProperty(fc.nat(names.length - 1), shape, async (at, other) => {
        const name = names[at] as string;
        const { [name]: sound, ...rest } = shapes;
        const changed = archiveOf(format, other === null ? rest : { ...rest, [name]: other });
        let model: ImportedModel;
        try {
          model = layoutOf(changed).import(changed);
        } catch (error) {
          expect(error).toBeInstanceOf(DeepLabError);
          expect((error as DeepLabError).code).toMatch(/^ERR_(INVALID_WEIGHTS|UNSUPPORTED_MODEL)$/);
          return;
        }
        await inspected(model);
        // What the network does not use may be missing or of any shape; Caffe's older files have sizes of 1 besides.
        if (other === null || model.ignored.some((tensor) => tensor.name === name)) return;
        const withoutOnes = (sizes: readonly number[]) => sizes.filter((one) => one !== 1);
        expect(withoutOnes(other)).toEqual(withoutOnes(sound as readonly number[]));
      }),
      { numRuns: 200 },
    );
  },
);

test('a layout that is asked for by name says what the archive lacks for it', () => {
  const archive = archiveOf('pytorch', torchvisionShapes('resnet50', 21));
  expect(() => layoutOf(archive, 'deeplab-pytorch').import(archive)).toThrow(/has a ResNet with 0 bottlenecks/);
});
