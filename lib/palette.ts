// Colours of classes. A model that brings a palette in its weights file uses that one; all others use this one.

/** Red, green and blue, each 0..255. */
export type Color = readonly [red: number, green: number, blue: number];

/**
 * The colour map of PASCAL VOC: class 0 black, 1 maroon, 2 green, ... as in `VOClabelcolormap.m` of the VOC2012
 * development kit. The bits of the class id are dealt to red, green and blue in turn, each channel filled from its
 * highest bit down, so that ids that are near each other get colours that are far apart.
 *
 * @param n - Number of classes, 0..256.
 * @returns One colour per class, by id.
 *
 * @example
 * ```ts
 * import { vocPalette } from 'deeplab';
 *
 * const [background, aeroplane] = vocPalette(21);
 * console.log(background, aeroplane); // [0, 0, 0] [128, 0, 0]
 * ```
 */
export function vocPalette(n: number): Color[] {
  return Array.from({ length: n }, (_, id) => [channel(id, 0), channel(id, 1), channel(id, 2)] as const);
}

/** Every third bit of the id from `offset` on, the first of them in the channel's highest place. */
function channel(id: number, offset: 0 | 1 | 2): number {
  let value = 0;
  for (let bit = offset, place = 7; bit < 8; bit += 3, place--) {
    value |= ((id >> bit) & 1) << place;
  }
  return value;
}
