// The CRF on a trained network's scores: with parameters that were searched on training images (bench/crf-camvid.js),
// it makes the label maps of validation images better. Every fourth of these is taken, 26 of 101; docs/crf.md has the
// figures of all. Needs ../shared.

import { type CrfOptions, DeepLab, denseCrf } from '../lib';
import { Confusion, camvidImages, camvidLabels, missing, weights } from './camvid';

/** What `node bench/crf-camvid.js` finds. */
const found: CrfOptions = {
  pairwise: [
    { kernel: 'bilateral', xy: 15, rgb: 2, compatibility: 6.8 },
    { kernel: 'gaussian', xy: 1, compatibility: 3 },
  ],
  iterations: 10,
};

jest.setTimeout(1_200_000); // less than a minute on two idle cores

// Not console.warn: jest drops what a suite of nothing but skipped tests prints.
if (missing.length > 0) process.stderr.write(`camvid-crf.test.ts is skipped: ${missing.join(' and ')} not found\n`);

(missing.length === 0 ? test : test.skip)('the CRF raises mIoU and accuracy on CamVid (needs ../shared)', async () => {
  const model = await DeepLab.load(weights, { device: 'cpu', precision: 'f32' });
  const [plain, refined] = [new Confusion(), new Confusion()];
  for (const image of camvidImages('val').filter((_, i) => i % 4 === 0)) {
    const truth = await camvidLabels(image);
    // Not segment(image, { crf }): the network would run twice. That both come to the same is segment-crf.test.ts's.
    const { labels, scores = new Float32Array() } = await model.segment(image, { scores: true });
    plain.add(truth, labels);
    const { labels: better } = await denseCrf(
      image,
      { probabilities: scores },
      { ...found, device: 'cpu', marginals: false },
    );
    refined.add(truth, better);
  }
  await model.close();
  const [before, after] = [plain.figures(), refined.figures()];
  process.stdout.write(
    `mIoU ${before.meanIou.toFixed(2)} without the CRF, ${after.meanIou.toFixed(2)} with it; ` +
      `accuracy ${before.accuracy.toFixed(2)}, ${after.accuracy.toFixed(2)}\n`,
  );
  expect(after.meanIou).toBeGreaterThanOrEqual(before.meanIou);
  expect(after.accuracy).toBeGreaterThanOrEqual(before.accuracy);
});
