import os from 'node:os';
import { type Diagnosis, type DoctorOptions, doctor } from '../lib';
import { formatDoctor } from '../lib/doctor';
import type { NativeGpu } from '../lib/native';
import { version } from '../lib/version';

let diagnosis: Diagnosis;
beforeAll(async () => {
  diagnosis = await doctor();
});

test('it tells the versions of the package, Node and oneDNN', () => {
  expect(diagnosis).toMatchObject({ version, node: process.version, platform: `${process.platform}-${process.arch}` });
  expect(diagnosis.onednn.version).toMatch(/^\d+\.\d+\.\d+/);
});

test('it knows the CPU', () => {
  expect(diagnosis.cpu.name).not.toBe('');
  expect(diagnosis.cpu.cores).toBeGreaterThanOrEqual(1);
});

test('f32 works everywhere, and auto is one of the precisions', () => {
  expect(diagnosis.precisions).toContain('f32');
  expect(diagnosis.precisions).toContain(diagnosis.autoPrecision);
});

test('the memory is what Node sees', () => {
  const { totalBytes, availableBytes } = diagnosis.memory;
  expect(totalBytes).toBeGreaterThan(0);
  expect(totalBytes).toBeLessThanOrEqual(os.totalmem());
  expect(availableBytes).toBeLessThanOrEqual(totalBytes);
});

test('where no GPU can be used there is a reason, and a GPU that cannot be used has its own', () => {
  const { reason, gpus } = diagnosis.cuda;
  expect(reason === '').toBe(gpus.some((gpu) => gpu.reason === ''));
});

test('where the CUDA backend is not installed, the reason says how to get it', () => {
  const { library, reason } = diagnosis.cuda;
  if (library === '') expect(reason).toMatch(/not installed .*npm run build:cuda|another version/);
});

test.each([
  [{ cudnn: '' }, /path of a folder for cudnn but received ""/],
  [{ cuda: true }, /one of cudnn for option name but received "cuda"/],
])('the options %j are refused', async (options, message) => {
  await expect(doctor(options as DoctorOptions)).rejects.toMatchObject({
    code: 'ERR_INVALID_ARGUMENT',
    message: expect.stringMatching(message),
  });
});

test('a folder for cuDNN changes nothing of the rest', async () => {
  const { cuda: _, memory: __, ...rest } = await doctor({ cudnn: __dirname });
  expect(diagnosis).toMatchObject(rest);
});

describe('as text', () => {
  const without: Diagnosis['cuda'] = {
    reason: 'the CUDA backend is not installed',
    library: '',
    driver: '',
    runtime: '',
    cudnn: '',
    cudnnPath: '',
    gpus: [],
  };
  const usable: NativeGpu = {
    device: 'cuda:0',
    name: 'NVIDIA H200',
    computeCapability: '9.0',
    totalBytes: 140 * 2 ** 30,
    availableBytes: 139.5 * 2 ** 30,
    precisions: ['f32', 'tf32', 'bf16', 'f16'],
    reason: '',
  };
  const old: NativeGpu = {
    device: 'cuda:1',
    name: 'Tesla P4',
    computeCapability: '6.1',
    totalBytes: 8 * 2 ** 30,
    availableBytes: 7 * 2 ** 30,
    precisions: [],
    reason: 'compute capability 7.5 or later is needed',
  };
  const complete = {
    ...without,
    reason: '',
    library: '/opt/deeplab_cuda.so',
    driver: '13.1',
    runtime: '13.0',
    cudnn: '9.24.0',
    cudnnPath: '/usr/lib/libcudnn.so.9',
  };
  /** The lines on CUDA, which come last. */
  const linesOf = (cuda: Diagnosis['cuda']) =>
    formatDoctor({ ...diagnosis, cuda })
      .split('\n')
      .slice(6);

  test('it has a line per subject', () => {
    const text = formatDoctor({ ...diagnosis, cuda: without });
    expect(text.split('\n').map((line) => line.split(/ +/)[0])).toEqual([
      'deeplab',
      'node',
      'cpu',
      'oneDNN',
      'precisions',
      'memory',
      'gpu',
    ]);
    expect(text).toContain(diagnosis.cpu.name);
  });

  test('memory is written with binary prefixes', () => {
    const memory = { totalBytes: 16 * 2 ** 30, availableBytes: 1.5 * 2 ** 30 };
    expect(formatDoctor({ ...diagnosis, memory })).toContain('1.5 GiB available of 16.0 GiB');
  });

  test('without the CUDA backend there is one line, with the reason', () => {
    expect(linesOf(without)).toEqual(['gpu         none: the CUDA backend is not installed']);
  });

  test('without a driver there is what was found, and the reason', () => {
    const { library, runtime } = complete;
    expect(linesOf({ ...without, library, runtime, reason: 'there is no NVIDIA driver: install one' })).toEqual([
      'CUDA        built with 13.0, no driver: /opt/deeplab_cuda.so',
      'gpu         none: there is no NVIDIA driver: install one',
    ]);
  });

  test('a GPU has a line', () => {
    expect(linesOf({ ...complete, gpus: [usable] })).toEqual([
      'CUDA        built with 13.0, driver up to 13.1: /opt/deeplab_cuda.so',
      'cuDNN       9.24.0: /usr/lib/libcudnn.so.9',
      'gpu         cuda:0: NVIDIA H200, compute capability 9.0, 139.5 GiB available of 140.0 GiB, f32 tf32 bf16 f16',
    ]);
  });

  test('of two GPUs one of which is too old each has a line', () => {
    expect(linesOf({ ...complete, gpus: [usable, old] }).slice(2)).toEqual([
      'gpu         cuda:0: NVIDIA H200, compute capability 9.0, 139.5 GiB available of 140.0 GiB, f32 tf32 bf16 f16',
      'gpu         cuda:1: Tesla P4, compute capability 6.1, 7.0 GiB available of 8.0 GiB, cannot be used: compute capability 7.5 or later is needed',
    ]);
  });

  test('where every GPU is too old, the reason follows', () => {
    const lines = linesOf({ ...complete, reason: 'no GPU is new enough', gpus: [old] });
    expect(lines).toHaveLength(4);
    expect(lines.at(-1)).toBe('gpu         none: no GPU is new enough');
  });
});
