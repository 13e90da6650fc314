// Initial weights: what a seed makes, what is taken of a file, and that a deeper network computes what the shallower one
// did whose weights it has.

import { createHash } from 'node:crypto';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { DeepLab, DeepLabError, importWeights } from '../lib';
import { native } from '../lib/native';
import { openInitialSource } from '../lib/train/initial-source';
import { type InitializeOptions, initialize, planInitialization } from '../lib/train/initialize';
import { networkTensors } from '../lib/train/network-tensors';
import { relativeError } from './comparison';
import { temporaryFolder } from './folder';
import { familyModel, randomImage, randomModel } from './models';
import { readSafetensors, writeSafetensors } from './safetensors';
import { writeSmallModel } from './small-model';

const folder = temporaryFolder();
const at = (name: string) => path.join(folder, name);
const small = at('small.safetensors');
writeSmallModel(small);
const { metadata } = readSafetensors(small);
const imageNet = path.join(__dirname, '../../shared/models/resnet50-imagenet.pth');
const there = existsSync(imageNet);
if (!there) process.stdout.write(`skipped: ${imageNet} is not there\n`);

const sha256 = (file: string) => createHash('sha256').update(readFileSync(file)).digest('hex');

/** What the header says, without the tensors: the files are large. */
function headerOf(file: string): Record<string, { readonly shape: readonly number[] }> {
  const handle = openSync(file, 'r');
  try {
    const length = Buffer.alloc(8);
    readSync(handle, length);
    const json = Buffer.alloc(Number(length.readBigUInt64LE()));
    readSync(handle, json);
    return JSON.parse(json.toString());
  } finally {
    closeSync(handle);
  }
}

/** Values of a weights file's tensor, as native code reads them. */
function values(file: string, name: string): Float32Array {
  const { shape } = headerOf(file)[name] ?? {};
  if (shape === undefined) throw new Error(`no tensor ${name} in ${file}`);
  return native().readTensors(file, [{ name, shape }])[0] ?? new Float32Array();
}

async function failure(options: Partial<InitializeOptions>, file = at('failed.safetensors')): Promise<DeepLabError> {
  const error: unknown = await initialize({ metadata, seed: 1, ...options }, file).catch((reason: unknown) => reason);
  if (!(error instanceof DeepLabError)) throw new Error('expected a DeepLabError');
  return error;
}

async function logits(file: string): Promise<Float32Array> {
  await using model = await DeepLab.load(file, { device: 'cpu', precision: 'f32', winograd: false, threads: 1 });
  const result = await model.segment(randomImage(65, 49, 5), { logits: true });
  return result.logits?.data ?? new Float32Array();
}

