import { crfPresets } from '../lib';

test.each([
  ['deeplab-v2-resnet101', [4, 67, 3], [3, 1], 10],
  ['deeplab-v2-vgg16', [4, 65, 3], [2, 2], 10],
  ['deeplab-v1', [4, 49, 5], [3, 3], 10],
  ['pydensecrf', [10, 80, 13], [3, 3], 5],
] as const)('the preset %s is what was published', (name, [weight, xy, rgb], [smoothness, reach], iterations) => {
  expect(crfPresets[name]).toEqual({
    pairwise: [
      { kernel: 'bilateral', xy, rgb, compatibility: weight },
      { kernel: 'gaussian', xy: reach, compatibility: smoothness },
    ],
    coordinates: 'yx',
    iterations,
  });
});
