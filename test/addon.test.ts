// What the binary needs: one file for Node, Electron, Bun and Deno uses Node-API 9 and no external buffer.

import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { randomModel } from './models';

/** The binary that lib/native.ts loads. */
const addon = require('node-gyp-build').path(path.join(__dirname, '..')) as string;

test('the addon uses Node-API only, of version 9, and no external buffers', () => {
  const symbols = execFileSync('nm', ['-D', '--undefined-only', addon], { encoding: 'utf8' })
    .split('\n')
    .map((line) => line.trim().split(/\s+/).at(-1) ?? '');
  const napi = symbols.filter((name) => name.startsWith('napi_') || name.startsWith('node_api_'));
  expect(napi.length).toBeGreaterThan(20);
  expect(napi.filter((name) => name.includes('external'))).toEqual([]);
  // What version 10 added.
  expect(napi.filter((name) => /property_key|node_api_create_buffer_from/.test(name))).toEqual([]);
  expect(symbols.filter((name) => /^_ZN?K?(2v8|4node)/.test(name))).toEqual([]);
});

describe('in a worker', () => {
  const script = `
    const { parentPort, workerData } = require('node:worker_threads');
    const addon = require(workerData.addon);
    const options = { device: 'cpu', precision: 'f32', threads: 1, winograd: false, cacheSize: 1, cudnn: '' };
    addon.loadModel(workerData.file, options).then(async (model) => {
      const run = () => model.segment(new Uint8Array(257 * 257 * 3), 257, 257, 3, { scores: false, logits: false });
      const { labels } = await run().result;
      for (let i = 0; i < workerData.queued; i++) run().result.catch(() => {});
      parentPort.postMessage(labels.length);
    });`;

  async function start(file: string, queued: number): Promise<Worker> {
    const worker = new Worker(script, { eval: true, workerData: { addon, file, queued } });
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
      const options = { device: 'cpu', precision: 'f32', threads: 1, winograd: false, cacheSize: 1, cudnn: '' };
      addon.loadModel(${JSON.stringify(file)}, options).then((model) => {
        for (let i = 0; i < 3; i++) model.segment(new Uint8Array(257 * 257), 257, 257, 1, {});
        setTimeout(() => process.exit(42), 50);
      });`;
    expect(() => execFileSync(process.execPath, ['-e', main], { stdio: 'pipe' })).toThrow(
      expect.objectContaining({ status: 42 }),
    );
  });
});