describe('random weights', () => {
  test('are those of the seed, and a tensor has them whatever else the network has', async () => {
    const files = ['a', 'b', 'other', 'wider'].map((name) => at(`${name}.safetensors`)) as [
      string,
      string,
      string,
      string,
    ];
    const [a, b, other, wider] = files;
    for (const file of [a, b]) await initialize({ metadata, seed: 7 }, file);
    await initialize({ metadata, seed: 8 }, other);
    await initialize({ metadata: { ...metadata, classes: 'sky,road,tree,car', aspp_rates: '6' }, seed: 7 }, wider);
    expect(sha256(a)).toBe(sha256(b));
    const name = 'blocks.3.expand.conv.weight';
    expect(values(other, name)).not.toEqual(values(a, name));
    expect(values(wider, name)).toEqual(values(a, name));
    expect(values(wider, 'classifier.weight')).not.toEqual(values(a, 'classifier.weight'));
    for (const file of files) rmSync(file);
  });

  test("are He's for kernels, 0.01 before the classes, and batch norms that do nothing", async () => {
    const file = at('random.safetensors');
    const wide = { ...metadata, width_multiplier: '0.5', head_channels: '256' };
    const { initialized, taken, expanded, bytes } = await initialize({ metadata: wide, seed: 3 }, file);
    const { tensors } = readSafetensors(file);
    expect([initialized.length, taken, expanded]).toEqual([Object.keys(tensors).length, [], []]);
    expect(bytes).toBe(readFileSync(file).length);
    const standardised: number[] = [];
    for (const { name, shape, kind } of networkTensors(wide).tensors) {
      const found = values(file, name);
      if (kind !== 'kernel') {
        expect(new Set(found)).toEqual(new Set([kind === 'scale' || kind === 'variance' ? 1 : 0]));
        continue;
      }
      const [outputs = 0, , height = 0, width = 0] = shape;
      const deviation = name === 'classifier.weight' ? 0.01 : Math.sqrt(2 / (outputs * height * width));
      const square = found.reduce((sum, value) => sum + (value / deviation) ** 2, 0) / found.length;
      expect(Math.abs(square - 1)).toBeLessThan(6 * Math.sqrt(2 / found.length));
      for (const value of found) standardised.push(value / deviation);
    }
    const moment = (power: number) => standardised.reduce((sum, x) => sum + x ** power, 0) / standardised.length;
    expect(standardised.length).toBeGreaterThan(300_000);
    expect(Math.abs(moment(1))).toBeLessThan(0.01);
    expect(Math.abs(moment(3))).toBeLessThan(0.03);
    expect(Math.abs(moment(4) - 3)).toBeLessThan(0.05); // of a normal distribution
    const beyond = standardised.filter((x) => Math.abs(x) > 1.96).length / standardised.length;
    expect(Math.abs(beyond - 0.05)).toBeLessThan(0.002);
    expect(readSafetensors(file).metadata.initialized).toBe('seed 3');
  });
});

describe('weights of a file', () => {
  test('are taken as they are, of an int8 file as the numbers that it stands for', async () => {
    const [int8, file] = [at('int8.safetensors'), at('taken.safetensors')];
    await importWeights(small, int8, { precision: 'int8' });
    for (const from of [small, int8]) {
      const { taken, initialized, ignored, differing } = await initialize({ metadata, seed: 1, from }, file);
      expect([taken.length, initialized, ignored, differing]).toEqual([
        networkTensors(metadata).tensors.length,
        [],
        [],
        [],
      ]);
      for (const name of ['stem.conv.weight', 'blocks.5.project.bn.running_var', 'classifier.bias']) {
        expect(values(file, name)).toEqual(values(from, name));
      }
    }
    expect(readSafetensors(file).metadata.initialized).toBe('seed 1, from int8.safetensors');
  });

  test.each([
    ['names', 'sky,road,car', 'belongs to other classes or rates'],
    ['number', 'sky,road,tree,car', 'has the shape [3]: expected [4]'],
  ])('but for the classifier where the classes have another %s', async (_, classes, reason) => {
    const file = at('classes.safetensors');
    const network = { ...metadata, classes, channel_order: 'bgr' };
    const result = await initialize({ metadata: network, seed: 1, from: small }, file);
    expect(result.initialized).toEqual(['classifier.weight', 'classifier.bias']);
    expect(result.ignored[1]).toEqual({ name: 'classifier.bias', reason });
    expect(result.differing).toEqual([{ key: 'channel_order', from: 'rgb', network: 'bgr' }]);
  });

  test('as far as there are any, under a prefix and without metadata too', async () => {
    const { tensors } = readSafetensors(small);
    const some = Object.entries(tensors).filter(([name]) => /^(stem|blocks\.[0-4])\./.test(name));
    const from = at('part.safetensors');
    const file = at('rest.safetensors');
    writeSafetensors(from, {}, Object.fromEntries(some.map(([name, tensor]) => [`module.${name}`, tensor])));
    const { taken, initialized, ignored } = await initialize({ metadata, seed: 1, from }, file);
    expect(taken).toEqual(some.map(([name]) => name));
    expect(taken.length + initialized.length).toBe(networkTensors(metadata).tensors.length);
    expect(ignored).toEqual([]);
    expect(values(file, 'blocks.2.depthwise.conv.weight')).toEqual(values(small, 'blocks.2.depthwise.conv.weight'));
  });
});

