// Tuning without a GPU: what it refuses, and what a tuning looks like. That it times anything is gpu.test.ts's.

import { type TuneOptions, type Tuning, tune } from '../lib';
import { native } from '../lib/native';
import { formatTuning } from '../lib/tune';
import * as command from './command';
import { temporaryFolder } from './folder';
import { randomModel } from './models';

const noGpu = native().system('').cuda.reason;

const folder = temporaryFolder();
let weights: string;
beforeAll(async () => {
  command.expectBuilt();
  weights = await randomModel({ backbone: 'resnet50' });
});

test.each([
  [{ width: 0 }, /integer from 1 to 65535 for width but received 0/],
  [{ height: 1.5 }, /integer from 1 to 65535 for height but received 1\.5/],
  [{ batch: 0 }, /integer from 1 to 1024 for batch but received 0/],
  [{ device: 'gpu' }, /auto, cpu, cuda or cuda:<number> for device but received "gpu"/],
  [{ precision: 'half' }, /one of auto, f32, tf32, bf16, f16 for precision but received "half"/],
  [{ winograd: 1 }, /boolean for winograd but received 1/],
  [{ cudnn: '' }, /path of a folder for cudnn but received ""/],
  [{ threads: 2 }, /option name but received "threads"/],
])('the options %j are refused', async (options, message) => {
  await expect(tune(weights, options as TuneOptions)).rejects.toMatchObject({
    code: 'ERR_INVALID_ARGUMENT',
    message: expect.stringMatching(message),
  });
});

test('the CPU times nothing', async () => {
  await expect(tune(weights, { device: 'cpu' })).rejects.toMatchObject({
    name: 'DeepLabError',
    code: 'ERR_DEVICE_UNAVAILABLE',
    message: "there is nothing to tune: device 'cpu' times nothing",
  });
});

test('a model that is not there is ERR_NOT_FOUND', async () => {
  await expect(tune('none.safetensors')).rejects.toMatchObject({ code: 'ERR_NOT_FOUND' });
});

(noGpu === '' ? describe.skip : describe)('without a GPU', () => {
  test('it says what is missing', async () => {
    await expect(tune(weights)).rejects.toMatchObject({
      code: 'ERR_DEVICE_UNAVAILABLE',
      message: `device 'cuda' cannot be had: ${noGpu}`,
    });
    await expect(tune(weights, { device: 'auto', precision: 'f16' })).rejects.toMatchObject({
      code: 'ERR_DEVICE_UNAVAILABLE',
      message: `there is nothing to tune: device 'cpu' times nothing, and no GPU can be used: ${noGpu}`,
    });
  });

  test('so does the command line', async () => {
    for (const options of [[], ['--size', '321x241', '--size', '65x65,33x33', '--batch', '2', '--no-winograd']]) {
      const { code, stdout, stderr } = await command.run(folder, ['tune', weights, ...options]);
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      expect(stderr).toBe(`deeplab: ERR_DEVICE_UNAVAILABLE: device 'cuda' cannot be had: ${noGpu}\n`);
    }
  });
});

test('calls at once, most of them refused, end one by one', async () => {
  const calls = [1, 2, 3, 4].map((batch) => tune(weights, { device: 'cpu', batch }));
  for (const { status } of await Promise.allSettled(calls)) expect(status).toBe('rejected');
});

test('as text it has a line per layer, and counts what was timed and what was known', () => {
  const tuning: Tuning = {
    device: 'cuda:0',
    precision: 'f16',
    width: 513,
    height: 321,
    batch: 8,
    timed: 1,
    cache: '/home/me/.cache/deeplab',
    layers: [
      { layer: 'conv1', implementation: 'eng12_k24=7', milliseconds: 0.25 },
      { layer: 'layer1.0.conv1', implementation: 'eng0', milliseconds: 0.0625 },
      { layer: 'aspp.add', implementation: 'kernel', milliseconds: 0 },
    ],
  };
  expect(formatTuning(tuning)).toBe(
    [
      'cuda:0, f16, 513x321, batch of 8',
      '',
      'layer           implementation     ms',
      'conv1           eng12_k24=7     0.250',
      'layer1.0.conv1  eng0            0.063',
      'aspp.add        kernel',
      '',
      '1 timed now, 1 from the cache, /home/me/.cache/deeplab',
    ].join('\n'),
  );
});
