// Exported networks compute in onnxruntime what PyTorch computed for the references (test/parity/generate_family.py), and
// what the engine computes where there are none.

import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { DeepLab, exportOnnx, type RawImage } from '../lib';
import { onnxMessages } from '../lib/onnx-format';
import { relativeError } from './comparison';
import { temporaryFolder } from './folder';
import { type FamilyModel, familyModel, familyReferences, randomImage, randomModel } from './models';
import { readSafetensors, writeSafetensors } from './safetensors';

const folder = temporaryFolder();

interface Reference extends FamilyModel {
  readonly outputStride?: 8 | 16;
  readonly image: { readonly width: number; readonly height: number; readonly seed: number };
  readonly logits: { readonly shape: readonly number[]; readonly data: readonly number[] };
}

interface Logits {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
}

/** float32 [N,3,H,W] of images [H,W,3] of one size. */
function planar(images: readonly RawImage[]): Float32Array {
  const [{ width, height }] = images as [RawImage];
  const pixels = width * height;
  const values = new Float32Array(images.length * 3 * pixels);
  for (const [n, { data }] of images.entries()) {
    for (let i = 0; i < 3 * pixels; i++) values[(n * 3 + (i % 3)) * pixels + Math.floor(i / 3)] = data[i] as number;
  }
  return values;
}

/** An input and its shape [N,3,H,W]. */
type Input = readonly [values: Float32Array, shape: readonly number[]];

/** The logits [N,classes,h,w] of a model's file in onnxruntime, for each of the inputs. */
function runOnnx(model: string, ...inputs: readonly Input[]): Logits[] {
  const paths = (i: number) => [path.join(folder, `${i}.input`), path.join(folder, `${i}.output`)] as const;
  const given = inputs.flatMap(([values, shape], i) => {
    const [from, to] = paths(i);
    writeFileSync(from, values);
    return [from, shape.join(), to];
  });
  const script = path.join(__dirname, 'onnxruntime.js');
  const printed = execFileSync(process.execPath, [script, model, ...given], { encoding: 'utf8' });
  return (JSON.parse(printed) as number[][]).map((shape, i) => {
    return { shape, data: new Float32Array(Uint8Array.from(readFileSync(paths(i)[1])).buffer) };
  });
}

async function engineLogits(weights: string, ...images: readonly RawImage[]): Promise<Logits[]> {
  await using model = await DeepLab.load(weights, { device: 'cpu', precision: 'f32', winograd: false });
  const results: Logits[] = [];
  for (const image of images) {
    const { logits } = await model.segment(image, { logits: true });
    if (logits === undefined) throw new Error('no logits');
    results.push({ shape: [1, ...logits.shape], data: logits.data });
  }
  return results;
}

interface DecodedModel {
  readonly irVersion: number;
  readonly opsetImport: readonly { readonly domain: string; readonly version: number }[];
  readonly metadataProps: readonly { readonly key: string; readonly value: string }[];
  readonly graph: {
    readonly node: readonly {
      readonly name: string;
      readonly opType: string;
      readonly input: readonly string[];
      readonly output: readonly string[];
      readonly attribute: readonly { readonly name: string }[];
    }[];
    readonly initializer: readonly {
      readonly name: string;
      readonly dims: readonly number[];
      readonly dataType: number;
      readonly rawData: Buffer;
    }[];
    readonly input: readonly DecodedValue[];
    readonly output: readonly DecodedValue[];
  };
}

interface DecodedValue {
  readonly name: string;
  readonly type: {
    readonly tensorType: {
      readonly elemType: number;
      readonly shape: { readonly dim: readonly { readonly dimValue?: number; readonly dimParam?: string }[] };
    };
  };
}

function decoded(file: string): DecodedModel {
  const { ModelProto } = onnxMessages();
  return ModelProto.toObject(ModelProto.decode(readFileSync(file)), { longs: Number, arrays: true }) as DecodedModel;
}

const shapeOf = ({ type }: DecodedValue) =>
  type.tensorType.shape.dim.map(({ dimValue, dimParam }) => dimValue ?? dimParam);

const cases = readdirSync(familyReferences).map((file) => path.basename(file, '.json'));

