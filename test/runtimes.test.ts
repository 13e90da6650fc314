// The built package, with the one binary that there is, on other runtimes than the tests' own: Node.js from the oldest
// version that is supported, Bun and Deno. test/runtimes/smoke.mjs is the application, test/runtimes/package.json says
// which versions, scripts/runtimes.sh installs them. docs/runtimes.md has what is known beyond this.

import { execFile, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import sharp from 'sharp';
import { DeepLab, denseCrf, type ImageInput } from '../lib';
import { temporaryFolder } from './folder';
import { familyModel } from './models';

/** Longer than any of them takes, on a busy machine too. */
const patience = 60_000;

const root = path.join(__dirname, '..');
const folder = temporaryFolder();
const at = (name: string) => path.join(folder, name);

const installed = spawnSync('bash', [path.join(root, 'scripts/runtimes.sh')], { encoding: 'utf8' });
/** What sysexits.h calls EX_UNAVAILABLE: no registry, or no runtimes for this processor. */
const unavailable = installed.status === 69;
if (unavailable) process.stderr.write(`runtimes.test.ts is skipped but for this Node.js: ${installed.stderr}\n`);
else if (installed.status !== 0) throw new Error(`scripts/runtimes.sh failed: ${installed.stderr}`);

/** The packages of test/runtimes/package.json that are not Node.js's, by what they call themselves. */
const programs: Readonly<Record<string, readonly [name: string, program: string, ...args: string[]]>> = {
  '@oven/bun-linux-x64-baseline': ['Bun', 'bin/bun'],
  '@deno/linux-x64-glibc': ['Deno', 'deno', 'run', '--allow-all'],
};
const { dependencies } = JSON.parse(readFileSync(path.join(__dirname, 'runtimes/package.json'), 'utf8')) as {
  readonly dependencies: Readonly<Record<string, string>>;
};
const runtimes = Object.entries(dependencies).map(([name, wanted]) => {
  const [called, program, ...args] = programs[name] ?? ['Node.js', 'bin/node'];
  const version = wanted.replace(/^npm:.*@/, '');
  return {
    runtime: `${called} ${version}`,
    program: path.join(root, 'build/runtimes/node_modules', name, program),
    args,
  };
});
const own = { runtime: `Node.js ${process.versions.node}`, program: process.execPath, args: [] };

/** What this process makes of the same inputs. */
const expected: Record<string, string> = {};

beforeAll(async () => {
  if (!existsSync(path.join(root, 'dist/index.js'))) throw new Error('dist/ is missing: npm run build:lib');
  // An application's folder, in which the package is installed. Deno wants to see it among the dependencies.
  mkdirSync(at('node_modules'));
  symlinkSync(root, at('node_modules/deeplab'));
  writeFileSync(at('package.json'), JSON.stringify({ private: true, dependencies: { deeplab: '*' } }));
  copyFileSync(path.join(__dirname, 'runtimes/smoke.mjs'), at('smoke.mjs'));

  const [width, height] = [97, 65];
  const photo = sharp(path.join(root, 'examples/berlin-cathedral.jpg')).resize(width, height, { fit: 'fill' });
  const data = await photo.removeAlpha().raw().toBuffer();
  writeFileSync(at('image.raw'), data);
  writeFileSync(at('size.json'), JSON.stringify({ width, height }));
  await sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toFile(at('image.png'));
  await sharp(data, { raw: { width, height, channels: 3 } })
    .jpeg()
    .toFile(at('image.jpg'));
  copyFileSync(path.join(__dirname, 'import/fixtures/keras-legacy.h5'), at('keras.h5'));
  renameSync(familyModel('v3-mobilenet-v2-half'), at('weights.safetensors'));

  const digest = ({ labels }: { readonly labels: Uint8Array }) => createHash('sha256').update(labels).digest('hex');
  await using model = await DeepLab.load(at('weights.safetensors'), { device: 'cpu', precision: 'f32', threads: 1 });
  const image = { data, width, height, channels: 3 as const };
  const labelsOf = async (input: ImageInput, crf = false) => digest(await model.segment(input, { crf }));
  const { scores, classes } = await model.segment(image, { scores: true });
  // Labels that are all the same would agree by themselves.
  expect(classes.filter(({ share }) => share > 0.01).length).toBeGreaterThan(1);
  expected.raw = await labelsOf(image);
  expected.png = expected.raw;
  expected.written = expected.raw;
  expected.jpeg = await labelsOf(at('image.jpg'));
  expected.crf = await labelsOf(image, true);
  expected.denseCrf = digest(await denseCrf(image, { probabilities: scores as Float32Array }, model.crf));
});

describe.each(unavailable ? [own] : [own, ...runtimes])('$runtime', ({ runtime, program, args }) => {
  let report: Record<string, unknown>;

  test('runs the application, and exits by itself', async () => {
    const options = { cwd: folder, timeout: patience, killSignal: 'SIGKILL' as const };
    const { stdout } = await promisify(execFile)(program, [...args, 'smoke.mjs', folder], options);
    report = JSON.parse(stdout) as Record<string, unknown>;
    expect(report.runtime).toBe(runtime);
  });

  test('computes the labels that this process computes, bit for bit, from pixels, PNG, JPEG and through the CRF', () => {
    expect(report.digests).toEqual(expected);
  });

  test('a worker thread loads the addon as well', () => {
    expect(report.worker).toBe(expected.raw);
  });

  test('codes of errors come through, and reasons of aborts', () => {
    expect(report.failures).toEqual({
      aborted: 'ERR_ABORTED AbortError',
      timedOut: 'ERR_ABORTED TimeoutError',
      noFile: 'ERR_NOT_FOUND',
      noWeights: 'ERR_INVALID_WEIGHTS',
      noImage: 'ERR_INVALID_IMAGE',
      noOption: 'ERR_INVALID_ARGUMENT',
      keras: 'ERR_UNSUPPORTED_MODEL',
      closed: 'ERR_CLOSED',
    });
  });

  test('require gives the same classes as import, and models can be disposed of', () => {
    expect(report).toMatchObject({ required: true, disposable: true });
  });
});

test('docs/runtimes.md says which versions these are', () => {
  const [heading = ''] = /^\| \|.*Bun.*$/m.exec(readFileSync(path.join(root, 'docs/runtimes.md'), 'utf8')) ?? [];
  for (const { runtime } of runtimes) expect(heading).toContain(runtime.split(' ').at(-1));
});
