// The pairwise terms of a CRF: which are the same, and which are none.

import { denseCrf, type PairwiseTerm } from '../lib';
import {
  area,
  bilateral,
  classes,
  difference,
  energies,
  features,
  gaussian,
  height,
  image,
  marginalsOf,
  probabilities,
  refusal,
  same,
  width,
} from './crf-inputs';

const unary = { probabilities };
const infer = async (...terms: PairwiseTerm[]) => marginalsOf(await denseCrf(image, unary, { pairwise: terms }));

test('a number is a deviation for each axis', async () => {
  expect(same(await infer(gaussian), await infer({ ...gaussian, xy: [3, 3] }))).toBe(true);
  expect(same(await infer(bilateral), await infer({ ...bilateral, xy: [20, 20], rgb: [13, 13, 13] }))).toBe(true);
  expect(same(await infer(gaussian), await infer({ ...gaussian, xy: [3, 4] }))).toBe(false);
});

test('x is the direction of rows, y that of columns', async () => {
  // With hardly any reach in y, rows do not know of each other.
  const alone = { ...gaussian, xy: [3, 1e-3] } as const;
  const changed = energies.map((value, i) => ((i % area) % width === 9 && i % area >= width ? 9 - value : value));
  const [before, after] = [
    marginalsOf(await denseCrf({ width, height }, { unary: energies }, { pairwise: [alone] })),
    marginalsOf(await denseCrf({ width, height }, { unary: changed }, { pairwise: [alone] })),
  ];
  const firstRow = (marginals: Float32Array) => marginals.filter((_, i) => i % area < width);
  expect(difference(firstRow(before), firstRow(after))).toBeLessThan(1e-5);
  expect(difference(before, after)).toBeGreaterThan(0.1);
});

test('a weight is that weight for every class, and a matrix with a zero diagonal', async () => {
  const potts = await infer(bilateral);
  const rows = [0, 1, 2, 3].map((a) => [0, 1, 2, 3].map((b) => (a === b ? 0 : 5)));
  for (const compatibility of [[5, 5, 5, 5], Float32Array.of(5, 5, 5, 5), rows, Float32Array.from(rows.flat())]) {
    expect(difference(await infer({ ...bilateral, compatibility }), potts)).toBeLessThan(1e-4);
  }
});

test('four numbers are a matrix for two classes', async () => {
  const two = { unary: energies.subarray(0, 2 * area) };
  const run = async (compatibility: PairwiseTerm['compatibility']) =>
    marginalsOf(await denseCrf(image, two, { pairwise: [{ ...bilateral, compatibility }] }));
  expect(difference(await run(Float32Array.of(0, 5, 5, 0)), await run(5))).toBeLessThan(1e-4);
  await expect(run([0, 5, 5, 0])).rejects.toMatchObject(
    refusal('Expected 2, one per class for pairwise[0].compatibility.length but received 4 of type number'),
  );
});

test('xy is yx of the picture with its axes exchanged', async () => {
  const turn = <A extends Float32Array | Uint8Array>(array: A, channels: number): A =>
    array.map((_, i) => {
      const pixel = Math.floor(i / channels);
      const source = (pixel % height) * width + Math.floor(pixel / height);
      return array[source * channels + (i % channels)] as number;
    }) as A;
  const turnPlanes = (planes: Float32Array) =>
    Float32Array.from(
      Array.from({ length: classes }, (_, id) => [...turn(planes.slice(id * area, (id + 1) * area), 1)]).flat(),
    );
  const turned = { data: turn(image.data, 3), width: height, height: width, channels: 3 as const };
  const options = { pairwise: [bilateral], coordinates: 'xy' } as const;
  const result = marginalsOf(await denseCrf(turned, { unary: turnPlanes(energies) }, options));
  const upright = marginalsOf(await denseCrf(image, { unary: energies }, { pairwise: [bilateral] }));
  expect(difference(result, turnPlanes(upright))).toBeLessThan(1e-4);
  const other = marginalsOf(await denseCrf(image, { unary: energies }, options));
  expect(difference(other, upright)).toBeGreaterThan(1e-4);
});

