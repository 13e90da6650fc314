import { vocPalette } from '../lib';

// The first 21 colours of VOC2012, as its development kit lists them.
const published = [
  [0, 0, 0],
  [128, 0, 0],
  [0, 128, 0],
  [128, 128, 0],
  [0, 0, 128],
  [128, 0, 128],
  [0, 128, 128],
  [128, 128, 128],
  [64, 0, 0],
  [192, 0, 0],
  [64, 128, 0],
  [192, 128, 0],
  [64, 0, 128],
  [192, 0, 128],
  [64, 128, 128],
  [192, 128, 128],
  [0, 64, 0],
  [128, 64, 0],
  [0, 192, 0],
  [128, 192, 0],
  [0, 64, 128],
];

test('the colours of the 21 classes of PASCAL VOC are the published ones', () => {
  expect(vocPalette(21)).toEqual(published);
});

test('class 255, "void", has the published colour of borders', () => {
  expect(vocPalette(256)[255]).toEqual([224, 224, 192]);
});

test('256 classes have 256 different colours', () => {
  expect(new Set(vocPalette(256).map(String)).size).toBe(256);
});

test('no classes have no colours', () => {
  expect(vocPalette(0)).toEqual([]);
});
