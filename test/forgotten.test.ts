// Models and CRFs that nobody closes: their memory comes back once they are collected, and they are collected.

import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { familyModel } from './models';

const library = path.join(__dirname, '..', 'dist', 'index.js');
const program = path.join(__dirname, 'programs', 'forget-models.js');

/** Resident MB after each model, and native sessions that are left. */
function forget(count: number, collect: boolean): { memory: number[]; sessions: number } {
  const flags = collect ? ['--expose-gc'] : [];
  const args = [library, familyModel('v3-mobilenet-v2'), String(count), collect ? 'collect' : 'leave'];
  const printed = execFileSync(process.execPath, [...flags, program, ...args], { encoding: 'utf8' });
  return JSON.parse(printed) as { memory: number[]; sessions: number };
}

test('a model and a CRF that are forgotten end, and give their memory back, when garbage is collected', () => {
  const { memory, sessions } = forget(5, true);
  expect(sessions).toBe(0);
  // Each holds 90 MB, most of it to compute with.
  expect((memory.at(-1) as number) - (memory[0] as number)).toBeLessThan(45);
});

test('30 models forgotten in a loop are collected without being asked for', () => {
  const { memory, sessions } = forget(30, false);
  expect(sessions).toBeLessThan(20);
  expect(Math.max(...memory)).toBeLessThan(900);
});
