// Checkpoints of PyTorch, as torch.save wrote and writes them: test/import/generate_pytorch.py. What their pickles may
// not do: test/import-pickle.test.ts.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, existsSync, ftruncateSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import zlib from 'node:zlib';
import type { ArchiveTensor } from '../lib/import/archive';
import { looksLikePytorch, openPytorch } from '../lib/import/pytorch';
import { temporaryFolder } from './folder';
import { changeBytes, cutAnywhere, expectedTensors, fixture, readTensors, refusal } from './import/archives';
import { type StoredEntry, zip } from './import/zip';
import { pythonWith } from './python';

const folder = temporaryFolder();
const file = path.join(folder, 'weights.pth');
const expected = expectedTensors('pytorch');

describe.each(Object.keys(expected))('%s', (name) => {
  test('has the tensors that torch.load reads, called by their paths', async () => {
    expect(await readTensors(openPytorch, fixture(name))).toEqual(expected[name]);
  });

  test('is told by its beginning', () => {
    expect(looksLikePytorch(readFileSync(fixture(name)).subarray(0, 512))).toBe(true);
  });

  test('is read or refused with bytes changed, and no more', () =>
    changeBytes(openPytorch, file, readFileSync(fixture(name)), 400));
});

test('other files are told from checkpoints by their beginning', () => {
  for (const name of ['safetensors-types.safetensors', 'keras-legacy.h5', 'pytorch.json']) {
    expect(looksLikePytorch(readFileSync(fixture(name)).subarray(0, 512))).toBe(false);
  }
  expect(looksLikePytorch(Buffer.alloc(0))).toBe(false);
});

test.each([
  ['pytorch-zip.pth', 17],
  ['pytorch-legacy.pth', 1],
  ['pytorch-legacy-4.pth', 3],
])('%s cut at any byte is refused (every %i. is tried)', async (name, step) => {
  expect(await cutAnywhere(openPytorch, file, readFileSync(fixture(name)), step)).toEqual([]);
});

test('pytorch-tar.pth cut at any byte of its members is refused', async () => {
  const tar = readFileSync(fixture('pytorch-tar.pth'));
  // Zeros to the next block, and two blocks of them at the end, are not part of any member.
  const end = tar.findLastIndex((byte) => byte !== 0) + 1;
  expect(await cutAnywhere(openPytorch, file, tar.subarray(0, end), 5)).toEqual([]);
});

test('text beside the tensors is given as metadata', async () => {
  const archive = await openPytorch(fixture('pytorch-zip.pth'));
  expect(archive).toMatchObject({ format: 'pytorch', file: fixture('pytorch-zip.pth'), metadata: { arch: 'deeplab' } });
  await archive.close();
});

test('tensors are read as often as they are asked for, until the file is closed', async () => {
  const archive = await openPytorch(fixture('pytorch-legacy.pth'));
  const tensor = archive.tensors.get('state_dict.views.whole') as ArchiveTensor;
  (await tensor.read()).fill(0);
  expect([...(await tensor.read())]).toEqual(expected['pytorch-legacy.pth']?.['state_dict.views.whole']?.[1]);
  await archive.close();
  await archive.close();
  await expect(tensor.read()).rejects.toMatchObject({ code: 'ERR_CLOSED' });
});

test('a file that is not there is ERR_NOT_FOUND, and so is a folder', async () => {
  await expect(openPytorch(path.join(folder, 'none.pth'))).rejects.toMatchObject({ code: 'ERR_NOT_FOUND' });
  await expect(openPytorch(folder)).rejects.toMatchObject({ code: 'ERR_NOT_FOUND' });
});

test.each(['pytorch-unsafe-zip.pth', 'pytorch-unsafe-legacy.pth'])(
  '%s, which would run a command, is refused with its name and runs nothing',
  async (name) => {
    const error = await refusal(openPytorch, file, readFileSync(fixture(name)));
    expect(error).toMatchObject({
      code: 'ERR_UNSAFE_WEIGHTS',
      message: expect.stringMatching(/asks for posix\.system,/),
    });
    expect(existsSync('deeplab-was-here')).toBe(false);
  },
);

