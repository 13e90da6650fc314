// What oneDNN runs for each layer: never its reference code, on this processor or on an AVX2 one.

import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { readLoadOptions } from '../lib/load-options';
import { native, type Precision } from '../lib/native';
import { familyModel, randomModel } from './models';

/** The binary that lib/native.ts loads. */
const addon = require('node-gyp-build').path(path.join(__dirname, '..')) as string;

const implementations = (file: string, precision: Precision, winograd = true): Map<string, string> =>
  new Map(native().cpuImplementations(file, precision, winograd, 513, 513));

const networks: readonly (readonly [string, () => Promise<string>])[] = [
  ['resnet50', () => randomModel({ backbone: 'resnet50' })],
  ['resnet101', () => randomModel({ backbone: 'resnet101' })],
  ...['vgg16-large-fov', 'vgg16-fc6-4x4-rate-4', 'v3-resnet50-torchvision', 'v3-resnet50-slim', 'v3-mobilenet-v2-half']
    .concat('v3-mobilenet-v2', 'v3-mobilenet-v2-aspp')
    .map((name) => [name, async () => familyModel(name)] as const),
];

describe.each(networks)('%s', (_, make) => {
  let file: string;
  beforeAll(async () => {
    file = await make();
  });

  test.each(native().system('').precisions)('no layer in %s is a reference implementation', (precision) => {
    const names = [...implementations(file, precision).values()];
    expect(names.length).toBeGreaterThan(20);
    expect(names.filter((name) => /ref/.test(name))).toEqual([]);
  });

  test('on an AVX2 processor there is no bf16, auto is f32, and still no layer is a reference implementation', () => {
    const script = `
      const addon = require(${JSON.stringify(addon)});
      const { autoPrecision, precisions, onednn } = addon.system('');
      const layers = addon.cpuImplementations(${JSON.stringify(file)}, 'f32', true, 129, 129);
      const load = addon.loadModel(${JSON.stringify(file)}, ${JSON.stringify(readLoadOptions({ device: 'cpu', precision: 'bf16', threads: 1 }))});
      load.made.catch(({ code }) => console.log(JSON.stringify({ isa: onednn.isa, autoPrecision, precisions, layers, code })));`;
    const env = { ...process.env, ONEDNN_MAX_CPU_ISA: 'AVX2' };
    const seen = JSON.parse(execFileSync(process.execPath, ['-e', script], { env, encoding: 'utf8' }));
    expect(seen).toMatchObject({ autoPrecision: 'f32', precisions: ['f32'], code: 'ERR_UNSUPPORTED_PRECISION' });
    expect(seen.isa).toBe('AVX2');
    expect(seen.layers.filter(([, name]: [string, string]) => /ref|avx512/.test(name))).toEqual([]);
  });
});

describe.each(['resnet50', 'resnet101'] as const)('%s', (backbone) => {
  test('every 3x3 convolution of stride 1 is done by Winograd, unless it is switched off', async () => {
    const file = await randomModel({ backbone });
    const chosen = implementations(file, 'f32');
    const inner = [...chosen].filter(([layer]) => /^layer\d\.\d+\.conv2$/.test(layer) && layer !== 'layer2.0.conv2');
    expect(inner.length).toBe(backbone === 'resnet50' ? 15 : 32);
    for (const [, name] of inner) expect(name).toMatch(/^winograd/);
    expect([...implementations(file, 'f32', false).values()].filter((name) => name.startsWith('winograd'))).toEqual([]);
  });
});
