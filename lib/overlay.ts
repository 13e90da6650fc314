// Lays class colours over a photo. Encoding the result is sharp's, choosing opacity and format the caller's.

import type { RawImage } from './image';
import type { Color } from './palette';

/**
 * Blends each pixel of `image` with the colour of its class: `(1 - opacity) * pixel + opacity * colour`, rounded.
 *
 * @param labels - Class ids, uint8 [H,W].
 * @param palette - One colour per class, by id.
 * @param opacity - 0 (the photo) to 1 (the colours).
 * @returns RGB, uint8 [H,W,3]; grey is spread over the channels, alpha is ignored.
 */
export function blendOverlay(
  image: RawImage,
  labels: Uint8Array,
  palette: readonly Color[],
  opacity: number,
): Uint8Array {
  const { data, channels } = image;
  const [green, blue] = channels === 1 ? [0, 0] : [1, 2];
  const kept = 1 - opacity;
  // Half a step is added here once per class, so that storing in a byte, which truncates, rounds.
  const tints = Float64Array.from(palette.flat(), (value) => opacity * value + 0.5);
  const blended = new Uint8Array(labels.length * 3);
  for (let pixel = 0; pixel < labels.length; pixel++) {
    const from = pixel * channels;
    const to = pixel * 3;
    const tint = (labels[pixel] as number) * 3;
    blended[to] = kept * (data[from] as number) + (tints[tint] as number);
    blended[to + 1] = kept * (data[from + green] as number) + (tints[tint + 1] as number);
    blended[to + 2] = kept * (data[from + blue] as number) + (tints[tint + 2] as number);
  }
  return blended;
}