/** A checkpoint of one tensor `w`, of these sizes in the instructions of a pickle, as torch.save would write it. */
function checkpoint(
  given: Partial<Record<'type' | 'elements' | 'offset' | 'shape' | 'strides', string>>,
  data: Buffer,
) {
  const {
    type = 'FloatStorage',
    elements = 'K\x04',
    offset = 'K\x00',
    shape = 'K\x04\x85',
    strides = 'K\x01\x85',
  } = given;
  const storage = `(X\x07\0\0\0storagectorch\n${type}\nX\x01\0\0\x000X\x03\0\0\0cpu${elements}tQ`;
  const tensor = `ctorch._utils\n_rebuild_tensor_v2\n(${storage}${offset}${shape}${strides}\x89ccollections\nOrderedDict\n)RtR`;
  return zipOf(`\x80\x02}X\x01\0\0\0w${tensor}s.`, { data });
}

function zipOf(pickle: string, storage: StoredEntry, zip64 = false): Buffer {
  return zip({
    'archive/data.pkl': { data: Buffer.from(pickle, 'latin1'), zip64 },
    'archive/data/0': { ...storage, zip64 },
    'archive/version': { data: Buffer.from('3\n'), zip64 },
  });
}

/** BININT of a signed number of 32 bits, or LONG1 of 64. */
function integer(value: number | bigint): string {
  const bytes = Buffer.alloc(typeof value === 'bigint' ? 8 : 4);
  if (typeof value === 'bigint') bytes.writeBigInt64LE(value);
  else bytes.writeInt32LE(value);
  return `${typeof value === 'bigint' ? '\x8a\x08' : 'J'}${bytes.toString('latin1')}`;
}

const four = Buffer.from(new Float32Array([1, 2, 3, 4]).buffer);

test('a checkpoint written by hand is read: the following ones differ from it in one thing', async () => {
  const sound = checkpoint({}, four);
  writeFileSync(file, sound);
  expect(await readTensors(openPytorch, file)).toEqual({ w: [[4], [1, 2, 3, 4]] });
  expect(await cutAnywhere(openPytorch, file, sound)).toEqual([]);
});

test.each<[string, Parameters<typeof checkpoint>[0], RegExp]>([
  ['more elements than its storage', { shape: 'K\x05\x85' }, /leaves its storage of 4 elements: shape \[5\]/],
  ['an offset that leads out', { offset: 'K\x01' }, /leaves its storage of 4 elements: .* from 1 on/],
  ['a stride that leads out', { strides: 'K\x02\x85' }, /leaves its storage .* strides \[2\]/],
  ['a negative stride', { strides: `${integer(-1)}\x85`, offset: 'K\x03' }, /sizes, strides or offset are not counts/],
  ['a negative offset', { offset: integer(-4) }, /are not counts/],
  ['a negative size', { shape: `${integer(-4)}\x85` }, /are not counts/],
  ['a size that is no integer', { shape: 'G\x40\x0c\0\0\0\0\0\0\x85' }, /are not counts/],
  ['a size of 2^62', { shape: `${integer(2n ** 62n)}\x85` }, /are not counts/],
  ['sizes that overflow', { shape: `(${integer(2n ** 52n).repeat(3)}t`, strides: 'K\x01K\x01K\x01\x87' }, /leaves/],
  ['strides of other dimensions', { strides: 'K\x01K\x01\x86' }, /are not counts/],
  ['17 dimensions', { shape: `(${'K\x01'.repeat(17)}t`, strides: `(${'K\x01'.repeat(17)}t` }, /17 dimensions/],
  [
    'a terabyte out of one number',
    { shape: `${integer(2 ** 30)}\x85`, strides: 'K\x00\x85' },
    /at most 1048576 elements/,
  ],
  ['a storage of another size', { elements: 'K\x05' }, /16 bytes in the storage 0 of w: expected 20/],
  ['a storage of another type', { type: 'DoubleStorage' }, /16 bytes in the storage 0 of w: expected 32/],
  ['a storage of 2^52 elements', { elements: integer(2n ** 52n) }, /expected 18014398509481984/],
])('a tensor of %s is refused', async (_, given, message) => {
  expect(await refusal(openPytorch, file, checkpoint(given, four))).toMatchObject({
    code: 'ERR_INVALID_WEIGHTS',
    message: expect.stringMatching(message),
  });
});

