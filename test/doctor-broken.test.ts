// The doctor beside binaries that are really broken: what would kill any other program becomes a sentence.

import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { doctor } from '../lib';
import * as command from './command';
import { temporaryFolder } from './folder';

const root = path.join(__dirname, '..');
const folder = temporaryFolder();
const sound = require('node-gyp-build').path(root) as string;
const headers = (require('node-api-headers') as { include_dir: string }).include_dir;

beforeAll(command.expectBuilt);
afterEach(() => {
  delete process.env.DEEPLAB_PREBUILD;
  delete process.env.DEEPLAB_TEST_DEATH;
});

function compile(source: string, output: string, ...options: readonly string[]): void {
  const file = path.join(__dirname, 'broken-addons', source);
  execFileSync('gcc', ['-shared', '-fPIC', '-I', headers, file, '-o', output, ...options], { stdio: 'pipe' });
}

/** A folder where DEEPLAB_PREBUILD finds the file that `make` makes in place of the addon. */
function install(make: (file: string) => void): string {
  const prebuild = mkdtempSync(path.join(folder, 'prebuild-'));
  const file = path.join(prebuild, 'build', 'Release', 'deeplab.node');
  mkdirSync(path.dirname(file), { recursive: true });
  make(file);
  return prebuild;
}

async function diagnose(prebuild: string, timeoutMs = 30_000) {
  process.env.DEEPLAB_PREBUILD = prebuild;
  return await doctor({ stepTimeoutMs: timeoutMs });
}

/** ELF's e_machine, at byte 18 of the file (the System V ABI's object files): 243 is RISC-V. */
function forAnotherProcessor(file: string): void {
  const bytes = readFileSync(sound);
  bytes.writeUInt16LE(243, 18);
  writeFileSync(file, bytes);
}

function withoutItsLibrary(file: string): void {
  const library = path.join(path.dirname(file), 'libgone.so');
  execFileSync('gcc', ['-shared', '-x', 'c', '-', '-o', library], { input: 'int gone(void) { return 1; }' });
  compile('needs.c', file, '-L', path.dirname(library), '-lgone', '-Wl,--no-as-needed');
  rmSync(library);
}

test.each<[string, (file: string) => void, RegExp]>([
  ['cut off in its first bytes', (file) => writeFileSync(file, readFileSync(sound).subarray(0, 32)), /file too short/],
  [
    'text',
    (file) => writeFileSync(file, 'This is no library, but a page that says that there is none.'),
    /no binary of Linux/,
  ],
  ['empty', (file) => writeFileSync(file, ''), /file too short/],
  ['for another processor', forAnotherProcessor, /^\/.*\/deeplab\.node is for riscv64, and this is (x64|arm64)\n/],
  ['in want of a library', withoutItsLibrary, /libgone\.so: cannot open shared object file/],
  [
    'no addon',
    (file) => compile('needs.c', file, '-x', 'c', '/dev/null', '-Wl,--unresolved-symbols=ignore-all'),
    /undefined symbol: gone|did not self-register/,
  ],
])('an addon that is %s cannot be loaded, and the rest is told', async (_, make, reason) => {
  const diagnosis = await diagnose(install(make));
  expect(diagnosis.addon).toEqual({ ok: false, reason: expect.stringMatching(reason) });
  const why = diagnosis.addon.ok ? '' : diagnosis.addon.reason;
  expect(why).toContain('The native addon for');
  expect(diagnosis.problems).toEqual([why]);
  expect(diagnosis.backends).toEqual([
    { name: 'cpu', available: false, reason: why, precisions: [] },
    { name: 'cuda', available: false, reason: 'the native addon cannot be used', precisions: [] },
  ]);
  expect(diagnosis).toMatchObject({ precisions: [], selfTests: [], onednn: { version: '', isa: '' } });
  expect(diagnosis.cpu.features.length).toBeGreaterThan(0);
  expect(diagnosis.memory.totalBytes).toBeGreaterThan(0);
});

