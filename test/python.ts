// The Python that DEEPLAB_PYTHON names, for tests against libraries of Python that the project does not need.

import { spawnSync } from 'node:child_process';

/** The interpreter, if there is one and it has the module; else says that the tests are skipped. */
export function pythonWith(module: string): string | undefined {
  const python = process.env.DEEPLAB_PYTHON;
  if (python !== undefined && spawnSync(python, ['-c', `import ${module}`], { stdio: 'ignore' }).status === 0) {
    return python;
  }
  const reason = python === undefined ? 'DEEPLAB_PYTHON is not set' : `${python} cannot import ${module}`;
  process.stderr.write(`Skipped: the tests that need ${module}, since ${reason}\n`);
  return undefined;
}