describe('a deeper network', () => {
  let shallow: string;
  let reference: Float32Array;
  let described: Record<string, string>;
  const deep = at('deep.safetensors');
  beforeAll(async () => {
    shallow = await randomModel({ backbone: 'resnet50' });
    reference = await logits(shallow);
    described = headerOf(shallow).__metadata__ as unknown as Record<string, string>;
  });
  afterAll(() => rmSync(deep, { force: true }));

  test('computes exactly what the shallower one did, whose bottlenecks stand evenly among identities', async () => {
    const network = { ...described, backbone: 'resnet101' };
    const { expanded, initialized, ignored } = await initialize({ metadata: network, seed: 1, from: shallow }, deep);
    expect([initialized, ignored]).toEqual([[], []]);
    const old = Array.from({ length: 23 }, (_, i) => i).filter((i) => !expanded.includes(`layer3.${i}`));
    expect(old).toEqual([0, 4, 9, 13, 18, 22]);
    expect(await logits(deep)).toEqual(reference);
    expect(new Set(values(deep, 'layer3.1.bn3.weight'))).toEqual(new Set([0]));
    // Everything before the scale is random, so that the scale has a gradient.
    expect(new Set(values(deep, 'layer3.1.conv3.weight')).size).toBeGreaterThan(1000);
    expect(headerOf(deep).__metadata__).toMatchObject({
      initialized: expect.stringMatching(/^seed 1, from .*resnet50.*, 17 bottlenecks added$/),
    });
  });

  test.each<[string, Record<string, string>, string]>([
    ['frozen', {}, 'layer3.1.bn3.bias'],
    ['folded', { batch_norm: 'folded' }, 'layer3.1.conv3.bias'],
  ])(
    'where batch norm is %s, has kernels of 0 instead of scales, which would never leave it',
    async (_, keys, shift) => {
      const network = { ...described, ...keys, backbone: 'resnet101' };
      const source = await openInitialSource(shallow);
      const { model } = planInitialization({ metadata: network, seed: 1, batchNorm: 'frozen' }, source);
      await source.close();
      for (const name of ['layer3.1.conv3.weight', shift]) {
        expect(new Set(await model.tensors.get(name)?.read())).toEqual(new Set([0]));
      }
      const scale = await model.tensors.get('layer3.1.bn3.weight')?.read();
      expect(new Set(scale)).toEqual(new Set(keys.batch_norm ? [] : [1]));
      expect(new Set(await model.tensors.get('layer3.1.conv2.weight')?.read()).size).toBeGreaterThan(1000);
    },
  );
});

test('weights whose batch norms are folded come apart, and others are folded, by which nothing changes', async () => {
  const files = ['folded', 'unfolded'].map((name) => at(`${name}.safetensors`));
  const [folded, unfolded] = files as [string, string];
  const whole = familyModel('v3-mobilenet-v2-half');
  const described = headerOf(whole).__metadata__ as unknown as Record<string, string>;
  const reference = await logits(whole);
  await initialize({ metadata: { ...described, batch_norm: 'folded' }, seed: 1, from: whole }, folded);
  expect(headerOf(folded)['stem.bn.weight']).toBeUndefined();
  expect(relativeError(await logits(folded), reference)).toBeLessThan(1e-5);
  const { initialized, ignored } = await initialize({ metadata: described, seed: 1, from: folded }, unfolded);
  expect([initialized, ignored]).toEqual([[], []]);
  expect(new Set(values(unfolded, 'stem.bn.running_var'))).toEqual(new Set([1]));
  expect(relativeError(await logits(unfolded), reference)).toBeLessThan(1e-5);
  for (const file of files) rmSync(file);
});

/** DeepLab v2 on a ResNet-50: large enough that no more than a few tensors of it are made here. */
const resNet = {
  ...metadata,
  architecture: 'deeplab_v2',
  backbone: 'resnet50',
  aspp_rates: '6',
  stride_placement: '3x3',
};

