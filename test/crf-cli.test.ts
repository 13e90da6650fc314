// `deeplab crf`, as a user runs it.

import { existsSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import sharp from 'sharp';
import { type Color, crfPresets, denseCrf, Tensor, vocPalette } from '../lib';
import { decodeNpy, encodeNpy } from '../lib/npy';
import { encodeIndexedPng } from '../lib/png';
import * as command from './command';
import { area, classes, height, image, marginalsOf, painted, probabilities, same, width } from './crf-inputs';
import { temporaryFolder } from './folder';
import { writeSafetensors } from './safetensors';

const root = temporaryFolder();
const inRoot = (file: string) => path.join(root, file);
const crf = (...args: readonly string[]) => command.run(root, ['crf', ...args]);
const shape = [classes, height, width];
/** In the order in which colours become classes. */
const paints: readonly Color[] = [
  [200, 0, 0],
  [10, 90, 0],
  [0, 0, 70],
  [255, 255, 255],
];

const raw = { width, height, channels: 3 } as const;
const coloured = (labels: Uint8Array, colors: readonly Color[]) =>
  sharp(Uint8Array.from([...labels].flatMap((label) => [...(colors[label] ?? [0, 0, 0])])), { raw });
/** The colours of a PNG, three bytes a pixel. */
const colorsOf = (file: string) => sharp(inRoot(file)).toColourspace('srgb').removeAlpha().raw().toBuffer();

/** The painted labels with a part that nothing is known of. */
const labels = painted.slice().fill(classes, 100, 180);
const unary = { labels, classes, unknown: classes };

beforeAll(async () => {
  command.expectBuilt();
  await sharp(image.data, { raw }).png().toFile(inRoot('image.png'));
  await coloured(labels, paints).png().toFile(inRoot('labels.png'));
  await writeFile(inRoot('p.npy'), encodeNpy(new Tensor(probabilities, shape)));
});

describe('labels', () => {
  test('are refined and written in their colours', async () => {
    const { code, stdout, stderr } = await crf('image.png', '--labels', 'labels.png', '-o', 'out/refined.png');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const { labels: expected } = await denseCrf(image, unary);
    const png = await readFile(inRoot('out/refined.png'));
    expect(png.equals(await encodeIndexedPng(expected, width, height, paints))).toBe(true);
    const lines = stdout.trimEnd().split('\n');
    expect(lines[0]).toMatch(/^image\.png: 45x33, 10 iterations, [\d,]+ ms$/);
    expect(lines[1]).toMatch(/^class +pixels +percent$/);
    for (const line of lines.slice(2, -1)) expect(line).toMatch(/^#(c80000|0a5a00|000046|ffffff) +[\d,]+ +\d+\.\d\d$/);
    expect(lines.at(-1)).toBe('out/refined.png');
    expect(await readdir(inRoot('out'))).toEqual(['refined.png']);
  });

  test('may be a palette image, whatever the indices are', async () => {
    const palette: Color[] = [
      [0, 0, 70],
      [0, 0, 0],
      [255, 255, 255],
      [10, 90, 0],
      [200, 0, 0],
    ];
    const indices = labels.map((label) => [4, 3, 0, 2, 1][label] ?? 0);
    await writeFile(inRoot('palette.png'), await encodeIndexedPng(indices, width, height, palette));
    await crf('image.png', '--labels', 'labels.png', '-o', 'rgb-out.png');
    expect((await crf('image.png', '--labels', 'palette.png', '-o', 'palette-out.png')).code).toBe(0);
    expect((await readFile(inRoot('palette-out.png'))).equals(await readFile(inRoot('rgb-out.png')))).toBe(true);
  });

  test('may be shades of grey', async () => {
    const shades = [40, 80, 120, 160, 0];
    const grey = Uint8Array.from(labels, (label) => shades[label] ?? 0);
    await sharp(grey, { raw: { ...raw, channels: 1 } })
      .toColourspace('b-w')
      .png()
      .toFile(inRoot('grey.png'));
    expect((await crf('image.png', '--labels', 'grey.png', '-o', 'grey-out.png')).code).toBe(0);
    const { labels: expected } = await denseCrf(image, unary);
    const colors = await colorsOf('grey-out.png');
    expect(
      [...expected].every((label, i) => colors[3 * i] === shades[label] && colors[3 * i + 2] === shades[label]),
    ).toBe(true);
  });

  test('are right with --gt-prob, and all options are heeded', async () => {
    const { code, stderr, stdout } = await crf(
      'image.png',
      ...['--labels', 'labels.png', '--gt-prob', '0.9', '--bilateral', '10,80,13', '--gaussian', '3,3'],
      ...['--coordinates', 'xy', '--iterations', '4', '--tolerance', '0', '--threads', '1'],
      ...['-o', 'heeded.png', '--marginals', 'heeded.npy', '--json'],
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const expected = await denseCrf(
      image,
      { ...unary, gtProb: 0.9 },
      { ...crfPresets.pydensecrf, coordinates: 'xy', iterations: 4 },
    );
    const marginals = decodeNpy(await readFile(inRoot('heeded.npy')), 'heeded.npy');
    expect(marginals.shape).toEqual(shape);
    expect(same(marginals.data, marginalsOf(expected))).toBe(true);
    const report = JSON.parse(stdout);
    expect(report).toMatchObject({
      input: 'image.png',
      width,
      height,
      iterations: 4,
      labels: 'heeded.png',
      marginals: 'heeded.npy',
      milliseconds: expect.any(Number),
    });
    expect(report.classes.reduce((sum: number, { pixels }: { pixels: number }) => sum + pixels, 0)).toBe(area);
    expect(Object.keys(report.classes[0])).toEqual(['id', 'name', 'color', 'pixels', 'share']);
  });

  test('with one term named, that one alone is used', async () => {
    const args = [
      'image.png',
      '--labels',
      'labels.png',
      '--gaussian',
      '3,2.5',
      '-o',
      'one.png',
      '--marginals',
      'one.npy',
    ];
    expect((await crf(...args)).code).toBe(0);
    const pairwise = [{ kernel: 'gaussian', xy: 2.5, compatibility: 3 }] as const;
    const { data } = decodeNpy(await readFile(inRoot('one.npy')), 'one.npy');
    expect(same(data, marginalsOf(await denseCrf(image, unary, { pairwise })))).toBe(true);
  });

  test('a tolerance stops early', async () => {
    const args = [
      '--labels',
      'labels.png',
      '--iterations',
      '5000',
      '--tolerance',
      '0.01',
      '--json',
      '-o',
      'stopped.png',
    ];
    const { stdout } = await crf('image.png', ...args);
    expect(JSON.parse(stdout).iterations).toBeLessThan(5000);
  });
});

describe('probabilities', () => {
  const expectRefined = async (file: string) => {
    const { code, stderr } = await crf('image.png', '--probabilities', file, '-o', `${file}.png`);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const { labels: expected } = await denseCrf(image, { probabilities });
    const png = await readFile(inRoot(`${file}.png`));
    expect(png.equals(await encodeIndexedPng(expected, width, height, vocPalette(classes)))).toBe(true);
  };

  test('of a .npy file are refined, and class ids written', () => expectRefined('p.npy'));

  test('may be in a .safetensors file', async () => {
    const other = { dtype: 'F32', shape: [1], data: new Float32Array(1) };
    const stored = { dtype: 'F64', shape, data: Float64Array.from(probabilities) };
    writeSafetensors(inRoot('p.safetensors'), {}, { other, probabilities: stored });
    await expectRefined('p.safetensors');
  });

  test('give marginals, where they are wanted', async () => {
    const args = ['--probabilities', 'p.npy', '-o', 'm.png', '--marginals', 'deep/er/m.npy'];
    const { stdout } = await crf('image.png', ...args);
    expect(stdout.trimEnd().split('\n').slice(-2)).toEqual(['m.png', 'deep/er/m.npy']);
    const { data } = decodeNpy(await readFile(inRoot('deep/er/m.npy')), 'm.npy');
    expect(same(data, marginalsOf(await denseCrf(image, { probabilities })))).toBe(true);
  });
});

describe('what goes wrong', () => {
  const given = ['image.png', '--labels', 'labels.png', '-o', 'wrong.png'];

  beforeAll(async () => {
    const four = await encodeIndexedPng(Uint8Array.of(0, 1, 2, 3), 2, 2, paints);
    await writeFile(inRoot('small.png'), four);
    await coloured(new Uint8Array(area), paints).png().toFile(inRoot('plain.png'));
    await writeFile(inRoot('flat.npy'), encodeNpy(new Tensor(probabilities, [classes * area])));
    const halved = probabilities.map((value) => value / 2);
    await writeFile(inRoot('halved.npy'), encodeNpy(new Tensor(halved, shape)));
  });

  test.each<[readonly string[], RegExp]>([
    [['-o', 'wrong.png'], /missing required argument 'image'/],
    [['image.png', '--labels', 'labels.png'], /required option '-o, --out <file>' not specified/],
    [['image.png', '-o', 'wrong.png'], /name a label map with --labels or an array with --probabilities/],
    [[...given, '--probabilities', 'p.npy'], /'--probabilities <file>' cannot be used with option '--labels <file>'/],
    [
      ['image.png', '--probabilities', 'p.npy', '--gt-prob', '0.5', '-o', 'wrong.png'],
      /cannot be used with option '--gt-prob/,
    ],
    [[...given, '--bilateral', '4,67'], /Expected WEIGHT,XY,RGB, as in 4,67,3/],
    [[...given, '--bilateral', '4,67,3,3'], /Expected WEIGHT,XY,RGB/],
    [[...given, '--bilateral', '4,67,three'], /Expected a number/],
    [[...given, '--gaussian', '3,1,1'], /Expected WEIGHT,XY, as in 3,1/],
    [[...given, '--gaussian', '3,'], /Expected a number/],
    [[...given, '--gaussian', '3,0'], /Expected finite number above 0 .* for pairwise\[0\]\.xy but received 0/],
    [[...given, '--iterations', '1.5'], /Expected a whole number/],
    [[...given, '--iterations', '10001'], /integer from 0 to 10000 for iterations/],
    [[...given, '--tolerance', 'little'], /Expected a number/],
    [[...given, '--tolerance', '-1'], /finite number from 0 on for tolerance/],
    [[...given, '--gt-prob', '1'], /number between 0 and 1 for unary\.gtProb/],
    [[...given, '--coordinates', 'rc'], /Allowed choices are yx, xy/],
    [[...given, '--threads', '0'], /integer from 1 to 1024 for threads/],
    [[...given, '--device', 'gpu'], /auto, cpu, cuda or cuda:<number> for device/],
    [[...given, '--precision', 'f32'], /unknown option '--precision'/],
    [
      ['image.png', '--labels', 'small.png', '-o', 'wrong.png'],
      /Expected \[33,45\] for labels\.shape but received "\[2,2\]"/,
    ],
    [
      ['image.png', '--labels', 'plain.png', '-o', 'wrong.png'],
      /Expected 2 to 256 besides black for the colours of plain\.png but received 1/,
    ],
    [
      ['image.png', '--probabilities', 'flat.npy', '-o', 'wrong.png'],
      /Expected \[C,33,45\] for probabilities\.shape but received "\[5940\]"/,
    ],
    [
      ['image.png', '--probabilities', 'halved.npy', '-o', 'wrong.png'],
      /sum to 1 but those of pixel \(0, 0\) sum to 0\.5/,
    ],
  ])('%j is refused with exit code 2', async (args, message) => {
    const { code, stdout, stderr } = await crf(...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/^deeplab: ERR_INVALID_ARGUMENT: /);
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/\n\s+at /);
    expect(existsSync(inRoot('wrong.png'))).toBe(false);
  });

  test.each<[readonly string[], string]>([
    [['none.png', '--labels', 'labels.png'], 'ERR_NOT_FOUND'],
    [['image.png', '--labels', 'none.png'], 'ERR_NOT_FOUND'],
    [['image.png', '--probabilities', 'none.npy'], 'ERR_NOT_FOUND'],
    [['p.npy', '--labels', 'labels.png'], 'ERR_INVALID_IMAGE'],
    [['image.png', '--labels', 'p.npy'], 'ERR_INVALID_IMAGE'],
    [['image.png', '--probabilities', 'image.png'], 'ERR_INVALID_ARRAY'],
    [['image.png', '--labels', 'labels.png', '--device', 'cuda:99'], 'ERR_DEVICE_UNAVAILABLE'],
  ])('%j fails with %s and exit code 1', async (args, error) => {
    const { code, stdout, stderr } = await crf(...args, '-o', 'wrong.png');
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(new RegExp(`^deeplab: ${error}: [^\\n]*\\n$`));
    expect(existsSync(inRoot('wrong.png'))).toBe(false);
  });

  test('a result that cannot be written is ERR_WRITE', async () => {
    const { code, stderr } = await crf('image.png', '--labels', 'labels.png', '-o', 'image.png/out.png');
    expect(code).toBe(1);
    expect(stderr).toMatch(/^deeplab: ERR_WRITE: image\.png\/out\.png cannot be written: /);
  });
});

const examples = path.join(__dirname, '..', '..', 'shared', 'crf');
const published = existsSync(examples) ? test : test.skip;

published.each(['1', '2'])(
  "pydensecrf's published example %s comes out, pixel for pixel (skipped without ../shared/crf)",
  async (number) => {
    const example = (name: string) => path.join(examples, `${name}${number}.png`);
    const terms = ['--bilateral', '10,80,13', '--gaussian', '3,3', '--iterations', '5'];
    const out = `published${number}.png`;
    const { code, stderr } = await crf(example('im'), '--labels', example('anno'), ...terms, '-o', out);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const [ours, theirs] = [await colorsOf(out), await sharp(example('out')).removeAlpha().raw().toBuffer()];
    expect(ours.length).toBe(theirs.length);
    expect(ours.filter((value, i) => value !== theirs[i]).length).toBe(0);
  },
);
