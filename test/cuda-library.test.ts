// deeplab_cuda.so on a machine without a GPU: what is in it, that it opens, and what it says is missing. `npm run
// build:cuda` builds it.

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { doctor } from '../lib';
import { temporaryFolder } from './folder';

const library = path.join(path.dirname(require('node-gyp-build').path(path.join(__dirname, '..'))), 'deeplab_cuda.so');
const built = existsSync(library);
if (!built) process.stdout.write('skipped: deeplab_cuda.so was not built (npm run build:cuda)\n');

/**
 * The architectures that nvcc's "fat binaries" in a library have code for. Each is a header of 16 bytes (magic, version,
 * size of the header, size of what follows), then entries with headers of their own: kind (1 is PTX, 2 machine code), size
 * of the header, size of the code, and at byte 28 the architecture.
 */
function architectures(file: Buffer): { machine: number[]; ptx: number[] } {
  const magic = Buffer.from('50ed55ba01001000', 'hex');
  const found: Record<number, Set<number>> = { 1: new Set(), 2: new Set() };
  for (let at = file.indexOf(magic); at >= 0; at = file.indexOf(magic, at + 1)) {
    const end = at + 16 + Number(file.readBigUInt64LE(at + 8));
    for (let entry = at + 16; entry < end; ) {
      found[file.readUInt16LE(entry)]?.add(file.readUInt32LE(entry + 28));
      entry += file.readUInt32LE(entry + 4) + Number(file.readBigUInt64LE(entry + 8));
    }
  }
  const [ptx, machine] = [found[1], found[2]].map((set) => [...(set ?? [])].sort((a, b) => a - b));
  return { machine: machine ?? [], ptx: ptx ?? [] };
}

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

  test('it knows nothing of Node', () => {
    const symbols = run('nm', '--dynamic', '--undefined-only', library).trim().split(/\s+/);
    expect(symbols.filter((name) => /^(napi_|node_api_|_ZN?K?(2v8|4node|4Napi))/.test(name))).toEqual([]);
  });

  test('stripped, it is smaller than 60 MB', () => {
    const stripped = path.join(temporary, 'stripped.so');
    run('strip', '-o', stripped, library);
    expect(statSync(stripped).size).toBeLessThan(60e6);
    process.stdout.write(`deeplab_cuda.so, stripped: ${(statSync(stripped).size / 1e6).toFixed(1)} MB\n`);
  });

  test('it has code for the architectures from Turing to Blackwell, and PTX for those to come', () => {
    const { machine, ptx } = architectures(readFileSync(library));
    // One that was built for the card at hand has that one only.
    if (machine.length > 1) {
      expect(machine).toEqual([75, 80, 86, 89, 90, 100, 120]);
      expect(ptx).toEqual([100, 120]);
    }
    process.stdout.write(`deeplab_cuda.so has code for sm ${machine.join(' ')}\n`);
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
