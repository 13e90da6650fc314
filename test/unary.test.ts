// What may be known of an image's pixels before the CRF, and what it means.

import { denseCrf, probabilityFloor, Tensor, type UnaryInput } from '../lib';
import {
  area,
  classes,
  difference,
  energies,
  height,
  image,
  marginalsOf,
  painted,
  pairwise,
  probabilities,
  refusal,
  same,
  width,
} from './crf-inputs';

const infer = async (unary: UnaryInput) => marginalsOf(await denseCrf(image, unary, { pairwise, iterations: 3 }));

test('probabilities mean their negative logarithms', async () => {
  expect(difference(await infer({ unary: energies }), await infer({ probabilities }))).toBeLessThan(1e-4);
});

test('probabilities below the floor count as the floor', async () => {
  const certain = Float32Array.from(probabilities, (_, i) => (painted[i % area] === Math.floor(i / area) ? 1 : 0));
  const raised = certain.map((value) => -Math.log(Math.max(value, probabilityFloor)));
  expect(probabilityFloor).toBe(1e-5);
  expect(difference(await infer({ probabilities: certain }), await infer({ unary: raised }))).toBeLessThan(1e-4);
});

test.each([undefined, 0.55, 0.99])('labels are right with gtProb %p', async (gtProb) => {
  const labels = painted.slice();
  labels.fill(255, 100, 200);
  const [right, wrong] = [gtProb ?? 0.7, (1 - (gtProb ?? 0.7)) / (classes - 1)];
  const meant = Float32Array.from(energies, (_, i) => {
    const label = labels[i % area];
    if (label === 255) return Math.log(classes);
    return -Math.log(label === Math.floor(i / area) ? right : wrong);
  });
  const result = await infer({ labels, classes, gtProb, unknown: 255 });
  expect(difference(result, await infer({ unary: meant }))).toBeLessThan(1e-4);
});

test('tensors and Buffers are taken for what they hold', async () => {
  const shape = [classes, height, width];
  const expected = await infer({ probabilities });
  expect(same(await infer({ probabilities: new Tensor(probabilities, shape) }), expected)).toBe(true);
  const labels = await infer({ labels: painted, classes });
  expect(same(await infer({ labels: Buffer.from(painted), classes }), labels)).toBe(true);
  expect(same(await infer({ labels: new Tensor(painted, [height, width]), classes }), labels)).toBe(true);
  expect(same(await infer({ unary: new Tensor(energies, shape) }), await infer({ unary: energies }))).toBe(true);
});

test.each<[string, unknown, string | RegExp]>([
  [
    'nothing',
    undefined,
    'Expected object with one of probabilities, unary, labels for unary but received undefined of type undefined',
  ],
  [
    'an array',
    probabilities,
    /^Expected exactly one of probabilities, unary, labels for unary but received "" of type/,
  ],
  ['two kinds', { probabilities, unary: energies }, /exactly one of .* but received "probabilities, unary" of type/],
  [
    'doubles',
    { unary: new Float64Array(4 * area) },
    'Expected Float32Array or Tensor of f32 for unary.unary but received Float64Array of type object',
  ],
  [
    'bytes',
    { probabilities: new Tensor(painted, [1, height, width]) },
    /Tensor of f32 for unary\.probabilities but received Tensor/,
  ],
  [
    'a name too many',
    { probabilities, gtProb: 0.5 },
    'Expected one of probabilities for option name in unary but received "gtProb" of type string',
  ],
  [
    'too few numbers',
    { probabilities: probabilities.subarray(1) },
    `Expected multiple of ${area} (33x45) for probabilities.length but received ${4 * area - 1} of type number`,
  ],
  ['no numbers', { unary: new Float32Array() }, /^Expected multiple of 1485 .* for unary\.length but received 0/],
  [
    'one class',
    { unary: energies.subarray(0, area) },
    'Expected integer from 2 to 256 for number of classes but received 1 of type number',
  ],
  ['257 classes', { unary: new Float32Array(257 * area) }, /number of classes but received 257/],
  [
    'a tensor of another shape',
    { unary: new Tensor(energies, [classes, width, height]) },
    'Expected [C,33,45] for unary.shape but received "[4,45,33]" of type string',
  ],
  [
    'a tensor of another rank',
    { unary: new Tensor(energies, [1, classes, height, width]) },
    /Expected \[C,33,45\] for unary\.shape/,
  ],
  [
    'labels that are no bytes',
    { labels: [...painted], classes },
    /Expected Uint8Array or Tensor of u8 for unary\.labels but received Array/,
  ],
  [
    'labels of another size',
    { labels: painted.subarray(1), classes },
    'Expected 1485 (33x45) for labels.length but received 1484 of type number',
  ],
  [
    'labels of another shape',
    { labels: new Tensor(painted, [width, height]), classes },
    'Expected [33,45] for labels.shape but received "[45,33]" of type string',
  ],
  [
    'labels without classes',
    { labels: painted },
    'Expected integer from 2 to 256 for unary.classes but received undefined of type undefined',
  ],
  ['labels of one class', { labels: painted, classes: 1 }, /integer from 2 to 256 for unary\.classes but received 1/],
  ['labels of 257 classes', { labels: painted, classes: 257 }, /unary\.classes but received 257/],
  [
    'gtProb 0',
    { labels: painted, classes, gtProb: 0 },
    'Expected number between 0 and 1 for unary.gtProb but received 0 of type number',
  ],
  ['gtProb 1', { labels: painted, classes, gtProb: 1 }, /unary\.gtProb but received 1 of/],
  ['gtProb NaN', { labels: painted, classes, gtProb: Number.NaN }, /unary\.gtProb but received NaN/],
  [
    'unknown 256',
    { labels: painted, classes, unknown: 256 },
    /integer from 0 to 255 for unary\.unknown but received 256/,
  ],
  ['unknown -1', { labels: painted, classes, unknown: -1 }, /unary\.unknown but received -1/],
])('%s: refused', async (_, wrong, message) => {
  await expect(denseCrf(image, wrong as UnaryInput)).rejects.toMatchObject(refusal(message));
});

/** The values with another one at pixel (7, 2), which is named in the message. */
const spoilt = (values: Float32Array, value: number, id = 1) => {
  const changed = values.slice();
  changed[id * area + 2 * width + 7] = value;
  return changed;
};
test.each<[string, UnaryInput]>([
  ['a probability that is NaN', { probabilities: spoilt(probabilities, Number.NaN) }],
  ['a probability that is infinite', { probabilities: spoilt(probabilities, Number.POSITIVE_INFINITY) }],
  ['a negative probability', { probabilities: spoilt(probabilities, -0.01) }],
  ['probabilities that do not sum to 1', { probabilities: spoilt(probabilities, 0.9999) }],
  ['an energy that is NaN', { unary: spoilt(energies, Number.NaN) }],
  ['an energy that is infinite', { unary: spoilt(energies, Number.NEGATIVE_INFINITY) }],
  ['an energy beyond sense', { unary: spoilt(energies, 1e30) }],
  ['a label that is no class', { labels: painted.with(2 * width + 7, classes), classes }],
])('%s: refused, with the pixel', async (_, wrong) => {
  await expect(denseCrf(image, wrong)).rejects.toMatchObject(refusal(/pixel \(7, 2\)/));
});
