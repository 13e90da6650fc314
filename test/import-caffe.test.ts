import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { looksLikeCaffe, openCaffe } from '../lib/import/caffe';
import { temporaryFolder } from './folder';
import { changeBytes, copyModel, cutAnywhere, type DescribedTensors, readTensors, rounded } from './import/archives';

// Written by Google's protobuf, by Caffe's schema: test/import/caffe.py.
const fixtures = path.join(__dirname, 'import/caffe');
const folder = temporaryFolder();
const fixture = (name: string) => path.join(fixtures, name);

interface DescribedNet {
  readonly name: string;
  readonly tensors: DescribedTensors;
  readonly layers: readonly { readonly name: string; readonly type: string }[];
}

const models: Record<string, DescribedNet> = JSON.parse(readFileSync(fixture('models.json'), 'utf8'));

/** A field of bytes: the number, wire type 2 and the length. */
function field(number: number, content: Uint8Array): Buffer {
  return Buffer.concat([varint(number * 8 + 2), varint(content.length), content]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Buffer.from([...bytes, rest]);
}

/** A net of one layer, called conv, with a blob of this content. */
function withBlob(name: string, blob: Uint8Array): string {
  const layer = Buffer.concat([field(1, Buffer.from('conv')), field(7, blob)]);
  const file = path.join(folder, name);
  writeFileSync(file, field(100, layer));
  return file;
}

const shapeOf = (...dims: number[]) => field(7, field(1, Buffer.concat(dims.map(varint))));
const invalid = (message: RegExp) => ({ code: 'ERR_INVALID_WEIGHTS', message: expect.stringMatching(message) });

test.each(Object.keys(models))('all blobs of %s are as they were written', async (name) => {
  expect(await readTensors(openCaffe, fixture(name))).toEqual(rounded(models[name]?.tensors));
});

test.each(Object.keys(models))('the net and its layers are named: %s', async (name) => {
  const { format, metadata, close } = await openCaffe(fixture(name));
  await close();
  expect(format).toBe('caffe');
  expect(metadata.name).toBe(models[name]?.name);
  expect(JSON.parse(metadata.layers ?? '')).toEqual(models[name]?.layers);
});

test('models are told from other files by their content', () => {
  for (const name of Object.keys(models)) {
    expect(looksLikeCaffe(readFileSync(fixture(name)).subarray(0, 512), 'renamed')).toBe(true);
  }
  const others = ['import/tensorflow/float32.tflite', 'import/tensorflow/resnet_v1_101.ckpt', 'import/caffe.py'];
  for (const other of others) expect(looksLikeCaffe(readFileSync(path.join(__dirname, other)), other)).toBe(false);
  expect(looksLikeCaffe(Buffer.alloc(0), 'empty')).toBe(false);
  expect(looksLikeCaffe(Buffer.from('PK\x03\x04'), 'model.pth')).toBe(false);
});

test('only the tensors that are asked for are read', async () => {
  // Two gigabytes of zeros that take no room on the disk.
  const bytes = 2 ** 31 - 4;
  const data = Buffer.concat([shapeOf(bytes / 4), varint(5 * 8 + 2), varint(bytes)]);
  const blob = Buffer.concat([varint(7 * 8 + 2), varint(data.length + bytes), data]);
  const layer = Buffer.concat([field(1, Buffer.from('fc6')), blob]);
  const file = path.join(folder, 'large.caffemodel');
  const start = Buffer.concat([varint(100 * 8 + 2), varint(layer.length + bytes), layer]);
  writeFileSync(file, start);
  truncateSync(file, start.length + bytes);
  const before = process.memoryUsage.rss();
  const { tensors, close } = await openCaffe(file);
  expect(tensors.get('fc6/0')?.shape).toEqual([bytes / 4]);
  expect(process.memoryUsage.rss() - before).toBeLessThan(2 ** 27);
  await close();
});

test.each([
  [
    'numbers of another size than the shape',
    Buffer.concat([shapeOf(3), field(5, Buffer.alloc(8))]),
    /8 bytes .* 12 for/,
  ],
  ['no shape', field(5, Buffer.alloc(8)), /no shape of tensor 'conv\/0'/],
  ['no numbers', shapeOf(2), /no numbers of tensor 'conv\/0'/],
  [
    'numbers in two pieces',
    Buffer.concat([shapeOf(2), field(5, Buffer.alloc(4)), field(5, Buffer.alloc(4))]),
    /in pieces/,
  ],
  [
    'more dimensions than there are',
    Buffer.concat([shapeOf(...Array(17).fill(1)), field(5, Buffer.alloc(4))]),
    /shape/,
  ],
  ['sizes whose product is huge', Buffer.concat([shapeOf(2 ** 40, 2 ** 40), field(5, Buffer.alloc(4))]), /shape/],
  ['a group', Buffer.from([0x0b, 0x0b, 0x0b]), /wire type 3/],
  ['a number without end', Buffer.alloc(20, 255), /does not end/],
])('a blob with %s is refused', async (name, blob, message) => {
  await expect(openCaffe(withBlob(name, blob))).rejects.toMatchObject(invalid(message));
});

test('a blob that would reach beyond its layer is refused', async () => {
  const blob = Buffer.concat([shapeOf(2), field(5, Buffer.alloc(8))]);
  const layer = Buffer.concat([field(1, Buffer.from('conv')), field(7, blob)]);
  const file = path.join(folder, 'beyond.caffemodel');
  writeFileSync(file, Buffer.concat([varint(100 * 8 + 2), varint(layer.length - 4), layer]));
  await expect(openCaffe(file)).rejects.toMatchObject(invalid(/field 7 at \d+ would have/));
});

test('a file without layers, and none at all, are refused', async () => {
  const file = path.join(folder, 'empty.caffemodel');
  writeFileSync(file, '');
  await expect(openCaffe(file)).rejects.toMatchObject(invalid(/has no layers/));
  await expect(openCaffe(path.join(folder, 'none'))).rejects.toMatchObject({ code: 'ERR_NOT_FOUND' });
});

test('a tensor is not read after the archive was closed', async () => {
  const { tensors, close } = await openCaffe(fixture('layer.caffemodel'));
  await close();
  await expect(tensors.get('conv1/0')?.read()).rejects.toMatchObject({ code: 'ERR_CLOSED' });
});

test.each(Object.keys(models))('damage to %s is an error or changes a value, wherever it is', async (name) => {
  copyModel(fixtures, name, folder);
  const file = path.join(folder, name);
  // Cut off between two layers, a net is a sound one of fewer layers: protobuf has no end mark.
  const original = readFileSync(file);
  expect((await cutAnywhere(openCaffe, file, original)).length).toBeLessThan(0.1 * original.length);
  await changeBytes(openCaffe, file, original, 300);
});
