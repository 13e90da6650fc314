// The CUDA backend's CRF gives the CPU backend's results: its kernels, compiled for the host and run block after block,
// on random images of many sizes, kernels and compatibilities.

import { spawnSync } from 'node:child_process';
import { nativeProgram } from './native-program';

test("the CRF's CUDA kernels, run on the host, give the CPU's results", () => {
  const { status, stdout } = spawnSync(nativeProgram('crf_on_host'), ['1'], { encoding: 'utf8' });
  expect(stdout).not.toContain('FAILED'); // prints all of it, with the seed
  expect(stdout).toMatch(/\nok\n$/);
  expect(status).toBe(0);
}, 600_000);
