// The import of a file: what is written, what is reported, and that nothing is left behind if it fails.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { DeepLab, importWeights, inspect, type StoragePrecision } from '../lib';
import { layoutOf } from '../lib/import/layouts';
import type { ImportedModel } from '../lib/import/layouts/layout';
import { writeModel } from '../lib/import/write';
import * as command from './command';
import { temporaryFolder } from './folder';
import { randomImage } from './models';
import { readSafetensors, writeSafetensors } from './safetensors';
import { writeSmallModel } from './small-model';
import { archiveOf, tame, tensorflowMobileNetShapes } from './synthetic-archives';

const folder = temporaryFolder();
const original = path.join(folder, 'small.safetensors');
beforeAll(() => writeSmallModel(original));

let folders = 0;
/** A new folder, so that what is left behind is seen. */
function emptyFolder(): string {
  const created = path.join(folder, String(folders++));
  mkdirSync(created);
  return created;
}

test('our own file in f32 becomes the same tensors, with where they are from', async () => {
  const output = path.join(emptyFolder(), 'a', 'b', 'model.safetensors');
  const report = await importWeights(original, output);
  const [before, after] = [readSafetensors(original), readSafetensors(output)];
  expect(after.tensors).toEqual(before.tensors);
  expect(after.metadata).toEqual({ ...before.metadata, imported_from: 'small.safetensors (safetensors, deeplab)' });
  expect(report).toEqual({
    output,
    format: 'safetensors',
    layout: 'deeplab',
    architecture: 'deeplab_v3',
    backbone: 'mobilenet_v2',
    classes: ['sky', 'road', 'tree'],
    tensors: Object.keys(before.tensors).length,
    ignored: [],
    precision: 'f32',
    bytes: readFileSync(output).length,
  });
});

test('a file can be imported onto itself', async () => {
  const file = path.join(emptyFolder(), 'model.safetensors');
  writeFileSync(file, readFileSync(original));
  await importWeights(file, file, { precision: 'bf16' });
  expect((await inspect(file)).classes).toEqual(['sky', 'road', 'tree']);
});

describe.each([
  ['f16', 'F16', 2],
  ['bf16', 'BF16', 2],
  ['int8', 'I8', 1],
] as const)('in %s', (precision, dtype, bytes) => {
  const output = path.join(folder, `${precision}.safetensors`);
  beforeAll(() => importWeights(original, output, { precision }));

  test('kernels are stored so, everything else in 32 bits', () => {
    for (const [name, tensor] of Object.entries(readSafetensors(output).tensors)) {
      expect([name, tensor.dtype]).toEqual([name, tensor.shape.length === 4 ? dtype : 'F32']);
      const count = tensor.shape.reduce((product, size) => product * size, 1);
      const size = tensor.shape.length === 4 ? bytes : 4;
      expect((tensor.data as Buffer).byteLength).toBe(count * size);
    }
  });

  test('the network is nearly the same', async () => {
    const scores = async (file: string) => {
      await using model = await DeepLab.load(file, { device: 'cpu', precision: 'f32' });
      return (await model.segment(randomImage(33, 33, 1), { scores: true })).scores ?? new Float32Array();
    };
    const [before, after] = await Promise.all([scores(original), scores(output)]);
    const largest = Math.max(...Array.from(before, (score, i) => Math.abs(score - (after[i] as number))));
    expect(largest).toBeLessThan(0.05);
  });

  test('imported again it is the same file, but for where it is from', async () => {
    const again = path.join(folder, `${precision}-again.safetensors`);
    await importWeights(output, again, { precision });
    expect(readSafetensors(again).tensors).toEqual(readSafetensors(output).tensors);
  });
});

