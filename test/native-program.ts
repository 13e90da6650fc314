// Programs of test/native, built when a test asks for one.

import { execFileSync } from 'node:child_process';
import path from 'node:path';

const root = path.join(__dirname, '..');
const folder = path.join(root, 'build', 'tests');

function run(command: string, args: readonly string[]): void {
  try {
    execFileSync(command, args, { cwd: root, encoding: 'utf8', stdio: 'pipe' });
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string };
    throw new Error(`${command} ${args.join(' ')} failed:\n${stdout ?? ''}${stderr ?? ''}`, { cause: error });
  }
}

function hasNinja(): boolean {
  try {
    execFileSync('ninja', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Builds the target `name` of test/native/CMakeLists.txt; the path of its program. */
export function nativeProgram(name: string): string {
  run('cmake', ['-B', folder, ...(hasNinja() ? ['-G', 'Ninja'] : []), '-DDEEPLAB_TESTS=ON']);
  run('cmake', ['--build', folder, '--target', name, '--parallel', '2']);
  return path.join(folder, 'test', 'native', name);
}
