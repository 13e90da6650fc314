// The built command line, dist/cli.js, as a user runs it.

import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import sharp from 'sharp';
import { DeepLab } from '../lib';
import { version } from '../lib/version';
import { defaultWeights } from '../lib/weights';
import * as command from './command';
import { temporaryFolder } from './folder';
import { randomImage, randomModel } from './models';

const root = temporaryFolder();
let weights: string;

beforeAll(async () => {
  command.expectBuilt();
  weights = await randomModel({ backbone: 'resnet50' });
});

const run = (args: readonly string[], env?: NodeJS.ProcessEnv) => command.run(root, args, env);

/** Segments on the CPU in f32, which every CPU has. */
const segment = (...args: readonly string[]) =>
  run(['segment', '--device', 'cpu', '--precision', 'f32', '--model', weights, ...args]);

async function photo(file: string, seed: number): Promise<string> {
  const { data, width, height, channels } = randomImage(49, 33, seed);
  await mkdir(path.dirname(path.join(root, file)), { recursive: true });
  await sharp(data, { raw: { width, height, channels } }).png().toFile(path.join(root, file));
  return file;
}

describe('segment', () => {
  test('writes the label map and the overlay, and prints the classes, the largest first', async () => {
    await photo('plain/a.png', 1);
    const { code, stdout, stderr } = await segment('plain/a.png', '-o', 'plain-out');
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect((await readdir(path.join(root, 'plain-out'))).sort()).toEqual(['a.labels.png', 'a.overlay.png']);

    const model = await DeepLab.load(weights, { device: 'cpu', precision: 'f32' });
    const expected = await model.segment(path.join(root, 'plain/a.png'));
    await model.close();
    expect((await readFile(path.join(root, 'plain-out/a.labels.png'))).equals(await expected.toPng())).toBe(true);
    expect((await readFile(path.join(root, 'plain-out/a.overlay.png'))).equals(await expected.overlay())).toBe(true);

    const lines = stdout.trimEnd().split('\n');
    expect(lines[0]).toMatch(/^plain\/a\.png: 49x33, [\d,]+ ms$/);
    expect(lines[1]).toMatch(/^class +pixels +percent$/);
    const rows = lines.slice(2, -2).map((line) => line.split(/ +/));
    const sorted = expected.classes.filter(({ pixels }) => pixels > 0).sort((a, b) => b.pixels - a.pixels);
    expect(rows).toEqual(
      sorted.map(({ name, pixels, share }) => [name, pixels.toLocaleString('en-US'), (share * 100).toFixed(2)]),
    );
    expect(lines.slice(-2)).toEqual(['plain-out/a.labels.png', 'plain-out/a.overlay.png']);
  });

  test.each([
    ['--labels', ['a.labels.png']],
    ['--overlay', ['a.overlay.png']],
  ])('with %s alone it writes that alone', async (option, files) => {
    await photo('alone/a.png', 1);
    const out = `alone-out${option}`;
    expect((await segment('alone/a.png', '-o', out, option)).code).toBe(0);
    expect(await readdir(path.join(root, out))).toEqual(files);
  });

  test("with --crf the labels are refined by the model's CRF", async () => {
    await photo('crf/a.png', 1);
    expect((await segment('crf/a.png', '-o', 'crf-out', '--labels', '--crf')).code).toBe(0);
    await using model = await DeepLab.load(weights, { device: 'cpu', precision: 'f32' });
    const expected = await model.segment(path.join(root, 'crf/a.png'), { crf: true });
    expect((await readFile(path.join(root, 'crf-out/a.labels.png'))).equals(await expected.toPng())).toBe(true);
  });

  test('with --scales, --fuse and --flip the labels are those of these options', async () => {
    await photo('scales/a.png', 1);
    const options = ['--scales', '0.5,0.75,1', '--fuse', 'mean', '--flip'];
    const { code, stderr } = await segment('scales/a.png', '-o', 'scales-out', '--labels', ...options);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    await using model = await DeepLab.load(weights, { device: 'cpu', precision: 'f32' });
    const mode = { scales: [0.5, 0.75, 1], fuse: 'mean', flip: true } as const;
    const expected = await model.segment(path.join(root, 'scales/a.png'), mode);
    expect((await readFile(path.join(root, 'scales-out/a.labels.png'))).equals(await expected.toPng())).toBe(true);
  });

  test('without -o it writes to out/, in the folders that the photos had', async () => {
    await photo('tree/a.png', 1);
    await photo('tree/deep/a.png', 2);
    expect((await segment('tree', '--labels')).code).toBe(0);
    expect((await readdir(path.join(root, 'out'), { recursive: true })).sort()).toEqual([
      'a.labels.png',
      'deep',
      'deep/a.labels.png',
    ]);
  });

  test('--json prints a line per image', async () => {
    await photo('json/a.png', 1);
    await photo('json/b.png', 2);
    const { code, stdout, stderr } = await segment('json/*.png', '-o', 'json-out', '--json', '--labels');
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.map(({ input }) => input)).toEqual(['json/a.png', 'json/b.png']);
    for (const line of lines) {
      expect(line).toMatchObject({ width: 49, height: 33, overlay: null, milliseconds: expect.any(Number) });
      expect(existsSync(path.join(root, line.labels))).toBe(true);
      const pixels = line.classes.map((each: { pixels: number }) => each.pixels);
      expect(pixels).toEqual([...pixels].sort((a, b) => b - a));
      expect(pixels.reduce((a: number, b: number) => a + b)).toBe(49 * 33);
      expect(Object.keys(line.classes[0])).toEqual(['id', 'name', 'color', 'pixels', 'share']);
    }
  });

  test('a bad file is reported, the rest is finished, and the exit code is 1', async () => {
    await photo('batch/a.png', 1);
    await writeFile(path.join(root, 'batch/b.png'), 'no image');
    await photo('batch/c.png', 3);
    const { code, stdout, stderr } = await segment('batch', 'none.png', '-o', 'batch-out', '--labels');
    expect(code).toBe(1);
    expect(stderr).toMatch(/^deeplab: ERR_INVALID_IMAGE: batch\/b\.png: .*\ndeeplab: ERR_NOT_FOUND: none\.png: .*\n$/);
    expect(stdout).not.toContain('b.png');
    expect((await readdir(path.join(root, 'batch-out'))).sort()).toEqual(['a.labels.png', 'c.labels.png']);
  });

  test('--json has a line for a bad file too', async () => {
    const { code, stdout, stderr } = await segment('none.png', '--json');
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toEqual({
      input: 'none.png',
      error: { code: 'ERR_NOT_FOUND', message: 'There is no file or folder none.png' },
    });
    expect(stderr).toContain('ERR_NOT_FOUND');
  });

  test('results that cannot be written are ERR_WRITE', async () => {
    await photo('blocked/a.png', 1);
    await writeFile(path.join(root, 'occupied'), '');
    const { code, stderr } = await segment('blocked/a.png', '-o', 'occupied');
    expect(code).toBe(1);
    expect(stderr).toMatch(/^deeplab: ERR_WRITE: blocked\/a\.png: occupied\/a\.labels\.png cannot be written: .*\n$/);
  });

  test('images whose results would clash are refused before anything is done', async () => {
    await photo('clash/x/a.png', 1);
    await photo('clash/y/a.png', 2);
    const { code, stderr } = await segment('clash/x/a.png', 'clash/y/a.png', '-o', 'clash-out');
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /^deeplab: ERR_INVALID_ARGUMENT: The results of clash\/x\/a\.png and clash\/y\/a\.png .*\n$/,
    );
    expect(existsSync(path.join(root, 'clash-out'))).toBe(false);
  });

  test('the model may be named by DEEPLAB_MODEL', async () => {
    await photo('env/a.png', 1);
    const args = ['segment', 'env/a.png', '-o', 'env-out', '--threads', '1', '--no-winograd', '--device', 'cpu'];
    expect(await run(args, { DEEPLAB_MODEL: weights })).toMatchObject({ code: 0, stderr: '' });
  });

  (existsSync(defaultWeights) ? test : test.skip)('without a model, it is the one that ships', async () => {
    await photo('default/a.png', 1);
    const { code, stdout, stderr } = await run(['segment', 'default/a.png', '-o', 'default-out', '--threads', '1']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/\b(sky|building|road|tree|car)\b/);
  });

  test('a model that is not there is an error without a stack', async () => {
    const { code, stderr } = await run(['segment', 'a.png', '--model', 'none']);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^deeplab: ERR_NOT_FOUND: There is no weights file "none": .*\n$/);
  });
});

