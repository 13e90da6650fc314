// The reader of weights files trusts nothing: each way in which a file can be wrong has an error that names it.

import { truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { DeepLab, inspect } from '../lib';
import { temporaryFolder } from './folder';
import { randomImage, randomModel } from './models';
import { readSafetensors, writeSafetensors } from './safetensors';

type Tensors = ReturnType<typeof readSafetensors>['tensors'];

const folder = temporaryFolder();

/** A file of these header and data bytes. */
function fileOf(header: string | Buffer, dataBytes = 0, headerLength = Buffer.byteLength(header)): string {
  const file = path.join(folder, 'model.safetensors');
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(headerLength));
  writeFileSync(file, Buffer.concat([length, Buffer.from(header), Buffer.alloc(dataBytes)]));
  return file;
}

const entry = (begin: number, end: number, shape = [(end - begin) / 4], dtype = 'F32') =>
  JSON.stringify({ dtype, shape, data_offsets: [begin, end] });

describe('a header is refused', () => {
  test.each<[string, () => string, RegExp]>([
    ['of a file that is too short for one', () => fileOf('', 0, 0), /JSON|short/],
    ['longer than the format allows', () => fileOf('{}', 0, 2 ** 40), /over the limit/],
    ['longer than the file', () => fileOf('{}', 0, 100), /truncated/],
    ['that is not JSON', () => fileOf('{"a":'), /not a JSON object/],
    ['that is not an object', () => fileOf('[1,2]'), /not a JSON object/],
    ['nested deeply', () => fileOf(`{"a":${'['.repeat(50_000)}${']'.repeat(50_000)}}`), /not a JSON object/],
    ['with a name twice', () => fileOf(`{"a":${entry(0, 4)},"a":${entry(4, 8)}}`, 8), /'a' stands twice/],
    ['with metadata that is no string', () => fileOf('{"__metadata__":{"a":1}}'), /'a' is not a string/],
    ['with overlapping tensors', () => fileOf(`{"a":${entry(0, 8)},"b":${entry(4, 12)}}`, 12), /'b' overlaps/],
    ['with a gap', () => fileOf(`{"a":${entry(0, 4)},"b":${entry(8, 12)}}`, 12), /4 bytes before tensor 'b'/],
    ['with bytes that belong to no tensor', () => fileOf(`{"a":${entry(0, 4)}}`, 12), /8 bytes at the end/],
    ['with an offset outside the file', () => fileOf(`{"a":${entry(0, 400)}}`, 8), /ends at byte 400 of 8/],
    ['with offsets in the wrong order', () => fileOf(`{"a":${entry(8, 4, [1])}}`, 8), /not \[begin, end\]/],
    ['with a negative dim', () => fileOf(`{"a":${entry(0, 4, [-1])}}`, 4), /'shape' holds -1/],
    ['with a shape of another size', () => fileOf(`{"a":${entry(0, 8, [3])}}`, 8), /takes 12 bytes/],
    [
      'with a shape that overflows',
      () => fileOf(`{"a":${entry(0, 8, [2 ** 40, 2 ** 40])}}`, 8),
      /larger than the file/,
    ],
    ['with an unknown dtype', () => fileOf(`{"a":${entry(0, 4, [1], 'F31')}}`, 4), /unknown dtype 'F31'/],
  ])('%s', async (_, make, message) => {
    await expect(inspect(make())).rejects.toMatchObject({
      code: 'ERR_INVALID_WEIGHTS',
      message: expect.stringMatching(message),
    });
  });

  test('of an empty file', async () => {
    const file = path.join(folder, 'empty.safetensors');
    writeFileSync(file, '');
    await expect(inspect(file)).rejects.toMatchObject({ code: 'ERR_INVALID_WEIGHTS' });
  });

  test('whatever its bytes, with an error and not a crash', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        const error = await inspect(fileOf(Buffer.from(bytes))).catch((reason: unknown) => reason);
        expect(error).toMatchObject({ code: expect.stringMatching(/^ERR_(INVALID_WEIGHTS|UNSUPPORTED_MODEL)$/) });
      }),
      { numRuns: 300 },
    );
  });
});

