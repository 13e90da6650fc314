// The engine's logits on seeded random networks are PyTorch's, at one scale and fused over several:
// test/parity/generate.py and multi_scale.py made the references, in float64.

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { DeepLab, type LoadOptions } from '../lib';
import { native } from '../lib/native';
import { relativeError } from './comparison';
import { type RandomModelOptions, randomImage, randomModel } from './models';

interface Reference {
  readonly model: RandomModelOptions;
  readonly weightsSha256: string;
  readonly image: { readonly width: number; readonly height: number; readonly seed: number };
  /** Of `segment`, where the logits are fused over several scales. */
  readonly options?: { readonly scales: readonly number[]; readonly fuse: 'max' | 'mean'; readonly flip: boolean };
  readonly logits: { readonly shape: readonly number[]; readonly data: readonly number[] };
}

const folder = path.join(__dirname, 'parity', 'references');
const cases = casesIn(folder);
const multiScale = path.join(folder, 'multi-scale');
const multiScaleCases = casesIn(multiScale);
const bf16 = native().system('').precisions.includes('bf16');

function casesIn(directory: string): string[] {
  return readdirSync(directory)
    .filter((file) => file.endsWith('.json'))
    .map((file) => path.basename(file, '.json'));
}

function readReference(directory: string, name: string): Reference {
  return JSON.parse(readFileSync(path.join(directory, `${name}.json`), 'utf8')) as Reference;
}

function tensorBytesSha256(file: string): string {
  const bytes = readFileSync(file);
  const header = Number(bytes.readBigUInt64LE());
  return createHash('sha256')
    .update(bytes.subarray(8 + header))
    .digest('hex');
}

// The largest error of each way to compute, which README.md quotes.
const worst = new Map<string | undefined, number>();
afterAll(() => {
  for (const [kind, error] of worst) process.stdout.write(`${kind}: relative error up to ${error.toExponential(2)}\n`);
});

async function errorOf(file: string, { image, options, logits }: Reference, load: LoadOptions): Promise<number> {
  await using model = await DeepLab.load(file, { device: 'cpu', ...load });
  const result = await model.segment(randomImage(image.width, image.height, image.seed), { logits: true, ...options });
  expect(result.logits?.shape).toEqual(logits.shape);
  const error = relativeError(result.logits?.data ?? [], logits.data);
  const kind = load.winograd === false ? 'direct' : load.precision;
  worst.set(kind, Math.max(worst.get(kind) ?? 0, error));
  return error;
}

test('there are references for both backbones', () => {
  for (const backbone of ['resnet50', 'resnet101']) {
    expect(cases.filter((name) => name.startsWith(`${backbone}-`)).length).toBeGreaterThanOrEqual(5);
  }
  expect(multiScaleCases).toHaveLength(3);
});

describe.each(cases)('%s', (name) => {
  const reference = readReference(folder, name);
  let file: string;

  beforeAll(async () => {
    file = await randomModel(reference.model);
  });
  afterAll(() => rmSync(file)); // 170 MB, and no two cases share one

  it('has the weights that the reference was computed with', () => {
    expect(tensorBytesSha256(file)).toBe(reference.weightsSha256);
  });

  it('agrees within 1e-5 in f32 by direct convolution', async () => {
    expect(await errorOf(file, reference, { precision: 'f32', winograd: false })).toBeLessThanOrEqual(1e-5);
  });

  it('agrees within 1e-3 in f32 with Winograd', async () => {
    expect(await errorOf(file, reference, { precision: 'f32', winograd: true })).toBeLessThanOrEqual(1e-3);
  });

  (bf16 ? it : it.skip)('agrees within 2e-2 in bf16 (where the CPU has it)', async () => {
    expect(await errorOf(file, reference, { precision: 'bf16' })).toBeLessThanOrEqual(2e-2);
  });
});

describe.each(multiScaleCases)('at several scales: %s', (name) => {
  const reference = readReference(multiScale, name);
  let file: string;

  beforeAll(async () => {
    file = await randomModel(reference.model);
  });
  afterAll(() => rmSync(file));

  it('has the weights that the reference was computed with', () => {
    expect(tensorBytesSha256(file)).toBe(reference.weightsSha256);
  });

  it('agrees within 1e-5 in f32 by direct convolution', async () => {
    expect(await errorOf(file, reference, { precision: 'f32', winograd: false })).toBeLessThanOrEqual(1e-5);
  });
});
