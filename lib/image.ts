// From anything that is a picture to bytes in memory. Decoding, orientation and colour management are sharp's;
// scaling, mean and channel order are the native session's.

import { readFile } from 'node:fs/promises';
import { types } from 'node:util';
import sharp, { type Sharp } from 'sharp';
import { copyBytes } from './copies';
import { DeepLabError, invalidArgument } from './errors';
import type { OptionRule } from './options';

/**
 * Pixels that are decoded already: uint8 [H,W,channels], row by row, without padding. Channels: 1 grey, 3 RGB,
 * 4 RGBA, of which the alpha is ignored. The pixels are copied: the caller may reuse `data` at once.
 */
export interface RawImage {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly channels: 1 | 3 | 4;
}

/**
 * A picture: the path of an image file, the bytes of an encoded image (JPEG, PNG, WebP, AVIF, GIF, TIFF, SVG), decoded
 * pixels, or a sharp instance, whose output is used. The instance is cloned, never changed.
 */
export type ImageInput = string | Uint8Array | RawImage | Sharp;

/** The size of a picture whose pixels do not matter. */
export interface ImageSize {
  readonly width: number;
  readonly height: number;
}

/** What sharp allows by itself: 0x3FFF * 0x3FFF pixels. */
export const defaultPixelLimit = 268_402_689;

/** The rule of every `limitInputPixels` option. */
export const pixelLimitRule: OptionRule = {
  expected: 'positive integer or false',
  accepts: (value) => value === false || (Number.isSafeInteger(value) && (value as number) > 0),
};

/**
 * Decodes `input` to 8-bit sRGB. The EXIF orientation is applied (to sharp instances as well); CMYK, 16-bit and palette
 * images are converted; transparency is ignored: the colour beneath it counts. Of an animation, the first frame is used.
 *
 * @param limitInputPixels - Most pixels that a picture may have; false for no limit.
 * @throws ERR_NOT_FOUND, ERR_INVALID_IMAGE, ERR_IMAGE_TOO_LARGE or ERR_INVALID_ARGUMENT.
 */
export async function decodeImage(
  input: ImageInput,
  limitInputPixels: number | false = defaultPixelLimit,
): Promise<RawImage> {
  const image = await decode(input, limitInputPixels);
  checkPixelLimit(image, limitInputPixels);
  return image;
}

/**
 * @param limitInputPixels - As for {@link decodeImage}.
 * @throws ERR_IMAGE_TOO_LARGE
 */
export function checkPixelLimit(
  { width, height }: ImageSize,
  limitInputPixels: number | false = defaultPixelLimit,
): void {
  if (limitInputPixels !== false && width * height > limitInputPixels) {
    throw tooLarge(`${width}x${height} pixels`, limitInputPixels);
  }
}

function decode(input: ImageInput, limit: number | false): Promise<RawImage> | RawImage {
  if (typeof input === 'string') return decodeFile(input, limit);
  // A copy, since libvips reads it on another thread, later.
  if (types.isUint8Array(input)) return decodeBytes(copyBytes('input', input), limit);
  // rotate() without an angle is autoOrient(), which older copies of sharp do not have under that name.
  if (isSharp(input)) return pixels(input.clone().rotate(), limit);
  if (typeof input === 'object' && input !== null && 'data' in input) return checkRawImage(input);
  throw invalidArgument(
    'input',
    'file path, Buffer, Uint8Array, {data, width, height, channels} or sharp instance',
    input,
  );
}

/** Read here and not by libvips, whose errors do not tell a missing file from a damaged one. */
async function decodeFile(file: string, limit: number | false): Promise<RawImage> {
  let bytes: Buffer;
  try {
    bytes = await readFile(file);
  } catch (cause) {
    throw new DeepLabError('ERR_NOT_FOUND', `The image cannot be read: ${(cause as Error).message}`, { cause });
  }
  return decodeBytes(bytes, limit, file);
}

function decodeBytes(bytes: Uint8Array, limit: number | false, file?: string): Promise<RawImage> {
  // sharp would refuse empty bytes as a wrong parameter, synchronously; they are a damaged image like any other.
  if (bytes.length === 0) throw new DeepLabError('ERR_INVALID_IMAGE', `${name(file)} is empty (0 bytes)`);
  return pixels(sharp(bytes, { autoOrient: true, pages: 1, limitInputPixels: limit }), limit, file);
}

async function pixels(picture: Sharp, limit: number | false, file?: string): Promise<RawImage> {
  try {
    let decoded = await rgbBytes(picture);
    // The caller's own sharp steps decide the channels; grey with alpha is the case that the network cannot take.
    if (![1, 3, 4].includes(decoded.info.channels)) {
      decoded = await rgbBytes(sharp(decoded.data, { raw: decoded.info, limitInputPixels: limit }));
    }
    const { width, height, channels } = decoded.info;
    return { data: decoded.data, width, height, channels: channels as RawImage['channels'] };
  } catch (cause) {
    const { message } = cause as Error;
    if (/pixel limit/.test(message)) throw tooLarge(name(file), limit, cause);
    if (/is missing/.test(message)) throw new DeepLabError('ERR_NOT_FOUND', message, { cause });
    throw new DeepLabError('ERR_INVALID_IMAGE', `${name(file)} cannot be decoded: ${message}`, { cause });
  }
}

function rgbBytes(picture: Sharp) {
  return picture.toColourspace('srgb').removeAlpha().raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
}

/** By its methods, since `instanceof` fails where the application has a copy of sharp of its own. */
function isSharp(input: unknown): input is Sharp {
  const { raw, toBuffer, clone } = (input ?? {}) as Partial<Record<string, unknown>>;
  return typeof raw === 'function' && typeof toBuffer === 'function' && typeof clone === 'function';
}

function checkRawImage({ data, width, height, channels }: RawImage): RawImage {
  if (!types.isUint8Array(data)) throw invalidArgument('data', 'Uint8Array', data);
  for (const [side, size] of Object.entries({ width, height })) {
    if (!Number.isSafeInteger(size) || size < 1) throw invalidArgument(side, 'positive integer', size);
  }
  if (![1, 3, 4].includes(channels)) throw invalidArgument('channels', '1 (grey), 3 (RGB) or 4 (RGBA)', channels);
  const length = width * height * channels;
  if (data.length !== length) {
    throw invalidArgument('data.length', `${length} (${width}x${height}x${channels})`, data.length);
  }
  // A copy, since the overlay may be drawn long after the caller has put the next frame into the same buffer.
  const copy = copyBytes('data', data);
  if (copy.length !== length) throw invalidArgument('data.length', String(length), copy.length);
  return { data: copy, width, height, channels };
}

function tooLarge(what: string, limit: number | false, cause?: unknown): DeepLabError {
  const message = `${what}: more than limitInputPixels (${limit}) allows`;
  return new DeepLabError('ERR_IMAGE_TOO_LARGE', message, { cause });
}

function name(file: string | undefined): string {
  return file === undefined ? 'The image' : file;
}
