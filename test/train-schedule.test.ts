// Learning rates over a training, and what each parameter gets of them; random numbers that depend on their number alone.

import { readConfig } from '../lib/train/config';
import { Random, shuffled } from '../lib/train/random';
import { isHead, learningRateAt, shareOf } from '../lib/train/schedule';

const config = (more: object) =>
  readConfig({ model: { network: 'v2-resnet101-aspp' }, data: { format: 'voc', path: 'voc' }, ...more });

test('poly falls to nothing by its power', () => {
  const poly = config({ iterations: 100, learningRate: 0.01, policy: { name: 'poly', power: 0.9 } });
  expect(learningRateAt(0, poly)).toBe(0.01);
  expect(learningRateAt(50, poly)).toBeCloseTo(0.01 * 0.5 ** 0.9, 12);
  expect(learningRateAt(99, poly)).toBeCloseTo(0.01 * 0.01 ** 0.9, 12);
});

test('step multiplies by gamma after every so many iterations', () => {
  const step = config({ iterations: 6000, learningRate: 0.001, policy: { name: 'step', size: 2000 } });
  expect([0, 1999, 2000, 3999, 4000].map((done) => learningRateAt(done, step).toPrecision(3))).toEqual([
    '0.00100',
    '0.00100',
    '0.000100',
    '0.000100',
    '0.0000100',
  ]);
});

test('warming up grows evenly to the whole rate', () => {
  const warm = config({ learningRate: 1, policy: { name: 'step', size: 100, warmup: 4 } });
  expect([0, 1, 2, 3, 4, 5].map((done) => learningRateAt(done, warm))).toEqual([0.2, 0.4, 0.6, 0.8, 1, 1]);
});

test('the head learns faster, its biases twice as fast, and biases do not decay', () => {
  const plain = config({});
  expect(shareOf({ name: 'conv1.weight', kind: 'kernel' }, plain)).toEqual({ rate: 1, decay: 1 });
  expect(shareOf({ name: 'bn1.weight', kind: 'scale' }, plain)).toEqual({ rate: 1, decay: 0 });
  expect(shareOf({ name: 'aspp.branches.0.weight', kind: 'kernel' }, plain)).toEqual({ rate: 10, decay: 1 });
  expect(shareOf({ name: 'aspp.branches.0.bias', kind: 'bias' }, plain)).toEqual({ rate: 20, decay: 0 });
  const all = config({ decay: { bias: true, batchNorm: true }, multipliers: { backboneBias: 2 } });
  expect(shareOf({ name: 'conv1_1.bias', kind: 'bias' }, all)).toEqual({ rate: 2, decay: 1 });
  expect(shareOf({ name: 'bn1.bias', kind: 'shift' }, all)).toEqual({ rate: 1, decay: 1 });
});

test('of VGG-16 only the layer of the classes is the head', () => {
  const names = ['fc6', 'fc7', 'fc8'].map((layer) => `aspp.branches.1.${layer}.weight`);
  expect(names.map(isHead)).toEqual([false, false, true]);
  expect(['layer4.2.conv3.weight', 'aspp.pooling.conv.weight', 'classifier.bias'].map(isHead)).toEqual([
    false,
    true,
    true,
  ]);
});

test('random numbers are a function of seed, purpose and index', () => {
  const draw = (...what: ConstructorParameters<typeof Random>) => {
    const random = new Random(...what);
    return [random.bits(), random.bits(), random.bits()];
  };
  expect(draw(1, 'order', 5)).toEqual(draw(1, 'order', 5));
  const draws = [
    draw(1, 'order', 5),
    draw(2, 'order', 5),
    draw(1, 'dropout', 5),
    draw(1, 'order', 6),
    draw(1, 'order', 5 + 2 ** 32),
  ];
  expect(new Set(draws.flat()).size).toBe(15);
  // So that a run of today can be repeated by a version of tomorrow.
  expect(draw(1, 'augmentation', 0)).toMatchInlineSnapshot(`
[
  1276772015,
  1700402290,
  2221740601,
]
`);
});

test('random numbers are even, from one generator and from the first of many', () => {
  const one = new Random(3, 'order', 0);
  const bins = (next: (i: number) => number) => {
    const counts = new Array<number>(10).fill(0);
    for (let i = 0; i < 100_000; i++) {
      const bin = next(i);
      counts[bin] = (counts[bin] as number) + 1;
    }
    return counts;
  };
  // Six standard deviations of a binomial distribution.
  for (const count of [...bins(() => one.below(10)), ...bins((i) => new Random(3, 'augmentation', i).below(10))]) {
    expect(Math.abs(count - 10_000)).toBeLessThan(6 * Math.sqrt(9000));
  }
});

test('an order has each number once, and every number comes everywhere', () => {
  const orders = Array.from({ length: 2000 }, (_, i) => shuffled(5, new Random(1, 'order', i)));
  for (const order of orders) expect([...order].sort()).toEqual([0, 1, 2, 3, 4]);
  for (let place = 0; place < 5; place++) {
    const zeros = orders.filter((order) => order[place] === 0).length;
    expect(Math.abs(zeros - 400)).toBeLessThan(6 * Math.sqrt(320));
  }
});
