import fc from 'fast-check';
import { squaredDistances, Trimap } from '../lib/evaluate/trimap';

const classes = 3;
const isVoid = (label: number) => label >= classes;

/** By looking at all pairs of pixels. */
function slowDistances(labels: Uint8Array, width: number): number[] {
  return Array.from(labels, (label, p) => {
    if (isVoid(label)) return 0;
    const distances = Array.from(labels, (other, q) => {
      const [dx, dy] = [(p % width) - (q % width), Math.floor(p / width) - Math.floor(q / width)];
      return other === label ? Number.POSITIVE_INFINITY : dx * dx + dy * dy;
    });
    return Math.min(...distances);
  });
}

/** Label maps: noise, and noise in blocks, with two kinds of void. */
const scenes = fc
  .record({
    width: fc.integer({ min: 1, max: 14 }),
    height: fc.integer({ min: 1, max: 14 }),
    block: fc.constantFrom(1, 3, 7),
  })
  .chain(({ width, height, block }) => {
    const across = Math.ceil(width / block);
    const cells = across * Math.ceil(height / block);
    return fc.array(fc.constantFrom(0, 0, 1, 2, 3, 255), { minLength: cells, maxLength: cells }).map((labels) => ({
      width,
      height,
      truth: Uint8Array.from({ length: width * height }, (_, pixel) => {
        const [x, y] = [pixel % width, Math.floor(pixel / width)];
        return labels[Math.floor(y / block) * across + Math.floor(x / block)] as number;
      }),
    }));
  });

test('distances are those of brute force', () => {
  fc.assert(
    fc.property(scenes, ({ truth, width, height }) => {
      expect([...squaredDistances(truth, width, height, classes)]).toEqual(slowDistances(truth, width));
    }),
  );
});

test('the mean IoU of a width is that of the pixels within it', () => {
  const widths = [1, 1.5, 4];
  fc.assert(
    fc.property(scenes, fc.nat(), ({ truth, width, height }, seed) => {
      const found = truth.map((label, i) => ((i * 7 + seed) % 5 === 0 || isVoid(label) ? (i + seed) % classes : label));
      const trimap = new Trimap(classes, widths);
      trimap.add(truth, found, width, height);
      const distances = slowDistances(truth, width);
      const expected = widths.map((limit) => {
        const near = distances.flatMap((d, i) => (!isVoid(truth[i] as number) && d <= limit * limit ? [i] : []));
        const ious = [0, 1, 2].flatMap((id) => {
          const either = near.filter((i) => truth[i] === id || found[i] === id);
          const both = near.filter((i) => truth[i] === id && found[i] === id);
          return either.length === 0 ? [] : [both.length / either.length];
        });
        return ious.reduce((sum, iou) => sum + iou, 0) / ious.length;
      });
      const worst = Math.max(...trimap.miou().map((iou, i) => Math.abs(iou - (expected[i] as number)) || 0));
      expect(worst).toBeLessThan(1e-12);
      expect(trimap.miou().map(Number.isNaN)).toEqual(expected.map(Number.isNaN));
    }),
  );
});

test('a mistake far from any boundary does not count, and one beside it counts most in the narrowest band', () => {
  // 0 to the left, 1 to the right.
  const truth = Uint8Array.from({ length: 20 * 4 }, (_, i) => (i % 20 < 10 ? 0 : 1));
  const ofMistakeAt = (x: number) => {
    const trimap = new Trimap(2, [1, 3, 8]);
    trimap.add(truth, truth.with(x, 1 - (truth[x] as number)), 20, 4);
    return trimap.miou();
  };
  expect(ofMistakeAt(0)).toEqual([1, 1, 1]);
  expect(ofMistakeAt(7)).toEqual([1, expect.any(Number), expect.any(Number)]);
  // Of 4 and 4 pixels one is wrong: 3/4 and 4/5.
  const [narrow = 0, middle = 0, wide = 0] = ofMistakeAt(9);
  expect(narrow).toBeCloseTo((3 / 4 + 4 / 5) / 2, 12);
  expect(middle).toBeGreaterThan(narrow);
  expect(wide).toBeGreaterThan(middle);
});

test('without a boundary there is no mean IoU, and the edge of the image is none', () => {
  const trimap = new Trimap(2, [1, 1000]);
  trimap.add(new Uint8Array(12), new Uint8Array(12), 4, 3);
  expect(trimap.miou()).toEqual([Number.NaN, Number.NaN]);
});

test('what was written down is gone on with', () => {
  const truth = Uint8Array.from([0, 0, 1, 1, 255, 0]);
  const found = Uint8Array.from([0, 1, 1, 1, 0, 0]);
  const whole = new Trimap(2, [1, 2]);
  whole.add(truth, found, 3, 2);
  const half = JSON.stringify(whole);
  whole.add(truth, found, 6, 1);
  const resumed = Trimap.fromJSON(JSON.parse(half));
  resumed.add(truth, found, 6, 1);
  expect(resumed.toJSON()).toEqual(whole.toJSON());
  expect(resumed.miou()).toEqual(whole.miou());
});

test.each([
  ['no object', null],
  ['other widths', { classes: 2, widths: [1, 2], pixels: [[0, 0, 0, 0]] }],
  ['widths that fall', { classes: 1, widths: [2, 1], pixels: [[0], [0]] }],
  ['too few counts', { classes: 2, widths: [1], pixels: [[0, 0, 0]] }],
  ['counts below 0', { classes: 1, widths: [1], pixels: [[-1]] }],
  ['no classes', { classes: 0, widths: [1], pixels: [[]] }],
])('%s is not gone on with', (_, record) => {
  expect(() => Trimap.fromJSON(record as never)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }));
});

test('wrong sizes and unknown classes are named', () => {
  const trimap = new Trimap(2, [1]);
  expect(() => trimap.add(new Uint8Array(5), new Uint8Array(6), 3, 2)).toThrow(/6 \(3x2\) for truth\.length/);
  expect(() => trimap.add(new Uint8Array(6), new Uint8Array(7), 3, 2)).toThrow(/for found\.length/);
  expect(() => trimap.add(Uint8Array.of(0, 1), Uint8Array.of(0, 2), 2, 1)).toThrow(/class below 2 for found\[1\]/);
});
