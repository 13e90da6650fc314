// What memory a fully connected CRF takes: none that stays, and at its peak what it needs.

import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { bilateral, crfOf, gaussian, infer, smoothImage, smoothUnary } from './crf-scenes';
import type { PlainImage } from './plain-crf';

const kernels = [gaussian([3, 2], 3), bilateral([12, 10, 14, 13, 15], 4)];

describe('memory', () => {
  test('does not grow over 1,000 images', async () => {
    const data = smoothUnary(24, 16, 5, 9);
    const images = Array.from({ length: 10 }, (_, i) => smoothImage(24, 16, i));
    let before = 0;
    for (let i = 0; i < 1000; i++) {
      if (i === 100) before = process.memoryUsage.rss();
      await infer(images[i % 10] as PlainImage, crfOf(...kernels), { kind: 'unary', data, classes: 5 });
    }
    expect((process.memoryUsage.rss() - before) / 2 ** 20).toBeLessThan(40);
  });

  test('at its peak is within 1.5 times the lattices, the unary and the marginals', async () => {
    const root = path.join(__dirname, '..');
    const addon = require('node-gyp-build').path(root) as string;
    const script = peakOfOneInference(addon);
    const { grown, needed } = JSON.parse(execFileSync(process.execPath, ['-e', script], { cwd: root }).toString());
    const megabytes = (bytes: number) => (bytes / 1e6).toFixed(0);
    process.stdout.write(
      `peak of an inference: ${megabytes(grown)} MB; lattices, unary, marginals: ${megabytes(needed)} MB\n`,
    );
    expect(grown).toBeLessThan(1.5 * needed);
  });
});

/**
 * A script: by how much a process grows over the lattices and an inference of a photo, 513x513, 21 classes, with the
 * kernels of the official ResNet-101.
 */
function peakOfOneInference(addon: string): string {
  return `
    const { readFileSync, writeFileSync } = require('node:fs');
    const sharp = require('sharp');
    const addon = require(${JSON.stringify(addon)});
    const [size, classes] = [513, 21];
    const term = (kernel, weight, deviations) =>
      ({ kernel, deviations, compatibility: Float32Array.of(weight), normalization: 'symmetric' });
    const pairwise = [term('gaussian', 3, [1, 1]), term('bilateral', 4, [67, 67, 3, 3, 3])];
    const options = { device: 'cpu', cudnn: '', threads: 2 };
    const build = (pixels, side) => addon.createCrf(pixels, side, side, 3, { ...options, pairwise, coordinates: 'yx' }).made;
    const infer = (crf, data) => crf.infer({ kind: 'unary', data, classes }, inference).result;
    const inference = { iterations: 2, tolerance: 0, marginals: true, klDivergence: false };
    const bytes = (name) =>
      1024 * Number(new RegExp(name + '[^0-9]*([0-9]+)').exec(readFileSync('/proc/self/status', 'utf8'))[1]);
    (async () => {
      const photo = sharp('examples/berlin-cathedral.jpg').resize(size, size).removeAlpha().raw();
      const pixels = new Uint8Array(await photo.toBuffer());
      const data = Float32Array.from({ length: classes * size * size }, (_, i) => 2 + 2 * Math.sin(i / 977));
      const small = await build(pixels.slice(0, 192), 8);
      await infer(small, data.slice(0, 64 * classes));
      await small.close();
      writeFileSync('/proc/self/clear_refs', '5'); // the peak starts anew
      const before = bytes('VmRSS');
      const crf = await build(pixels, size);
      await infer(crf, data);
      // A lattice is its structure and, while it filters, a row of classes for each vertex: 24 floats for 21 classes.
      const rows = crf.vertices.reduce((sum, vertices) => sum + vertices, 0);
      const needed = crf.latticeBytes + rows * 24 * 4 + 2 * data.byteLength;
      console.log(JSON.stringify({ grown: bytes('VmHWM') - before, needed }));
      await crf.close();
    })();`;
}
