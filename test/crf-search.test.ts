import { mkdirSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import sharp from 'sharp';
import { DeepLab, denseCrf } from '../lib';
import { type CrfSearchOptions, crfSearch } from '../lib/evaluate/crf-search';
import { type Dataset, openDataset } from '../lib/evaluate/dataset';
import * as command from './command';
import { temporaryFolder } from './folder';
import { randomImage } from './models';
import { writeBalancedModel } from './small-model';

const folder = temporaryFolder();
const modelFile = path.join(folder, 'model.safetensors');
const sizes = [
  [40, 30],
  [33, 25],
  [40, 30],
] as const;
const grid = { weight: [1, 4], xy: [3, 30], rgb: [5, 40] };
let model: DeepLab;
let dataset: Dataset;

/** Three bands, under noise, with a row of void. */
beforeAll(async () => {
  command.expectBuilt();
  for (const kind of ['images', 'labels']) mkdirSync(path.join(folder, 'data', kind), { recursive: true });
  for (const [i, [width, height]] of sizes.entries()) {
    const file = (kind: string) => path.join(folder, 'data', kind, `${i}.png`);
    const labels = Buffer.from(
      Array.from({ length: width * height }, (_, pixel) =>
        pixel < width ? 255 : Math.floor((3 * Math.floor(pixel / width)) / height),
      ),
    );
    const noise = randomImage(width, height, i).data;
    const pixels = Buffer.from(noise.map((value, at) => value / 4 + 60 * ((labels[Math.floor(at / 3)] as number) % 4)));
    await sharp(pixels, { raw: { width, height, channels: 3 } }).toFile(file('images'));
    await sharp(labels, { raw: { width, height, channels: 1 } })
      .toColourspace('b-w')
      .toFile(file('labels'));
  }
  await writeBalancedModel(modelFile, path.join(folder, 'data', 'images', '0.png'));
  model = await DeepLab.load(modelFile, { device: 'cpu', precision: 'f32', threads: 1 });
  dataset = await openDataset({ format: 'folder', path: path.join(folder, 'data'), classes: ['a', 'b', 'c'] });
});
afterAll(() => model.close());

const search = (options: CrfSearchOptions = {}) => crfSearch(model, dataset, { grid, rounds: 0, ...options });

/** Computed afresh, with nothing of the search's. */
async function miouOf(crf?: Parameters<typeof denseCrf>[2]): Promise<number> {
  const [both, either] = [
    [0, 0, 0],
    [0, 0, 0],
  ] as [number[], number[]];
  for (const item of dataset.items) {
    const { data: truth } = await dataset.readLabels(item);
    const { scores = new Float32Array(), labels: plain } = await model.segment(item.image, { scores: true });
    const refined = crf && (await denseCrf(item.image, { probabilities: scores }, { ...crf, threads: 1 }));
    const labels = refined?.labels ?? plain;
    for (const id of [0, 1, 2]) {
      for (const [pixel, label] of truth.entries()) {
        if (label === 255) continue;
        const found = labels[pixel];
        if (label === id && found === id) both[id] = (both[id] ?? 0) + 1;
        if (label === id || found === id) either[id] = (either[id] ?? 0) + 1;
      }
    }
  }
  const ious = both.flatMap((count, id) => (either[id] === 0 ? [] : [count / (either[id] as number)]));
  return ious.reduce((sum, iou) => sum + iou, 0) / ious.length;
}

test('the mean IoU of all that was tried is what segment and denseCrf come to, and the best is the best', async () => {
  const { best, crf, metadata, tried, withoutCrf, images } = await search({
    gaussian: { weight: 2, xy: 3 },
    iterations: 5,
  });
  expect(images).toBe(3);
  expect(withoutCrf).toBeCloseTo(await miouOf(), 12);
  const own = { weight: 4, xy: 67, rgb: 3, stage: 'own' };
  expect(tried[0]).toMatchObject(own);
  expect(tried).toHaveLength(1 + 8);
  expect(new Set(tried.map(({ miou }) => miou)).size).toBeGreaterThan(4);
  for (const { weight, xy, rgb, miou } of tried) {
    const pairwise = [
      { kernel: 'bilateral', xy, rgb, compatibility: weight },
      { kernel: 'gaussian', xy: 3, compatibility: 2 },
    ] as const;
    expect(miou).toBeCloseTo(await miouOf({ pairwise, iterations: 5 }), 12);
  }
  expect(best.miou).toBe(Math.max(...tried.map(({ miou }) => miou)));
  expect(await miouOf(crf)).toBeCloseTo(best.miou, 12);
  expect(metadata).toEqual({
    crf_bilateral: `${best.weight},${best.xy},${best.rgb}`,
    crf_gaussian: '2,3',
    crf_iterations: '5',
  });
  // It is what segment takes.
  const item = dataset.items[0];
  expect((await model.segment(item?.image ?? '', { crf })).labels).toHaveLength(40 * 30);
});

test('scores in files, and any number of CRFs at once, change nothing, and no file stays', async () => {
  const [memory, files] = await Promise.all([
    search({ concurrency: 1 }),
    search({ concurrency: 7, memoryLimit: 4 * 3 * 40 * 30 }),
  ]);
  expect({ ...files, seconds: 0 }).toEqual({ ...memory, seconds: 0 });
  expect((await readdir(os.tmpdir())).filter((name) => name.startsWith(`deeplab-scores-${process.pid}-`))).toEqual([]);
});

test('a random search draws between the ends of the grid, the same for the same seed', async () => {
  const draws = async (seed: number) => (await search({ random: 5, seed, limit: 1 })).tried.slice(1);
  const [one, again, other] = [await draws(1), await draws(1), await draws(2)];
  expect(again).toEqual(one);
  expect(other).not.toEqual(one);
  expect(new Set(one.map(({ weight }) => weight)).size).toBe(5);
  for (const parameters of [...one, ...other]) {
    for (const name of ['weight', 'xy', 'rgb'] as const) {
      expect(parameters[name]).toBeGreaterThanOrEqual(Math.min(...grid[name]));
      expect(parameters[name]).toBeLessThanOrEqual(Math.max(...grid[name]));
    }
  }
});

test('each round of refinement steps around the best so far', async () => {
  const { tried, best } = await search({ rounds: 2, grid: { weight: [4], xy: [20], rgb: [10] } });
  const fine = tried.filter(({ stage }) => stage === 'fine');
  expect(fine.length).toBeGreaterThanOrEqual(6);
  const coarse = tried.slice(0, 2).reduce((a, b) => (b.miou > a.miou ? b : a));
  expect(fine.slice(0, 2).map(({ xy }) => xy)).toEqual(
    [coarse.xy / Math.SQRT2, coarse.xy * Math.SQRT2].map((xy) => Number(xy.toPrecision(3))),
  );
  expect(best.miou).toBeGreaterThanOrEqual(coarse.miou);
});

test('progress is told', async () => {
  const told: string[] = [];
  await search({
    grid: { weight: [1], xy: [3, 30], rgb: [5] },
    onProgress: ({ phase, done, total }) => told.push(`${phase} ${done}/${total}`),
  });
  const crf = (total: number) => Array.from({ length: total }, (_, i) => `crf ${i + 1}/${total}`);
  expect(told).toEqual(['network 1/3', 'network 2/3', 'network 3/3', ...crf(3), ...crf(6)]);
});

test('a search can be aborted in the middle, and leaves no files', async () => {
  const controller = new AbortController();
  const searching = search({
    signal: controller.signal,
    memoryLimit: 0,
    onProgress: ({ phase, done }) => phase === 'crf' && done === 2 && controller.abort(),
  });
  await expect(searching).rejects.toMatchObject({ code: 'ERR_ABORTED' });
  expect((await readdir(os.tmpdir())).filter((name) => name.startsWith(`deeplab-scores-${process.pid}-`))).toEqual([]);
});

test.each([
  [{ limit: 0 }, /for limit/],
  [{ random: 0 }, /for random/],
  [{ grid: { xy: [] } }, /for grid\.xy/],
  [{ grid: { weight: [1, -1] } }, /for grid\.weight/],
  [{ gaussian: { weight: 3 } }, /for gaussian\.xy/],
  [{ girth: 1 }, /option name/],
])('%j is refused', async (options, message) => {
  const expected = { code: 'ERR_INVALID_ARGUMENT', message: expect.stringMatching(message) };
  await expect(search(options as never)).rejects.toMatchObject(expected);
});

test('a dataset of other classes is refused', async () => {
  const other = await openDataset({ format: 'folder', path: path.join(folder, 'data'), classes: ['a', 'b'] });
  await expect(crfSearch(model, other)).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' });
});

describe('on the command line', () => {
  const run = (...args: readonly string[]) => command.run(folder, ['crf-search', '--model', modelFile, ...args]);
  const few = ['--weight', '1,4', '--xy', '3', '--rgb', '5,40', '--rounds', '0', '--limit', '2'];

  test('it prints a table, the best first, and writes JSON', async () => {
    const { code, stdout, stderr } = await run('data', '--data', 'folder', ...few, '--out', 'out/found.json');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const lines = stdout.trimEnd().split('\n');
    expect(lines[0]).toMatch(/^weight +xy +rgb +mIoU +change +stage$/);
    expect(lines.slice(1, 6)).toEqual(
      new Array(5).fill(expect.stringMatching(/^ *\d+ +\d+ +\d+ +\d+\.\d\d +[+-]\d+\.\d\d +\w+$/)),
    );
    expect(stdout).toMatch(/\n2 images, 5 parameters, \d+ s\n/);
    const { best, metadata } = JSON.parse(await readFile(path.join(folder, 'out/found.json'), 'utf8'));
    expect(lines[1]?.trim().split(/ +/).slice(0, 3).map(Number)).toEqual([best.weight, best.xy, best.rgb]);
    expect(lines).toContain(`--bilateral ${best.weight},${best.xy},${best.rgb} --gaussian 3,1 --iterations 10`);
    expect(lines).toContain(`crf_bilateral = ${metadata.crf_bilateral}`);
  });

  test('it prints JSON, of the same search', async () => {
    const { stdout } = await run(
      '--data',
      'folder',
      'data',
      ...few,
      '--gaussian',
      '2,3',
      '--iterations',
      '5',
      '--json',
    );
    const { tried, crf } = JSON.parse(stdout);
    expect(tried).toHaveLength(5);
    expect(crf).toMatchObject({ iterations: 5, pairwise: [{}, { kernel: 'gaussian', xy: 3, compatibility: 2 }] });
  });

  test.each([
    [['data'], 2],
    [['--data', 'folder'], 2],
    [['data', '--data', 'nonsense'], 2],
    [['nowhere', '--data', 'folder'], 1],
    [['data', '--data', 'camvid'], 2],
    [['data', '--data', 'folder', '--xy', '-1'], 2],
  ])('%j fails with a line that says why', async (args, expected) => {
    const { code, stdout, stderr } = await run(...args);
    expect({ code, stdout }).toEqual({ code: expected, stdout: '' });
    expect(stderr).toMatch(/^deeplab: ERR_\w+: .+\n/);
  });
});
