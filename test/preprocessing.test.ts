// What a weights file asks of preprocessing is done as PyTorch does it: scores at the image's size, for each rule.
// test/parity/generate_preprocessing.py made the references.

import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { DeepLab, type RawImage } from '../lib';
import { type RandomModelOptions, randomImage, randomModel } from './models';

interface Reference {
  readonly model: RandomModelOptions;
  readonly image: { readonly width: number; readonly height: number; readonly seed: number };
  readonly scores: readonly number[];
}

const folder = path.join(__dirname, 'parity', 'references', 'preprocessing');
const cases = readdirSync(folder).map((file) => path.basename(file, '.json'));

async function scoresOf(file: string, image: RawImage): Promise<Float32Array> {
  await using model = await DeepLab.load(file, { device: 'cpu', precision: 'f32', winograd: false });
  return (await model.segment(image, { scores: true })).scores as Float32Array;
}

test('there is a reference for every rule', () => {
  expect(cases.length).toBe(7);
});

test.each(cases)('%s', async (name) => {
  const { model, image, scores } = JSON.parse(readFileSync(path.join(folder, `${name}.json`), 'utf8')) as Reference;
  const computed = await scoresOf(await randomModel(model), randomImage(image.width, image.height, image.seed));
  expect(computed).toHaveLength(scores.length);
  const largest = computed.reduce((most, value, i) => Math.max(most, Math.abs(value - (scores[i] as number))), 0);
  expect(largest).toBeLessThan(1e-4);
});

test('alpha does not count, and grey is a colour like its neighbours', async () => {
  const file = await randomModel({ backbone: 'resnet50', classes: 3 });
  const { width, height, data } = randomImage(24, 19, 5);
  const pixels = width * height;
  const rgba = Uint8Array.from({ length: 4 * pixels }, (_, i) =>
    i % 4 === 3 ? i & 255 : (data[3 * (i >> 2) + (i % 4)] as number),
  );
  const grey = data.slice(0, pixels);
  const greyAsRgb = Uint8Array.from({ length: 3 * pixels }, (_, i) => grey[Math.floor(i / 3)] as number);
  const scores = (bytes: Uint8Array, channels: 1 | 3 | 4) => scoresOf(file, { data: bytes, width, height, channels });
  expect(await scores(rgba, 4)).toEqual(await scores(data, 3));
  expect(await scores(grey, 1)).toEqual(await scores(greyAsRgb, 3));
});
