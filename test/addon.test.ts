// What the binary needs: one file for Node, Electron, Bun and Deno uses Node-API 9 and no external buffer.

import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { readLoadOptions } from '../lib/load-options';
import { type NativeSegmentOptions, native } from '../lib/native';
import { randomModel } from './models';

/** The binary that lib/native.ts loads. */
const addon = require('node-gyp-build').path(path.join(__dirname, '..')) as string;

/** What lib/deeplab.ts asks of the addon where its caller asks for nothing. */
const request: NativeSegmentOptions = {
  fit: 'model',
  size: 0,
  overlap: 0,
  scales: [1],
  fuse: 'max',
  flip: false,
  scores: false,
  logits: false,
  priority: 'interactive',
};

const loadOptions = readLoadOptions({ device: 'cpu', precision: 'f32', threads: 1, winograd: false, cacheSize: 1 });

test('the addon uses Node-API only, of version 9, and no external buffers', () => {
  const symbols = execFileSync('nm', ['-D', '--undefined-only', addon], { encoding: 'utf8' })
    .split('\n')
    .map((line) => line.trim().split(/\s+/).at(-1) ?? '');
  const napi = symbols.filter((name) => name.startsWith('napi_') || name.startsWith('node_api_'));
  expect(napi.length).toBeGreaterThan(20);
  expect(napi.filter((name) => name.includes('create_external'))).toEqual([]);
  // What version 10 added.
  expect(napi.filter((name) => /property_key|node_api_create_buffer_from/.test(name))).toEqual([]);
  expect(symbols.filter((name) => /^_ZN?K?(2v8|4node)/.test(name))).toEqual([]);
});

describe('in a worker', () => {
  const script = `
    const { parentPort, workerData } = require('node:worker_threads');
    const addon = require(workerData.addon);
    addon.loadModel(workerData.file, workerData.loadOptions).made.then(async (model) => {
      const run = () => model.segment(new Uint8Array(257 * 257 * 3), 257, 257, 3, workerData.request);
      const { labels } = await run().result;
      for (let i = 0; i < workerData.queued; i++) run().result.catch(() => {});
      parentPort.postMessage(labels.length);
    });`;

  async function start(file: string, queued: number): Promise<Worker> {
    const worker = new Worker(script, { eval: true, workerData: { addon, file, queued, request, loadOptions } });
    const [pixels] = await new Promise<[number]>((resolve, reject) => {
      worker.once('message', (value: number) => resolve([value]));
      worker.once('error', reject);
    });
    expect(pixels).toBe(257 * 257);
    return worker;
  }

  test('a model computes, and the worker ends by itself', async () => {
    const worker = await start(await randomModel({ backbone: 'resnet50' }), 0);
    const exit = await new Promise((resolve) => worker.once('exit', resolve));
    expect(exit).toBe(0);
  });

  test('terminating it with requests running and waiting harms nobody', async () => {
    const file = await randomModel({ backbone: 'resnet50' });
    for (let round = 0; round < 3; round++) {
      const worker = await start(file, 5);
      await worker.terminate();
    }
    const other = await start(file, 0);
    await other.terminate();
  });

  test('process.exit() in the middle of an inference ends the process with its own code', async () => {
    const file = await randomModel({ backbone: 'resnet50' });
    const main = `
      const addon = require(${JSON.stringify(addon)});
      addon.loadModel(${JSON.stringify(file)}, ${JSON.stringify(loadOptions)}).made.then((model) => {
        for (let i = 0; i < 3; i++) model.segment(new Uint8Array(257 * 257), 257, 257, 1, ${JSON.stringify(request)});
        setTimeout(() => process.exit(42), 50);
      });`;
    expect(() => execFileSync(process.execPath, ['-e', main], { stdio: 'pipe' })).toThrow(
      expect.objectContaining({ status: 42 }),
    );
  });
});

