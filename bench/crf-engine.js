// deeplab's CRF, or the plain implementation of the tests, as a child process of crf.js (race.js has the protocol):
//
//   node bench/crf-engine.js <deeplab | plain> <task, JSON: see crf.js> <file for the labels>

const { readFileSync, writeFileSync } = require('node:fs');
const path = require('node:path');
const readline = require('node:readline');
require('./typescript');
const { DenseCrf } = require('../dist');
const { plainCrf } = require('../test/plain-crf');

/** Builds the lattices, infers once, frees them. The lattices of Gaussian kernels of this size stay known. */
async function deeplab({ size, threads, iterations, gaussian, bilateral }, image, unary) {
  const pairwise = [
    { kernel: 'gaussian', xy: gaussian.xy, compatibility: gaussian.weight },
    { kernel: 'bilateral', xy: bilateral.xy, rgb: bilateral.rgb, compatibility: bilateral.weight },
  ];
  const started = performance.now();
  const picture = { data: image, width: size, height: size, channels: 3 };
  const crf = await DenseCrf.create(picture, { pairwise, coordinates: 'xy', device: 'cpu', threads });
  const built = performance.now();
  const { labels } = await crf.infer({ unary }, { iterations });
  const done = performance.now();
  await crf.close();
  return { labels, ms: done - started, latticeMs: built - started, inferenceMs: done - built };
}

async function plain({ size, classes, iterations, gaussian, bilateral }, image, unary) {
  const term = (kernel, weight, deviations) => ({
    kernel,
    deviations,
    compatibility: Float32Array.of(weight),
    normalization: 'symmetric',
  });
  const { xy, rgb } = bilateral;
  const pairwise = [
    term('gaussian', gaussian.weight, [gaussian.xy, gaussian.xy]),
    term('bilateral', bilateral.weight, [xy, xy, rgb, rgb, rgb]),
  ];
  const started = performance.now();
  const picture = { width: size, height: size, channels: 3, pixels: image };
  const { marginals } = plainCrf(picture, { pairwise, coordinates: 'xy', iterations, tolerance: 0 }, unary);
  const area = size * size;
  const labels = new Uint8Array(area);
  for (let i = area; i < classes * area; i++) {
    if (marginals[i] > marginals[labels[i % area] * area + (i % area)]) labels[i % area] = Math.floor(i / area);
  }
  return { labels, ms: performance.now() - started };
}

async function main([kind, taskText, labelsFile]) {
  const task = JSON.parse(taskText);
  const image = new Uint8Array(readFileSync(path.join(task.scene, 'image.rgb')));
  const unary = new Float32Array(new Uint8Array(readFileSync(path.join(task.scene, 'unary.f32'))).buffer);
  const run = () => (kind === 'plain' ? plain : deeplab)(task, image, unary);

  const { labels, ms: firstMs, latticeMs: firstLatticeMs } = await run();
  writeFileSync(labelsFile, labels);
  console.log(JSON.stringify({ firstMs, firstLatticeMs }));
  for await (const _ of readline.createInterface({ input: process.stdin })) {
    const { labels: _labels, ...times } = await run();
    console.log(JSON.stringify(times));
  }
}

main(process.argv.slice(2));
