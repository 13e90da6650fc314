import sharp from 'sharp';
import { type Plot, plot } from '../lib/plot';
import { textPaths, textWidth } from '../lib/stroke-font';

interface Point {
  readonly x: number;
  readonly y: number;
}

const width = 400;

async function draw(chart: Plot) {
  const { data, info } = await sharp(await plot({ width, panelHeight: 240, ...chart }))
    .raw()
    .toBuffer({ resolveWithObject: true });
  /** Where a colour is, or what comes near it where a line is thin; the legend's key is left out. */
  const placesOf = (red: number, green: number, blue: number, keys = 300): Point[] =>
    Array.from({ length: info.width * info.height }, (_, i) => ({ x: i % info.width, y: Math.floor(i / info.width) }))
      .filter(({ x, y }) =>
        [red, green, blue].every((value, c) => Math.abs((data[(y * info.width + x) * 3 + c] as number) - value) < 120),
      )
      .filter(({ x }) => x < keys);
  return { info, placesOf };
}

/** The middle of a line, down from the top. */
function rowOf(points: readonly Point[]): number {
  expect(points.length).toBeGreaterThan(0);
  return points.reduce((sum, { y }) => sum + y, 0) / points.length;
}

const flat = (name: string, color: string, value: number) => ({
  name,
  color,
  x: [0, 10],
  y: [value, value],
  dots: false,
});

test('a chart is a PNG of the size asked for', async () => {
  const series = [flat('a', '#f00', 1)];
  const panels = [{ series }, { series, title: 'second' }];
  const png = await plot({ title: 'Loss', panels, width: 320, panelHeight: 150 });
  expect(await sharp(png).metadata()).toMatchObject({ format: 'png', width: 320, height: 340, hasAlpha: false });
});

test.each([
  ['linear', [0, 10], 2.5, 0.25],
  ['log', [0.01, 100], 0.1, 0.25],
] as const)('lines are where their values say, on a %s axis', async (yScale, yRange, value, place) => {
  const [low, high] = yRange;
  const series = [flat('low', '#f00', low), flat('value', '#0f0', value), flat('high', '#00f', high)];
  const { placesOf } = await draw({ panels: [{ series, yScale, yRange }] });
  const [bottom, middle, top] = [placesOf(255, 0, 0), placesOf(0, 255, 0), placesOf(0, 0, 255)].map(rowOf);
  expect(bottom).toBeGreaterThan(200);
  expect(top).toBeLessThan(20);
  expect(
    Math.abs((middle as number) - ((bottom as number) + place * ((top as number) - (bottom as number)))),
  ).toBeLessThan(1);
});

test('what is not finite leaves a gap', async () => {
  const x = Array.from({ length: 11 }, (_, i) => i);
  const y = x.map((at) => (at > 3 && at < 7 ? Number.NaN : 1));
  const { placesOf } = await draw({ panels: [{ series: [{ name: '', color: '#f00', x, y, dots: false }] }] });
  const columns = [...new Set(placesOf(255, 0, 0, width).map((point) => point.x))].sort((a, b) => a - b);
  const [first = 0, last = 0] = [columns[0], columns.at(-1)];
  const at = (share: number) => columns.includes(Math.round(first + share * (last - first)));
  expect([0.1, 0.25, 0.5, 0.65, 0.75, 0.9].map(at)).toEqual([true, true, false, false, true, true]);
});

test('a peak among a hundred thousand points is drawn', async () => {
  const x = Array.from({ length: 100_000 }, (_, i) => i);
  const y = x.map((at) => (at === 54_321 ? 1 : 0));
  const { placesOf } = await draw({ panels: [{ series: [{ name: 'a', color: '#f00', x, y }], yRange: [0, 1] }] });
  const rows = placesOf(255, 0, 0).map((point) => point.y);
  expect(Math.max(...rows) - Math.min(...rows)).toBeGreaterThan(150);
});

test.each([
  ['no lines', []],
  ['no points', [{ name: 'a', x: [], y: [] }]],
  ['nothing finite', [{ name: 'a', x: [1, 2], y: [Number.NaN, Number.POSITIVE_INFINITY] }]],
  ['one point', [{ name: 'a', x: [5], y: [0] }]],
  ['letters of any language and of SVG', [{ name: '<g>&"é漢\u0000', x: [1, 2], y: [-1e-7, 1e9] }]],
])('%s can be drawn', async (_, series) => {
  for (const yScale of ['linear', 'log'] as const) {
    const png = await plot({
      title: 'A "title" <with> & all',
      panels: [{ series, yScale }],
      width: 200,
      panelHeight: 90,
    });
    expect(await sharp(png).metadata()).toMatchObject({ width: 200, height: 130 });
  }
});

test('every printable ASCII character has a glyph of its own', () => {
  const characters = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i));
  expect(
    new Set(
      characters.map((character) => textPaths(character, { x: 0, y: 0, size: 10 }).replace(/translate\([^)]*\)/g, '')),
    ).size,
  ).toBe(94);
});

test('text stands where its anchor says, and is as wide as it says', () => {
  expect(textWidth('HH', 20)).toBeCloseTo(2 * textWidth('HH', 10), 9);
  const start = (anchor: 'start' | 'middle' | 'end') =>
    Number(/scale|translate\((-?[\d.]+) -10/.exec(textPaths('HH', { x: 0, y: 0, size: 10, anchor }).slice(30))?.[1]);
  const length = textWidth('HH', 10);
  expect(start('start')).toBeCloseTo(0, 2);
  expect(start('middle')).toBeCloseTo(-length / 2, 2);
  expect(start('end')).toBeCloseTo(-length, 2);
});
