import os from 'node:os';
import { type Diagnosis, doctor } from '../lib';
import { formatDoctor } from '../lib/doctor';
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

test('a GPU that cannot be used has a reason', () => {
  expect(diagnosis.gpu.available || diagnosis.gpu.reason !== '').toBe(true);
});

test('as text it has a line per subject', () => {
  const text = formatDoctor(diagnosis);
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

test('memory is written with binary prefixes, a missing GPU with its reason', () => {
  const text = formatDoctor({
    ...diagnosis,
    memory: { totalBytes: 16 * 2 ** 30, availableBytes: 1.5 * 2 ** 30 },
    gpu: { available: false, reason: 'no driver' },
  });
  expect(text).toContain('1.5 GiB available of 16.0 GiB');
  expect(text).toContain('none: no driver');
});
