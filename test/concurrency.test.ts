// Models at work at once do not disturb each other: their networks are compiled and run side by side.

import path from 'node:path';
import { DeepLab } from '../lib';
import { native } from '../lib/native';
import { writeSelfTest } from '../lib/self-test';
import { temporaryFolder } from './folder';
import { randomImage } from './models';

const precisions = native()
  .system('')
  .precisions.filter((precision) => precision === 'f32' || precision === 'bf16');
const images = [33, 64, 97, 129, 200, 257].map((side) => randomImage(side, side - 8, side));
const folder = temporaryFolder();
const options = { device: 'cpu', threads: 1 } as const;

const logitsOf = async (model: DeepLab, image: (typeof images)[0]) =>
  (await model.segment(image, { logits: true })).logits?.data ?? new Float32Array();

test('models of several precisions that compile and run at once compute what each computes alone', async () => {
  const file = path.join(folder, 'model.safetensors');
  writeSelfTest(file); // small: it is compiled a thousand times
  const alone = new Map<string, Float32Array[]>();
  for (const precision of precisions) {
    await using model = await DeepLab.load(file, { ...options, precision });
    const logits: Float32Array[] = [];
    for (const image of images) logits.push(await logitsOf(model, image));
    alone.set(precision, logits);
  }

  const end = performance.now() + 5000;
  const compare = async (precision: (typeof precisions)[0]) => {
    // One network is kept, so that nearly every image is compiled for anew.
    await using model = await DeepLab.load(file, { ...options, precision, cacheSize: 1 });
    let [runs, wrong] = [0, 0];
    for (let i = 0; performance.now() < end; i++) {
      const at = (i * 7 + (i >> 3)) % images.length;
      const logits = await logitsOf(model, images[at] as (typeof images)[0]);
      runs++;
      if (Buffer.compare(bytesOf(logits), bytesOf(alone.get(precision)?.[at] as Float32Array)) !== 0) wrong++;
    }
    return { precision, wrong, enough: runs > 10 };
  };
  expect(await Promise.all(precisions.map(compare))).toEqual(
    precisions.map((precision) => ({ precision, wrong: 0, enough: true })),
  );
});

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