describe('what fails leaves the output as it was', () => {
  const shapes = tensorflowMobileNetShapes(3);
  const model = () => {
    const archive = archiveOf('tensorflow-checkpoint', shapes, tame);
    return layoutOf(archive).import(archive);
  };
  const replaced = (name: string, value: number, precision: StoragePrecision = 'f32') => {
    const { tensors, ...rest } = model();
    const tensor = tensors.get(name);
    if (tensor === undefined) throw new Error(`there is no tensor ${name}`);
    const read = async () => (await tensor.read()).fill(value, 3, 4);
    const changed: ImportedModel = { ...rest, tensors: new Map([...tensors, [name, { ...tensor, read }]]) };
    return (file: string) => writeModel(changed, file, precision);
  };
  const without = (name: string) => (file: string) => {
    const { tensors, ...rest } = model();
    return writeModel({ ...rest, tensors: new Map([...tensors].filter(([tensor]) => tensor !== name)) }, file, 'f32');
  };
  const kernel = 'blocks.3.project.conv.weight';

  test.each([
    [
      'a value that is none',
      replaced(kernel, Number.NaN),
      'ERR_INVALID_WEIGHTS',
      /blocks\.3\.project\.conv\.weight.*NaN at 3/,
    ],
    [
      'an infinite one',
      replaced('blocks.3.project.bn.running_var', Number.POSITIVE_INFINITY, 'int8'),
      'ERR_INVALID_WEIGHTS',
      /blocks\.3\.project\.bn\.running_var has the value Infinity/,
    ],
    ['one beyond f16', replaced(kernel, 70_000, 'f16'), 'ERR_INVALID_WEIGHTS', /70000, which f16 cannot hold/],
    ['a tensor that the network needs', without('head.nothing'), undefined, /^$/],
    [
      'a tensor that the network lacks',
      without(kernel),
      'ERR_INVALID_WEIGHTS',
      /model\.safetensors.*blocks\.3\.project\.conv/s,
    ],
  ])('%s', async (_, write, code, message) => {
    const created = emptyFolder();
    const file = path.join(created, 'model.safetensors');
    writeFileSync(file, 'what was there');
    if (code === undefined) {
      await write(file);
      expect(readFileSync(file, 'utf8')).not.toBe('what was there');
    } else {
      await expect(write(file)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
      expect(readFileSync(file, 'utf8')).toBe('what was there');
    }
    expect(readdirSync(created)).toEqual(['model.safetensors']);
  });

  test('a folder that cannot be written to', async () => {
    const file = path.join(original, 'model.safetensors');
    await expect(importWeights(original, file)).rejects.toMatchObject({ code: 'ERR_WRITE' });
  });
});

test.each([
  ['nothing', 'no/such/file.pth', 'ERR_NOT_FOUND', /no\/such\/file\.pth/],
  ['an empty file', () => Buffer.alloc(0), 'ERR_UNSUPPORTED_MODEL', /it is empty/],
  ['some text', () => Buffer.from('weights: 1, 2, 3\n'), 'ERR_UNSUPPORTED_MODEL', /of no format that is read/],
  [
    'an image',
    () => Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex'),
    'ERR_UNSUPPORTED_MODEL',
    /89504e470d0a1a0a/,
  ],
])('%s is refused', async (_, bytes, code, message) => {
  let file = bytes as string;
  if (typeof bytes === 'function') {
    file = path.join(emptyFolder(), 'weights');
    writeFileSync(file, bytes());
  }
  const output = path.join(folder, 'never.safetensors');
  await expect(importWeights(file, output)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
});

test('names of no layout are told', async () => {
  const file = path.join(folder, 'other.safetensors');
  writeSafetensors(file, {}, { 'encoder.weight': { dtype: 'F32', shape: [1], data: Float32Array.of(1) } });
  await expect(importWeights(file, path.join(folder, 'never.safetensors'))).rejects.toMatchObject({
    code: 'ERR_UNSUPPORTED_MODEL',
    message: expect.stringMatching(/1 tensors: encoder\.weight\. Known are deeplab \(.*torchvision \(/),
  });
});

test.each([
  [{ as: 'tensorflow' }, /one of deeplab, .* for as but received "tensorflow"/],
  [{ precision: 'f8' }, /one of f32, f16, bf16, int8 for precision/],
  [{ layout: 'torchvision' }, /option name but received "layout"/],
])('the options %j are refused', async (options, message) => {
  await expect(importWeights(original, 'never', options as object)).rejects.toMatchObject({
    code: 'ERR_INVALID_ARGUMENT',
    message: expect.stringMatching(message),
  });
});

describe('the command line', () => {
  beforeAll(() => command.expectBuilt());

  test('tells what it took', async () => {
    const { code, stdout, stderr } = await command.run(folder, [
      'weights',
      'import',
      'small.safetensors',
      '-o',
      'o.st',
    ]);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout.split('\n')).toEqual([
      expect.stringMatching(/^o\.st: deeplab_v3 mobilenet_v2, 3 classes, \d+ tensors, \d+\.\d KiB in f32$/),
      'read as safetensors, with the names of deeplab',
      '',
    ]);
    expect((await inspect(path.join(folder, 'o.st'))).backbone).toBe('mobilenet_v2');
  });

  test('exports as ONNX, under the name of the model unless it is told another', async () => {
    const exported = await command.run(folder, ['weights', 'export', 'small.safetensors', '--onnx']);
    expect(exported).toEqual({ code: 0, stdout: 'small.onnx\n', stderr: '' });
    const named = await command.run(folder, ['weights', 'export', 'small.safetensors', '--onnx', 'other.onnx']);
    expect(named.stdout).toBe('other.onnx\n');
    const [first, second] = ['small.onnx', 'other.onnx'].map((name) => readFileSync(path.join(folder, name)));
    expect(first?.equals(second ?? Buffer.alloc(0))).toBe(true);
  });

  test.each([
    [['weights', 'export', 'small.safetensors'], 2, /required option '--onnx \[file\]'/],
    [['weights', 'import', 'small.safetensors'], 2, /required option '-o, --out <file>'/],
    [['weights', 'import', 'small.safetensors', '-o', 'x', '--as', 'nothing'], 2, /Allowed choices are deeplab/],
    [['weights', 'import', 'none.pth', '-o', 'x'], 1, /^deeplab: ERR_NOT_FOUND: none\.pth/],
  ])('%j fails', async (args, code, message) => {
    const run = await command.run(folder, args);
    expect(run.code).toBe(code);
    expect(run.stderr).toMatch(message);
  });
});
