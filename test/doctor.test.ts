import { readFileSync } from 'node:fs';
import os from 'node:os';
import { type Diagnosis, type DoctorOptions, doctor } from '../lib';
import { formatDoctor } from '../lib/doctor/text';
import { type NativeGpu, native } from '../lib/native';
import { judgeSelfTest, selfTestReference } from '../lib/self-test';
import { version } from '../lib/version';
import { expectBuilt } from './command';

let diagnosis: Diagnosis;
beforeAll(async () => {
  expectBuilt();
  diagnosis = await doctor();
});

test('on a machine that works there is no problem', () => {
  expect(diagnosis.problems).toEqual([]);
});

test('it tells the system, its kernel and its C library', () => {
  expect(diagnosis.os).toEqual({
    name: expect.any(String),
    kernel: `${os.type()} ${os.release()}`,
    libc: expect.stringMatching(/^(glibc|musl) \d+\.\d+/),
  });
});

test('it tells the versions of the addon, of sharp and of libvips', () => {
  const { versions } = require('sharp');
  expect(diagnosis.packages).toEqual({
    deeplab: version,
    addon: version,
    sharp: versions.sharp,
    libvips: versions.vips,
    node: process.versions.node,
    napi: process.versions.napi,
  });
});

test('it tells the file of the addon, and those of the libraries that it brought in', () => {
  native();
  const loaded = new Set(readFileSync('/proc/self/maps', 'utf8').match(/\/\S+$/gm));
  expect(diagnosis.addon).toEqual({ ok: true, version, path: expect.any(String) });
  const { libraries } = diagnosis;
  for (const file of [...libraries.map(({ path }) => path), diagnosis.addon.ok && diagnosis.addon.path]) {
    expect(loaded).toContain(file);
  }
  expect(libraries.map(({ name }) => name)).toContain('libgomp');
});

test('the CPU, and each GPU that can be used, segments an image as PyTorch does', () => {
  const usable = diagnosis.cuda.gpus.filter(({ reason }) => reason === '').map(({ device }) => device);
  const inF32 = diagnosis.selfTests.filter(({ precision }) => precision === 'f32');
  expect(inF32.map(({ device }) => device)).toEqual(['cpu', ...usable]);
  for (const test of diagnosis.selfTests) {
    expect(test.reason).toBe('');
    expect(test.error).toBeLessThan(test.precision === 'f32' ? 1e-3 : 1e-1);
    for (const time of [test.loadMs, test.firstMs, test.inferenceMs]) expect(time).toBeGreaterThan(0);
  }
});

describe('the self-test', () => {
  const logits = Float32Array.from(selfTestReference.logits);
  const labels = Uint8Array.from(selfTestReference.pixels.flatMap((count, label) => Array<number>(count).fill(label)));

  test('passes what PyTorch computes', () => {
    expect(judgeSelfTest(logits, labels, 'f32')).toEqual({ error: expect.closeTo(0, 6), reason: '' });
  });

  test('finds one logit that is off by two per mille of the largest in f32, and lets it pass in f16', () => {
    const off = logits.with(7, (logits[7] ?? 0) + 0.002 * Math.max(...logits));
    expect(judgeSelfTest(off, labels, 'f32').reason).toBe('logits are off by 0.20 % of the largest: at most 0.10 %');
    expect(judgeSelfTest(off, labels, 'f16').reason).toBe('');
  });

  test.each(['f32', 'tf32', 'f16', 'bf16'] as const)('finds numbers that are none in %s', (precision) => {
    expect(judgeSelfTest(logits.with(7, Number.NaN), labels, precision).reason).toContain('logits are off by NaN %');
    expect(judgeSelfTest(logits.subarray(1), labels, precision).reason).toContain('logits are off by NaN %');
  });

  test('finds labels that do not follow from the logits', () => {
    const { reason } = judgeSelfTest(logits, new Uint8Array(labels.length), 'f32');
    expect(reason).toMatch(/^\d+ % of the pixels have another class: at most 1.0 %$/);
  });
});

test('each backend has its precisions, or a reason', () => {
  const { cuda, precisions } = diagnosis;
  const ofGpu = cuda.gpus.find(({ reason }) => reason === '')?.precisions ?? [];
  expect(diagnosis.backends).toEqual([
    { name: 'cpu', available: true, reason: '', precisions },
    { name: 'cuda', available: cuda.reason === '', reason: cuda.reason, precisions: ofGpu },
  ]);
});

test('it tells the versions of the package, Node and oneDNN', () => {
  expect(diagnosis).toMatchObject({
    runtime: `Node ${process.versions.node}`,
    version,
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
  });
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
  const { totalBytes, availableBytes, limitBytes } = diagnosis.memory;
  if (limitBytes !== null) expect(limitBytes).toBeLessThan(os.totalmem());
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
  [{ cuda: true }, /one of cudnn, stepTimeoutMs, signal, timeoutMs for option name but received "cuda"/],
  [{ stepTimeoutMs: 0 }, /integer from 1 to 3600000 for stepTimeoutMs but received 0/],
])('the options %j are refused', async (options, message) => {
  await expect(doctor(options as DoctorOptions)).rejects.toMatchObject({
    code: 'ERR_INVALID_ARGUMENT',
    message: expect.stringMatching(message),
  });
});

test('a folder for cuDNN changes nothing of the rest', async () => {
  const { cuda: _, memory: __, backends: ___, selfTests: ____, ...rest } = await doctor({ cudnn: __dirname });
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
  /** The lines on CUDA. */
  const linesOf = (cuda: Diagnosis['cuda']) =>
    formatDoctor({ ...diagnosis, cuda })
      .split('\n')
      .filter((line) => /^(CUDA|cuDNN|gpu) /.test(line));

  test('it has a line per subject', () => {
    const text = formatDoctor({ ...diagnosis, cuda: without });
    expect(text.split('\n').map((line) => line.split(/ +/)[0])).toEqual([
      'deeplab',
      'addon',
      'runtime',
      'sharp',
      'system',
      'cpu',
      'oneDNN',
      'precisions',
      'memory',
      ...diagnosis.libraries.map(() => 'library'),
      'gpu',
      ...diagnosis.selfTests.map(() => 'self-test'),
    ]);
    expect(text).toContain(diagnosis.cpu.name);
  });

  test('memory is written with binary prefixes', () => {
    const memory = { totalBytes: 16 * 2 ** 30, availableBytes: 1.5 * 2 ** 30, limitBytes: null };
    expect(formatDoctor({ ...diagnosis, memory })).toMatch(/memory +1.5 GiB available of 16.0 GiB\n/);
    const limited = { ...memory, limitBytes: memory.totalBytes };
    expect(formatDoctor({ ...diagnosis, memory: limited })).toContain(
      "16.0 GiB, the control group's limit is 16.0 GiB\n",
    );
  });

  test('problems come last, their further lines below the first', () => {
    const lines = formatDoctor({ ...diagnosis, problems: ['one\ntwo', 'three'] }).split('\n');
    expect(lines.slice(-3)).toEqual(['problem     one', '            two', 'problem     three']);
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
