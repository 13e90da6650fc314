import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { crc32c, maskedCrc32c } from '../lib/import/crc32c';
import { looksLikeTensorflowCheckpoint, openTensorflowCheckpoint } from '../lib/import/tensorflow-checkpoint';
import { temporaryFolder } from './folder';
import { changeBytes, copyModel, cutAnywhere, type DescribedTensors, readTensors, rounded } from './import/archives';
import { pythonWith } from './python';

// Written by TensorFlow: test/import/tensorflow.py.
const fixtures = path.join(__dirname, 'import/tensorflow');
const folder = temporaryFolder();

type Checkpoints = Record<string, DescribedTensors>;
const describedIn = (where: string): Checkpoints =>
  JSON.parse(readFileSync(path.join(where, 'checkpoints.json'), 'utf8'));
const expected = describedIn(fixtures);
const sound = Object.keys(expected).filter((name) => !name.startsWith('partitioned'));
const fixture = (name: string) => path.join(fixtures, name);
const headOf = (file: string) => readFileSync(file).subarray(0, 512);

test.each(sound)('all tensors of %s are as TensorFlow saved them', async (name) => {
  expect(await readTensors(openTensorflowCheckpoint, fixture(name))).toEqual(rounded(expected[name]));
});

test('a checkpoint is opened by its prefix, its index or its data', async () => {
  for (const part of ['', '.index', '.data-00000-of-00001']) {
    const archive = await openTensorflowCheckpoint(fixture(`deeplab_resnet.ckpt${part}`));
    expect(archive).toMatchObject({ format: 'tensorflow-checkpoint', metadata: {} });
    expect([...archive.tensors.keys()]).toContain('res4b22_branch2b/weights');
    await archive.close();
  }
});

test('variables of objects are called by their path alone', async () => {
  const { tensors, close } = await openTensorflowCheckpoint(fixture('objects'));
  await close();
  expect([...tensors.keys()]).toEqual(expect.arrayContaining(['model/backbone/kernel', 'model/backbone/bias']));
  expect([...tensors.keys()].join()).not.toMatch(/ATTRIBUTES|OBJECT_GRAPH/);
});

test.each(['partitioned.ckpt', 'partitioned_v1.ckpt'])('a variable in slices is refused: %s', async (name) => {
  const { tensors, close } = await openTensorflowCheckpoint(fixture(name));
  expect([...((await tensors.get('whole')?.read()) ?? [])]).toEqual(rounded(expected[name]).whole?.[1]);
  expect(tensors.get('sliced')?.shape).toEqual([4, 3]);
  await expect(tensors.get('sliced')?.read()).rejects.toMatchObject({
    code: 'ERR_UNSUPPORTED_MODEL',
    message: expect.stringMatching(/tensor 'sliced' in slices/),
  });
  await close();
});

test('checkpoints are told from other files by their content', () => {
  for (const file of readdirSync(fixtures)) {
    const recognized = looksLikeTensorflowCheckpoint(headOf(fixture(file)), fixture(file));
    expect([file, recognized]).toEqual([file, !/json$|tflite$/.test(file)]);
  }
  const head = headOf(fixture('deeplab_resnet.ckpt.index'));
  expect(looksLikeTensorflowCheckpoint(head, 'renamed')).toBe(true);
  expect(looksLikeTensorflowCheckpoint(Buffer.alloc(0), fixture('deeplab_resnet.ckpt'))).toBe(true);
  expect(looksLikeTensorflowCheckpoint(Buffer.alloc(0), 'none')).toBe(false);
  expect(looksLikeTensorflowCheckpoint(Buffer.from('PK\x03\x04'), 'lightning.ckpt')).toBe(false);
});

test.each([
  ['a flipped bit of a tensor', 'deeplab_resnet.ckpt.data-00000-of-00001', 100, /checksum of tensor '.*' is wrong/],
  ['a flipped bit of the index', 'deeplab_resnet.ckpt.index', 100, /checksum of its block at 0 is wrong/],
  ['a flipped bit of the footer', 'deeplab_resnet.ckpt.index', 576, /magic number/],
])('%s is found', async (_, part, at, message) => {
  copyModel(fixtures, 'deeplab_resnet.ckpt', folder);
  const file = path.join(folder, part);
  const bytes = readFileSync(file);
  bytes.writeUInt8((bytes[at] ?? 0) ^ 16, at);
  writeFileSync(file, bytes);
  await expect(readTensors(openTensorflowCheckpoint, file)).rejects.toMatchObject({
    code: 'ERR_INVALID_WEIGHTS',
    message: expect.stringMatching(message),
  });
});