describe('usage', () => {
  test.each([
    [['segment'], /missing required argument 'inputs'/],
    [['segment', 'a.png', '--modle', 'x'], /unknown option '--modle'/],
    [['segment', 'a.png', '--model', 'x', '--precision', 'f8'], /Allowed choices are auto, f32, tf32, bf16, f16/],
    [['segment', 'a.png', '--model', 'x', '--threads', 'two'], /Expected a whole number/],
    [['segment', 'a.png', '--model', 'x', '--threads', '0'], /integer from 1 to 1024 for threads/],
    [['segment', 'a.png', '--model', 'x', '--scales', '1,half'], /Expected a number/],
    [['segment', 'a.png', '--model', 'x', '--scales', '1,'], /Expected a number/],
    [['segment', 'a.png', '--model', 'x', '--scales', '1,9'], /number from 0.25 to 4 for scales\[1\] but received 9/],
    [['segment', 'a.png', '--model', 'x', '--scales', '1,1'], /number that was not there before for scales\[1\]/],
    [['segment', 'a.png', '--model', 'x', '--scales', '0.5'], /array with 1 among its numbers for scales/],
    [['segment', 'a.png', '--model', 'x', '--fuse', 'sum'], /Allowed choices are max, mean/],
    [['segment', 'a.png', '--model', 'x', '--device', 'gpu'], /auto, cpu, cuda or cuda:<number> for device/],
    [['segment', 'a.png', '--model', 'x', '--cudnn', ''], /path of a folder for cudnn/],
    [['doctor', '--cudnn', ''], /path of a folder for cudnn/],
    [['tune'], /missing required argument 'model'/],
    [['tune', 'x', '--size', '513x513,9'], /WIDTHxHEIGHT/],
    [['tune', 'x', '--size', '0x9'], /integer from 1 to 65535 for width/],
    [['tune', 'x', '--batch', '0'], /integer from 1 to 1024 for batch/],
    [['tune', 'x', '--precision', 'f8'], /Allowed choices are auto, f32, tf32, bf16, f16/],
    [['inspect'], /missing required argument 'model'/],
    [['inspect', 'x', '--size', '513'], /WIDTHxHEIGHT/],
    [['inspect', 'x', '--size', '0x9'], /integer from 1 to 65535 for width/],
    [['paint'], /unknown command 'paint'/],
  ])('%j is refused with exit code 2', async (args, message) => {
    const { code, stdout, stderr } = await run(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/^deeplab: ERR_INVALID_ARGUMENT: /);
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/\n\s+at /);
  });

  test('without a command it shows the help', async () => {
    const { code, stderr } = await run([]);
    expect(code).toBe(2);
    expect(stderr).toContain('Usage: deeplab');
  });

  test('--version and --help', async () => {
    expect(await run(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
    expect(await run(['segment', '--help'])).toMatchObject({
      code: 0,
      stderr: '',
      stdout: expect.stringContaining('--overlay'),
    });
  });
});

describe('inspect and doctor', () => {
  test('inspect prints a table', async () => {
    const { code, stdout, stderr } = await run(['inspect', weights]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^deeplab_v2 resnet50: .*\n\nlayer +op +output +MACs +parameters\n/);
    expect(stdout).toMatch(/\ntotal .*\n/);
  });

  test('inspect --json --size', async () => {
    const { code, stdout } = await run(['inspect', weights, '--json', '--size', '321x241']);
    expect(code).toBe(0);
    const { backbone, layers } = JSON.parse(stdout);
    expect(backbone).toBe('resnet50');
    expect(layers.find((layer: { macs: number }) => layer.macs > 0).output).toEqual([1, 64, 121, 161]);
  });

  test('a reader that goes away is no error', async () => {
    const child = command.start(root, ['inspect', weights, '--json']);
    child.stdout?.destroy();
    let stderr = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });

  test('doctor prints a line per subject, or JSON', async () => {
    const text = await run(['doctor']);
    expect(text).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(/\noneDNN +\d/) });
    const { stdout } = await run(['doctor', '--json']);
    expect(JSON.parse(stdout)).toMatchObject({
      version,
      node: process.version,
      precisions: expect.arrayContaining(['f32']),
    });
  });
});
