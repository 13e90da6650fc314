// What a model takes on, refuses, gives up and tells: queueLimit, timeoutMs, signals, close, stats, segmentAll.

import { getEventListeners, once } from 'node:events';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import sharp from 'sharp';
import {
  type CallOptions,
  DeepLab,
  type DeepLabError,
  DenseCrf,
  denseCrf,
  doctor,
  exportOnnx,
  importWeights,
  tune,
} from '../lib';
import { temporaryFolder } from './folder';
import { familyModel, randomImage } from './models';
import { until } from './until';

const folder = temporaryFolder();
const mobilenet = () => familyModel('v3-mobilenet-v2');
const load = { device: 'cpu', precision: 'f32', threads: 1 } as const;
const small = randomImage(33, 25, 1);
/** Takes a good part of a second. */
const large = randomImage(1025, 1025, 2);

const codeOf = (error: unknown) => (error as DeepLabError).code;

describe('queueLimit', () => {
  test('refuses the call that is one too many at once, and takes calls again when there is room', async () => {
    await using model = await DeepLab.load(mobilenet(), { ...load, queueLimit: { count: 2 } });
    const calls = [model.segment(large), model.segment(small)];
    const before = performance.now();
    await expect(model.segment(small)).rejects.toMatchObject({
      code: 'ERR_QUEUE_FULL',
      message: 'The model has 2 calls to do: queueLimit.count is 2',
    });
    expect(performance.now() - before).toBeLessThan(200);
    expect(model.stats()).toMatchObject({ refused: 1, completed: 0 });
    await Promise.all(calls);
    await model.segment(small);
    expect(model.stats()).toMatchObject({ refused: 1, completed: 3, failed: 0, cancelled: 0 });
  });

  test('counts bytes of images and results', async () => {
    const labels = 1025 * 1025 * (3 + 1);
    await using model = await DeepLab.load(mobilenet(), { ...load, queueLimit: { bytes: 2 * labels } });
    const calls = [model.segment(large), model.segment(large)];
    await until(() => model.stats().bytes.requests === 2 * labels);
    await expect(model.segment(small)).rejects.toMatchObject({
      code: 'ERR_QUEUE_FULL',
      message: 'The call needs 3300 bytes, others hold 8405000: queueLimit.bytes is 8405000',
    });
    await Promise.all(calls);
    expect(model.stats().bytes.requests).toBe(0);
    // With scores: 4 bytes for each of its classes besides.
    const scores = model.segment(large, { scores: true });
    await expect(scores).rejects.toMatchObject({ code: 'ERR_QUEUE_FULL' });
  });

  test.each<[unknown, string]>([
    [7, 'Expected { count, bytes } for queueLimit but received 7'],
    [{ count: 0 }, 'Expected positive integer for queueLimit.count but received 0'],
    [{ size: 1 }, 'Expected one of count, bytes for option name in queueLimit'],
  ])('%j is refused', async (queueLimit, message) => {
    await expect(DeepLab.load('model', { queueLimit } as object)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringContaining(message),
    });
  });
});

