// The comparison program of test/native, on the backends that need no GPU: each operation, whole networks, overlapping
// runs and CRFs, against float64 and the CPU backend. Always from the same seed, so that a change is not judged by luck.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { nativeProgram } from './native-program';

/** Runs a comparison program; rejects with what failed in it. */
async function compare(name: string): Promise<string> {
  const program = nativeProgram(name);
  try {
    return (await promisify(execFile)(program, ['--quick', '--seed', '1'], { maxBuffer: 1 << 26 })).stdout;
  } catch (error) {
    const { stdout } = error as { stdout: string };
    throw new Error(
      stdout
        .split('\n')
        .filter((line) => !line.startsWith('ok'))
        .join('\n'),
    );
  }
}

test.each([
  ['the CPU backend', 'compare_cpu', /^cpu, seed \d+: \d{3,} passed, 0 failed$/],
  [
    "the CUDA backend's own code, run on the host,",
    'compare_on_host',
    /^cuda on the host, seed \d+: \d{3,} passed, 0 failed$/,
  ],
])(
  '%s computes what float64 does',
  async (_, program, summary) => {
    expect((await compare(program)).trim().split('\n').at(-1)).toMatch(summary);
  },
  600_000,
);
