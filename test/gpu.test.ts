// What GPUs compute is what the CPU computes, and what holds for the CPU holds for them: queues, limits, memory. Needs a
// GPU; what is said without one is device.test.ts's. Single operations are compared natively, in test/native.

import { readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import sharp from 'sharp';
import { DeepLab, DenseCrf, denseCrf, doctor, type LoadOptions, type RawImage, type Segmentation } from '../lib';
import { native, type Precision } from '../lib/native';
import { missing, weights as trainedWeights } from './camvid';
import * as command from './command';
import { agreement, relativeError } from './comparison';
import { area, bilateral, classes, image as crfImage, difference, energies, gaussian, marginalsOf } from './crf-inputs';
import { temporaryFolder } from './folder';
import { growth } from './growth';
import { randomImage, randomModel } from './models';

const { cuda } = native().system('');
const hasGpu = cuda.reason === '';
// Not console.warn: jest drops what a suite of nothing but skipped tests prints.
if (!hasGpu) process.stderr.write(`gpu.test.ts is skipped: ${cuda.reason}\n`);

/** The first that can be used, which `cuda` means. */
const gpu = cuda.gpus.find(({ reason }) => reason === '');
const precisions: readonly Precision[] = gpu?.precisions ?? [];
const trained = missing.length === 0;
if (hasGpu && !trained) process.stderr.write(`gpu.test.ts, in part, is skipped: ${missing.join(' and ')} not found\n`);

const folder = temporaryFolder();
const small = randomImage(65, 49, 7);
const bytesOf = ({ labels }: Segmentation) => Buffer.from(labels).toString('hex');

jest.setTimeout(600_000);

(hasGpu ? describe : describe.skip)('on a GPU (needs one)', () => {
  let weights: string;
  let photo: RawImage;
  beforeAll(async () => {
    weights = await randomModel({ backbone: 'resnet50' });
    const { data, info } = await sharp(path.join(__dirname, '../examples/berlin-cathedral.jpg'))
      .raw()
      .toBuffer({ resolveWithObject: true });
    photo = { data, width: info.width, height: info.height, channels: 3 };
  });

  test('the doctor shows it, and auto takes it, in f16', async () => {
    const diagnosis = await doctor();
    expect(diagnosis.cuda).toMatchObject({ reason: '', cudnn: expect.stringMatching(/^9\./) });
    await using model = await DeepLab.load(weights);
    expect(model).toMatchObject({ device: gpu?.device, precision: 'f16' });
  });

  describe('the network computes what the CPU does', () => {
    const bounds: Record<Precision, number> = { f32: 1e-5, tf32: 1e-3, f16: 1e-2, bf16: 2e-2 };

    test.each(precisions)('in %s: logits and scores, at odd, even, tiny and wide sizes', async (precision) => {
      const options = { precision, winograd: precision !== 'f32' };
      await using onGpu = await DeepLab.load(weights, { device: 'cuda', ...options });
      await using onCpu = await DeepLab.load(weights, { device: 'cpu', precision: 'f32', winograd: false });
      expect(onGpu.precision).toBe(precision);
      for (const [width, height] of [
        [65, 49],
        [64, 48],
        [1, 1],
        [7, 3],
        [321, 17],
      ] as const) {
        const image = randomImage(width, height, width);
        const [a, b] = await Promise.all(
          [onGpu, onCpu].map((model) => model.segment(image, { scores: true, logits: true })),
        );
        expect(a?.logits?.shape).toEqual(b?.logits?.shape);
        expect(relativeError(a?.logits?.data ?? [], b?.logits?.data ?? [])).toBeLessThan(bounds[precision]);
        expect(relativeError(a?.scores ?? [], b?.scores ?? [])).toBeLessThan(10 * bounds[precision]);
      }
    });

    test('in f32, at several scales and mirrored', async () => {
      const options = { logits: true, scales: [0.5, 0.75, 1], flip: true } as const;
      await using onGpu = await DeepLab.load(weights, { device: 'cuda', precision: 'f32' });
      await using onCpu = await DeepLab.load(weights, { device: 'cpu', precision: 'f32', winograd: false });
      for (const fuse of ['max', 'mean'] as const) {
        const [a, b] = [
          await onGpu.segment(small, { ...options, fuse }),
          await onCpu.segment(small, { ...options, fuse }),
        ];
        expect(relativeError(a.logits?.data ?? [], b.logits?.data ?? [])).toBeLessThan(bounds.f32);
      }
    });

    test('in f32: 99.9 % of the labels of a photo', async () => {
      await using onGpu = await DeepLab.load(weights, { device: 'cuda', precision: 'f32' });
      await using onCpu = await DeepLab.load(weights, { device: 'cpu', precision: 'f32' });
      const [a, b] = [await onGpu.segment(photo), await onCpu.segment(photo)];
      expect(agreement(a.labels, b.labels)).toBeGreaterThanOrEqual(0.999);
    });

    // A network with random weights has no opinion on most pixels, and its labels hang on the last bit.
    (trained ? test : test.skip).each([
      ['f32', 0.999],
      ['f16', 0.99],
    ] as const)('with trained weights in %s: a share of %f of the labels of a photo', async (precision, share) => {
      await using onGpu = await DeepLab.load(trainedWeights, { device: 'cuda', precision });
      await using onCpu = await DeepLab.load(trainedWeights, { device: 'cpu', precision: 'f32' });
      const [a, b] = [await onGpu.segment(photo), await onCpu.segment(photo)];
      expect(agreement(a.labels, b.labels)).toBeGreaterThanOrEqual(share);
      const refined = [await onGpu.segment(photo, { crf: true }), await onCpu.segment(photo, { crf: true })];
      expect(agreement(refined[0]?.labels as Uint8Array, refined[1]?.labels as Uint8Array)).toBeGreaterThanOrEqual(
        share,
      );
    });
  });

  describe('the CRF', () => {
    const options = { pairwise: [gaussian, bilateral] };

    test('has the marginals of the CPU, from energies, probabilities and labels', async () => {
      for (const unary of [{ unary: energies }, { labels: new Uint8Array(area).fill(1, area / 2), classes }]) {
        const [a, b] = [
          await denseCrf(crfImage, unary, { ...options, device: 'cuda' }),
          await denseCrf(crfImage, unary, { ...options, device: 'cpu' }),
        ];
        expect(difference(marginalsOf(a), marginalsOf(b))).toBeLessThan(1e-4);
        expect(agreement(a.labels, b.labels)).toBeGreaterThanOrEqual(0.999);
      }
    });

    test('has the same marginals, bit for bit, run after run', async () => {
      await using crf = await DenseCrf.create(crfImage, { ...options, device: 'cuda' });
      expect(crf.device).toBe(gpu?.device);
      const first = await crf.infer({ unary: energies });
      for (let run = 0; run < 5; run++) {
        expect(marginalsOf(await crf.infer({ unary: energies }))).toEqual(marginalsOf(first));
        const anew = await denseCrf(crfImage, { unary: energies }, { ...options, device: 'cuda' });
        expect(marginalsOf(anew)).toEqual(marginalsOf(first));
      }
    });

    test('refines the scores of a model on the card', async () => {
      await using onGpu = await DeepLab.load(weights, { device: 'cuda', precision: 'f32' });
      await using onCpu = await DeepLab.load(weights, { device: 'cpu', precision: 'f32' });
      const [a, b] = await Promise.all(
        [onGpu, onCpu].map((model) => model.segment(small, { crf: true, scores: true })),
      );
      expect(difference(a?.scores ?? new Float32Array(), b?.scores ?? new Float32Array(1))).toBeLessThan(1e-2);
    });
  });

  describe('a model', () => {
    const onGpu = (options: LoadOptions = {}) =>
      DeepLab.load(weights, { device: 'cuda', precision: 'f32', ...options });

    test('has the same labels run after run', async () => {
      await using model = await onGpu({ precision: 'auto' });
      const first = bytesOf(await model.segment(photo));
      for (let run = 0; run < 10; run++) expect(bytesOf(await model.segment(photo))).toBe(first);
    });

    test('does not mix calls at the same time, of many sizes and more than its cache holds', async () => {
      await using model = await onGpu({ cacheSize: 2 });
      const images = Array.from({ length: 24 }, (_, i) => randomImage(33 + 8 * (i % 5), 25 + 8 * (i % 3), i));
      const apart: string[] = [];
      for (const image of images) apart.push(bytesOf(await model.segment(image)));
      const options = [{}, { scores: true }, { logits: true }, { crf: true }];
      const plain = await Promise.all(images.map((image) => model.segment(image)));
      expect(plain.map(bytesOf)).toEqual(apart);
      const mixed = await Promise.all(images.map((image, i) => model.segment(image, options[i % 4])));
      for (const [i, result] of mixed.entries()) {
        if (i % 4 !== 3) expect(bytesOf(result)).toBe(apart[i]);
      }
    });

    test('of two on one card each has its own results', async () => {
      await using one = await onGpu();
      await using other = await DeepLab.load(await randomModel({ backbone: 'resnet50', seed: 2 }), {
        device: 'cuda',
        precision: 'f32',
      });
      const alone = [bytesOf(await one.segment(small)), bytesOf(await other.segment(small))];
      const together = await Promise.all(
        Array.from({ length: 16 }, (_, i) => (i % 2 === 0 ? one : other).segment(small)),
      );
      for (const [i, result] of together.entries()) expect(bytesOf(result)).toBe(alone[i % 2]);
    });

    test('refuses an image that is too large for the card, and goes on', async () => {
      await using model = await onGpu();
      const before = bytesOf(await model.segment(small));
      // The first layer has 64 float channels at half the width and height: 64 bytes a pixel, all there is.
      const width = 2 ** 15;
      const height = Math.ceil((gpu?.totalBytes ?? 0) / 64 / width);
      const image = { data: new Uint8Array(width * height), width, height, channels: 1 } as const;
      await expect(model.segment(image, { limitInputPixels: false })).rejects.toMatchObject({
        name: 'DeepLabError',
        code: 'ERR_OUT_OF_MEMORY',
      });
      expect(bytesOf(await model.segment(small))).toBe(before);
    });

    test('finishes its calls when it is closed amid work', async () => {
      const model = await onGpu();
      const calls = Array.from({ length: 8 }, () => model.segment(photo));
      const closed = model.close();
      await expect(model.segment(small)).rejects.toMatchObject({ code: 'ERR_CLOSED' });
      for (const { labels } of await Promise.all(calls)) expect(labels).toHaveLength(photo.width * photo.height);
      await closed;
    });

    test('rejects the calls that are aborted, and no other', async () => {
      await using model = await onGpu();
      const expected = bytesOf(await model.segment(small));
      const controller = new AbortController();
      const calls = Array.from({ length: 12 }, (_, i) =>
        model.segment(small, i % 3 === 2 ? { signal: controller.signal } : {}),
      );
      controller.abort('enough');
      for (const [i, outcome] of (await Promise.allSettled(calls)).entries()) {
        if (outcome.status === 'fulfilled') expect(bytesOf(outcome.value)).toBe(expected);
        else expect([i % 3, outcome.reason]).toMatchObject([2, { code: 'ERR_ABORTED', cause: 'enough' }]);
      }
    });

    test('does not grow in a thousand calls', async () => {
      await using model = await onGpu();
      const call = () => model.segment(small, { scores: true, logits: true });
      expect(await growth(1000, call)).toBeLessThan(40);
    });

    test('refuses the precisions that the GPU does not have', async () => {
      const others = (['f32', 'tf32', 'bf16', 'f16'] as const).filter((precision) => !precisions.includes(precision));
      for (const precision of others) {
        await expect(onGpu({ precision })).rejects.toMatchObject({ code: 'ERR_UNSUPPORTED_PRECISION' });
      }
    });
  });

  describe('tuning', () => {
    beforeAll(() => command.expectBuilt());

    const tune = async (cache: string) => {
      const args = ['tune', weights, '--size', '129x97', '--precision', 'f16', '--json'];
      const { code, stdout, stderr } = await command.run(folder, args, { DEEPLAB_CACHE: cache });
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      return JSON.parse(stdout)[0];
    };

    test('times the convolutions once; the second run times nothing', async () => {
      const cache = path.join(folder, 'cache');
      const first = await tune(cache);
      expect(first).toMatchObject({ device: gpu?.device, precision: 'f16', width: 129, height: 97, batch: 1 });
      expect(first.timed).toBeGreaterThan(0);
      expect(path.resolve(first.cache).startsWith(cache)).toBe(true);
      const second = await tune(cache);
      expect(second.timed).toBe(0);
      expect(second.layers).toEqual(first.layers);
    });

    test('a cache that is damaged is timed anew', async () => {
      const cache = path.join(folder, 'damaged');
      await tune(cache);
      const files = readdirSync(cache, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
      expect(files.length).toBeGreaterThan(0);
      for (const file of files) writeFileSync(path.join(file.parentPath, file.name), '{"damaged');
      expect((await tune(cache)).timed).toBeGreaterThan(0);
      expect((await tune(cache)).timed).toBe(0);
    });
  });
});
