// A Python with the packages that a test wants, for tests against libraries that the project does not need.

import { spawnSync } from 'node:child_process';

/** DEEPLAB_PYTHON or python3, whichever has the modules; else says that the tests are skipped. */
export function pythonWith(...modules: readonly string[]): string | undefined {
  const candidates = [process.env.DEEPLAB_PYTHON, 'python3'].filter((python) => python !== undefined);
  const script = `import ${modules.join(', ')}`;
  const found = candidates.find((python) => spawnSync(python, ['-c', script], { stdio: 'ignore' }).status === 0);
  if (found !== undefined) return found;
  process.stderr.write(`Skipped: tests for which ${candidates.join(' or ')} would need ${modules.join(', ')}\n`);
  return undefined;
}