describe('metadata that describe no network we have are refused', () => {
  const v3 = { architecture: 'deeplab_v3' };
  const described = {
    architecture: 'deeplab_v2',
    backbone: 'resnet50',
    aspp_rates: '6,12,18,24',
    stride_placement: '3x3',
    classes: 'a,b',
    channel_order: 'rgb',
    value_range: '0..1',
    mean: '0,0,0',
    std: '1,1,1',
  };

  test('but not these', async () => {
    const file = path.join(folder, 'described.safetensors');
    writeSafetensors(file, described, {});
    await expect(inspect(file)).resolves.toMatchObject({ architecture: 'deeplab_v2' });
  });

  test.each<[string, Record<string, string>, RegExp]>([
    [
      'architecture',
      { architecture: 'unet' },
      /architecture 'unet', expected 'deeplab_v1', 'deeplab_v2', 'deeplab_v3'/,
    ],
    ['backbone', { backbone: 'resnet18' }, /backbone 'resnet18', expected 'vgg16', 'resnet50', 'resnet101'/],
    [
      'backbone of v3',
      { ...v3, backbone: 'vgg16' },
      /backbone 'vgg16', expected 'resnet50', 'resnet101', 'mobilenet_v2'/,
    ],
    ['backbone of v1', { architecture: 'deeplab_v1' }, /backbone 'resnet50', expected 'vgg16'/],
    ['output stride', { output_stride: '32' }, /output_stride '32', expected '8', '16'/],
    ['output stride of VGG-16', { backbone: 'vgg16', output_stride: '16' }, /output_stride '16', expected '8'/],
    ['stride unit', { stride_unit: 'middle' }, /stride_unit 'middle', expected 'first', 'last'/],
    ['start of dilation', { dilation_start: 'third' }, /dilation_start 'third', expected 'first', 'second'/],
    ['multi-grid of two', { ...v3, multi_grid: '1,2' }, /multi_grid '1,2', expected three integers/],
    ['cascade', { ...v3, cascade_blocks: '4' }, /cascade_blocks '4', expected integers from 0 to 3/],
    ['fusion', { ...v3, aspp_fusion: 'sum' }, /aspp_fusion 'sum', expected 'concat', 'none'/],
    ['fusion of v2', { aspp_fusion: 'concat' }, /aspp_fusion 'concat', expected 'sum'/],
    ['image pooling', { ...v3, image_pooling: 'maybe' }, /image_pooling 'maybe', expected 'no', 'yes'/],
    ['head', { ...v3, head_conv: '5x5' }, /head_conv '5x5', expected 'none', '3x3'/],
    ['width of the head', { ...v3, head_channels: '0' }, /head_channels '0', expected integers from 1 to 8192/],
    ['fc6', { backbone: 'vgg16', fc6_kernel: '5' }, /fc6_kernel '5', expected '3', '4', '7'/],
    ['fc6 off the grid', { backbone: 'vgg16', fc6_kernel: '4', aspp_rates: '3' }, /even rates for a 4x4 fc6/],
    [
      'width',
      { ...v3, backbone: 'mobilenet_v2', width_multiplier: '3' },
      /width_multiplier '3', expected a number from 0.1/,
    ],
    ['batch norm', { batch_norm: 'no' }, /batch_norm 'no', expected 'yes', 'folded'/],
    ['epsilon', { bn_eps: '-1' }, /bn_eps '-1', expected a number from 0 to 1/],
    ['upsampling', { upsample: 'nearest' }, /upsample 'nearest', expected 'half_pixel', 'align_corners', 'asymmetric'/],
    ['rates', { aspp_rates: '6,twelve' }, /aspp_rates/],
    ['mean', { mean: '0.5,0.5' }, /mean '0.5,0.5', expected three numbers/],
    ['std', { std: '1,1,0' }, /std '1,1,0', expected three positive numbers/],
    ['palette', { palette: '1,2,3' }, /expected one colour for each class/],
    ['input size', { input_size: '0x10' }, /input_size/],
  ])('%s', async (_, metadata, message) => {
    const file = path.join(folder, 'described.safetensors');
    writeSafetensors(file, { ...described, ...metadata }, {});
    await expect(inspect(file)).rejects.toMatchObject({
      code: 'ERR_UNSUPPORTED_MODEL',
      message: expect.stringMatching(message),
    });
  });
});

