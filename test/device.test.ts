// Which device computes, and what is said where one cannot be had. What GPUs compute is gpu.test.ts's.

import { DeepLab, DenseCrf, denseCrf, type LoadOptions, tune } from '../lib';
import { native } from '../lib/native';
import * as command from './command';
import { temporaryFolder } from './folder';
import { randomImage, randomModel } from './models';

const { cuda } = native().system('');
const hasGpu = cuda.reason === '';
const folder = temporaryFolder();
const image = randomImage(33, 17, 1);
const unary = { labels: new Uint8Array(33 * 17), classes: 2 };

let weights: string;
beforeAll(async () => {
  command.expectBuilt();
  weights = await randomModel({ backbone: 'resnet50' });
});

/** Whatever is missing first (the backend, the driver, cuDNN, a GPU of that number), the message names it. */
const unavailable = (device: string) => ({
  name: 'DeepLabError',
  code: 'ERR_DEVICE_UNAVAILABLE',
  message: expect.stringMatching(
    new RegExp(`device '${device}' cannot be had: .*(not installed|driver|cuDNN|GPU|memory)`),
  ),
});
/** The devices that nothing can be computed on here. */
const missing = hasGpu ? (['cuda:99'] as const) : (['cuda', 'cuda:0', 'cuda:99'] as const);

describe.each(missing)('%s, which is not there', (device) => {
  test('is an error for a model, a CRF and a tuning, not the CPU', async () => {
    await expect(DeepLab.load(weights, { device })).rejects.toMatchObject(unavailable(device));
    await expect(DeepLab.load(weights, { device, precision: 'f16' })).rejects.toMatchObject(unavailable(device));
    await expect(DenseCrf.create(image, { device })).rejects.toMatchObject(unavailable(device));
    await expect(denseCrf(image, unary, { device })).rejects.toMatchObject(unavailable(device));
    await expect(tune(weights, { device })).rejects.toMatchObject(unavailable(device));
  });

  test('is an error on the command line, which says the same', async () => {
    for (const args of [
      ['segment', '.', '--model', weights],
      ['tune', weights],
    ]) {
      const { code, stdout, stderr } = await command.run(folder, [...args, '--device', device, '--json']);
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      expect(stderr).toMatch(new RegExp(`^deeplab: ERR_DEVICE_UNAVAILABLE: device '${device}' cannot be had: .*\n$`));
    }
  });
});

test('what is missing is what the doctor says, with a folder for cuDNN that has none, too', async () => {
  const cudnn = folder;
  const { reason } = native().system(cudnn).cuda;
  await DeepLab.load(weights, { device: 'cuda', cudnn }).then(
    (model) => model.close(),
    (error: Error) => expect(error.message).toBe(`device 'cuda' cannot be had: ${reason}`),
  );
});

test('auto takes a GPU if there is one, else the CPU, and says so', async () => {
  const device = expect.stringMatching(hasGpu ? /^cuda:\d+$/ : /^cpu$/);
  await using model = await DeepLab.load(weights);
  expect(model.device).toEqual(device);
  expect((await model.segment(image)).labels).toHaveLength(33 * 17);
  await using crf = await DenseCrf.create(image);
  expect(crf.device).toEqual(device);
});

test('cpu is the CPU', async () => {
  await using model = await DeepLab.load(weights, { device: 'cpu' });
  expect(model.device).toBe('cpu');
  await using crf = await DenseCrf.create(image, { device: 'cpu' });
  expect(crf.device).toBe('cpu');
});

test.each(['f16', 'tf32'] as const)('%s is a precision that no CPU has', async (precision) => {
  await expect(DeepLab.load(weights, { device: 'cpu', precision })).rejects.toMatchObject({
    code: 'ERR_UNSUPPORTED_PRECISION',
    message: expect.stringMatching(new RegExp(`^${precision} is a GPU's precision`)),
  });
});

test.each([
  [{ device: 'gpu' }, 'Expected auto, cpu, cuda or cuda:<number> for device but received "gpu" of type string'],
  [{ device: 'cuda:12345' }, /for device but received "cuda:12345"/],
  [{ cudnn: 'folder' }, /option name but received "cudnn"/],
])('a CRF refuses the options %j', async (options, message) => {
  await expect(denseCrf(image, unary, options as LoadOptions)).rejects.toMatchObject({
    code: 'ERR_INVALID_ARGUMENT',
    message: expect.stringMatching(message),
  });
});
