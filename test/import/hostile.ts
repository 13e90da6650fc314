// Small files of every format that ask for much: memory, time, or a place outside of the folder. Each is sound but for one
// thing.

import { readFileSync } from 'node:fs';
import path from 'node:path';
import zlib from 'node:zlib';
import { fixture } from './archives';
import { npy, zip } from './zip';

/** A hostile file: how it is called, its bytes and what its error says. */
export interface Hostile {
  readonly name: string;
  readonly bytes: Buffer;
  readonly message: RegExp;
}

const six = new Float32Array([1, 2, 3, 4, 5, 6]);
const four = Buffer.from(new Float32Array([1, 2, 3, 4]).buffer);
const zeros = Buffer.alloc(2 ** 28);

function uint64(value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

/** Protobuf's and LevelDB's numbers: seven bits a byte, the lowest first. */
function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Buffer.from([...bytes, rest]);
}

/** A protobuf field of bytes. */
function field(number: number, ...content: readonly Buffer[]): Buffer {
  const bytes = Buffer.concat(content);
  return Buffer.concat([varint(number * 8 + 2), varint(bytes.length), bytes]);
}

function safetensors(header: string, length = header.length): Buffer {
  return Buffer.concat([uint64(length), Buffer.from(header), Buffer.alloc(8)]);
}

/** A pickle of a dict with a tensor `w` of four numbers; `end` is what the key of its storage ends in. */
function pickle(shape: string, end: string): string {
  const storage = `(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x04${end}tQ`;
  const tensor = `ctorch._utils\n_rebuild_tensor_v2\n(${storage}K\x00${shape}K\x01\x85\x89ccollections\nOrderedDict\n)RtR`;
  return `\x80\x02}X\x01\0\0\0w${tensor}s.`;
}

function pytorch(data: string, storage = { data: four }): Buffer {
  return zip({ 'a/data.pkl': { data: Buffer.from(data, 'latin1') }, 'a/data/0': storage });
}

/** The stream of torch.save before 1.6, whose one storage says that it has so many elements. */
function legacyStream(elements: bigint): Buffer {
  const number = '\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.';
  const pickles = `${number}\x80\x02M\xe9\x03.\x80\x02}.${pickle('K\x04\x85', 'N')}\x80\x02]X\x01\0\0\x000a.`;
  return Buffer.concat([Buffer.from(pickles, 'latin1'), uint64(elements), four]);
}

/** The header of a tar file's member. */
export function tarHeader(name: string, octalSize: string, type = '0', link = ''): Buffer {
  const header = Buffer.alloc(512);
  header.write(name, 0, 'latin1');
  header.write('0000644\x000000000\x000000000\0', 100, 'latin1');
  header.write(`${octalSize.padStart(11, '0')}\0`, 124, 'latin1');
  header.write(`${'0'.padStart(11, '0')}\0        ${type}${link}`, 136, 'latin1');
  header.write('ustar\x0000', 257, 'latin1');
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}

/** Two hundred entries of a zip file's directory that all lead to the same data. */
function overlapping(): Buffer {
  const data = zlib.deflateRawSync(
    Buffer.concat([npy('<f4', '4194272,', six).subarray(0, 128), zeros.subarray(0, 2 ** 24)]),
  );
  const one = zip({ 'a000.npy': { data, method: 8, size: 2 ** 24 } });
  const at = one.readUInt32LE(one.length - 6);
  const entry = one.subarray(at, one.length - 22);
  const end = Buffer.from(one.subarray(-22));
  end.writeUInt16LE(200, 8);
  end.writeUInt16LE(200, 10);
  end.writeUInt32LE(200 * entry.length, 12);
  const entries = Array.from({ length: 200 }, (_, i) => {
    const copy = Buffer.from(entry);
    copy.write(String(i).padStart(3, '0'), copy.indexOf('a000.npy') + 1);
    return copy;
  });
  return Buffer.concat([one.subarray(0, at), ...entries, end]);
}

/** A zip file whose directory, by zip64's record of its end (APPNOTE 4.3.14), has a trillion entries. */
function trillionEntries(): Buffer {
  const sound = zip({ 'a.npy': { data: npy('<f4', '6,', six) } });
  const start = sound.readUInt32LE(sound.length - 6);
  const size = sound.readUInt32LE(sound.length - 10);
  const record = Buffer.alloc(56);
  record.writeUInt32LE(0x06064b50, 0);
  uint64(44).copy(record, 4);
  for (const [at, value] of [
    [24, 1e12],
    [32, 1e12],
    [40, size],
    [48, start],
  ] as const) {
    uint64(value).copy(record, at);
  }
  const locator = Buffer.alloc(20);
  locator.writeUInt32LE(0x07064b50, 0);
  uint64(sound.length - 22).copy(locator, 8);
  locator.writeUInt32LE(1, 16);
  const end = Buffer.from(sound.subarray(-22));
  end.fill(255, 8, 20);
  return Buffer.concat([sound.subarray(0, -22), record, locator, end]);
}

/** A dataset whose sizes of eight bytes are other ones. */
function keras(): Buffer {
  const bytes = readFileSync(fixture('keras-legacy.h5'));
  const at = bytes.indexOf(Buffer.concat([3, 3, 3, 4].map(uint64)));
  Buffer.concat([2 ** 20, 2 ** 20, 2 ** 10, 4].map(uint64)).copy(bytes, at);
  return bytes;
}