describe('with a whole ResNet-50', () => {
  let file: string;
  const image = randomImage(33, 25, 7);
  beforeAll(async () => {
    file = await randomModel({ backbone: 'resnet50' });
  });

  async function logitsOf(weights: string): Promise<Float32Array> {
    await using model = await DeepLab.load(weights, { device: 'cpu', precision: 'f32', winograd: false });
    const { logits } = await model.segment(image, { logits: true });
    return (logits as { data: Float32Array }).data;
  }

  const distance = (a: Float32Array, b: Float32Array) =>
    Math.sqrt(a.reduce((sum, v, i) => sum + (v - (b[i] as number)) ** 2, 0) / b.reduce((sum, v) => sum + v * v, 0));

  /** The model with some tensors replaced or, where undefined, left out. */
  function altered(change: (tensors: Tensors) => void): string {
    const { metadata, tensors } = readSafetensors(file);
    change(tensors);
    const out = path.join(folder, 'altered.safetensors');
    writeSafetensors(out, metadata, tensors);
    return out;
  }

  const f32 = (data: Buffer) => new Float32Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.length));

  test('the same weights stored as BF16 give nearly the same logits', async () => {
    const expected = await logitsOf(file);
    const bf16 = altered((tensors) => {
      for (const [name, { shape, data }] of Object.entries(tensors)) {
        const values = Uint16Array.from(new Uint32Array(f32(data as Buffer).buffer), (bits) => (bits + 0x8000) >>> 16);
        tensors[name] = { dtype: 'BF16', shape, data: values };
      }
    });
    expect(distance(await logitsOf(bf16), expected)).toBeLessThan(2e-2);
  });

  test('F16 is read exactly: ones, subnormals and negative numbers', async () => {
    const stored = [0x3c00, 0x0001, 0x8001, 0xbc00, 0x03ff, 0x0400, 0x2e66, 0x0000];
    const exact = [1, 2 ** -24, -(2 ** -24), -1, 1023 * 2 ** -24, 2 ** -14, 0.0999755859375, 0];
    const withBias = (dtype: string, data: NodeJS.ArrayBufferView) =>
      altered((tensors) => {
        tensors['bn1.bias'] = { dtype, shape: [64], data };
      });
    const f16 = await logitsOf(
      withBias(
        'F16',
        Uint16Array.from({ length: 64 }, (_, i) => stored[i % 8] as number),
      ),
    );
    const reference = Float32Array.from({ length: 64 }, (_, i) => exact[i % 8] as number);
    expect(f16).toEqual(await logitsOf(withBias('F32', reference)));
  });

  test('I8 with a scale for each output channel computes with integer times scale', async () => {
    const quantized: Record<string, Float32Array> = {};
    const i8 = altered((tensors) => {
      for (const [name, { shape, data }] of Object.entries(tensors)) {
        if (!name.endsWith('conv2.weight')) continue;
        const values = f32(data as Buffer);
        const perChannel = values.length / (shape[0] as number);
        const scales = new Float32Array(shape[0] as number).map(
          (_, o) => Math.max(...values.subarray(o * perChannel, (o + 1) * perChannel).map(Math.abs)) / 127,
        );
        const integers = new Int8Array(values.length).map((_, i) =>
          Math.round((values[i] as number) / (scales[Math.floor(i / perChannel)] as number)),
        );
        quantized[name] = values.map(
          (_, i) => (integers[i] as number) * (scales[Math.floor(i / perChannel)] as number),
        );
        tensors[name] = { dtype: 'I8', shape, data: integers };
        tensors[`${name}.scale`] = { dtype: 'F32', shape: [shape[0] as number], data: scales };
      }
    });
    const fromI8 = await logitsOf(i8);
    const dequantized = altered((tensors) => {
      for (const [name, data] of Object.entries(quantized))
        tensors[name] = { dtype: 'F32', shape: tensors[name]?.shape ?? [], data };
    });
    expect(distance(fromI8, await logitsOf(dequantized))).toBeLessThan(1e-6);
    expect(distance(fromI8, await logitsOf(file))).toBeGreaterThan(1e-4);
  });

  const bytesOf = (tensors: Tensors, name: string) => tensors[name]?.data as Buffer;
  const broken: [string, (tensors: Tensors) => void, RegExp][] = [
    [
      'a missing tensor',
      (t) => delete t['layer3.2.conv1.weight'],
      /expected a tensor 'layer3.2.conv1.weight' \[256,1024,1,1\]/,
    ],
    [
      'a tensor of another shape',
      (t) => Object.assign(t['bn1.bias'] as object, { shape: [8, 8] }),
      /'bn1.bias' to be \[64\], it is \[8,8\]/,
    ],
    ['integers', (t) => Object.assign(t['bn1.bias'] as object, { dtype: 'I32' }), /'bn1.bias' is I32/],
    [
      'I8 without a scale',
      (t) => Object.assign(t['bn1.bias'] as object, { dtype: 'I8', data: new Int8Array(64) }),
      /expected a tensor 'bn1.bias.scale'/,
    ],
    ['NaN', (t) => bytesOf(t, 'conv1.weight').writeFloatLE(Number.NaN, 40), /'conv1.weight' holds nan at element 10/],
    [
      'infinity',
      (t) => bytesOf(t, 'aspp.branches.3.bias').writeFloatLE(Number.POSITIVE_INFINITY, 0),
      /holds inf at element 0/,
    ],
    [
      'a negative variance',
      (t) => bytesOf(t, 'bn1.running_var').writeFloatLE(-1, 8),
      /'bn1.running_var' holds -1 at element 2/,
    ],
  ];
  test.each(broken)('%s is refused at load', async (_, change, message) => {
    await expect(DeepLab.load(altered(change))).rejects.toMatchObject({
      code: 'ERR_INVALID_WEIGHTS',
      message: expect.stringMatching(message),
    });
  });

  test('a file truncated while its model is open fails the next compilation, not the process', async () => {
    const copy = altered(() => {});
    await using model = await DeepLab.load(copy, { cacheSize: 1, device: 'cpu', precision: 'f32' });
    truncateSync(copy, 1000);
    // A small image convolves directly where the usual size uses Winograd, so its weights are read anew.
    await expect(model.segment(randomImage(8, 8, 1))).rejects.toMatchObject({
      code: 'ERR_INVALID_WEIGHTS',
      message: expect.stringMatching(/truncated while it was in use/),
    });
  });
});