describe.each(cases)('%s', (name) => {
  const reference = JSON.parse(readFileSync(path.join(familyReferences, `${name}.json`), 'utf8')) as Reference;
  const { outputStride, image, logits } = reference;
  const file = path.join(folder, `${name}.onnx`);
  let weights: string;

  beforeAll(async () => {
    weights = familyModel(name);
    await exportOnnx(weights, file, { outputStride });
  });
  afterAll(() => {
    rmSync(file);
    rmSync(weights);
  });

  it("computes PyTorch's logits in onnxruntime", () => {
    const input = planar([randomImage(image.width, image.height, image.seed)]);
    const [result] = runOnnx(file, [input, [1, 3, image.height, image.width]]);
    expect(result?.shape).toEqual([1, ...logits.shape]);
    expect(relativeError(result?.data ?? [], logits.data)).toBeLessThanOrEqual(1e-4);
  });

  it('is a graph in order, whose constants are the tensors of the weights file', () => {
    const { graph } = decoded(file);
    const { tensors } = readSafetensors(weights);
    const known = new Set(['image', ...graph.initializer.map((tensor) => tensor.name)]);
    const used = new Set<string>();
    for (const node of graph.node) {
      for (const input of node.input) {
        expect(known.has(input)).toBe(true);
        used.add(input);
      }
      for (const output of node.output) {
        expect(known.has(output)).toBe(false);
        known.add(output);
      }
    }
    expect(known.has('logits')).toBe(true);
    for (const { name, dims, dataType, rawData } of graph.initializer) {
      expect(used.has(name)).toBe(true);
      expect(rawData).toHaveLength(dims.reduce((a, b) => a * b, dataType === 1 ? 4 : 8));
      const stored = tensors[name];
      if (stored !== undefined) expect(rawData.equals(stored.data as Buffer)).toBe(true);
    }
    const written = new Set(graph.initializer.map((tensor) => tensor.name));
    expect(Object.keys(tensors).filter((tensor) => !written.has(tensor))).toEqual([]);
  });
});

describe('the input', () => {
  // Of every parity, since windows at the border differ in it.
  const sizes = [
    [49, 33],
    [50, 34],
    [51, 36],
  ] as const;
  const options = {
    floor: { padding: 'floor' },
    ceil: { padding: 'ceil', stridePlacement: '1x1' },
    same: { padding: 'same' },
    'blue first, 0..255': {
      metadata: { channel_order: 'bgr', value_range: '0..255', mean: '104,116.7,122.7', std: '1,2,3' },
    },
  } as const;

  test.each(Object.keys(options) as (keyof typeof options)[])('of any size: %s', async (name) => {
    const weights = await randomModel({ backbone: 'resnet50', ...options[name] });
    const file = path.join(folder, 'any.onnx');
    await exportOnnx(weights, file);
    const images = sizes.map(([width, height]) => randomImage(width, height, 7));
    const expected = await engineLogits(weights, ...images);
    const inputs = images.map((image): Input => [planar([image]), [1, 3, image.height, image.width]]);
    for (const [i, result] of runOnnx(file, ...inputs).entries()) {
      expect(result.shape).toEqual(expected[i]?.shape);
      expect(relativeError(result.data, expected[i]?.data ?? [])).toBeLessThanOrEqual(1e-4);
    }
  });

  test('several images at once', async () => {
    const file = path.join(folder, 'batch.onnx');
    const weights = await randomModel({ backbone: 'resnet50' });
    await exportOnnx(weights, file);
    const images = [randomImage(40, 32, 1), randomImage(40, 32, 2)];
    const [both] = runOnnx(file, [planar(images), [2, 3, 32, 40]]);
    expect(both?.shape).toEqual([2, 5, 4, 5]);
    for (const [n, expected] of (await engineLogits(weights, ...images)).entries()) {
      const own = Array.from(both?.data ?? []).slice(n * expected.data.length, (n + 1) * expected.data.length);
      expect(relativeError(own, expected.data)).toBeLessThanOrEqual(1e-4);
    }
  });

  test('padded with the mean where the weights file asks for a multiple', async () => {
    const metadata = { pad_to_multiple: '16', value_range: '0..255', mean: '100,110,120', std: '50,60,70' };
    const weights = await randomModel({ backbone: 'resnet50', metadata });
    const file = path.join(folder, 'padded.onnx');
    await exportOnnx(weights, file);
    const image = randomImage(40, 30, 3);
    const data = new Uint8Array(48 * 32 * 3).map((_, i) => [100, 110, 120][i % 3] ?? 0);
    const row = 40 * 3;
    for (let y = 0; y < 30; y++) data.set((image.data as Uint8Array).subarray(y * row, (y + 1) * row), y * 48 * 3);
    const [result] = runOnnx(file, [planar([{ data, width: 48, height: 32, channels: 3 }]), [1, 3, 32, 48]]);
    const [expected] = await engineLogits(weights, image);
    expect(result?.shape).toEqual(expected?.shape);
    expect(relativeError(result?.data ?? [], expected?.data ?? [])).toBeLessThanOrEqual(1e-4);
  });
});

