// The CRF gives the same bits on every processor: its code, compiled for one instruction set at a time, prints the same
// digests of its marginals. The addon chooses among these versions at run time.

import { execFile, execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { temporaryFolder } from './folder';

const root = path.join(__dirname, '..');
const native = path.join(root, 'native');
const cpu = path.join(native, 'backend', 'cpu');
const sources = [
  path.join(__dirname, 'native', 'crf_bits.cc'),
  ...readdirSync(cpu)
    .filter((file) => /^(crf_unary|dense_crf|lattice.*|mean_field)\.cc$/.test(file))
    .map((file) => path.join(cpu, file)),
  ...['compatibility.cc', 'lattice_layout.cc', 'unary.cc'].map((file) => path.join(native, 'crf', file)),
  ...['array.cc', 'memory.cc', 'status.cc', 'threads.cc'].map((file) => path.join(native, 'core', file)),
];
const compilerFlags = ['-std=c++17', '-O2', '-fopenmp', '-ffp-contract=off', '-Wno-psabi', '-DDEEPLAB_ONE_VERSION'];

/** The options that compile for an instruction set, and what /proc/cpuinfo calls it. */
const instructionSets: Record<string, { flags: string[]; feature: RegExp }> =
  process.arch === 'x64'
    ? {
        SSE2: { flags: [], feature: /\bsse2\b/ },
        AVX2: { flags: ['-mavx2', '-mfma'], feature: /\bavx2\b/ },
        'AVX-512': { flags: ['-mavx512f', '-mfma'], feature: /\bavx512f\b/ },
      }
    : { NEON: { flags: [], feature: /\basimd\b/ } };

const cpuinfo = readFileSync('/proc/cpuinfo', 'utf8');
const folder = temporaryFolder();

async function digests(name: string, flags: readonly string[]): Promise<string> {
  const program = path.join(folder, name);
  await promisify(execFile)('c++', [...compilerFlags, ...flags, `-I${native}`, ...sources, '-o', program]);
  return execFileSync(program, { encoding: 'utf8' });
}

test('marginals are the same bit for bit with every instruction set', async () => {
  const here = Object.entries(instructionSets).filter(([, { feature }]) => feature.test(cpuinfo));
  expect(here.length).toBeGreaterThan(0);
  const printed = await Promise.all(here.map(([name, { flags }]) => digests(name, flags)));
  expect(printed[0]?.trim().split('\n')).toHaveLength(6);
  for (const lines of printed) expect(lines).toBe(printed[0]);
  process.stdout.write(`compared: ${here.map(([name]) => name).join(', ')}\n`);
});
