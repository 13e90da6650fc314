// Models and images for tests, made from a seed: real architectures with random weights. test/parity/random_weights.py
// makes the same ones, bit for bit, so that PyTorch's results on them can be committed without the weights.

import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { RawImage } from '../lib';
import { temporaryFolder } from './folder';
import { type StoredTensor, writeSafetensors } from './safetensors';

export interface RandomModelOptions {
  readonly backbone: 'resnet50' | 'resnet101';
  /** Default 1. */
  readonly seed?: number;
  /** Number of classes, default 5. */
  readonly classes?: number;
  /** Atrous rates of the ASPP, default 6, 12, 18, 24. */
  readonly rates?: readonly number[];
  /** Default 3x3. */
  readonly stridePlacement?: '1x1' | '3x3';
  /** Default floor. */
  readonly padding?: 'floor' | 'ceil' | 'same';
  readonly dtype?: 'f32';
  /** Added to the file's `__metadata__`, over what describes the model. */
  readonly metadata?: Readonly<Record<string, string>>;
}

// In locals, for speed: jest's sandbox makes every look-up of a global slow.
const { imul } = Math;
const unit = 2 ** -24;

/** MurmurHash3's finaliser: a bijection of the 32-bit integers that looks random. */
function fmix32(h: number): number {
  h = imul(h ^ (h >>> 16), 0x85ebca6b);
  h = imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Elements of the tensor `index` of a model: (u + offset) * scale, with u uniform in [0, 1). */
function randomTensor(size: number, index: number, seed: number, offset: number, scale: number): Float32Array {
  const base = imul(index, 0x9e3779b9) + imul(seed, 0x85ebca6b);
  const values = new Float32Array(size);
  for (let i = 0; i < size; i++) values[i] = ((fmix32((base + i) | 0) >>> 8) * unit + offset) * scale;
  return values;
}

/** Offset and scale of a tensor's values, by its name: activations neither die nor explode on the way through. */
function distribution(name: string, shape: readonly number[]): readonly [offset: number, scale: number] {
  const toClasses = /^aspp\.branches\.\d+\.(weight|bias)$/.test(name);
  if (shape.length === 4) {
    const fanIn = shape.slice(1).reduce((product, dim) => product * dim, 1);
    return [-0.5, toClasses ? Math.sqrt(6 / fanIn) / 2 : Math.sqrt(6 / fanIn) * 2];
  }
  if (toClasses) return [-0.5, 1];
  if (name.endsWith('bn3.weight')) return [0.5, 0.2];
  if (/^blocks\..*\.project\.bn\.weight$/.test(name)) return [0.5, 0.4];
  return name.endsWith('.weight') || name.endsWith('.running_var') ? [0.5, 1] : [-0.5, 0.2];
}

/** Names and shapes in the order of PyTorch's state_dict(). */
function shapesOf(blocks: readonly number[], classes: number, rates: readonly number[]): [string, number[]][] {
  const shapes: [string, number[]][] = [];
  const convolution = (conv: string, bn: string, outputs: number, inputs: number, kernel: number) => {
    shapes.push([`${conv}.weight`, [outputs, inputs, kernel, kernel]]);
    for (const part of ['weight', 'bias', 'running_mean', 'running_var']) shapes.push([`${bn}.${part}`, [outputs]]);
  };
  convolution('conv1', 'bn1', 64, 3, 7);
  let inputs = 64;
  for (const [i, count] of blocks.entries()) {
    const width = 64 << i;
    for (let b = 0; b < count; b++) {
      const block = `layer${i + 1}.${b}`;
      convolution(`${block}.conv1`, `${block}.bn1`, width, inputs, 1);
      convolution(`${block}.conv2`, `${block}.bn2`, width, width, 3);
      convolution(`${block}.conv3`, `${block}.bn3`, 4 * width, width, 1);
      if (b === 0) convolution(`${block}.downsample.0`, `${block}.downsample.1`, 4 * width, inputs, 1);
      inputs = 4 * width;
    }
  }
  for (const branch of rates.keys()) {
    shapes.push([`aspp.branches.${branch}.weight`, [classes, inputs, 3, 3]]);
    shapes.push([`aspp.branches.${branch}.bias`, [classes]]);
  }
  return shapes;
}

const folder = temporaryFolder();
const written = new Map<string, string>();

/** Tensors by name and shape, in the order that numbers them. */
export type TensorShapes = readonly (readonly [name: string, shape: readonly number[]])[];

/** Writes a weights file with random values, which lives until the test file that asked for it has run. */
function writeRandom(metadata: Readonly<Record<string, string>>, shapes: TensorShapes, seed: number): string {
  const tensors: Record<string, StoredTensor> = {};
  for (const [index, [name, shape]] of shapes.entries()) {
    const size = shape.reduce((product, dim) => product * dim, 1);
    const [offset, scale] = distribution(name, shape);
    tensors[name] = { dtype: 'F32', shape, data: () => randomTensor(size, index, seed, offset, scale) };
  }
  const file = path.join(folder, `${written.size}-${metadata.backbone}.safetensors`);
  writeSafetensors(file, metadata, tensors);
  return file;
}

/** One of the networks of references/family, by name. */
export interface FamilyModel {
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: TensorShapes;
  readonly seed: number;
}

export const familyReferences = path.join(__dirname, 'parity', 'references', 'family');

/** The path of the weights file of `name`.json in references/family: any network of the family, with a narrow head. */
export function familyModel(name: string): string {
  const known = written.get(name);
  if (known !== undefined) return known;
  const text = readFileSync(path.join(familyReferences, `${name}.json`), 'utf8');
  const { metadata, tensors, seed } = JSON.parse(text) as FamilyModel;
  const file = writeRandom(metadata, tensors, seed);
  written.set(name, file);
  return file;
}

/** The path of a weights file that lives until the test file that asked for it has run. */
export async function randomModel(options: RandomModelOptions): Promise<string> {
  const { backbone, seed = 1, classes = 5, rates = [6, 12, 18, 24] } = options;
  const { stridePlacement = '3x3', padding = 'floor', metadata = {} } = options;
  const key = JSON.stringify({ backbone, seed, classes, rates, stridePlacement, padding, metadata });
  const known = written.get(key);
  if (known !== undefined) return known;

  const shapes = shapesOf([3, 4, backbone === 'resnet50' ? 6 : 23, 3], classes, rates);
  const described = {
    architecture: 'deeplab_v2',
    backbone,
    output_stride: '8',
    aspp_rates: rates.join(','),
    stride_placement: stridePlacement,
    stem_padding: padding === 'same' ? 'same' : '3',
    max_pool: `kernel 3, stride 2, ${padding === 'same' ? 'same' : `padding 1, ${padding}`}`,
    bn_eps: '1e-5',
    classes: Array.from({ length: classes }, (_, i) => `class${i}`).join(','),
    channel_order: 'rgb',
    mean: '0.485,0.456,0.406',
    std: '0.229,0.224,0.225',
    value_range: '0..1',
    ...metadata,
  };
  const file = writeRandom(described, shapes, seed);
  written.set(key, file);
  return file;
}

/** The path of a weights file of these tensors, which lives until the test file that asked for it has run. */
export function describedModel({ metadata, tensors, seed }: FamilyModel): string {
  const key = JSON.stringify({ metadata, seed });
  const file = written.get(key) ?? writeRandom(metadata, tensors, seed);
  written.set(key, file);
  return file;
}

/** Plain noise, uint8 [H,W,3]. */
export function randomImage(width: number, height: number, seed: number): RawImage {
  const data = new Uint8Array(width * height * 3);
  const base = imul(seed, 0x85ebca6b);
  for (let i = 0; i < data.length; i++) data[i] = fmix32((base + i) | 0) & 255;
  return { data, width, height, channels: 3 };
}

/** Crops to train with: noise, and labels 0..4 in blocks of 8 pixels, some of them 255. */
export function randomCrops(
  width: number,
  height: number,
  count: number,
  step = 0,
): { readonly pixels: Uint8Array; readonly labels: Uint8Array } {
  const pixels = new Uint8Array(count * width * height * 3);
  const labels = new Uint8Array(count * width * height);
  for (let n = 0; n < count; n++) {
    const seed = 100 * step + n + 1;
    pixels.set(randomImage(width, height, seed).data, n * width * height * 3);
    const base = imul(1, 0x9e3779b9) + imul(seed, 0x85ebca6b);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const corner = (y - (y % 8)) * width + (x - (x % 8));
        const label = fmix32((base + corner) | 0) % 6;
        labels[(n * height + y) * width + x] = label === 5 ? 255 : label;
      }
    }
  }
  return { pixels, labels };
}

/** The norm of a tensor, and its product with a vector of noise, the one of number `index`. */
export function fingerprint(values: Float32Array, index: number): [norm: number, product: number] {
  const noise = randomTensor(values.length, index, 7, -0.5, 1);
  let squares = 0;
  let product = 0;
  for (const [i, value] of values.entries()) {
    squares += value * value;
    product += value * (noise[i] as number);
  }
  return [Math.sqrt(squares), product];
}
