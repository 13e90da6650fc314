// The queue of a session, with jobs that are made up: what a CPU's jobs and a GPU's, which overlap, may rely on.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { nativeProgram } from './native-program';

test.each([
  ['worker_test', 18],
  ['worker_batches_test', 10],
])('%s: the worker keeps its word in every case', (program, atLeast) => {
  const source = readFileSync(path.join(__dirname, 'native', `${program}.cc`), 'utf8');
  const cases = Array.from(source.matchAll(/^void (\w+)\(.*\) \{$/gm), ([, name]) => name);
  expect(cases.length).toBeGreaterThanOrEqual(atLeast);
  const passed = execFileSync(nativeProgram(program), { encoding: 'utf8' });
  expect(passed.trim().split('\n')).toEqual(cases);
});
