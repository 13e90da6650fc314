// The networks that can be built: what they cost is what their papers and makers counted.

import { existsSync } from 'node:fs';
import { networks } from '../lib';
import { layoutOf } from '../lib/import/layouts';
import { readManifest } from '../lib/manifest';
import { defaultModel, defaultWeights } from '../lib/weights';
import { expectBuilt, run } from './command';
import { temporaryFolder } from './folder';
import { archiveOf, deeplabPytorchShapes, tensorflowMobileNetShapes, torchvisionShapes } from './synthetic-archives';

const folder = temporaryFolder();
beforeAll(expectBuilt);

const byName = new Map(networks().map((network) => [network.name, network]));

it.each([
  // DeepLab v2's table 1, in millions.
  ['v1-vgg16-7x7', 134.3e6, 0.05e6],
  ['v1-vgg16-4x4', 65.1e6, 0.05e6],
  ['v1-vgg16-4x4-rate8', 65.1e6, 0.05e6],
  ['v1-vgg16-largefov', 20.5e6, 0.05e6],
  // MobileNetV2's table 7.
  ['v3-mobilenetv2', 2.11e6, 0.01e6],
  // torchvision counts its auxiliary classifier, which is a 3x3 from 1024 to 256 channels, batch norm and a classifier.
  ['v3-resnet50-torchvision', 42_004_074 - (1024 * 9 * 256 + 2 * 256 + 256 * 21 + 21), 0],
  ['v3-resnet101-torchvision', 60_996_202 - (1024 * 9 * 256 + 2 * 256 + 256 * 21 + 21), 0],
])('%s has the published number of parameters', (name, published, tolerance) => {
  expect(Math.abs((byName.get(name)?.parameters ?? 0) - published)).toBeLessThanOrEqual(tolerance);
});

it('MobileNetV2 at output stride 16 has the published multiply-accumulates', () => {
  expect((byName.get('v3-mobilenetv2')?.macs ?? 0) / 1e9).toBeCloseTo(2.75, 1);
});

it('ResNet-101 of v2 costs what it cost before it had relatives', () => {
  expect((byName.get('v2-resnet101-aspp')?.macs ?? 0) / 1e9).toBeCloseTo(188.3, 1);
});

it('output stride 8 takes about three and a half times the products of 16, with the same weights', () => {
  const coarse = byName.get('v3-resnet101-aspp');
  const fine = byName.get('v3-resnet101-aspp-stride8');
  expect(fine?.parameters).toBe(coarse?.parameters);
  expect((fine?.macs ?? 0) / (coarse?.macs ?? 1)).toBeCloseTo(3.46, 1);
});

it('costs are of the image size that is asked for', () => {
  const [small] = networks({ width: 257, height: 129 });
  expect(small?.macs).toBeLessThan(byName.get('v1-vgg16-7x7')?.macs ?? 0);
  expect(small?.parameters).toBe(byName.get('v1-vgg16-7x7')?.parameters);
  expect(() => networks({ width: 0 })).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }));
});

it('says which weights there are for each: published ones, and the model that ships', () => {
  const weights = [...byName.values()].flatMap((network) => network.weights);
  const shipped = existsSync(defaultWeights) ? [defaultModel.name] : [];
  expect([...weights].sort()).toEqual([...Object.keys(readManifest()), ...shipped].sort());
  expect(byName.get('v3-resnet50-torchvision')?.weights).toEqual(['deeplabv3-resnet50']);
  expect(byName.get('v1-vgg16-largefov')?.weights).toEqual([]);
});

it.each([
  ['deeplab-pytorch', deeplabPytorchShapes('', 21), 'v2-resnet101-aspp'],
  ['torchvision', torchvisionShapes('resnet50', 21), 'v3-resnet50-torchvision'],
  ['torchvision', torchvisionShapes('resnet101', 21), 'v3-resnet101-torchvision'],
  ['tensorflow-mobilenet', tensorflowMobileNetShapes(21), 'v3-mobilenetv2'],
])(
  'what the layout %s imports has as many parameters as the network that the manifest names',
  (layout, shapes, name) => {
    const { tensors } = layoutOf(archiveOf('pytorch', shapes), layout).import(archiveOf('pytorch', shapes));
    // Running means and variances are not trained.
    const trained = [...tensors].filter(([tensor]) => !tensor.includes('running_'));
    const count = trained.reduce((sum, [, { shape }]) => sum + shape.reduce((product, size) => product * size, 1), 0);
    expect(count).toBe(byName.get(name)?.parameters);
  },
);

it('deeplab models prints them', async () => {
  const { stdout } = await run(folder, ['models']);
  expect(stdout).toMatch(/v3-resnet101-aspp +71\.1 G +58\.0 M +77\.21/);
  expect(stdout).toMatch(/^network .* weights$/m);
  expect(stdout).toMatch(/^v3-mobilenetv2 .* deeplabv3-mobilenetv2-voc deeplabv3-/m);
  const json = JSON.parse((await run(folder, ['models', '--json', '--size', '321x321'])).stdout);
  expect(json).toHaveLength(byName.size);
});