test('dimensions are free, or fixed where the weights file fixes the size', async () => {
  const file = path.join(folder, 'shapes.onnx');
  const shapes = async (metadata: Record<string, string>) => {
    await exportOnnx(await randomModel({ backbone: 'resnet50', metadata }), file);
    const { input, output } = decoded(file).graph;
    return [...input, ...output].map((value) => [value.name, ...shapeOf(value)]);
  };
  expect(await shapes({})).toEqual([
    ['image', 'batch', 3, 'height', 'width'],
    ['logits', 'batch', 5, 'logits_height', 'logits_width'],
  ]);
  expect(await shapes({ input_size: '65x49', pad_to_multiple: '4' })).toEqual([
    ['image', 'batch', 3, 52, 68],
    ['logits', 'batch', 5, 7, 9],
  ]);
});

test('the file says which formats it needs and what the weights file says', async () => {
  const file = path.join(folder, 'metadata.onnx');
  await exportOnnx(await randomModel({ backbone: 'resnet50', metadata: { licence: 'none' } }), file, {
    outputStride: 16,
  });
  const { irVersion, opsetImport, metadataProps } = decoded(file);
  expect({ irVersion, opsetImport }).toEqual({ irVersion: 8, opsetImport: [{ domain: '', version: 17 }] });
  expect(Object.fromEntries(metadataProps.map(({ key, value }) => [key, value]))).toMatchObject({
    architecture: 'deeplab_v2',
    classes: 'class0,class1,class2,class3,class4',
    output_stride: '16',
    aspp_rates: '3,6,9,12',
    licence: 'none',
  });
});

test('wrong arguments are refused, and nothing is written', async () => {
  const weights = await randomModel({ backbone: 'resnet50' });
  const file = path.join(folder, 'none.onnx');
  await expect(exportOnnx(weights, '')).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' });
  const wrong = { outputStride: 4 } as unknown as { outputStride: 8 };
  await expect(exportOnnx(weights, file, wrong)).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' });
  await expect(exportOnnx('no/such/model', file)).rejects.toMatchObject({ code: 'ERR_NOT_FOUND' });
  expect(existsSync(file)).toBe(false);
});

test('a model of more than 2 GB is refused before anything is written', async () => {
  // Six branches, each with the fully connected layer of VGG-16 as it is for ImageNet. No tensor is read.
  const weights = path.join(folder, 'large.safetensors');
  const preprocessing = { channel_order: 'bgr', value_range: '0..255', mean: '104,117,123', std: '1,1,1' };
  const head = { aspp_rates: '2,4,6,8,10,12', fc6_kernel: '7', head_channels: '4096' };
  const network = { architecture: 'deeplab_v2', backbone: 'vgg16', classes: 'one,two' };
  writeSafetensors(weights, { ...network, ...head, ...preprocessing }, {});
  await expect(exportOnnx(weights, path.join(folder, 'large.onnx'))).rejects.toMatchObject({
    code: 'ERR_UNSUPPORTED_MODEL',
    message: expect.stringMatching(/ONNX model of \d{10} bytes: expected at most 2147483647/),
  });
  expect(existsSync(path.join(folder, 'large.onnx'))).toBe(false);
});

test('a damaged weights file leaves no model behind', async () => {
  const bytes = readFileSync(await randomModel({ backbone: 'resnet50' }));
  bytes.writeFloatLE(Number.NaN, bytes.length - 4);
  const weights = path.join(folder, 'damaged.safetensors');
  writeFileSync(weights, bytes);
  const file = path.join(folder, 'damaged.onnx');
  await expect(exportOnnx(weights, file)).rejects.toMatchObject({ code: 'ERR_INVALID_WEIGHTS' });
  expect(readdirSync(folder).filter((name) => name.includes('damaged.onnx') || name.endsWith('.tmp'))).toEqual([]);
});