describe('timeoutMs', () => {
  test('ends a call that waits at once, and one that is computed soon; the model goes on', async () => {
    await using model = await DeepLab.load(mobilenet(), load);
    const running = model.segment(large, { timeoutMs: 30 });
    const waiting = model.segment(small, { timeoutMs: 10 });
    const before = performance.now();
    await expect(waiting).rejects.toMatchObject({
      code: 'ERR_TIMEOUT',
      message: 'The segmentation took longer than 10 ms',
    });
    await expect(running).rejects.toMatchObject({ code: 'ERR_TIMEOUT' });
    expect(performance.now() - before).toBeLessThan(1000);
    expect((await model.segment(small)).labels).toHaveLength(33 * 25);
    expect(model.stats()).toMatchObject({ cancelled: 2, completed: 1 });
  });

  test('is for loading, for CRFs and their parts as well', async () => {
    await expect(DeepLab.load(mobilenet(), { ...load, timeoutMs: 0.01 })).rejects.toMatchObject({
      code: 'ERR_TIMEOUT',
    });
    const probabilities = new Float32Array(2 * 1025 * 1025).fill(0.5);
    const soon = { timeoutMs: 5, device: 'cpu' } as const;
    await expect(DenseCrf.create(large, soon)).rejects.toMatchObject({ code: 'ERR_TIMEOUT' });
    await expect(denseCrf(large, { probabilities }, soon)).rejects.toMatchObject({ code: 'ERR_TIMEOUT' });
    await using crf = await DenseCrf.create(small, { device: 'cpu' });
    const unary = { probabilities: new Float32Array(2 * 33 * 25).fill(0.5) };
    await expect(crf.infer(unary, { timeoutMs: 1, iterations: 10_000 })).rejects.toMatchObject({ code: 'ERR_TIMEOUT' });
    expect((await crf.infer(unary, { timeoutMs: 60_000 })).labels).toHaveLength(33 * 25);
  });

  test('is for everything else that takes time, and leaves no files behind', async () => {
    await using model = await DeepLab.load(mobilenet(), load);
    const result = await model.segment(large);
    const calls: ((options: CallOptions) => Promise<unknown>)[] = [
      (options) => importWeights(mobilenet(), path.join(folder, 'imported.safetensors'), options),
      (options) => exportOnnx(mobilenet(), path.join(folder, 'exported.onnx'), options),
      (options) => doctor(options),
      (options) => tune(mobilenet(), options),
      (options) => result.toPng(options),
      (options) => result.overlay(options),
    ];
    for (const call of calls) {
      await expect(call({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ERR_ABORTED' });
      await expect(call({ timeoutMs: 0 })).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' });
    }
    const [importing, exporting, diagnosing] = calls.slice(0, 3).map((call) => call({ timeoutMs: 2 }));
    for (const call of [importing, exporting, diagnosing]) {
      await expect(call).rejects.toMatchObject({ code: 'ERR_TIMEOUT' });
    }
    expect(readdirSync(folder)).toEqual([]);
  });

  test.each([0, -1, Number.NaN, 2 ** 31, '1'])('%p is refused', async (timeoutMs) => {
    await expect(DeepLab.load('model', { timeoutMs } as object)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringContaining('Expected number above 0, up to 2147483647 for timeoutMs'),
    });
  });
});

describe('close', () => {
  test('with abort gives up what is not done, with ERR_CLOSED, and frees the model soon', async () => {
    const model = await DeepLab.load(mobilenet(), load);
    const outcomes = Promise.all([large, small, small].map((image) => model.segment(image).catch(codeOf)));
    await until(() => model.stats().running === 1 && model.stats().queued === 2);
    const before = performance.now();
    await model.close({ abort: true });
    expect(performance.now() - before).toBeLessThan(1000);
    expect(await outcomes).toEqual(['ERR_CLOSED', 'ERR_CLOSED', 'ERR_CLOSED']);
    expect(model.stats()).toMatchObject({ running: 0, queued: 0, bytes: { requests: 0, model: 0 } });
  });

  test('that finishes what was called before can be turned into one that does not', async () => {
    const model = await DeepLab.load(mobilenet(), load);
    const outcomes = Promise.all([large, large].map((image) => model.segment(image).catch(codeOf)));
    await until(() => model.stats().running === 1);
    const closing = model.close();
    await expect(model.segment(small)).rejects.toMatchObject({ code: 'ERR_CLOSED' });
    expect(model.close({ abort: true })).toBe(closing);
    await closing;
    expect(await outcomes).toEqual(['ERR_CLOSED', 'ERR_CLOSED']);
    await model.close();
  });

  test('refuses unknown options', async () => {
    await using model = await DeepLab.load(mobilenet(), load);
    expect(() => model.close({ force: true } as object)).toThrow(/one of abort for option name/);
  });
});

test('stats tells of every call: its stages, its end, its batch', async () => {
  await using model = await DeepLab.load(mobilenet(), { ...load, maxBatch: 4, maxDelayMs: 1000 });
  const nothing = { count: 0, mean: 0, min: 0, max: 0, p50: 0, p90: 0, p99: 0, p999: 0 };
  const fresh = model.stats();
  expect(fresh).toMatchObject({
    decoding: 0,
    queued: 0,
    running: 0,
    completed: 0,
    failed: 0,
    cancelled: 0,
    refused: 0,
  });
  expect(fresh.latency).toEqual({ decode: nothing, queue: nothing, compute: nothing, total: nothing });
  expect(fresh.batches).toEqual([]);
  expect(fresh.bytes.model).toBeGreaterThan(1e6);

  const { data, width, height, channels } = large;
  const jpeg = await sharp(data, { raw: { width, height, channels } }).jpeg().toBuffer();
  const calls = [1, 2, 3, 4].map(() => model.segment(jpeg));
  expect(model.stats().decoding).toBe(4);
  await Promise.all(calls);
  await expect(model.segment(Buffer.from('no image'))).rejects.toThrow();
  await expect(model.segment(jpeg, { signal: AbortSignal.abort() })).rejects.toThrow();

  const { latency, ...stats } = model.stats();
  expect(stats).toMatchObject({ decoding: 0, completed: 4, failed: 1, cancelled: 1 });
  expect(stats.batches).toEqual([{ size: 4, runs: 1 }]);
  const { decode, queue, compute, total } = latency;
  for (const { count, min, max, p50, p99, mean } of [decode, queue, compute, total]) {
    expect(count).toBe(4);
    expect(min).toBeLessThanOrEqual(p50);
    expect(p50).toBeLessThanOrEqual(p99);
    expect(p99).toBeLessThanOrEqual(max * 1.002);
    expect(mean).toBeGreaterThan(0);
  }
  expect(decode.min).toBeGreaterThan(1);
  expect(compute.min).toBeGreaterThan(10);
  expect(total.min).toBeGreaterThan(decode.min + compute.min * 0.99);
});

describe('segmentAll', () => {
  let model: DeepLab;
  beforeAll(async () => {
    model = await DeepLab.load(mobilenet(), load);
  });
  afterAll(() => model.close());

  const images = [1, 2, 3, 4, 5, 6].map((seed) => randomImage(33, 25, seed));
  async function collect<T>(results: AsyncIterable<T>): Promise<T[]> {
    const all: T[] = [];
    for await (const one of results) all.push(one);
    return all;
  }
  async function* slowly<T>(values: readonly T[]) {
    for (const value of values) {
      await new Promise((resolve) => setTimeout(resolve, 3));
      yield value;
    }
  }

  test.each<[string, () => Parameters<typeof model.segmentAll>[0]]>([
    ['an array', () => images],
    ['a generator', () => images.values()],
    ['an async generator', () => slowly(images)],
    ['a stream of Node', () => Readable.from(images)],
    ['a stream of the web', () => Readable.toWeb(Readable.from(images)) as never],
    ['a stream that is not iterable', () => ({ getReader: () => readerOf(images) })],
  ])('takes %s and yields what segment would, in order', async (_, inputs) => {
    const results = await collect(model.segmentAll(inputs(), { concurrency: 3 }));
    expect(results.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4, 5]);
    for (const { index, input, result } of results) {
      expect(input).toBe(images[index]);
      const { labels } = await model.segment(images[index] as (typeof images)[0]);
      expect(Buffer.compare(result?.labels as Uint8Array, labels)).toBe(0);
    }
  });

  test('yields each as it is ready if asked to', async () => {
    const inputs = [large, 'missing.png', small];
    const ready = await collect(model.segmentAll(inputs, { order: 'ready', concurrency: 3 }));
    expect(ready.map(({ index }) => index)).toEqual([1, 0, 2]);
    const ordered = await collect(model.segmentAll(inputs, { concurrency: 3 }));
    expect(ordered.map(({ index }) => index)).toEqual([0, 1, 2]);
  });

  test('reports an image that fails and goes on with the others', async () => {
    const results = await collect(model.segmentAll([small, 'missing.png', Buffer.from('no image'), small]));
    expect(results.map(({ error }) => error?.code)).toEqual([
      undefined,
      'ERR_NOT_FOUND',
      'ERR_INVALID_IMAGE',
      undefined,
    ]);
    expect(results[1]).toMatchObject({ index: 1, input: 'missing.png' });
  });

  test('takes no more images than its window before the first are consumed', async () => {
    let [taken, consumed, most] = [0, 0, 0];
    function* counted() {
      for (let i = 0; i < 40; i++) {
        taken++;
        most = Math.max(most, taken - consumed);
        yield small;
      }
    }
    for await (const _ of model.segmentAll(counted(), { concurrency: 4 })) {
      consumed++;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    expect(consumed).toBe(40);
    expect(most).toBeLessThanOrEqual(5); // the window, and what the loop works on
  });

  test('waits for room where segment would be refused', async () => {
    await using busy = await DeepLab.load(mobilenet(), { ...load, queueLimit: { count: 2, bytes: 33 * 25 * 9 } });
    const other = busy.segment(small);
    const results = await collect(busy.segmentAll(images, { concurrency: 5 }));
    expect(results.map(({ error }) => error)).toEqual(images.map(() => undefined));
    await other;
    const [refused] = await collect(busy.segmentAll([large]));
    expect(refused?.error?.code).toBe('ERR_QUEUE_FULL');
  });

  test('is bulk: an interactive call comes first', async () => {
    const bulk = model.segmentAll(Array(4).fill(large), { concurrency: 4 });
    const first = bulk.next();
    await until(() => model.stats().running === 1 && model.stats().queued === 3);
    const { completed } = model.stats();
    await model.segment(small);
    expect(model.stats().completed - completed).toBeLessThanOrEqual(2);
    await first;
    await bulk.return();
  });

  test('leaving the loop cancels what is under way and ends the source', async () => {
    let ended = false;
    async function* endless() {
      try {
        while (true) yield large;
      } finally {
        ended = true;
      }
    }
    for await (const { index } of model.segmentAll(endless(), { concurrency: 3 })) if (index === 0) break;
    await until(() => ended);
    await until(() => model.stats().running + model.stats().queued + model.stats().decoding === 0);
    await until(() => model.stats().bytes.requests === 0);
  });

  test('a signal ends all of it; one image too slow does not', async () => {
    const controller = new AbortController();
    const all = model.segmentAll(Array(3).fill(large), { signal: controller.signal });
    const first = all.next();
    await until(() => model.stats().running === 1);
    controller.abort('enough');
    await expect(first).rejects.toMatchObject({ code: 'ERR_ABORTED', cause: 'enough' });
    expect(await all.next()).toEqual({ done: true, value: undefined });
    const slow = await collect(model.segmentAll([large, small], { timeoutMs: 20, concurrency: 1 }));
    expect(slow[0]?.error?.code).toBe('ERR_TIMEOUT');
    expect(slow).toHaveLength(2);
  });

  test('fails with its source, and with the model', async () => {
    async function* failing() {
      yield small;
      throw new Error('the source is gone');
    }
    await expect(collect(model.segmentAll(failing()))).rejects.toThrow('the source is gone');
    const closed = await DeepLab.load(mobilenet(), load);
    await closed.close();
    await expect(collect(closed.segmentAll([small]))).rejects.toMatchObject({ code: 'ERR_CLOSED' });
  });

  test.each<[unknown, object, RegExp]>([
    ['photo.jpg', {}, /iterable, async iterable or stream of images for inputs but received "photo.jpg"/],
    [Buffer.from('x'), {}, /for inputs but received Buffer/],
    [null, {}, /for inputs but received null/],
    [[], { concurrency: 0 }, /integer from 1 to 1024 for concurrency/],
    [[], { order: 'any' }, /one of inputs, ready for order/],
    [[], { score: true }, /for option name but received "score"/],
  ])('refuses %p with %j at once', (inputs, options, message) => {
    expect(() => model.segmentAll(inputs as never, options)).toThrow(message);
  });

  function readerOf<T>(values: readonly T[]) {
    const rest = [...values];
    return {
      read: async () => (rest.length > 0 ? { done: false, value: rest.shift() as T } : { done: true }),
      cancel: async () => {},
    };
  }
});

test('one signal for thousands of calls gathers no listeners', async () => {
  await using model = await DeepLab.load(mobilenet(), load);
  const controller = new AbortController();
  const warned = once(process, 'warning').then(([warning]) => warning as Error);
  for (let i = 0; i < 50; i++) await model.segment(small, { signal: controller.signal, timeoutMs: 1000 });
  expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
  expect(await Promise.race([warned, Promise.resolve(undefined)])).toBeUndefined();
});