test('what is missing is named', async () => {
  const open = (name: string) => openTensorflowCheckpoint(path.join(folder, name));
  await expect(open('none.ckpt')).rejects.toMatchObject({ code: 'ERR_NOT_FOUND' });
  writeFileSync(path.join(folder, 'lonely.index'), readFileSync(fixture('deeplab_resnet.ckpt.index')));
  await expect(open('lonely')).rejects.toMatchObject({
    code: 'ERR_NOT_FOUND',
    message: expect.stringMatching(/lonely\.data-00000-of-00001/),
  });
  await expect(openTensorflowCheckpoint(folder)).rejects.toMatchObject({ code: 'ERR_NOT_FOUND' });
});

test('a tensor is not read after the archive was closed', async () => {
  const { tensors, close } = await openTensorflowCheckpoint(fixture('objects'));
  await close();
  await close();
  await expect(tensors.get('model/backbone/bias')?.read()).rejects.toMatchObject({ code: 'ERR_CLOSED' });
});

test.each([
  ['deeplab_resnet.ckpt', '.index'],
  ['deeplab_resnet.ckpt', '.data-00000-of-00001'],
  ['types.ckpt', '.index'],
  ['resnet_v1_101.ckpt', ''],
])('damage to %s%s is an error, wherever it is', async (name, part) => {
  copyModel(fixtures, name, folder);
  const [file, damaged] = [path.join(folder, name), path.join(folder, name + part)];
  const original = readFileSync(damaged);
  expect(await cutAnywhere(openTensorflowCheckpoint, file, original, 1, damaged)).toEqual([]);
  await changeBytes(openTensorflowCheckpoint, file, original, 300, { part: damaged });
});

/** Makes the checksums of a table right that has one block of entries: that, the empty one of metadata, the index. */
function repairer(table: Buffer): (bytes: Buffer) => void {
  const varints: number[] = [];
  for (let at = table.length - 48, value = 0, shift = 0; varints.length < 4; at++) {
    const byte = table[at] ?? 0;
    value += (byte & 127) << shift;
    shift += 7;
    if (byte < 128) varints.push(value);
    if (byte < 128) [value, shift] = [0, 0];
  }
  const [meta = 0, metaSize = 0, index = 0, indexSize = 0] = varints;
  const blocks = [
    [0, meta - 5],
    [meta, metaSize],
    [index, indexSize],
  ] as const;
  return (bytes) => {
    for (const [at, size] of blocks)
      bytes.writeUInt32LE(maskedCrc32c(bytes.subarray(at, at + size + 1)), at + size + 1);
  };
}

test.each([
  ['deeplab_resnet.ckpt', '.index'],
  ['types.ckpt', '.index'],
  ['partitioned.ckpt', '.index'],
  ['resnet_v1_101.ckpt', ''],
  ['partitioned_v1.ckpt', ''],
])('nonsense under right checksums is an error: %s%s', async (name, part) => {
  copyModel(fixtures, name, folder);
  const [file, damaged] = [path.join(folder, name), path.join(folder, name + part)];
  const original = readFileSync(damaged);
  const repair = repairer(original);
  const repaired = Buffer.from(original);
  repair(repaired);
  expect(repaired.equals(original)).toBe(true);
  await changeBytes(openTensorflowCheckpoint, file, original, 300, { part: damaged, repair });
});

test('the checksum is CRC-32C', () => {
  // RFC 3720, appendix B.4.
  expect(crc32c(Buffer.alloc(32))).toBe(0x8a9136aa);
  expect(crc32c(Buffer.alloc(32, 255))).toBe(0x62a8ab43);
  expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e);
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
});

test('a key that would begin with more of the one before than there is, is refused', async () => {
  copyModel(fixtures, 'deeplab_resnet.ckpt', folder);
  const file = path.join(folder, 'deeplab_resnet.ckpt.index');
  const table = readFileSync(file);
  // The first entry has an empty key and a value of six bytes.
  expect([...table.subarray(0, 3)]).toEqual([0, 0, 6]);
  table[9] = 5;
  repairer(table)(table);
  writeFileSync(file, table);
  await expect(openTensorflowCheckpoint(file)).rejects.toMatchObject({
    code: 'ERR_INVALID_WEIGHTS',
    message: expect.stringMatching(/an entry of a block/),
  });
});

const python = pythonWith('tensorflow');
const describeWithTensorflow = python === undefined ? describe.skip : describe;
describeWithTensorflow('with TensorFlow (the interpreter is in DEEPLAB_PYTHON)', () => {
  test('what the installed version writes is read', async () => {
    execFileSync(python ?? '', [path.join(__dirname, 'import/tensorflow.py'), folder], { stdio: 'ignore' });
    const written = describedIn(folder);
    expect(written).toEqual(expected);
    for (const name of sound) {
      expect(await readTensors(openTensorflowCheckpoint, path.join(folder, name))).toEqual(rounded(written[name]));
    }
  });
});