describe('an addon that dies while it is loaded', () => {
  let dying: string;
  beforeAll(() => {
    dying = install((file) => compile('dies.c', file));
  });

  test.each<[string, RegExp]>([
    ['segfault', /^loading the native addon killed the process by SIGSEGV: it used memory that it does not have: /],
    ['trap', /^loading the native addon killed the process by (SIGILL|SIGTRAP): /],
    ['abort', /^loading the native addon killed the process by SIGABRT: it gave up\. Its last words: line 994\n/],
    ['exit', /^loading the native addon ended the process with exit code 3$/],
    ['throw', /could not be loaded: .*not in the mood/],
  ])('%s', async (death, reason) => {
    process.env.DEEPLAB_TEST_DEATH = death;
    const { addon, problems } = await diagnose(dying);
    expect(addon).toEqual({ ok: false, reason: expect.stringMatching(reason) });
    expect(problems).toHaveLength(1);
    if (death === 'abort') expect(problems[0]).toMatch(/the tables do not match$/);
  });

  test('or hangs is ended when its time is over', async () => {
    process.env.DEEPLAB_TEST_DEATH = 'hang';
    const { addon } = await diagnose(dying, 1500);
    expect(addon).toEqual({ ok: false, reason: 'loading the native addon hung: nothing came for 1.5 s' });
  });

  test('leaves the command line with the whole diagnosis, exit code 1 and nothing in the temporary folder', async () => {
    const temporary = mkdtempSync(path.join(folder, 'tmp-'));
    const env = { DEEPLAB_PREBUILD: dying, DEEPLAB_TEST_DEATH: 'segfault', TMPDIR: temporary };
    const { code, stdout, stderr } = await command.run(folder, ['doctor'], env);
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
    expect(stdout).toMatch(/^deeplab +\d/);
    expect(stdout).toMatch(/\naddon +cannot be used\n/);
    expect(stdout).toMatch(/\nmemory +/);
    expect(stdout).toMatch(/\nproblem +loading the native addon killed the process by SIGSEGV/);
    const json = await command.run(folder, ['doctor', '--json'], env);
    expect(json.code).toBe(1);
    expect(JSON.parse(json.stdout).addon).toMatchObject({ ok: false });
    expect(readdirSync(temporary)).toEqual([]);
  });
});

test('an addon that is cut off in the middle kills its process, and that is told', async () => {
  const prebuild = install((file) => writeFileSync(file, readFileSync(sound).subarray(0, 4096)));
  const { addon } = await diagnose(prebuild);
  expect(addon).toEqual({
    ok: false,
    reason: expect.stringMatching(/^loading the native addon killed the process by SIGBUS: .* is truncated$/),
  });
});

test('an addon without functions, as of another package, is one that cannot be asked', async () => {
  const { addon } = await diagnose(install((file) => compile('dies.c', file)));
  expect(addon).toEqual({ ok: false, reason: expect.stringContaining('not a function') });
});

test('a CUDA backend that aborts costs the GPU, not the CPU', async () => {
  const prebuild = install((file) => {
    cpSync(sound, file);
    compile('aborts.c', path.join(path.dirname(file), 'deeplab_cuda.so'));
  });
  const diagnosis = await diagnose(prebuild);
  expect(diagnosis.addon.ok).toBe(true);
  const reason =
    'looking for GPUs killed the process by SIGABRT: it gave up. Its last words: no kernel image is available';
  expect(diagnosis.problems).toEqual([reason]);
  expect(diagnosis.cuda).toMatchObject({ reason, gpus: [] });
  expect(diagnosis.backends).toEqual([
    { name: 'cpu', available: true, reason: '', precisions: diagnosis.precisions },
    { name: 'cuda', available: false, reason, precisions: [] },
  ]);
  expect(diagnosis.selfTests[0]).toMatchObject({ device: 'cpu', precision: 'f32', reason: '' });
  expect(diagnosis.libraries.map(({ name }) => name)).toContain('libgomp');
});

test('sharp that cannot be loaded is a problem, and the rest is told', async () => {
  const hook = path.join(folder, 'hook.cjs');
  writeFileSync(
    hook,
    `const { Module } = require('node:module');
     const load = Module._load;
     Module._load = (name, ...rest) => {
       if (name === 'sharp') throw new Error('Could not load the "sharp" module');
       return load(name, ...rest);
     };`,
  );
  const { code, stdout } = await command.run(folder, ['doctor', '--json'], { NODE_OPTIONS: `--require ${hook}` });
  expect(code).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({
    problems: ['sharp, which decodes images, cannot be used: Could not load the "sharp" module'],
    packages: { sharp: '', libvips: '' },
    addon: { ok: true },
    selfTests: [],
  });
});

test('without a temporary folder there is no self-test, and that is said', async () => {
  const { code, stdout } = await command.run(folder, ['doctor', '--json'], { TMPDIR: path.join(folder, 'none') });
  expect(code).toBe(1);
  const { addon, problems } = JSON.parse(stdout);
  expect(addon.ok).toBe(true);
  expect(problems).toEqual([
    expect.stringMatching(/^The self-test on cpu in f32 failed: its weights could not be written to .*none: ENOENT/),
  ]);
});
