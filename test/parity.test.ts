// The engine's logits on seeded random networks are PyTorch's: test/parity/generate.py made the references, in float64.

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
  readonly logits: { readonly shape: readonly number[]; readonly data: readonly number[] };
}

const folder = path.join(__dirname, 'parity', 'references');
const cases = readdirSync(folder)
  .filter((file) => file.endsWith('.json'))
  .map((file) => path.basename(file, '.json'));
const bf16 = native().system('').precisions.includes('bf16');

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

test('there are references for both backbones', () => {
  for (const backbone of ['resnet50', 'resnet101']) {
    expect(cases.filter((name) => name.startsWith(`${backbone}-`)).length).toBeGreaterThanOrEqual(5);
  }
});

describe.each(cases)('%s', (name) => {
  const reference = JSON.parse(readFileSync(path.join(folder, `${name}.json`), 'utf8')) as Reference;
  const { width, height, seed } = reference.image;
  let file: string;

  beforeAll(async () => {
    file = await randomModel(reference.model);
  });
  afterAll(() => rmSync(file)); // 170 MB, and no two cases share one

  async function errorOf(options: LoadOptions): Promise<number> {
    const model = await DeepLab.load(file, { device: 'cpu', ...options });
    try {
      const { logits } = await model.segment(randomImage(width, height, seed), { logits: true });
      expect(logits?.shape).toEqual(reference.logits.shape);
      const error = relativeError(logits?.data ?? [], reference.logits.data);
      const kind = options.winograd === false ? 'direct' : options.precision;
      worst.set(kind, Math.max(worst.get(kind) ?? 0, error));
      return error;
    } finally {
      await model.close();
    }
  }

  it('has the weights that the reference was computed with', () => {
    expect(tensorBytesSha256(file)).toBe(reference.weightsSha256);
  });

  it('agrees within 1e-5 in f32 by direct convolution', async () => {
    expect(await errorOf({ precision: 'f32', winograd: false })).toBeLessThanOrEqual(1e-5);
  });

  it('agrees within 1e-3 in f32 with Winograd', async () => {
    expect(await errorOf({ precision: 'f32', winograd: true })).toBeLessThanOrEqual(1e-3);
  });

  (bf16 ? it : it.skip)('agrees within 2e-2 in bf16 (where the CPU has it)', async () => {
    expect(await errorOf({ precision: 'bf16' })).toBeLessThanOrEqual(2e-2);
  });
});
