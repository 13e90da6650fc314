// Crops of images and labels, against a plain resize, mirror, pad and crop in floating point.

import fc from 'fast-check';
import { type Crop, drawCrop, type LabelledImage, writeCrop } from '../lib/train/augmentation';
import { threeChannels } from '../lib/train/images';
import { Random } from '../lib/train/random';

const padding = { color: [124, 116, 104], label: 255 } as const;

function imageOf(width: number, height: number, seed: number): LabelledImage {
  const random = new Random(seed, 'order', 0);
  const pixels = Uint8Array.from({ length: 3 * width * height }, () => random.below(256));
  const labels = Uint8Array.from({ length: width * height }, () => random.below(11));
  return { pixels, labels, width, height };
}

function cropOf(image: LabelledImage, crop: Crop, size: { width: number; height: number }) {
  const pixels = new Uint8Array(3 * size.width * size.height).fill(99);
  const labels = new Uint8Array(size.width * size.height).fill(99);
  writeCrop(image, crop, size, padding, pixels, labels);
  return { pixels, labels };
}

/** Scales the whole image, mirrors it, and looks up each pixel of the crop. */
function plainCrop(image: LabelledImage, crop: Crop, size: { width: number; height: number }) {
  const sample = (x: number, y: number, channel: number) => {
    const at = (value: number, most: number) => Math.min(most - 1, Math.max(0, value));
    const exactX = Math.max(0, ((x + 0.5) * image.width) / crop.scaledWidth - 0.5);
    const exactY = Math.max(0, ((y + 0.5) * image.height) / crop.scaledHeight - 0.5);
    const [x0, y0] = [Math.floor(exactX), Math.floor(exactY)];
    let sum = 0;
    for (const [dx, dy] of [
      [0, 0],
      [1, 0],
      [0, 1],
      [1, 1],
    ] as const) {
      const weight = (1 - Math.abs(exactX - x0 - dx)) * (1 - Math.abs(exactY - y0 - dy));
      const index = at(y0 + dy, image.height) * image.width + at(x0 + dx, image.width);
      sum += weight * (image.pixels[3 * index + channel] as number);
    }
    return sum;
  };
  const [pixels, labels]: [number[], number[]] = [[], []];
  for (let y = 0; y < size.height; y++) {
    for (let x = 0; x < size.width; x++) {
      const [placeX, placeY] = [x + crop.x, y + crop.y];
      if (placeX >= crop.scaledWidth || placeY >= crop.scaledHeight) {
        pixels.push(...padding.color);
        labels.push(padding.label);
        continue;
      }
      const source = crop.mirrored ? crop.scaledWidth - 1 - placeX : placeX;
      pixels.push(...[0, 1, 2].map((channel) => sample(source, placeY, channel)));
      const nearestX = Math.floor(((source + 0.5) * image.width) / crop.scaledWidth);
      const nearestY = Math.floor(((placeY + 0.5) * image.height) / crop.scaledHeight);
      labels.push(image.labels[nearestY * image.width + nearestX] as number);
    }
  }
  return { pixels, labels };
}

test('a crop is that of the image that was scaled, mirrored and padded', () => {
  const side = fc.integer({ min: 1, max: 24 });
  fc.assert(
    fc.property(side, side, side, side, fc.nat(), (width, height, cropWidth, cropHeight, seed) => {
      const image = imageOf(width, height, seed);
      const size = { width: cropWidth, height: cropHeight };
      const crop = drawCrop(new Random(seed, 'augmentation', 1), image, { ...size, scale: [0.3, 2.5], flip: true });
      const made = cropOf(image, crop, size);
      const plain = plainCrop(image, crop, size);
      expect([...made.labels]).toEqual(plain.labels);
      // Weights of 11 bits are off by 2^-12 at most, in either direction.
      plain.pixels.forEach((value, i) => {
        expect(Math.abs((made.pixels[i] as number) - value)).toBeLessThan(0.5 + (2 * 255) / 4096 + 1e-6);
      });
    }),
  );
});

