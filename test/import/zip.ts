// Writes zip files for tests (APPNOTE 4.3), sound ones and, given odd sizes, methods or checksums, unsound ones: nothing
// is checked or compressed.

import zlib from 'node:zlib';

export interface StoredEntry {
  /** The bytes as they lie in the file. */
  readonly data: Buffer;
  /** 0 stored (the default), 8 deflated. */
  readonly method?: number;
  /** Uncompressed size; default that of the data. */
  readonly size?: number;
  /** Default that of the data. */
  readonly crc32?: number;
  readonly flags?: number;
  /** Whether sizes and offset are in the 8 bytes of zip64 (4.5.3). */
  readonly zip64?: boolean;
}

export function zip(entries: Readonly<Record<string, StoredEntry>> | readonly [string, StoredEntry][]): Buffer {
  const all = Array.isArray(entries) ? (entries as readonly [string, StoredEntry][]) : Object.entries(entries);
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const [name, entry] of all) {
    const local = Buffer.concat([header(0x04034b50, name, entry), Buffer.from(name)]);
    parts.push(local, entry.data);
    directory.push(central(name, entry, at));
    at += local.length + entry.data.length;
  }
  const size = directory.reduce((sum, { length }) => sum + length, 0);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(all.length, 8);
  end.writeUInt16LE(all.length, 10);
  end.writeUInt32LE(size, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...parts, ...directory, end]);
}

/** 30 bytes, as both kinds of header have them; those of the directory have two bytes more after the signature. */
function header(
  signature: number,
  name: string,
  { data, method = 0, size = data.length, ...more }: StoredEntry,
): Buffer {
  const bytes = Buffer.alloc(30);
  bytes.writeUInt32LE(signature, 0);
  bytes.writeUInt16LE(more.zip64 === true ? 45 : 20, 4);
  bytes.writeUInt16LE(more.flags ?? 0, 6);
  bytes.writeUInt16LE(method, 8);
  bytes.writeUInt32LE(more.crc32 ?? zlib.crc32(data), 14);
  bytes.writeUInt32LE(more.zip64 === true ? 0xffffffff : data.length, 18);
  bytes.writeUInt32LE(more.zip64 === true ? 0xffffffff : size, 22);
  bytes.writeUInt16LE(Buffer.byteLength(name), 26);
  return bytes;
}

function central(name: string, entry: StoredEntry, offset: number): Buffer {
  const { data, size = data.length, zip64 = false } = entry;
  const extra = Buffer.alloc(zip64 ? 28 : 0);
  if (zip64) {
    extra.writeUInt16LE(1, 0);
    extra.writeUInt16LE(24, 2);
    extra.writeBigUInt64LE(BigInt(size), 4);
    extra.writeBigUInt64LE(BigInt(data.length), 12);
    extra.writeBigUInt64LE(BigInt(offset), 20);
  }
  const tail = Buffer.alloc(14);
  tail.writeUInt32LE(zip64 ? 0xffffffff : offset, 10);
  const bytes = header(0x02014b50, name, entry);
  bytes.writeUInt16LE(extra.length, 28);
  return Buffer.concat([bytes.subarray(0, 4), Buffer.alloc(2), bytes.subarray(4), tail, Buffer.from(name), extra]);
}

/** A .npy file of this header and data. */
export function npy(descr: string, shape: string, data: NodeJS.ArrayBufferView, order = 'False'): Buffer {
  const header = `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': (${shape}), }`.padEnd(117);
  const length = Buffer.from([1, 0, 118, 0]);
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return Buffer.concat([Buffer.from('\x93NUMPY', 'latin1'), length, Buffer.from(`${header}\n`), bytes]);
}
