// Memory that callers do not keep still: reused, detached, resized or shared with threads that write, while a call is
// under way. The answer is that of the bytes at the time of the call, or a DeepLabError, and never undefined memory
// (npm run test:asan runs this file as well).

import { Worker } from 'node:worker_threads';
import sharp from 'sharp';
import { DeepLab, DeepLabError, DenseCrf, denseCrf, type RawImage, Tensor, type UnaryInput } from '../lib';
import { decodeImage } from '../lib/image';
import { familyModel, randomImage } from './models';

const width = 40;
const height = 30;
const area = width * height;
const classes = 3;

/** A copy of `values` in the memory that `make` makes, some bytes after its beginning. */
function placed<A extends Uint8Array | Float32Array>(values: A, make: (bytes: number) => ArrayBufferLike): A {
  const offset = 16;
  const memory = make(values.byteLength + 2 * offset);
  const array = new (values.constructor as new (memory: ArrayBufferLike, at: number, length: number) => A)(
    memory,
    offset,
    values.length,
  );
  array.set(values);
  return array;
}

interface Resizable extends ArrayBuffer {
  resize(bytes: number): void;
}
interface Growable extends SharedArrayBuffer {
  grow(bytes: number): void;
}
type Memory = new (bytes: number, options: { maxByteLength: number }) => unknown;
const resizable = (bytes: number) => new (ArrayBuffer as Memory)(bytes, { maxByteLength: 2 * bytes }) as Resizable;
const growable = (bytes: number) => new (SharedArrayBuffer as Memory)(bytes, { maxByteLength: 2 * bytes }) as Growable;

/** What can be done with memory once a call has been made. The last is not to be seen by the call either. */
const harms: [string, (bytes: number) => ArrayBufferLike, (memory: ArrayBufferLike) => void][] = [
  ['overwritten', (bytes) => new ArrayBuffer(bytes), (memory) => new Uint8Array(memory).fill(255)],
  [
    'detached',
    (bytes) => new ArrayBuffer(bytes),
    (memory) => structuredClone(memory, { transfer: [memory as ArrayBuffer] }),
  ],
  ['shrunk', resizable, (memory) => (memory as Resizable).resize(8)],
  [
    'shrunk and grown',
    resizable,
    (memory) => {
      (memory as Resizable).resize(0);
      (memory as Resizable).resize(memory.byteLength + 64);
    },
  ],
  ['shared and overwritten', (bytes) => new SharedArrayBuffer(bytes), (memory) => new Uint8Array(memory).fill(255)],
  ['shared and grown', growable, (memory) => (memory as Growable).grow(memory.byteLength + 64)],
];

/** Memory that is of no use when the call is made. */
const useless: [string, (bytes: number) => ArrayBufferLike, (memory: ArrayBufferLike) => void][] = [
  harms[1] as (typeof harms)[number],
  harms[2] as (typeof harms)[number],
];

/** Runs `call` while another thread writes into `memory`. */
async function whileWritten<T>(memory: SharedArrayBuffer, call: () => Promise<T>): Promise<T> {
  const script = `
    const { memory, over } = require('node:worker_threads').workerData;
    const words = new Uint8Array(memory);
    let state = 1;
    for (let i = 0; Atomics.load(over, 0) === 0; i = (i + 7) % words.length) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      words[i] = state >>> 24;
      if (i < 7) { Atomics.store(over, 1, 1); Atomics.notify(over, 1); }
    }`;
  const over = new Int32Array(new SharedArrayBuffer(8));
  const worker = new Worker(script, { eval: true, workerData: { memory, over } });
  const exit = new Promise((resolve) => worker.once('exit', resolve));
  try {
    await (Atomics as unknown as { waitAsync(...args: unknown[]): { value: Promise<string> } }).waitAsync(over, 1, 0)
      .value;
    return await call();
  } finally {
    Atomics.store(over, 0, 1);
    await exit;
  }
}

/** The result, or undefined where the call failed as it may. */
async function orError<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    expect(error).toBeInstanceOf(DeepLabError);
    expect((error as DeepLabError).code).toMatch(/^ERR_INVALID_(IMAGE|ARGUMENT)$/);
    return undefined;
  }
}

const invalid = expect.objectContaining({ name: 'DeepLabError', code: 'ERR_INVALID_ARGUMENT' });

