// The queue of a session, with jobs that are made up: what a CPU's jobs and a GPU's, which overlap, may rely on.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { nativeProgram } from './native-program';

test('the worker keeps its word in every case', () => {
  const source = readFileSync(path.join(__dirname, 'native', 'worker_test.cc'), 'utf8');
  const cases = Array.from(source.matchAll(/^void (\w+)\((?:uint32_t seed)?\) \{$/gm), ([, name]) => name);
  expect(cases.length).toBeGreaterThanOrEqual(24);
  const passed = execFileSync(nativeProgram('worker_test'), { encoding: 'utf8' });
  expect(passed.trim().split('\n')).toEqual(cases);
});