describe('of what lib/ would never ask', () => {
  const noArray = 'Expected an array for scales';
  const wrongScales = 'Expected 1 to 8 different numbers from 0.25 to 4 for scales, 1 among them';
  const outOfRange = 'Expected a number from 0.25 to 4 for scales';

  test.each<[object, string]>([
    [{ scales: undefined }, noArray],
    [{ scales: 'all' }, noArray],
    [{ scales: { length: 1, 0: 1 } }, noArray],
    [{ scales: [] }, wrongScales],
    [{ scales: [1, 2, 3, 4, 0.5, 0.6, 0.7, 0.8, 0.9] }, wrongScales],
    [{ scales: [1, 0.5, 0.5] }, wrongScales],
    [{ scales: [0.5] }, wrongScales],
    [{ scales: [1, 0] }, outOfRange],
    [{ scales: [1, -1] }, outOfRange],
    [{ scales: [1, Number.POSITIVE_INFINITY] }, outOfRange],
    [{ scales: [1, Number.NaN] }, outOfRange],
    [{ scales: [1, '2'] }, outOfRange],
    [{ scales: new Array(1) }, outOfRange],
    [{ fit: 'cover' }, "Unknown fit 'cover'"],
    [{ fit: 'longest', size: 0 }, 'Expected an integer from 1 to 32768 for size'],
    [{ fit: 'tile', size: 65, overlap: 65 }, 'Expected an integer from 0 to 64 for overlap'],
    [{ fuse: undefined }, 'Expected a string for fuse'],
    [{ fuse: 'sum' }, "Unknown fuse 'sum'"],
    [{ priority: 'high' }, "Unknown priority 'high'"],
  ])('%j is ERR_INVALID_ARGUMENT', async (options, message) => {
    const model = await native().loadModel(await randomModel({ backbone: 'resnet50' }), loadOptions).made;
    const segment = () => model.segment(new Uint8Array(3), 1, 1, 3, { ...request, ...options });
    expect(segment).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT', message }));
    await model.close();
  });

  test.each<[string, unknown[], string]>([
    ['graph', [1, 8, 8, 0], 'Expected a string for path'],
    ['graph', ['file', 0, 8, 0], 'Expected an integer from 1 to 1048576 for width'],
    ['graph', ['file', 8, 8, -1], 'Expected an integer from 0 to 16 for outputStride'],
    ['graph', ['file', 8, 8, 4], '4'],
    ['graph', [{ classes: 1 }, 8, 8, 0], 'Expected a string for metadata'],
    ['readTensors', [undefined, []], 'Expected a string for path'],
    ['readTensors', ['file', undefined], 'Expected an object for tensors'],
    ['readTensors', ['file', [1]], 'Expected an object for tensor'],
    ['readTensors', ['file', [{ name: 'conv1.weight' }]], 'Expected an object for shape'],
    ['readTensors', ['file', [{ name: 1, shape: [] }]], 'Expected a string for name'],
    ['readTensors', ['file', [{ name: 'x', shape: [-1] }]], 'Expected an integer from 0 to 1073741824 for shape'],
    [
      'readTensors',
      ['file', [{ name: 'x', shape: [Number.NaN] }]],
      'Expected an integer from 0 to 1073741824 for shape',
    ],
  ])('%s of %j is ERR_INVALID_ARGUMENT', async (name, args, message) => {
    const file = await randomModel({ backbone: 'resnet50' });
    const call = native()[name as 'graph'] as (...args: unknown[]) => unknown;
    expect(() => call(...args.map((arg) => (arg === 'file' ? file : arg)))).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT', message: expect.stringContaining(message) }),
    );
  });

  test('tensors that are not there, or have another shape, are ERR_INVALID_WEIGHTS', async () => {
    const file = await randomModel({ backbone: 'resnet50' });
    for (const tensor of [
      { name: 'none', shape: [1] },
      { name: 'conv1.weight', shape: [64, 3, 7, 8] },
      { name: 'conv1.weight', shape: [] },
      { name: 'conv1.weight', shape: Array(20).fill(2 ** 30) },
    ]) {
      const read = () => native().readTensors(file, [tensor]);
      expect(read).toThrow(expect.objectContaining({ code: 'ERR_INVALID_WEIGHTS' }));
    }
  });
});
