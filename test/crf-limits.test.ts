// Features at the edge of what the lattice's floats bear, and beyond it.

import { crfOf, infer, smoothUnary } from './crf-scenes';

describe('features as far from zero as they are accepted', () => {
  const [width, height, classes] = [23, 17, 3];
  const area = width * height;
  const unary = { kind: 'unary', data: smoothUnary(width, height, classes, 3), classes } as const;

  test.each(Array.from({ length: 16 }, (_, i) => i + 1))(
    'still make marginals, in %i dimensions',
    async (dimensions) => {
      // An elevated coordinate is at most the sum of all features, each times its scale (crf/lattice.h).
      const scale = (i: number) => (Math.sqrt(2 / 3) * (dimensions + 1)) / Math.sqrt((i + 1) * (i + 2));
      const steepest = Math.max(
        Array.from({ length: dimensions }, (_, i) => scale(i)).reduce((sum, value) => sum + value),
        ...Array.from({ length: dimensions }, (_, i) => (i + 1) * scale(i) + (dimensions - 1 - i) * scale(i)),
      );
      const farthest = (0.99 * 2 ** 22) / (dimensions + 2) / steepest / 2;
      const features = Float32Array.from({ length: dimensions * area }, (_, i) => {
        const noise = Math.sin(i * 12.9898) * 43758.5453;
        return i % 7 === 0 ? Math.sign(Math.sin(i)) * farthest : farthest * (2 * (noise - Math.floor(noise)) - 1);
      });
      const compatibility = Float32Array.of(3);
      const term = { kernel: 'features', deviations: [], features, compatibility, normalization: 'symmetric' } as const;
      const image = { width, height, channels: 3 };
      const marginals = (await infer(image, crfOf(term), unary)).marginals as Float32Array;
      for (let i = 0; i < area; i++) {
        const sum = (marginals[i] as number) + (marginals[area + i] as number) + (marginals[2 * area + i] as number);
        expect(Math.abs(sum - 1)).toBeLessThan(1e-5);
      }
      const beyond = { ...term, features: features.map((feature) => 32 * feature) };
      await expect(infer(image, crfOf(beyond), unary)).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' });
    },
  );
});
