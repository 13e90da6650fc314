// Nothing leaks: the process's resident memory after 1,000 calls is what it was after the first ones.

import { DeepLab, DeepLabError } from '../lib';
import { native } from '../lib/native';
import { growth } from './growth';
import { randomImage, randomModel } from './models';

jest.setTimeout(300_000);

describe('resident memory', () => {
  let model: DeepLab;
  beforeAll(async () => {
    model = await DeepLab.load(await randomModel({ backbone: 'resnet50' }), {
      device: 'cpu',
      precision: 'f32',
      cacheSize: 2,
      threads: 1,
    });
  });
  afterAll(() => model.close());

  test('does not grow over 1,000 calls', async () => {
    const image = randomImage(24, 16, 1);
    expect(await growth(1000, () => model.segment(image, { scores: true, logits: true }))).toBeLessThan(40);
  });

  test('does not grow over 60 image sizes, of which 2 are kept', async () => {
    const sizes = Array.from({ length: 60 }, (_, i) => randomImage(9 + i, 16, i));
    expect(await growth(120, (i) => model.segment(sizes[i % 60] as ReturnType<typeof randomImage>))).toBeLessThan(60);
  });

  test('does not grow over 1,000 calls that fail', async () => {
    const controller = new AbortController();
    controller.abort();
    const image = randomImage(24, 16, 1);
    const calls = () => model.segment(image, { signal: controller.signal }).catch((error: unknown) => error);
    expect(await growth(1000, calls)).toBeLessThan(20);
    expect(await calls()).toBeInstanceOf(DeepLabError);
  });

  test('is given back when a model is closed', async () => {
    const file = await randomModel({ backbone: 'resnet50' });
    const cycle = async () => {
      await using other = await DeepLab.load(file, { device: 'cpu', precision: 'f32' });
      await other.segment(randomImage(65, 65, 2));
    };
    expect(await growth(10, cycle)).toBeLessThan(120);
  });
});

test('an image whose network needs more memory than there is gets ERR_OUT_OF_MEMORY, and the model goes on', async () => {
  await using model = await DeepLab.load(await randomModel({ backbone: 'resnet50' }), {
    device: 'cpu',
    precision: 'f32',
  });
  // Grey, so that the pixels themselves are small: 2^29 of them, of which the first layer alone makes 64 channels.
  const image = { data: new Uint8Array(2 ** 29), width: 2 ** 15, height: 2 ** 14, channels: 1 as const };
  await expect(model.segment(image, { limitInputPixels: false })).rejects.toMatchObject({
    code: 'ERR_OUT_OF_MEMORY',
    message: expect.stringMatching(/needs \d+ MiB, \d+ MiB are available/),
  });
  const { labels } = await model.segment(randomImage(33, 33, 3));
  expect(labels).toHaveLength(33 * 33);
});

test('sizes that oneDNN would divide by zero are refused before it is asked', async () => {
  const weights = await randomModel({ backbone: 'resnet50' });
  expect(() => native().cpuImplementations(weights, 'f32', true, 65535, 65535)).toThrow(/needs \d+ MiB/);
});
