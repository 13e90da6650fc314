// A trained network on real photos: the labels of the CamVid validation images are those that PyTorch computes
// (test/parity/camvid.py wrote them), and the published figures of the model come out. Needs ../shared.

import { readFileSync } from 'node:fs';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { DeepLab, type LoadOptions } from '../lib';
import { native } from '../lib/native';
import { Confusion, camvidImages, camvidLabels, missing, weights } from './camvid';

const bf16 = native().system('').precisions.includes('bf16');

/** The label maps that PyTorch computes, uint8 [101,360,480]; the format is described in test/parity/camvid.py. */
function referenceLabels(): Uint8Array {
  const maps = gunzipSync(readFileSync(path.join(__dirname, 'parity', 'references', 'camvid-val-labels.gz')));
  const [width, height] = [480, 360];
  for (let i = 0; i < maps.length; i++) {
    if (i % (width * height) >= width) maps[i] = (maps[i] as number) ^ (maps[i - width] as number);
  }
  return maps;
}

/** Where time is short, one image in four is enough to see that the network is the one of PyTorch. */
const every = process.env.CI ? 4 : 1;

/** Segments the images; counts what the labels agree with. */
async function evaluate(options: LoadOptions) {
  const reference = referenceLabels();
  const model = await DeepLab.load(weights, { device: 'cpu', ...options });
  const [confusion, pytorch] = [new Confusion(), new Confusion()];
  let [pixels, agreeing] = [0, 0];
  const images = camvidImages('val');
  const size = reference.length / images.length;
  for (let at = 0; at < images.length; at += every) {
    const image = images[at] as string;
    const { labels } = await model.segment(image);
    const expected = reference.subarray(at * size, (at + 1) * size);
    for (const [i, label] of labels.entries()) if (label === expected[i]) agreeing++;
    const truth = await camvidLabels(image);
    confusion.add(truth, labels);
    pytorch.add(truth, expected);
    pixels += labels.length;
  }
  await model.close();
  expect(pixels).toBe(size * Math.ceil(images.length / every));
  const result = { agreement: agreeing / pixels, ...confusion.figures() };
  // The figures that README.md quotes.
  const { agreement, meanIou, accuracy } = result;
  const percent = (100 * agreement).toFixed(5);
  process.stdout.write(
    `${model.precision}: ${percent} % of labels as PyTorch's, mIoU ${meanIou.toFixed(3)}, accuracy ${accuracy.toFixed(3)}\n`,
  );
  return { ...result, pytorch: pytorch.figures() };
}

jest.setTimeout(1_200_000); // 101 images, a minute or two on two idle cores

// Not console.warn: jest drops what a suite of nothing but skipped tests prints.
if (missing.length > 0) process.stderr.write(`camvid.test.ts is skipped: ${missing.join(' and ')} not found\n`);

(missing.length === 0 ? describe : describe.skip)('CamVid validation (needs ../shared)', () => {
  it('has PyTorch labels and the published mIoU in f32', async () => {
    const { agreement, meanIou, accuracy, pytorch } = await evaluate({ precision: 'f32' });
    expect(agreement).toBeGreaterThanOrEqual(0.9995);
    expect(Math.abs(meanIou - pytorch.meanIou)).toBeLessThanOrEqual(0.05);
    expect(Math.abs(accuracy - pytorch.accuracy)).toBeLessThanOrEqual(0.05);
    if (every > 1) return;
    expect(Math.abs(meanIou - 51.978)).toBeLessThanOrEqual(0.05);
    expect(Math.abs(accuracy - 86.566)).toBeLessThanOrEqual(0.05);
  });

  (bf16 ? it : it.skip)('has PyTorch labels in bf16 (where the CPU has it)', async () => {
    const { agreement } = await evaluate({ precision: 'bf16' });
    expect(agreement).toBeGreaterThanOrEqual(0.99);
  });
});
