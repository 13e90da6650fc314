// Reads label maps: PNGs whose palette indices, or shades of grey, are ids. sharp makes colours of indices, so it is given
// the file as one of grey. What the ids mean, the datasets say. Section numbers are those of the PNG specification,
// third edition (https://www.w3.org/TR/png-3/).

import { readFile } from 'node:fs/promises';
import zlib from 'node:zlib';
import sharp from 'sharp';
import { DeepLabError } from '../errors';

/** A label map as its file has it: uint8 [H,W] of ids, or uint8 [H,W,3] of colours. */
export interface LabelMap {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly kind: 'ids' | 'colors';
}

/** Section 5.2. */
const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
/** Colour types of section 11.2.1. */
const [grey, indexed] = [0, 3];

/** @throws ERR_NOT_FOUND, ERR_INVALID_IMAGE naming the file. */
export async function readLabelMap(file: string): Promise<LabelMap> {
  let bytes: Buffer;
  try {
    bytes = await readFile(file);
  } catch (cause) {
    throw new DeepLabError('ERR_NOT_FOUND', `The labels cannot be read: ${(cause as Error).message}`, { cause });
  }
  // The header is the first chunk: length, type, and 13 bytes, of which the depth and the colour type are these.
  if (bytes.length < 33 || !bytes.subarray(0, 8).equals(signature) || bytes.toString('latin1', 12, 16) !== 'IHDR') {
    throw new DeepLabError('ERR_INVALID_IMAGE', `${file}: expected a PNG of labels`);
  }
  const depth = bytes.readUInt8(24);
  const colorType = bytes.readUInt8(25);
  if (depth > 8) throw new DeepLabError('ERR_INVALID_IMAGE', `${file}: expected up to 8 bits a label, not ${depth}`);
  const ids = colorType === grey || colorType === indexed;
  try {
    const picture = ids
      ? sharp(asGrey(bytes)).extractChannel(0)
      : sharp(bytes, { ignoreIcc: true }).toColourspace('srgb').removeAlpha();
    const { data, info } = await picture.raw().toBuffer({ resolveWithObject: true });
    const { width, height, channels } = info;
    if (channels !== (ids ? 1 : 3)) throw new Error(`${channels} channels`);
    // Fewer bits come stretched to eight.
    const step = 255 / (2 ** depth - 1);
    const values = ids && depth < 8 ? Uint8Array.from(data, (value) => value / step) : Uint8Array.from(data);
    return { data: values, width, height, kind: ids ? 'ids' : 'colors' };
  } catch (cause) {
    throw new DeepLabError('ERR_INVALID_IMAGE', `${file} is damaged: ${(cause as Error).message}`, { cause });
  }
}

/** The same PNG with its samples as grey, which has the same depths, and nothing that would change them on the way. */
function asGrey(bytes: Buffer): Buffer {
  const parts: Buffer[] = [signature];
  for (let at = signature.length; at + 12 <= bytes.length; ) {
    const end = at + 12 + bytes.readUInt32BE(at);
    const type = bytes.toString('latin1', at + 4, at + 8);
    const chunk = bytes.subarray(at, end);
    if (type === 'IHDR') {
      const header = Buffer.from(chunk);
      header.writeUInt8(grey, 17);
      header.writeUInt32BE(zlib.crc32(header.subarray(4, 21)), 21);
      parts.push(header);
    } else if (type === 'IDAT' || type === 'IEND') parts.push(chunk);
    at = end;
  }
  return Buffer.concat(parts);
}
