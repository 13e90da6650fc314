// worker_threads and processes that end at any moment: nothing crashes, nothing is left behind, nobody waits. Each test
// is a process of its own, whose exit code is looked at.

import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { familyModel, randomModel } from './models';

const library = path.join(__dirname, '..', 'dist', 'index.js');
const programs = path.join(__dirname, 'programs');
const realModel = path.join(__dirname, '../../shared/models/deeplabv2-resnet101-camvid.safetensors');

/** What is left, as terminate-workers.js prints it. */
interface Remains {
  readonly ended: number;
  /** Answers of the main thread that were not what they should have been. */
  readonly wrong: number;
  /** Native threads, before the main thread closes its own model. */
  readonly threads: number;
  readonly filesMore: number;
  /** Resident, in MB, after every ten. */
  readonly memory: readonly number[];
}

function terminate(seed: number, count: number, threads: number, company: 'with' | 'without'): Remains {
  const args = [library, familyModel('v3-mobilenet-v2'), seed, count, threads, company].map(String);
  const printed = execFileSync(process.execPath, [path.join(programs, 'terminate-workers.js'), ...args], {
    encoding: 'utf8',
  });
  return JSON.parse(printed) as Remains;
}

/** MB that a process grows by for each measurement: the slope of the line through them. */
function slope(memory: readonly number[]): number {
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const meanTime = (memory.length - 1) / 2;
  const meanMemory = mean(memory);
  const covariance = mean(memory.map((value, i) => (i - meanTime) * (value - meanMemory)));
  return covariance / mean(memory.map((_, i) => (i - meanTime) ** 2));
}

test('200 workers that are terminated at random moments leave nothing, and the main thread its answers', () => {
  const { ended, wrong, threads, filesMore, memory } = terminate(20, 200, 1, 'with');
  expect({ ended, wrong, threads }).toEqual({ ended: 200, wrong: 0, threads: 1 });
  expect(filesMore).toBeLessThanOrEqual(2); // Node opens one now and then
  // A network's weights, packed, are 8 MB: one that stays of ten workers would be seen.
  expect(slope(memory.slice(4))).toBeLessThan(2);
});

test('so do workers that are the only ones with the addon, of several threads each', () => {
  const { ended, threads } = terminate(21, 20, 2, 'without');
  expect({ ended, threads }).toEqual({ ended: 20, threads: 0 });
});

/** Milliseconds from process.exit(42) in the middle of something to the process's end. */
async function exit(
  model: string,
  work: string,
  side: number,
  after: number,
  thread: 'main' | 'worker',
): Promise<number> {
  const args = [library, model, work, side, after, thread].map(String);
  const child = spawn(process.execPath, [path.join(programs, 'exit-in-the-middle.js'), ...args]);
  let printed = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    printed += text;
  });
  let end = 0;
  child.on('exit', () => {
    end = performance.timeOrigin + performance.now();
  });
  const code = await new Promise((resolve) => child.on('close', resolve));
  expect({ code, printed }).toEqual({ code: 42, printed: expect.stringMatching(/^[\d.]+$/) });
  return end - Number(printed);
}

/** The soonest of three: other tests that are at work delay it, and nothing brings it forward. */
async function soonestExit(...args: Parameters<typeof exit>): Promise<number> {
  return Math.min(await exit(...args), await exit(...args), await exit(...args));
}

describe('process.exit() ends the process within 100 ms', () => {
  test.each<[string, number, number, 'main' | 'worker']>([
    ['load', 65, 30, 'main'],
    ['segment', 513, 30, 'main'],
    ['segment', 513, 30, 'worker'],
    ['lattice', 513, 10, 'main'],
    ['crf', 257, 30, 'main'],
  ])('in the middle of: %s, %i pixels, after %i ms, of the %s thread', async (work, side, after, thread) => {
    const model = work === 'load' ? await randomModel({ backbone: 'resnet50' }) : familyModel('v3-mobilenet-v2');
    expect(await soonestExit(model, work, side, after, thread)).toBeLessThan(100);
  });

  (existsSync(realModel) ? test : test.skip)('in the middle of a real ResNet-101 at 513x513', async () => {
    expect(await soonestExit(realModel, 'segment', 513, 200, 'main')).toBeLessThan(100);
  });
});
