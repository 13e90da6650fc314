// Reads the label maps that people paint or tools write: pictures in which each colour is a class. Which class a colour
// is, nobody says, so they are numbered here.

import sharp from 'sharp';
import { maxClasses } from './compatibility';
import { DeepLabError, invalidArgument } from './errors';
import { decodeImage } from './image';
import type { Color } from './palette';

/** A label map and what its labels look like. */
export interface Annotation {
  /** uint8 [H,W]: index into `colors`, or `unknown`. */
  readonly labels: Uint8Array;
  readonly width: number;
  readonly height: number;
  /** The colours of the classes, 2..256. */
  readonly colors: readonly Color[];
  /** The label of the pixels that are black; undefined if none is. */
  readonly unknown: number | undefined;
}

/**
 * Reads a picture as labels. What counts is what it looks like: palette entries and shades of grey v, as [v,v,v], are
 * colours. Black means unknown and is no class; the other colours are classes in the order of r + 256 g + 65536 b, as in
 * pydensecrf's example. A colour profile is ignored.
 *
 * @throws ERR_NOT_FOUND, ERR_INVALID_IMAGE, ERR_IMAGE_TOO_LARGE; ERR_INVALID_ARGUMENT if the picture has more than 8 bits
 * in a channel, is transparent somewhere, or has fewer than 2 or more than 256 colours (255 if it has black as well).
 */
export async function readAnnotation(file: string): Promise<Annotation> {
  const picture = sharp(file, { ignoreIcc: true });
  const { data, width, height, channels } = await decodeImage(picture).catch((cause: DeepLabError) => {
    throw new DeepLabError(cause.code, `${file}: ${cause.message}`, { cause });
  });
  await checkExact(picture, file);
  const [green, blue] = channels === 1 ? [0, 0] : [1, 2];
  const codes = new Uint32Array(width * height);
  for (let pixel = 0; pixel < codes.length; pixel++) {
    const at = pixel * channels;
    codes[pixel] = byte(data, at) + (byte(data, at + green) << 8) + (byte(data, at + blue) << 16);
  }
  const seen = new Set(codes);
  const black = seen.delete(0);
  const most = black ? maxClasses - 1 : maxClasses;
  if (seen.size < 2 || seen.size > most) {
    throw invalidArgument(`the colours of ${file}`, `2 to ${most} besides black`, seen.size);
  }
  const known = [...seen].sort((a, b) => a - b);
  const labelOf = new Map([...known, ...(black ? [0] : [])].map((code, label) => [code, label]));
  return {
    labels: Uint8Array.from(codes, (code) => labelOf.get(code) ?? 0),
    width,
    height,
    colors: known.map((code) => [code & 255, (code >> 8) & 255, code >> 16]),
    unknown: black ? known.length : undefined,
  };
}

function byte(data: Uint8Array, at: number): number {
  return data[at] as number;
}

/** decodeImage makes 8 opaque bits of everything, by which labels would merge. */
async function checkExact(picture: sharp.Sharp, file: string): Promise<void> {
  const { depth, hasAlpha } = await picture.metadata();
  if (depth !== 'uchar') throw invalidArgument(`the depth of ${file}`, '8 bits in a channel', depth);
  if (hasAlpha && !(await picture.stats()).isOpaque) {
    throw invalidArgument(`the alpha channel of ${file}`, 'no transparent pixel', 'some');
  }
}
