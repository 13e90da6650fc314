import { type Inspection, type InspectOptions, inspect } from '../lib';
import { formatInspection } from '../lib/inspect';
import { randomModel } from './models';

let weights: string;
let inspection: Inspection;
beforeAll(async () => {
  weights = await randomModel({ backbone: 'resnet50' });
  inspection = await inspect(weights);
});

test('it tells what the header of the file says', () => {
  expect(inspection).toMatchObject({
    architecture: 'deeplab_v2',
    backbone: 'resnet50',
    outputStride: 8,
    asppRates: [6, 12, 18, 24],
    classes: ['class0', 'class1', 'class2', 'class3', 'class4'],
  });
});

test('the totals are the sums of the layers', () => {
  const sum = (count: 'macs' | 'parameters') => inspection.layers.reduce((total, layer) => total + layer[count], 0);
  expect(inspection.macs).toBe(sum('macs'));
  expect(inspection.parameters).toBe(sum('parameters'));
});

test('the first convolution costs what arithmetic says: 64 outputs of 3x7x7 at half the size', () => {
  const first = inspection.layers.find(({ macs }) => macs > 0);
  expect(first).toMatchObject({ output: [1, 64, 257, 257], macs: 64 * 3 * 7 * 7 * 257 * 257 });
});

// Counted by PyTorch on the network of test/parity/deeplab_v2.py: numel() of its parameters; outputs times kernel sizes
// of its convolutions for a 129x129 image.
test.each([
  ['resnet50', 23_876_692, 7_118_644_416],
  ['resnet101', 42_868_820, 12_592_276_672],
] as const)(
  '%s has the parameters and the multiply-accumulates that PyTorch counts',
  async (backbone, parameters, macs) => {
    const counted = await inspect(await randomModel({ backbone }), { width: 129, height: 129 });
    expect(counted.parameters).toBe(parameters);
    const mergedCentres = 3 * 5 * 2048 * 17 * 17; // the four branches' centre taps, computed as one
    expect(counted.macs).toBe(macs - mergedCentres);
  },
);

test('four times the pixels are four times the work', async () => {
  const [half, full] = await Promise.all([
    inspect(weights, { width: 256, height: 256 }),
    inspect(weights, { width: 512, height: 512 }),
  ]);
  expect(full.macs / half.macs).toBeCloseTo(4, 1);
  expect(full.parameters).toBe(half.parameters);
});

test('reused buffers need less memory', () => {
  expect(inspection.activationBytes).toBeGreaterThan(0);
  expect(inspection.activationBytes).toBeLessThan(inspection.activationBytesWithoutReuse / 2);
});

test('as text it has a line per layer, columns aligned, and the totals', () => {
  const lines = formatInspection(inspection).split('\n');
  expect(lines[0]).toBe('deeplab_v2 resnet50: output stride 8, ASPP rates 6 12 18 24, 5 classes');
  const table = lines.slice(2, 2 + inspection.layers.length + 2);
  expect(table[0]).toMatch(/^layer +op +output +MACs +parameters$/);
  expect(table.at(-1)).toContain(inspection.macs.toLocaleString('en-US'));
  expect(new Set(table.map(({ length }) => length)).size).toBe(1);
});

test.each([
  [{ width: 0 }, /integer from 1 to 65535 for width but received 0/],
  [{ height: 2.5 }, /integer from 1 to 65535 for height but received 2\.5/],
  [{ size: 5 }, /one of width, height, outputStride for option name but received "size"/],
])('the options %j are refused', async (options, message) => {
  await expect(inspect(weights, options as InspectOptions)).rejects.toMatchObject({
    code: 'ERR_INVALID_ARGUMENT',
    message: expect.stringMatching(message),
  });
});

test('a file that is not there is ERR_NOT_FOUND, another file ERR_INVALID_WEIGHTS', async () => {
  await expect(inspect('none.safetensors')).rejects.toMatchObject({ code: 'ERR_NOT_FOUND' });
  await expect(inspect(__filename)).rejects.toMatchObject({ name: 'DeepLabError', code: 'ERR_INVALID_WEIGHTS' });
});

test('the CRF is written as options are, in numbers that JSON keeps', () => {
  expect(inspection.crf).toMatchObject({ coordinates: 'yx', iterations: 10, tolerance: 0 });
  expect(inspection.crf.pairwise.map(({ kernel }) => kernel).sort()).toEqual(['bilateral', 'gaussian']);
  expect(JSON.parse(JSON.stringify(inspection.crf))).toEqual(inspection.crf);
});