test('at scale 1, a crop is a piece of the image as it is', () => {
  const image = imageOf(9, 7, 1);
  const crop = { scaledWidth: 9, scaledHeight: 7, x: 2, y: 3, mirrored: false };
  const { pixels, labels } = cropOf(image, crop, { width: 4, height: 2 });
  const rows = [3, 4].map((y) => (y * 9 + 2) as number);
  expect([...labels]).toEqual(rows.flatMap((row) => [...image.labels.subarray(row, row + 4)]));
  expect([...pixels]).toEqual(rows.flatMap((row) => [...image.pixels.subarray(3 * row, 3 * row + 12)]));
});

test('labels stay with their pixels', () => {
  const image = imageOf(16, 12, 2);
  // Pixels say what the labels are, so that each pixel of a crop can be asked.
  for (const [i, label] of image.labels.entries()) image.pixels.fill(20 * label, 3 * i, 3 * i + 3);
  for (const mirrored of [false, true]) {
    const crop = { scaledWidth: 16, scaledHeight: 12, x: 3, y: 1, mirrored };
    const { pixels, labels } = cropOf(image, crop, { width: 10, height: 10 });
    expect([...pixels].filter((_, i) => i % 3 === 0)).toEqual([...labels].map((label) => 20 * label));
  }
});

test('a mirrored crop is the mirror of the crop at the other side', () => {
  const image = imageOf(15, 6, 3);
  const size = { width: 5, height: 6 };
  const crop = { scaledWidth: 20, scaledHeight: 8, x: 4, y: 1, mirrored: true };
  const mirrored = cropOf(image, crop, size);
  const plain = cropOf(image, { ...crop, mirrored: false, x: 20 - 5 - 4 }, size);
  for (let y = 0; y < 6; y++) {
    const row = (labels: Uint8Array) => [...labels.subarray(5 * y, 5 * y + 5)];
    expect(row(mirrored.labels)).toEqual(row(plain.labels).reverse());
  }
});

test('crops are drawn everywhere, at all scales, mirrored or not, and padded only where they must be', () => {
  const options = { width: 321, height: 321, scale: [0.5, 1.5], flip: true } as const;
  const image = { width: 480, height: 360 };
  const crops = Array.from({ length: 4000 }, (_, i) => drawCrop(new Random(1, 'augmentation', i), image, options));
  for (const { scaledWidth, scaledHeight, x, y } of crops) {
    expect(Math.abs(scaledWidth / 480 - scaledHeight / 360)).toBeLessThan(0.003);
    expect(x).toBeLessThanOrEqual(Math.max(0, scaledWidth - 321));
    expect(y).toBeLessThanOrEqual(Math.max(0, scaledHeight - 321));
  }
  const widths = crops.map(({ scaledWidth }) => scaledWidth);
  expect(Math.min(...widths)).toBeLessThan(243);
  expect(Math.max(...widths)).toBeGreaterThan(717);
  expect(crops.some(({ x, scaledWidth }) => x > 0 && x === scaledWidth - 321)).toBe(true);
  expect(Math.abs(crops.filter(({ mirrored }) => mirrored).length - 2000)).toBeLessThan(6 * Math.sqrt(1000));
  expect(drawCrop(new Random(1, 'augmentation', 1), image, { ...options, flip: false }).mirrored).toBe(false);
});

test('grey and transparent images are seen in three channels', () => {
  const three = (data: number[], channels: 1 | 3 | 4) => [...threeChannels({ data: Uint8Array.from(data), channels })];
  expect(three([1, 2], 1)).toEqual([1, 1, 1, 2, 2, 2]);
  expect(three([1, 2, 3, 9, 4, 5, 6, 9], 4)).toEqual([1, 2, 3, 4, 5, 6]);
  expect(three([1, 2, 3], 3)).toEqual([1, 2, 3]);
});
