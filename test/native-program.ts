// The programs of test/native, built by CMake in build/tests.

import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const root = path.join(__dirname, '..');
const folder = path.join(root, 'build', 'tests');

/** Builds the target `name` and returns the path of the program. */
export function nativeProgram(name: string): string {
  const run = (args: readonly string[]) => execFileSync('cmake', args, { cwd: root, stdio: 'pipe' });
  if (!existsSync(path.join(folder, 'CMakeCache.txt'))) {
    const generator = spawnSync('ninja', ['--version']).status === 0 ? ['-G', 'Ninja'] : [];
    run(['-B', folder, ...generator, '-DDEEPLAB_TESTS=ON', '-DCMAKE_BUILD_TYPE=Release']);
  }
  run(['--build', folder, '--target', name, '--parallel', String(os.availableParallelism())]);
  return path.join(folder, 'test', 'native', name);
}
