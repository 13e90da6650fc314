// The option `crf` of `segment`: the network's own CRF, or another one, on what the network thinks.

import { type CrfOptions, crfPresets, DeepLab, denseCrf, type SegmentOptions } from '../lib';
import { agreement } from './comparison';
import { difference, refusal } from './crf-inputs';
import { smoothImage } from './crf-scenes';
import { randomModel } from './models';

const [width, height, classes] = [65, 49, 5];
const { pixels: data } = smoothImage(width, height, 3);
const image = { data, width, height, channels: 3 } as const;
const terms = [
  { kernel: 'bilateral', xy: 12, rgb: 20, compatibility: [3, 4, 5, 4, 3] },
  { kernel: 'gaussian', xy: [2, 3], compatibility: 3, normalization: 'before' },
] as const;

let model: DeepLab;
beforeAll(async () => {
  model = await DeepLab.load(await randomModel({ backbone: 'resnet101' }), { device: 'cpu', precision: 'f32' });
});
afterAll(() => model.close());

const segment = async (crf?: SegmentOptions['crf']) => {
  const { labels, scores = new Float32Array() } = await model.segment(image, { scores: true, crf });
  return { labels, scores };
};

test('a model without parameters of its own has the published ones of its backbone', () => {
  const { pairwise, coordinates, iterations } = crfPresets['deeplab-v2-resnet101'];
  expect(model.crf).toEqual({
    pairwise: pairwise.map((term) => ({ ...term, normalization: 'symmetric' })),
    coordinates,
    iterations,
    tolerance: 0,
  });
});

test.each<[string, SegmentOptions['crf'], CrfOptions]>([
  ['the model', true, {}],
  ['the model, all but the iterations', { iterations: 3 }, { iterations: 3 }],
  [
    'the caller',
    { pairwise: terms, coordinates: 'xy', iterations: 4 },
    { pairwise: terms, coordinates: 'xy', iterations: 4 },
  ],
  ['nobody', {}, {}],
])('labels and scores are those of denseCrf with the parameters of %s', async (_, crf, options) => {
  const { scores: probabilities } = await segment();
  const expected = await denseCrf(image, { probabilities }, { ...model.crf, ...options, device: 'cpu' });
  const { labels, scores } = await segment(crf);
  expect(difference(scores, expected.marginals ?? new Float32Array())).toBeLessThan(1e-3);
  expect(agreement(labels, expected.labels)).toBeGreaterThan(1 - 1e-3);
});

test('a tolerance is heeded', async () => {
  const stopped = await segment({ pairwise: terms, iterations: 10_000, tolerance: 1e9 });
  expect(stopped).toEqual(await segment({ pairwise: terms, iterations: 1 }));
  expect(difference(stopped.scores, (await segment({ pairwise: terms })).scores)).toBeGreaterThan(1e-3);
});

test('refined scores are probabilities, and the label is the likeliest class', async () => {
  const { labels, scores } = await segment(true);
  const area = width * height;
  expect(scores.length).toBe(classes * area);
  for (let pixel = 0; pixel < area; pixel++) {
    const ofPixel = [0, 1, 2, 3, 4].map((id) => scores[id * area + pixel] ?? Number.NaN);
    expect(ofPixel.reduce((sum, score) => sum + score, 0)).toBeCloseTo(1, 4);
    expect(ofPixel[labels[pixel] ?? -1]).toBe(Math.max(...ofPixel));
  }
});

test('labels are the same without scores', async () => {
  const { labels, scores } = await model.segment(image, { crf: { pairwise: terms } });
  expect(scores).toBeUndefined();
  expect(labels).toEqual((await segment({ pairwise: terms })).labels);
});

test('false is nothing, and no iterations change no label', async () => {
  const plain = await segment();
  expect(await segment(false)).toEqual(plain);
  const { labels } = await segment({ iterations: 0 });
  expect(labels.filter((label, i) => label !== plain.labels[i]).length).toBeLessThanOrEqual(labels.length / 1000);
});

test('the logits are those of the network all the same', async () => {
  const [plain, refined] = [
    await model.segment(image, { logits: true }),
    await model.segment(image, { logits: true, crf: true }),
  ];
  expect(refined.logits).toEqual(plain.logits);
});

test('a call with a CRF can be aborted', async () => {
  const controller = new AbortController();
  const pending = model.segment(image, { crf: { iterations: 10_000 }, signal: controller.signal });
  setTimeout(() => controller.abort('enough'), 200);
  await expect(pending).rejects.toMatchObject({ code: 'ERR_ABORTED', cause: 'enough' });
});

test.each<[unknown, string | RegExp]>([
  ['yes', 'Expected boolean or object for crf but received "yes" of type string'],
  [null, 'Expected boolean or object for crf but received null of type object'],
  [
    { marginals: true },
    'Expected one of pairwise, coordinates, iterations, tolerance for option name in crf but received "marginals" of type string',
  ],
  [{ iterations: -1 }, 'Expected integer from 0 to 10000 for crf.iterations but received -1 of type number'],
  [{ tolerance: -1 }, /for crf\.tolerance but received -1/],
  [{ coordinates: 'x' }, 'Expected one of yx, xy for crf.coordinates but received "x" of type string'],
  [{ pairwise: [{ kernel: 'gaussian', xy: 0, compatibility: 1 }] }, /for crf\.pairwise\[0\]\.xy but received 0/],
  [
    { pairwise: [{ kernel: 'gaussian', xy: 1, compatibility: [1, 2] }] },
    'Expected 5, one per class for crf.pairwise[0].compatibility.length but received 2 of type number',
  ],
  [
    { pairwise: [{ kernel: 'features', features: new Float32Array(65 * 49), dimensions: 1, compatibility: 1 }] },
    'Expected one of gaussian, bilateral for crf.pairwise[0].kernel but received "features" of type string',
  ],
])('refuses %j', async (crf, message) => {
  await expect(model.segment(image, { crf: crf as boolean })).rejects.toMatchObject(refusal(message));
});
