// The example app of examples/electron. Its types are checked as a whole; of its processes the model's is run, by plain
// Node instead of Electron: a real child, over a real channel. Windows and the main process are not run.

import { type ChildProcess, execFileSync, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import sharp from 'sharp';
import type { Command, Reply, Report, Request } from '../examples/electron/src/protocol';
import { DeepLab } from '../lib';
import { writeSelfTest } from '../lib/self-test';
import { expectBuilt } from './command';
import { temporaryFolder } from './folder';
import { randomImage } from './models';

jest.setTimeout(30_000);
const root = path.join(__dirname, '..');
const compiled = path.join(root, 'build', 'electron');
const folder = temporaryFolder();
const weights = path.join(folder, 'model.safetensors');

/** A picture of noise as a PNG: of the larger ones the CRF takes seconds. */
async function photo(width: number, height: number, seed: number): Promise<Uint8Array> {
  const { data, channels } = randomImage(width, height, seed);
  return await sharp(data, { raw: { width, height, channels } }).png({ compressionLevel: 0 }).toBuffer();
}

beforeAll(() => {
  expectBuilt();
  const compiler = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  execFileSync(process.execPath, [compiler, '-p', path.join(__dirname, 'electron')], { stdio: 'inherit' });
  writeSelfTest(weights);
});

/** The model's process, as the main process sees it. */
class Model {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  readonly #said: (Reply | Report)[] = [];

  constructor(file = weights) {
    this.child = fork(path.join(compiled, 'utility.js'), [], { serialization: 'advanced', execArgv: [] });
    this.child.on('message', (message) => {
      this.#said.push(message as Reply | Report);
    });
    this.ended = new Promise((resolve) => {
      this.child.once('exit', (code) => resolve(code));
    });
    this.send({ kind: 'load', model: file, threads: 1 });
  }

  send(message: Command | Request): void {
    this.child.send(message);
  }

  /** The first message that fits, now or later. */
  async hear<T extends Reply | Report>(fits: (message: Reply | Report) => message is T): Promise<T> {
    for (;;) {
      const found = this.#said.find(fits);
      if (found !== undefined) return found;
      await once(this.child, 'message');
    }
  }

  reply(id: number): Promise<Reply> {
    return this.hear((message): message is Reply => 'id' in message && message.id === id);
  }

  report<K extends Report['kind']>(kind: K): Promise<Report & { kind: K }> {
    return this.hear((message): message is Report & { kind: K } => message.kind === kind);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill('SIGKILL');
    await this.ended;
  }
}

test('it says when the model is loaded, and on which device', async () => {
  await using model = new Model();
  expect(await model.report('loaded')).toEqual({
    kind: 'loaded',
    device: expect.stringMatching(/^(cpu|cuda:\d+)$/),
    precision: expect.any(String),
  });
});

test('the labels of an image, and its classes, are those that the model computes here', async () => {
  await using model = new Model();
  const image = await photo(97, 65, 1);
  model.send({ kind: 'segment', id: 7, image, crf: false });
  await using here = await DeepLab.load(weights, { threads: 1 });
  const { labels, width, height, classes } = await here.segment(image);
  const reply = await model.reply(7);
  if (reply.kind !== 'labels') throw new Error(reply.message);
  expect({ ...reply, labels: Array.from(reply.labels) }).toEqual({
    kind: 'labels',
    id: 7,
    width,
    height,
    labels: Array.from(labels),
    classes: classes
      .filter(({ pixels }) => pixels > 0)
      .sort((a, b) => b.pixels - a.pixels)
      .map(({ id, name, color, share }) => ({ id, name, color, share })),
  });
});

test('requests that are under way at once each get their own answer', async () => {
  await using model = new Model();
  const sizes = [33, 40, 65, 97];
  for (const [id, width] of sizes.entries()) {
    model.send({ kind: 'segment', id, image: await photo(width, 17, id), crf: false });
  }
  const replies = await Promise.all(sizes.map((_, id) => model.reply(id)));
  expect(replies.map((reply) => reply.kind === 'labels' && reply.width)).toEqual(sizes);
});

describe('what fails is answered with a code', () => {
  test('an image that is none', async () => {
    await using model = new Model();
    model.send({ kind: 'segment', id: 1, image: new Uint8Array([1, 2, 3]), crf: false });
    expect(await model.reply(1)).toMatchObject({
      kind: 'error',
      code: 'ERR_INVALID_IMAGE',
      message: expect.any(String),
    });
  });

  test('a model that is not there, to whoever asks it', async () => {
    await using model = new Model(path.join(folder, 'none.safetensors'));
    expect(await model.report('failed')).toMatchObject({ code: 'ERR_NOT_FOUND' });
    model.send({ kind: 'segment', id: 1, image: await photo(9, 9, 1), crf: false });
    expect(await model.reply(1)).toMatchObject({ kind: 'error', code: 'ERR_NOT_FOUND' });
    model.send({ kind: 'close' });
    expect(await model.ended).toBe(0);
  });

  test.each<[string, object]>([
    ['no image', { kind: 'segment', id: 3, image: 'photo.jpg', crf: false }],
    ['no crf', { kind: 'segment', id: 3, image: new Uint8Array(1) }],
    ['no kind', { id: 3 }],
  ])('a message with %s; one without a number is nothing', async (_, message) => {
    await using model = new Model();
    model.send({ kind: 'segment', id: 'x' } as unknown as Request);
    model.send(message as Request);
    expect(await model.reply(3)).toMatchObject({ kind: 'error', code: 'ERR_INVALID_ARGUMENT' });
  });
});

describe('while a request is under way', () => {
  let large: Uint8Array;
  beforeAll(async () => {
    large = await photo(1500, 1000, 1);
  });

  /** A model that is at work on `id` 1, and waits for nothing else. */
  async function busy(): Promise<Model> {
    const model = new Model();
    await model.report('loaded');
    model.send({ kind: 'segment', id: 1, image: large, crf: true });
    // Answered at once: so the one before has been taken.
    model.send({ kind: 'segment', id: 1, image: large, crf: true });
    await model.reply(1);
    return model;
  }

  /** What a request with a number that is taken gets; after it comes the answer to the one that has it. */
  const taken = expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT', message: 'The request 1 is under way' });

  async function answers(model: Model, count: number): Promise<Reply[]> {
    const replies: Reply[] = [];
    while (replies.length < count) {
      replies.push(
        await model.hear((message): message is Reply => 'id' in message && !replies.includes(message as Reply)),
      );
    }
    return replies;
  }

  test('a request can be cancelled, and the next one is answered', async () => {
    await using model = await busy();
    model.send({ kind: 'cancel', id: 1 });
    expect(await answers(model, 2)).toEqual([taken, expect.objectContaining({ id: 1, code: 'ERR_ABORTED' })]);
    model.send({ kind: 'segment', id: 2, image: await photo(33, 33, 1), crf: false });
    expect(await model.reply(2)).toMatchObject({ kind: 'labels' });
  });

  test('closing cancels what is under way, frees the model and ends the process with 0', async () => {
    await using model = await busy();
    model.send({ kind: 'close' });
    expect(await answers(model, 2)).toEqual([taken, expect.objectContaining({ id: 1, code: 'ERR_ABORTED' })]);
    await model.report('closed');
    expect(await model.ended).toBe(0);
  });

  test('a process whose parent goes away ends', async () => {
    await using model = await busy();
    model.child.disconnect();
    expect(await model.ended).toBe(0);
  });
});

test('closing a model that has just begun to load ends its process with 0', async () => {
  await using model = new Model();
  model.send({ kind: 'close' });
  await model.report('closed');
  expect(await model.ended).toBe(0);
});

test('the scripts of the page and of the preload script need no module but Electron', () => {
  const required = (name: string) =>
    Array.from(readFileSync(path.join(compiled, name), 'utf8').matchAll(/require\("(.*?)"\)/g), ([, module]) => module);
  expect(required('preload.js')).toEqual(['electron']);
  expect(readFileSync(path.join(compiled, 'renderer.js'), 'utf8')).not.toMatch(/require|exports|^import|^export/m);
});