describe('an image', () => {
  const raw = randomImage(width, height, 1);
  const encode = () => sharp(raw.data, { raw: { width, height, channels: 3 } });
  let model: DeepLab;
  let png: Uint8Array;
  let jpeg: Uint8Array;
  let labels: Uint8Array;
  beforeAll(async () => {
    model = await DeepLab.load(familyModel('v3-mobilenet-v2'), { device: 'cpu', precision: 'f32', threads: 1 });
    png = new Uint8Array(await encode().png().toBuffer());
    jpeg = new Uint8Array(await encode().resize(320, 240).jpeg({ quality: 95 }).toBuffer());
    labels = (await model.segment(raw)).labels;
    expect(new Set(labels).size).toBeGreaterThan(1);
  });
  afterAll(() => model.close());

  test.each(harms)('whose pixels are %s after the call has the labels of before', async (_, make, harm) => {
    const data = placed(raw.data, make);
    const result = model.segment({ ...raw, data });
    harm(data.buffer);
    expect((await result).labels).toEqual(labels);
  });

  test.each(harms)('whose encoded bytes are %s after the call has the labels of before', async (_, make, harm) => {
    const bytes = placed(png, make);
    const result = model.segment(bytes);
    harm(bytes.buffer);
    expect((await result).labels).toEqual(labels);
  });

  test.each(useless)('whose memory was %s before the call is refused', async (_, make, harm) => {
    const data = placed(raw.data, make);
    const bytes = placed(png, make);
    for (const { buffer } of [data, bytes]) harm(buffer);
    await expect(model.segment({ ...raw, data })).rejects.toEqual(invalid);
    await expect(model.segment(bytes)).rejects.toEqual(invalid);
  });

  test('in a pooled Buffer is that part of the pool', async () => {
    const bytes = Buffer.from(png.subarray(0, 100));
    expect(bytes.buffer.byteLength).toBeGreaterThan(bytes.length);
    const tiny = Buffer.from(
      await sharp(raw.data.subarray(0, 48), { raw: { width: 4, height: 4, channels: 3 } })
        .png()
        .toBuffer(),
    );
    const pooled = Buffer.allocUnsafe(tiny.length);
    tiny.copy(pooled);
    const decoding = decodeImage(pooled);
    new Uint8Array(pooled.buffer, pooled.byteOffset, pooled.length).fill(0);
    expect(Buffer.from((await decoding).data)).toEqual(Buffer.from(raw.data.subarray(0, 48)));
  });

  test('that another thread writes into while it is looked at gives labels or an error', async () => {
    const data = placed(raw.data, (bytes) => new SharedArrayBuffer(bytes));
    const bytes = placed(jpeg, (size) => new SharedArrayBuffer(size));
    for (const [memory, input] of [
      [data.buffer, { ...raw, data }],
      [bytes.buffer, bytes],
    ] as [SharedArrayBuffer, RawImage | Uint8Array][]) {
      await whileWritten(memory, async () => {
        for (let i = 0; i < 10; i++) {
          const result = await orError(model.segment(input));
          expect(result?.labels.every((label) => label < model.classes.length)).not.toBe(false);
        }
      });
    }
  });

  test.each<[string, () => unknown]>([
    ['a Uint8ClampedArray', () => new Uint8ClampedArray(png)],
    ['a DataView', () => new DataView(png.slice().buffer)],
    ['an ArrayBuffer', () => png.slice().buffer],
    ['a Uint16Array', () => new Uint16Array(8)],
    ['pixels in a Uint8ClampedArray', () => ({ ...raw, data: new Uint8ClampedArray(raw.data) })],
    ['pixels in a DataView', () => ({ ...raw, data: new DataView(raw.data.slice().buffer) })],
    ['one byte too few', () => ({ ...raw, data: raw.data.subarray(1) })],
    ['one byte too many', () => ({ ...raw, data: new Uint8Array(raw.data.length + 1) })],
    [
      'a length that lies',
      () => ({ ...raw, data: Object.defineProperty(new Uint8Array(8), 'length', { value: raw.data.length }) }),
    ],
  ])('that is %s is refused', async (_, make) => {
    await expect(model.segment(make() as Uint8Array)).rejects.toEqual(invalid);
  });

  test('of no bytes is no image', async () => {
    await expect(model.segment(new Uint8Array(0))).rejects.toMatchObject({ code: 'ERR_INVALID_IMAGE' });
  });

  test('of a JPEG that breaks off after any kB is no image', async () => {
    expect(jpeg.length).toBeGreaterThan(20_000);
    for (let size = 1; size < jpeg.length; size += 1000) {
      await expect(decodeImage(jpeg.subarray(0, size))).rejects.toMatchObject({ code: 'ERR_INVALID_IMAGE' });
    }
  });

  test('of a PNG with a wrong checksum is no image, or the image', async () => {
    const right = await decodeImage(png);
    const view = new DataView(png.buffer, png.byteOffset, png.length);
    let chunks = 0;
    for (let at = 8; at < png.length; chunks++) {
      const crc = at + 8 + view.getUint32(at);
      const damaged = png.slice();
      damaged[crc] = (png[crc] as number) ^ 1;
      const result = await orError(decodeImage(damaged));
      if (result !== undefined) expect(result).toEqual(right);
      at = crc + 4;
    }
    expect(chunks).toBeGreaterThanOrEqual(3);
  });
});