test.each<[string, () => Buffer, RegExp]>([
  ['nothing', () => Buffer.alloc(0), /is no checkpoint of PyTorch: expected a zip file, a pickle or a tar file/],
  ['a zip file of something else', () => zip({ 'a.txt': { data: four } }), /0 entries data\.pkl/],
  ['two pickles', () => zip({ 'a/data.pkl': { data: four }, 'b/data.pkl': { data: four } }), /2 entries data\.pkl/],
  [
    'a byte order that is none',
    () => zip({ 'data.pkl': { data: Buffer.from('N.') }, byteorder: { data: four } }),
    /byte order/,
  ],
  [
    'a storage that is missing',
    () => zip({ 'a/data.pkl': pickleOf(checkpoint({}, four)) }),
    /not have the numbers of w/,
  ],
  ['a billion laughs', () => zipOf(laughs(), { data: four }), /more than 2000000 objects/],
  [
    'a hundred dicts inside each other',
    () => zipOf(`${'K\x01'}${'\x85'.repeat(200)}.`, { data: four }),
    /more than 100 deep/,
  ],
  [
    'a name of a megabyte',
    () => zipOf(`}X\0\0\x10\0${'x'.repeat(2 ** 20)}K\x01s.`, { data: four }),
    /of more than 1000 letters/,
  ],
  ['two tensors of one name', () => zipOf(twice(), { data: four }), /two tensors called a\.b/],
  ['something outside that is no storage', () => zipOf('K\x01Q.', { data: four }), /outside of it that is no storage/],
])('%s: refused', async (_, make, message) => {
  expect(await refusal(openPytorch, file, make())).toMatchObject({
    code: 'ERR_INVALID_WEIGHTS',
    message: expect.stringMatching(message),
  });
});

/** The first entry of a zip file that checkpoint() wrote. */
function pickleOf(bytes: Buffer): StoredEntry {
  const start = 30 + 'archive/data.pkl'.length;
  return { data: bytes.subarray(start, start + bytes.readUInt32LE(18)) };
}

function laughs(): string {
  const doubled = Array.from({ length: 40 }, (_, i) => `q${String.fromCharCode(i)}0h${String.fromCharCode(i)}`);
  return `)${doubled.map((one) => `${one}${one.slice(3)}\x86`).join('')}.`;
}

function twice(): string {
  const tensor = pickleOf(checkpoint({}, four)).data.toString('latin1').slice(9, -2);
  return `}(X\x03\0\0\0a.b${tensor}X\x01\0\0\0a}X\x01\0\0\0b${tensor}su.`;
}

test('a dict that contains itself is walked through once', async () => {
  const tensor = pickleOf(checkpoint({}, four)).data.toString('latin1').slice(9, -2);
  writeFileSync(file, zipOf(`}q\0(X\x06\0\0\0itselfh\0X\x01\0\0\0w${tensor}u.`, { data: four }));
  expect(await readTensors(openPytorch, file)).toEqual({ w: [[4], [1, 2, 3, 4]] });
});