test.each<[string, unknown, string | RegExp]>([
  ['no list', bilateral, 'Expected array of pairwise terms for pairwise but received Object of type object'],
  ['no term', [null], 'Expected pairwise term for pairwise[0] but received null of type object'],
  [
    'no kernel',
    [{ xy: 1, compatibility: 1 }],
    'Expected one of gaussian, bilateral, features for pairwise[0].kernel but received undefined of type undefined',
  ],
  [
    'an unknown kernel',
    [gaussian, { ...gaussian, kernel: 'laplace' }],
    'Expected one of gaussian, bilateral, features for pairwise[1].kernel but received "laplace" of type string',
  ],
  [
    'a name too many',
    [{ ...gaussian, rgb: 3 }],
    'Expected one of kernel, compatibility, normalization, xy for option name in pairwise[0] but received "rgb" of type string',
  ],
  [
    'no xy',
    [{ kernel: 'gaussian', compatibility: 1 }],
    'Expected finite number above 0 or [x,y] of such numbers for pairwise[0].xy but received undefined of type undefined',
  ],
  [
    'no rgb',
    [{ ...bilateral, rgb: undefined }],
    'Expected finite number above 0 or [r,g,b] of such numbers for pairwise[0].rgb but received undefined of type undefined',
  ],
  ['xy 0', [{ ...gaussian, xy: 0 }], /pairwise\[0\]\.xy but received 0 of type number/],
  ['xy that is 0 in 32 bits', [{ ...gaussian, xy: 1e-50 }], /pairwise\[0\]\.xy but received 1e-50/],
  ['negative xy', [{ ...gaussian, xy: [3, -3] }], /pairwise\[0\]\.xy but received Array/],
  ['xy NaN', [{ ...bilateral, xy: Number.NaN }], /pairwise\[0\]\.xy but received NaN/],
  ['xy infinite', [{ ...gaussian, xy: Number.POSITIVE_INFINITY }], /pairwise\[0\]\.xy but received Infinity/],
  ['three xy', [{ ...gaussian, xy: [1, 2, 3] }], /pairwise\[0\]\.xy but received Array/],
  ['two rgb', [{ ...bilateral, rgb: [1, 2] }], /pairwise\[0\]\.rgb but received Array/],
  ['rgb of text', [{ ...bilateral, rgb: '3' }], /pairwise\[0\]\.rgb but received "3" of type string/],
  [
    'no compatibility',
    [{ kernel: 'gaussian', xy: 1 }],
    'Expected number, Float32Array, array of numbers or array of rows for pairwise[0].compatibility but received undefined of type undefined',
  ],
  ['a compatibility of text', [{ ...gaussian, compatibility: '3' }], /compatibility but received "3"/],
  [
    'a compatibility that is NaN',
    [{ ...gaussian, compatibility: Number.NaN }],
    'Expected finite number for pairwise[0].compatibility but received NaN of type number',
  ],
  [
    'one beyond 32 bits',
    [{ ...gaussian, compatibility: [1, 2, 1e39, 4] }],
    'Expected finite number for pairwise[0].compatibility[2] but received 1e+39 of type number',
  ],
  [
    'a compatibility for other classes',
    [{ ...gaussian, compatibility: [1, 2, 3] }],
    'Expected 4, one per class for pairwise[0].compatibility.length but received 3 of type number',
  ],
  [
    'numbers for no classes',
    [{ ...gaussian, compatibility: new Float32Array(9) }],
    'Expected 4 or 4x4 for pairwise[0].compatibility.length but received 9 of type number',
  ],
  [
    'no numbers',
    [{ ...gaussian, compatibility: [] }],
    /Expected 4, one per class for pairwise\[0\]\.compatibility\.length but received 0/,
  ],
  [
    'a matrix for other classes',
    [
      {
        ...gaussian,
        compatibility: [
          [0, 1],
          [1, 0],
        ],
      },
    ],
    'Expected 4 rows, one per class for pairwise[0].compatibility.length but received 2 of type number',
  ],
  [
    'rows of different lengths',
    [{ ...gaussian, compatibility: [[0, 1], [1]] }],
    'Expected row of 2 numbers for pairwise[0].compatibility[1] but received 1 of type number',
  ],
  [
    'numbers among rows',
    [{ ...gaussian, compatibility: [[0, 1], 1] }],
    /row of 2 numbers for pairwise\[0\]\.compatibility\[1\]/,
  ],
  [
    'NaN in a matrix',
    [
      {
        ...gaussian,
        compatibility: [
          [0, 1],
          [Number.NaN, 0],
        ],
      },
    ],
    'Expected finite number for pairwise[0].compatibility[1][0] but received NaN of type number',
  ],
  [
    'a matrix that is not symmetric',
    [
      {
        ...gaussian,
        compatibility: [
          [0, 1],
          [2, 0],
        ],
      },
    ],
    'Expected 1, as [0][1] is for pairwise[0].compatibility[1][0] but received 2 of type number',
  ],
  [
    'the same in a row',
    [{ ...gaussian, compatibility: Float32Array.from({ length: 16 }, (_, i) => i) }],
    'Expected 1, as [0][1] is for pairwise[0].compatibility[1][0] but received 4 of type number',
  ],
  [
    'an unknown normalisation',
    [{ ...gaussian, normalization: 'both' }],
    'Expected one of symmetric, before, after, none for pairwise[0].normalization but received "both" of type string',
  ],
  [
    'features that are no array',
    [{ ...features, features: [1] }],
    'Expected Float32Array for pairwise[0].features but received Array of type object',
  ],
  [
    'no features',
    [{ ...features, features: undefined }],
    /Float32Array for pairwise\[0\]\.features but received undefined/,
  ],
  [
    'no dimensions',
    [{ ...features, dimensions: undefined }],
    'Expected integer from 1 to 16 for pairwise[0].dimensions but received undefined of type undefined',
  ],
  ['17 dimensions', [{ ...features, dimensions: 17 }], /pairwise\[0\]\.dimensions but received 17/],
  [
    'features of another size',
    [{ ...features, dimensions: 2 }],
    'Expected 2970 (2x33x45) for pairwise[0].features.length but received 4455 of type number',
  ],
])('%s: refused', async (_, wrong, message) => {
  const pairwise = wrong as PairwiseTerm[];
  await expect(denseCrf(image, unary, { pairwise })).rejects.toMatchObject(refusal(message));
});

test.each([Number.NaN, Number.POSITIVE_INFINITY, 1e30])('features with %p are refused', async (value) => {
  const spoilt = { ...features, features: features.features.with(5, value) };
  await expect(denseCrf(image, unary, { pairwise: [spoilt] })).rejects.toMatchObject(refusal(/./));
});

test('deviations so small that positions cannot be told apart are refused', async () => {
  await expect(denseCrf(image, unary, { pairwise: [{ ...gaussian, xy: 1e-30 }] })).rejects.toMatchObject(refusal(/./));
});
