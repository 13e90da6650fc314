// The programs of test/native, which test what JavaScript does not reach.

import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import path from 'node:path';

const root = path.join(__dirname, '..');
const build = path.join(root, 'build', 'tests');

/** Builds a program and returns its path. Test files take turns, since they run at the same time. */
export function nativeProgram(name: string): string {
  mkdirSync(build, { recursive: true });
  const cmake = (...args: readonly string[]) =>
    execFileSync('flock', [path.join(build, 'lock'), 'cmake', ...args], { cwd: root, stdio: 'pipe' });
  cmake('-B', build, '-G', 'Ninja', '-DDEEPLAB_TESTS=ON');
  cmake('--build', build, '--target', name);
  return path.join(build, 'test', 'native', name);
}
