import fc from 'fast-check';
import type { RawImage } from '../lib';
import { blendOverlay } from '../lib/overlay';

const palette = [
  [0, 0, 0],
  [255, 128, 0],
] as const;
const photo: RawImage = { data: new Uint8Array([10, 20, 30, 100, 150, 200]), width: 2, height: 1, channels: 3 };
const labels = new Uint8Array([0, 1]);

test('half opacity is the mean of pixel and colour, rounded', () => {
  expect([...blendOverlay(photo, labels, palette, 0.5)]).toEqual([5, 10, 15, 178, 139, 100]);
});

test('opacity 0 is the photo', () => {
  expect([...blendOverlay(photo, labels, palette, 0)]).toEqual([...photo.data]);
});

test('opacity 1 is the colours', () => {
  expect([...blendOverlay(photo, labels, palette, 1)]).toEqual([0, 0, 0, 255, 128, 0]);
});

test('grey is spread over red, green and blue', () => {
  const grey: RawImage = { data: new Uint8Array([10, 200]), width: 2, height: 1, channels: 1 };
  expect([...blendOverlay(grey, labels, palette, 0)]).toEqual([10, 10, 10, 200, 200, 200]);
});

test('alpha is ignored', () => {
  const rgba: RawImage = {
    data: new Uint8Array([10, 20, 30, 0, 100, 150, 200, 255]),
    width: 2,
    height: 1,
    channels: 4,
  };
  expect([...blendOverlay(rgba, labels, palette, 0)]).toEqual([...photo.data]);
});

test('every blend is within half a step of the exact one', () => {
  const byte = fc.integer({ min: 0, max: 255 });
  fc.assert(
    fc.property(byte, byte, fc.double({ min: 0, max: 1, noNaN: true }), (pixel, color, opacity) => {
      const image: RawImage = { data: new Uint8Array([pixel]), width: 1, height: 1, channels: 1 };
      const [blended] = blendOverlay(image, new Uint8Array(1), [[color, color, color]], opacity);
      expect(Math.abs((blended ?? Number.NaN) - (pixel + (color - pixel) * opacity))).toBeLessThanOrEqual(0.5 + 1e-9);
    }),
  );
});