test('a view that is larger than its file is read, within bounds', async () => {
  writeFileSync(file, checkpoint({ shape: `${integer(1000)}${integer(1000)}\x86`, strides: 'K\x00K\x00\x86' }, four));
  const tensors = await readTensors(openPytorch, file);
  expect(tensors.w?.[0]).toEqual([1000, 1000]);
  expect(tensors.w?.[1].every((value) => value === 1)).toBe(true);
});

test('entries with zip64 sizes and deflated entries are read', async () => {
  const pickle = pickleOf(checkpoint({}, four)).data.toString('latin1');
  writeFileSync(file, zipOf(pickle, { data: four }, true));
  expect(await readTensors(openPytorch, file)).toEqual({ w: [[4], [1, 2, 3, 4]] });
  const deflated = { data: zlib.deflateRawSync(four), method: 8, size: four.length };
  writeFileSync(file, zipOf(pickle, deflated));
  expect(await readTensors(openPytorch, file)).toEqual({ w: [[4], [1, 2, 3, 4]] });
});

test('entries whose names lead elsewhere write nothing anywhere', async () => {
  const escaped = path.join(folder, '..', 'escaped.pth');
  for (const name of ['../escaped.pth', escaped, 'archive/../../escaped.pth', '..\\escaped.pth']) {
    const evil = zip({ 'archive/data.pkl': { data: Buffer.from('N.') }, [name]: { data: four } });
    await refusal(openPytorch, file, evil);
    expect(existsSync(escaped)).toBe(false);
  }
  expect(readdirSync(folder)).toEqual(['weights.pth']);
});

test('a file of gigabytes is opened without reading it', async () => {
  writeFileSync(file, readFileSync(fixture('pytorch-tar.pth')));
  const descriptor = openSync(file, 'r+');
  ftruncateSync(descriptor, 2 ** 36); // 64 GiB, of which nothing is there
  closeSync(descriptor);
  const before = process.memoryUsage().arrayBuffers;
  expect(await readTensors(openPytorch, file)).toEqual(expected['pytorch-tar.pth']);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(10e6);
});

const resnet = path.join(__dirname, '../../shared/models/resnet50-imagenet.pth');

(existsSync(resnet) ? test : test.skip)(
  'a real ResNet-50 is what PyTorch reads (skipped without ../shared)',
  async () => {
    const sums: Readonly<Record<string, string>> = JSON.parse(readFileSync(fixture('resnet50-imagenet.json'), 'utf8'));
    const before = process.memoryUsage().arrayBuffers;
    const archive = await openPytorch(resnet);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(10e6);
    const found: Record<string, string> = {};
    for (const [name, tensor] of archive.tensors) {
      const sum = createHash('sha256').update(await tensor.read());
      found[name] = `${tensor.shape.join('x')} ${sum.digest('hex').slice(0, 32)}`;
    }
    await archive.close();
    expect(found).toEqual(sums);
  },
);

const python = pythonWith('torch');

(python === undefined ? test.skip : test).each([
  ...[2, 3, 4, 5].map((protocol) => [protocol, true] as const),
  // Of protocol 0 torch.load does not read what torch.save writes.
  ...[1, 2, 3, 4, 5].map((protocol) => [protocol, false] as const),
])(
  'what torch.save writes now by protocol %i, zip: %j, is read (skipped without PyTorch)',
  async (protocol, zipped) => {
    const script = [
      'import json, sys, torch',
      'model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))',
      'state = model.state_dict()',
      `torch.save({"model": state, "epoch": 1}, sys.argv[1], pickle_protocol=${protocol},`,
      `           _use_new_zipfile_serialization=${zipped ? 'True' : 'False'})`,
      'print(json.dumps({"model." + k: [list(v.shape), v.float().flatten().tolist()] for k, v in state.items()}))',
    ].join('\n');
    const said = execFileSync(python as string, ['-c', script, file], { encoding: 'utf8' });
    expect(await readTensors(openPytorch, file)).toEqual(JSON.parse(said));
  },
);
