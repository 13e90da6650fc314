// Writes indexed PNGs: the form in which label maps are exchanged (PASCAL VOC, Cityscapes), since a pixel's palette
// index is its class id. sharp quantises colours and so cannot promise which index a colour gets. All other image
// formats are sharp's. Section numbers are those of the PNG specification, third edition (https://www.w3.org/TR/png-3/).

import { promisify } from 'node:util';
import zlib from 'node:zlib';
import type { Color } from './palette';

const deflate = promisify(zlib.deflate);

/** Section 5.2. */
const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);

/**
 * Encodes `indices` (uint8 [H,W], each less than the number of colours) with `palette` (1..256 colours).
 */
export async function encodeIndexedPng(
  indices: Uint8Array,
  width: number,
  height: number,
  palette: readonly Color[],
): Promise<Buffer> {
  return Buffer.concat([
    signature,
    chunk('IHDR', header(width, height)),
    chunk('PLTE', Buffer.from(palette.flat())),
    chunk('IDAT', await deflate(scanlines(indices, width, height))),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/** Section 11.2.1. */
function header(width: number, height: number): Buffer {
  const data = Buffer.alloc(13);
  data.writeUInt32BE(width, 0);
  data.writeUInt32BE(height, 4);
  data[8] = 8; // bits per index
  data[9] = 3; // colour type: indexed
  return data; // compression, filter and interlace methods are 0
}

/** Every row after its filter type, 0: section 12.7 advises no filter for indexed images. */
function scanlines(indices: Uint8Array, width: number, height: number): Buffer {
  const rows = Buffer.alloc((width + 1) * height);
  for (let y = 0; y < height; y++) {
    rows.set(indices.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  }
  return rows;
}

/** Section 5.3: length, type, data and the CRC of type and data. */
function chunk(type: string, data: Buffer): Buffer {
  const typed = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const framed = Buffer.alloc(typed.length + 8);
  framed.writeUInt32BE(data.length, 0);
  typed.copy(framed, 4);
  framed.writeUInt32BE(zlib.crc32(typed), typed.length + 4);
  return framed;
}