/** A .tflite whose root table has a longer list in this slot. */
function tensorflowLite(slot: number): Buffer {
  const bytes = readFileSync(path.join(__dirname, 'tensorflow', 'float32.tflite'));
  const root = bytes.readUInt32LE(0);
  const slots = root - bytes.readInt32LE(root);
  const at = root + bytes.readUInt16LE(slots + 4 + 2 * slot);
  bytes.writeUInt32LE(0xffffffff, at + bytes.readUInt32LE(at));
  return bytes;
}

/** The index of a checkpoint whose footer gives another place of the list of blocks. */
function checkpointIndex(offset: number, size: number): Buffer {
  const bytes = readFileSync(path.join(__dirname, 'tensorflow', 'deeplab_resnet.ckpt.index'));
  const handles = Buffer.concat([0, 0, offset, size].map(varint));
  bytes.fill(0, bytes.length - 48, bytes.length - 8);
  handles.copy(bytes, bytes.length - 48);
  return bytes;
}

function caffe(...layer: readonly Buffer[]): Buffer {
  return field(100, field(1, Buffer.from('conv')), ...layer);
}

const sizes = (...dims: readonly number[]) => field(7, field(1, ...dims.map(varint)));
const laughs = `)${Array.from({ length: 40 }, (_, i) => `q${String.fromCharCode(i)}0${`h${String.fromCharCode(i)}`.repeat(2)}\x86`).join('')}.`;

/** All of them. Made when they are asked for: some take a second. */
export function hostileFiles(): readonly Hostile[] {
  const bomb = { data: zlib.deflateRawSync(zeros), method: 8, size: zeros.length };
  const all: readonly (readonly [name: string, bytes: Buffer, message: RegExp])[] = [
    [
      'header-of-a-terabyte.safetensors',
      safetensors('{}', 2 ** 40),
      /of no format that is read|truncated in its header/,
    ],
    ['header-of-99-megabytes.safetensors', safetensors('{"a":0}', 99e6), /truncated in its header/],
    [
      'shape-beyond-counting.safetensors',
      safetensors(`{"a":{"dtype":"F32","shape":[${2 ** 40},${2 ** 40}],"data_offsets":[0,8]}}`),
      /8 bytes of a: expected/,
    ],
    ['string-of-4-gigabytes.pth', pytorch('\x80\x02X\xff\xff\xff\xffa.'), /a string of 4294967295 bytes/],
    ['shape-of-a-terabyte.pth', pytorch(pickle('J\xff\xff\xff\x7f\x85', '')), /leaves its storage of 4 elements/],
    ['billion-laughs.pth', pytorch(laughs), /more than 2000000 objects/],
    ['bomb-as-pickle.pth', zip({ 'a/data.pkl': bomb }), /would inflate from \d+ to 268435456 bytes/],
    ['bomb-as-storage.pth', pytorch(pickle('K\x04\x85', ''), bomb), /would inflate from \d+ to 268435456 bytes/],
    ['storage-of-2-to-the-60.pth', legacyStream(2n ** 60n), /truncated or damaged/],
    ['storage-of-minus-one.pth', legacyStream(2n ** 64n - 1n), /truncated or damaged/],
    ['member-of-8-gigabytes.pth', tarHeader('storages', '77777777777'), /truncated or damaged/],
    ['shape-beyond-counting.npz', zip({ 'a.npy': { data: npy('<f4', `${'9'.repeat(15)},`, six) } }), /152 bytes in a/],
    ['bomb.npz', zip({ 'a.npy': bomb }), /would inflate from \d+ to 268435456 bytes/],
    ['bomb-that-says-it-is-small.npz', zip({ 'a.npy': { ...bomb, size: 152 } }), /is damaged in a\.npy|no \.npy file/],
    ['entries-upon-each-other.npz', overlapping(), /its entries overlap/],
    ['a-trillion-entries.npz', trillionEntries(), /it has 1000000000000 entries/],
    ['dataset-of-a-terabyte.h5', keras(), /expected at most \d+ bytes|is damaged/],
    ['four-billion-networks.tflite', tensorflowLite(2), /a list in it has 4294967295 values/],
    ['four-billion-buffers.tflite', tensorflowLite(4), /a list in it has 4294967295 values/],
    [
      'block-of-a-terabyte.index',
      checkpointIndex(0, 2 ** 40),
      /a block of the table would be bytes 0 to 1099511627781/,
    ],
    ['block-beyond-the-end.index', checkpointIndex(2 ** 50, 1), /a block of the table would be bytes/],
    [
      'shape-beyond-counting.caffemodel',
      caffe(field(7, sizes(2 ** 40, 2 ** 40), field(5, four))),
      /the shape of tensor/,
    ],
    ['shape-of-a-terabyte.caffemodel', caffe(field(7, sizes(2 ** 38), field(5, four))), /16 bytes of tensor 'conv\/0'/],
    ['a-million-fields.caffemodel', caffe(Buffer.alloc(2_000_002, '\x18\x00')), /more than 1000000 fields/],
    ['name-of-a-megabyte.caffemodel', field(100, field(1, zeros.subarray(0, 2 ** 20))), /1048576 bytes of the name/],
  ];
  return all.map(([name, bytes, message]) => ({ name, bytes, message }));
}
