// Two models that compute at once share the cores; they do not start a thread per core each.

import { readdirSync, readFileSync } from 'node:fs';
import os from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { DeepLab } from '../lib';
import { randomImage, randomModel } from './models';

/** Native threads of sessions that are running or want to, at this moment. */
function runnableThreads(): number {
  return readdirSync('/proc/self/task').filter((thread) => {
    try {
      return /\(deeplab\) R/.test(readFileSync(`/proc/self/task/${thread}/stat`, 'utf8'));
    } catch {
      return false; // it ended meanwhile
    }
  }).length;
}

/** Samples of runnableThreads() while the models work. */
async function sample(models: readonly DeepLab[]): Promise<number[]> {
  const image = randomImage(385, 385, 1);
  let running = true;
  const calls = Promise.all(models.flatMap((model) => [model.segment(image), model.segment(image)])).finally(() => {
    running = false;
  });
  const samples: number[] = [];
  while (running) {
    samples.push(runnableThreads());
    await sleep(2);
  }
  await calls;
  return samples;
}

/** The share of samples above `threads`; a few are when one session ends its run as the other begins. */
const shareAbove = (samples: readonly number[], threads: number) =>
  samples.filter((count) => count > threads).length / samples.length;

test('two sessions have no more runnable threads than one', async () => {
  const file = await randomModel({ backbone: 'resnet50' });
  const threads = os.availableParallelism();
  await using one = await DeepLab.load(file, { device: 'cpu', precision: 'f32', threads });
  expect(Math.max(...(await sample([one])))).toBe(threads);
  await using two = await DeepLab.load(file, { device: 'cpu', precision: 'f32', threads });
  expect(shareAbove(await sample([one, two]), threads)).toBeLessThan(0.05);
});

test('a session uses as many threads as it was told to', async () => {
  await using model = await DeepLab.load(await randomModel({ backbone: 'resnet50' }), {
    device: 'cpu',
    precision: 'f32',
    threads: 1,
  });
  expect(model.threads).toBe(1);
  expect(shareAbove(await sample([model]), 1)).toBe(0);
});
