// deeplab_cuda.so on a machine without a GPU: what is in it, that it opens, and what it says is missing. `npm run
// build:cuda` builds it.

import { execFileSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { doctor } from '../lib';
import { temporaryFolder } from './folder';

const library = path.join(path.dirname(require('node-gyp-build').path(path.join(__dirname, '..'))), 'deeplab_cuda.so');
const built = existsSync(library);
if (!built) process.stdout.write('skipped: deeplab_cuda.so was not built (npm run build:cuda)\n');

const cuobjdump = '/usr/local/cuda/bin/cuobjdump';
const run = (command: string, ...args: readonly string[]) => execFileSync(command, args, { encoding: 'utf8' });

(built ? describe : describe.skip)('deeplab_cuda.so', () => {
  test('it needs neither a driver, nor CUDA, nor cuDNN to be opened', () => {
    const needed = [...run('readelf', '--dynamic', library).matchAll(/NEEDED.*\[(.*)\]/g)].map(([, name]) => name);
    expect(needed.filter((name) => /cuda|cudnn|cublas|nvrtc/.test(name ?? ''))).toEqual([]);
  });

  test('it exports one function', () => {
    const symbols = run('nm', '--dynamic', '--defined-only', library).trim().split('\n');
    expect(symbols.map((line) => line.split(' ').at(-1)).filter((name) => name?.includes('deeplab'))).toEqual([
      'deeplab_cuda_api',
    ]);
  });

  test('stripped, it is smaller than 60 MB', () => {
    const stripped = path.join(temporary, 'stripped.so');
    run('strip', '-o', stripped, library);
    expect(statSync(stripped).size).toBeLessThan(60e6);
    process.stdout.write(`deeplab_cuda.so, stripped: ${(statSync(stripped).size / 1e6).toFixed(1)} MB\n`);
  });

  (existsSync(cuobjdump) ? test : test.skip)('it has code for the architectures from Turing to Blackwell', () => {
    const compiled = new Set(
      [...run(cuobjdump, '--list-elf', library).matchAll(/sm_(\d+)/g)].map(([, sm]) => Number(sm)),
    );
    const all = [75, 80, 86, 89, 90, 100, 120];
    // One that was built for the card at hand has that one only.
    expect(compiled.size === 1 || all.every((sm) => compiled.has(sm))).toBe(true);
    process.stdout.write(`deeplab_cuda.so has code for sm ${[...compiled].join(' ')}\n`);
  });

  test('it tells its own version of CUDA, and what a machine without a GPU lacks', async () => {
    const { cuda } = await doctor();
    expect(cuda).toMatchObject({ library, runtime: expect.stringMatching(/^1[3-9]\.\d+$/) });
    if (cuda.driver === '') {
      expect(cuda.reason).toMatch(/^there is no NVIDIA driver: .*libcuda\.so\.1 was not found.* 580 or newer/);
      expect(cuda.gpus).toEqual([]);
    }
  });
});

const temporary = temporaryFolder();
