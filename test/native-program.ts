// The programs of test/native, which test what JavaScript does not reach.

import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const root = path.join(__dirname, '..');
const build = path.join(root, 'build', 'tests');
const release = path.join(root, 'build', 'Release');
/** Of the addon, which has been built when tests run: half of the work. */
const core = path.join(release, 'libdeeplab_core.a');

/** Builds a program and returns its path. Test files take turns, since they run at the same time. */
export function nativeProgram(name: string): string {
  mkdirSync(build, { recursive: true });
  const cmake = (...args: readonly string[]) =>
    execFileSync('flock', [path.join(build, 'lock'), 'cmake', ...args], { cwd: root, stdio: 'pipe' });
  const generator = spawnSync('ninja', ['--version']).status === 0 ? ['-G', 'Ninja'] : [];
  cmake('-B', build, ...generator, '-DDEEPLAB_TESTS=ON', `-DDEEPLAB_BUILT=${existsSync(core) ? release : ''}`);
  cmake('--build', build, '--target', name, '--parallel', String(os.availableParallelism()));
  return path.join(build, 'test', 'native', name);
}