describe("a CRF's", () => {
  const size = { width, height };
  const pairwise = [{ kernel: 'gaussian', xy: 3, compatibility: 3 }] as const;
  const labels = new Uint8Array(area).map((_, i) => (i % width < 20 ? 0 : 1 + ((i >> 4) & 1)));
  const energies = new Float32Array(classes * area).map((_, i) => ((i * 7919) % 101) / 40);
  const probabilities = new Float32Array(classes * area).fill(1 / classes);
  const options = { device: 'cpu', pairwise, threads: 1 } as const;
  const kinds: [string, Uint8Array | Float32Array, (data: never) => UnaryInput][] = [
    ['labels', labels, (data) => ({ labels: data, classes })],
    ['probabilities', probabilities, (data) => ({ probabilities: data })],
    ['energies', energies, (data) => ({ unary: data })],
    ['tensor of energies', energies, (data) => ({ unary: new Tensor(data as Float32Array, [classes, height, width]) })],
  ];
  let crf: DenseCrf;
  beforeAll(async () => {
    crf = await DenseCrf.create(size, options);
  });
  afterAll(() => crf.close());

  for (const [kind, values, unaryOf] of kinds) {
    test.each(harms)(`${kind}, %s after the call, count as they were`, async (_, make, harm) => {
      const right = await crf.infer(unaryOf(values as never));
      for (const call of [
        (unary: UnaryInput) => crf.infer(unary),
        (unary: UnaryInput) => denseCrf(size, unary, options),
      ]) {
        const data = placed(values, make);
        const result = call(unaryOf(data as never));
        harm(data.buffer);
        expect((await result).marginals).toEqual(right.marginals);
      }
    });

    test.each(useless)(`${kind}, %s before the call, are refused`, async (_, make, harm) => {
      const data = placed(values, make);
      const unary = unaryOf(data as never);
      harm(data.buffer);
      await expect(crf.infer(unary)).rejects.toEqual(invalid);
      await expect(denseCrf(size, unary, options)).rejects.toEqual(invalid);
    });

    test(`${kind}, written into by another thread, give labels or an error`, async () => {
      const data = placed(values, (bytes) => new SharedArrayBuffer(bytes));
      await whileWritten(data.buffer as SharedArrayBuffer, async () => {
        for (let i = 0; i < 10; i++) {
          const result = await orError(crf.infer(unaryOf(data as never)));
          expect(result?.labels.every((label) => label < classes)).not.toBe(false);
        }
      });
    });
  }

  describe('features', () => {
    const values = new Float32Array(2 * area).map((_, i) => (i % 17) / 3);
    const withFeatures = (features: Float32Array) => ({
      ...options,
      pairwise: [{ kernel: 'features', features, dimensions: 2, compatibility: 2 }] as const,
    });

    test.each(harms)('%s after the call, count as they were', async (_, make, harm) => {
      const right = await denseCrf(size, { unary: energies }, withFeatures(values));
      const features = placed(values, make);
      const result = denseCrf(size, { unary: energies }, withFeatures(features));
      harm(features.buffer);
      expect((await result).marginals).toEqual(right.marginals);
    });

    test.each(useless)('%s before the call, are refused', async (_, make, harm) => {
      const features = placed(values, make);
      harm(features.buffer);
      await expect(DenseCrf.create(size, withFeatures(features))).rejects.toEqual(invalid);
    });
  });
});
