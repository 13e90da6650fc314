// The engine's logits on every network of the family are PyTorch's: test/parity/generate_family.py made the references, in
// float64, with the variant of torchvision's weights held against torchvision.

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { DeepLab, inspect, type LoadOptions } from '../lib';
import { native } from '../lib/native';
import { relativeError } from './comparison';
import { type FamilyModel, familyModel, familyReferences, randomImage } from './models';
import { readSafetensors } from './safetensors';

interface Reference extends FamilyModel {
  /** Where it is not the file's. */
  readonly outputStride?: 8 | 16;
  readonly weightsSha256: string;
  readonly image: { readonly width: number; readonly height: number; readonly seed: number };
  readonly logits: { readonly shape: readonly number[]; readonly data: readonly number[] };
}

const cases = readdirSync(familyReferences).map((file) => path.basename(file, '.json'));
const bf16 = native().system('').precisions.includes('bf16');

async function errorOf(file: string, reference: Reference, options: LoadOptions): Promise<number> {
  const { image, outputStride, logits } = reference;
  await using model = await DeepLab.load(file, { device: 'cpu', outputStride, ...options });
  const result = await model.segment(randomImage(image.width, image.height, image.seed), { logits: true });
  expect(result.logits?.shape).toEqual(logits.shape);
  return relativeError(result.logits?.data ?? [], logits.data);
}

test('every backbone, head and output stride has its references', () => {
  for (const part of ['vgg16-large-fov', 'vgg16-fc6-', 'vgg16-aspp-s', 'vgg16-aspp-l', 'multi-grid', 'cascade']) {
    expect(cases.some((name) => name.includes(part))).toBe(true);
  }
  for (const part of ['torchvision', 'slim', 'folded', 'resnet101', 'mobilenet-v2', 'mobilenet-v2-aspp', '-at-8']) {
    expect(cases.some((name) => name.includes(part))).toBe(true);
  }
});

describe.each(cases)('%s', (name) => {
  const reference = JSON.parse(readFileSync(path.join(familyReferences, `${name}.json`), 'utf8')) as Reference;
  let file: string;

  beforeAll(() => {
    file = familyModel(name);
  });
  afterAll(() => rmSync(file));

  it('has the weights that the reference was computed with', () => {
    const digest = createHash('sha256');
    for (const { data } of Object.values(readSafetensors(file).tensors)) digest.update(data as Buffer);
    expect(digest.digest('hex')).toBe(reference.weightsSha256);
  });

  it('has the parameters of its tensors, running statistics aside', async () => {
    const { parameters } = await inspect(file);
    const trained = reference.tensors.filter(([tensor]) => !tensor.includes('running_'));
    expect(parameters).toBe(trained.reduce((sum, [, shape]) => sum + shape.reduce((a, b) => a * b, 1), 0));
  });

  it('agrees within 1e-5 in f32 by direct convolution', async () => {
    expect(await errorOf(file, reference, { precision: 'f32', winograd: false })).toBeLessThanOrEqual(1e-5);
  });

  it('agrees within 1e-3 in f32 with Winograd', async () => {
    expect(await errorOf(file, reference, { precision: 'f32', winograd: true })).toBeLessThanOrEqual(1e-3);
  });

  (bf16 ? it : it.skip)('agrees within 3e-2 in bf16 (where the CPU has it)', async () => {
    expect(await errorOf(file, reference, { precision: 'bf16' })).toBeLessThanOrEqual(3e-2);
  });
});
