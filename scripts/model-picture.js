#!/usr/bin/env node
// Makes docs/images/berlin-cathedral.jpg, the picture in the README: the example photo in grey, and beside it what the model that
// ships makes of it at three scales, along the photo's edges.

const path = require('node:path');
const sharp = require('sharp');
const { DeepLab } = require('../dist');

const root = path.join(__dirname, '..');
const photo = path.join(root, 'examples', 'berlin-cathedral-grey.jpg');
const picture = path.join(root, 'docs', 'images', 'berlin-cathedral.jpg');
const gap = 8;

async function main() {
  const model = await DeepLab.load();
  const result = await model.segment(photo, { scales: [0.5, 0.75, 1], crf: true });
  await model.close();
  const { width, height } = result;
  const size = { width: 2 * width + gap, height, channels: 3, background: 'white' };
  const sides = [
    { input: photo, left: 0, top: 0 },
    { input: await result.overlay(), left: width + gap, top: 0 },
  ];
  await sharp({ create: size }).composite(sides).jpeg({ quality: 88, mozjpeg: true }).toFile(picture);
  for (const { name, share } of result.classes) {
    if (share >= 0.01) console.log(`${name} ${(100 * share).toFixed(1)} %`);
  }
}

main();