(there ? test : test.skip)('a real ResNet-50 that classifies images is a backbone to begin with', async () => {
  const source = await openInitialSource(imageNet);
  const { taken, initialized, ignored, model } = planInitialization({ metadata: resNet, seed: 1 }, source);
  expect(taken).toHaveLength(53 * 5);
  expect(initialized).toEqual(['aspp.branches.0.weight', 'aspp.branches.0.bias']);
  expect(ignored.map(({ name }) => name)).toEqual(['fc.weight', 'fc.bias']);
  const name = 'layer3.5.conv2.weight';
  expect(await model.tensors.get(name)?.read()).toEqual(await source.tensors.get(name)?.read());
  await source.close();
});

test.each<[Partial<InitializeOptions>, number]>([
  [{}, 0],
  [{ zeroResidual: false }, 1],
  [{ batchNorm: 'frozen' }, 1],
])('with %j the last scale of a random bottleneck is %d, and no other scale is 0', async (options, scale) => {
  const { model } = planInitialization({ metadata: resNet, seed: 1, ...options });
  for (const [norm, value] of [
    ['layer2.0.bn3', scale],
    ['layer4.2.bn3', scale],
    ['layer2.0.bn2', 1],
    ['layer2.0.downsample.1', 1],
    ['bn1', 1],
  ] as const) {
    expect(new Set(await model.tensors.get(`${norm}.weight`)?.read())).toEqual(new Set([value]));
  }
});

describe('failures', () => {
  test.each<[string, Partial<InitializeOptions>, string, RegExp]>([
    [
      'a network that cannot be built',
      { metadata: { ...metadata, backbone: 'alexnet' } },
      'ERR_UNSUPPORTED_MODEL',
      /backbone/,
    ],
    ['metadata without classes', { metadata: { architecture: 'deeplab_v2' } }, 'ERR_UNSUPPORTED_MODEL', /has no '/],
    ['metadata that are not texts', { metadata: { classes: 3 } as never }, 'ERR_INVALID_ARGUMENT', /metadata/],
    ['a seed that is no integer', { seed: 0.5 }, 'ERR_INVALID_ARGUMENT', /integer from 0 to 9007199254740991 for seed/],
    ['a seed that is too large', { seed: 2 ** 53 }, 'ERR_INVALID_ARGUMENT', /seed/],
    ['an unknown option', { depth: 3 } as never, 'ERR_INVALID_ARGUMENT', /option name/],
    ['an empty path', { from: '' }, 'ERR_INVALID_ARGUMENT', /path of a file for from/],
    ['a file that is not there', { from: at('missing.pth') }, 'ERR_NOT_FOUND', /missing\.pth/],
    ['a signal that was aborted', { signal: AbortSignal.abort() }, 'ERR_ABORTED', /initialisation/],
  ])('%s', async (_, options, code, message) => {
    const before = readdirSync(folder);
    const error = await failure(options);
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    expect(readdirSync(folder)).toEqual(before);
  });

  test('a file of which nothing fits says what it has', async () => {
    const { code, message } = await failure({ metadata: resNet, from: small });
    expect(code).toBe('ERR_UNSUPPORTED_MODEL');
    expect(message).toMatch(/small\.safetensors has nothing that fits a deeplab_v2 with resnet50: it has stem\.conv/);
  });

  test('a file of other names, and one that is damaged', async () => {
    const from = at('odd.safetensors');
    writeSafetensors(from, {}, { w: { dtype: 'F32', shape: [1], data: new Float32Array(1) } });
    expect((await failure({ from })).code).toBe('ERR_UNSUPPORTED_MODEL');
    const bytes = readFileSync(small);
    writeFileSync(from, bytes.subarray(0, bytes.length - 1));
    expect((await failure({ from })).code).toBe('ERR_INVALID_WEIGHTS');
  });

  test('values that are not finite', async () => {
    const { tensors, metadata: texts } = readSafetensors(small);
    const from = at('nan.safetensors');
    writeSafetensors(from, texts, {
      ...tensors,
      'classifier.bias': { dtype: 'F32', shape: [3], data: Float32Array.of(1, Number.NaN, 1) },
    });
    const { code, message } = await failure({ from });
    expect([code, message.includes('classifier.bias')]).toEqual(['ERR_INVALID_WEIGHTS', true]);
  });
});
