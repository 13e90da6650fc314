// cuDNN itself, without a GPU: it plans for a card that is only described. scripts/cudnn.sh fetches it.

import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { temporaryFolder } from './folder';
import { randomModel } from './models';
import { nativeProgram } from './native-program';

const nvidia = path.join(__dirname, '..', 'build', 'cudnn', 'nvidia');
const cudnn = path.join(nvidia, 'cudnn', 'lib');
const cublas = path.join(nvidia, 'cu13', 'lib');
const available = existsSync(path.join(cudnn, 'libcudnn.so.9')) && existsSync('/usr/local/cuda/include');
if (!available)
  process.stdout.write('skipped: cuDNN is not in build/cudnn (scripts/cudnn.sh), or CUDA not installed\n');

const folder = temporaryFolder();

/** What cudnn_plans prints, whether it succeeds or not. */
async function run(...args: readonly string[]): Promise<string> {
  // Nowhere else to look.
  const env = { PATH: process.env.PATH, HOME: folder };
  const program = nativeProgram('cudnn_plans');
  try {
    return (await promisify(execFile)(program, args, { env, maxBuffer: 1 << 26 })).stdout;
  } catch (error) {
    const { code, signal, stdout } = error as { code: number; signal: string | null; stdout: string };
    return `${signal ?? code}: ${stdout}`;
  }
}

/** A folder with links to some of the libraries. */
function partOf(name: string, libraries: readonly string[]): string {
  const part = path.join(folder, name);
  mkdirSync(part);
  for (const library of libraries) symlinkSync(library, path.join(part, path.basename(library)));
  return part;
}

const libraries = available ? readdirSync(cudnn).map((name) => path.join(cudnn, name)) : [];

(available ? describe : describe.skip)('cuDNN', () => {
  test('every convolution of the networks has a plan on every kind of card, and the cache keeps it', async () => {
    const lines = (await run(cudnn, await randomModel({ backbone: 'resnet101' }))).trim().split('\n');
    expect(lines.filter((line) => line.startsWith('FAILED'))).toEqual([]);
    expect(lines.at(-1)).toBe('ok');
    expect(lines.filter((line) => /^(NVIDIA|Tesla) .*: engine \d+/.test(line))).toHaveLength(26);
  }, 300_000);

  test('so has every convolution of training steps, forward and backward', async () => {
    const lines = (await run(cudnn, '--training')).trim().split('\n');
    expect(lines.filter((line) => line.startsWith('FAILED'))).toEqual([]);
    expect(lines.at(-1)).toBe('ok');
    expect(lines.filter((line) => /^(NVIDIA|Tesla) .*: engine \d+/.test(line))).toHaveLength(18);
  }, 300_000);

  test('an installation that is whole is opened', async () => {
    expect(await run(cudnn)).toMatch(/^9\.\d+\.\d+\n$/);
  });

  test.each(['libcudnn_graph', 'libcudnn_ops', 'libcudnn_engines_precompiled', 'libcudnn_heuristic'])(
    'without %s, the message names it, and the process goes on',
    async (missing) => {
      const part = partOf(
        missing,
        libraries.filter((library) => !library.includes(missing)).concat(path.join(cublas, 'libcublasLt.so.13')),
      );
      expect(await run(part)).toMatch(
        new RegExp(`^1: cuDNN 9 .* was not found; looked in ${part}, .*${missing}\\.so\\.9`),
      );
    },
  );

  test('without cuBLAS, the message names it', async () => {
    expect(await run(partOf('no-cublas', libraries))).toMatch(
      /^1: .*needs libcublasLt\.so\.13.*pip install nvidia-cublas/,
    );
  });

  test('without cuDNN, the message says where it was looked for and how to get it', async () => {
    const empty = partOf('empty', []);
    const message = await run(empty);
    expect(message).toMatch(/^1: cuDNN 9 \(libcudnn\.so\.9\) was not found; looked in /);
    for (const place of [empty, "the loader's path", '/usr/lib/x86_64-linux-gnu', 'pip install nvidia-cudnn-cu13']) {
      expect(message).toContain(place);
    }
  });
});
