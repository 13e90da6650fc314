// Draws the pictures of docs/crf.md: annotations of the example photo, and what the CRF makes of them.
//
//   npm run build && node scripts/crf-pictures.js
//
// A strip shows one parameter: from left to right the values of `strips` on the boxes, all else as in `usual`.

const { mkdirSync } = require('node:fs');
const path = require('node:path');
const sharp = require('sharp');
const { crfPresets, DenseCrf } = require('../dist');
const { readAnnotation } = require('../dist/annotation');
const { decodeImage } = require('../dist/image');
const { blendOverlay } = require('../dist/overlay');

const root = path.join(__dirname, '..');
const photo = path.join(root, 'examples', 'berlin-cathedral.jpg');
const folder = path.join(root, 'docs', 'images', 'crf');

/** The classes, whose colours are labels. */
const colors = { sky: '#3c8cff', building: '#c83232', tree: '#f0c800', ground: '#8c3cc8' };

/** A few strokes of a broad pen: all else is black, unknown. */
const scribbles = {
  sky: [
    'M20 40 H110',
    'M30 190 L100 160',
    'M5 250 L60 230',
    'M230 60 L270 30',
    'M330 50 L460 60 L610 30',
    'M420 130 V170',
    'M560 150 L625 250',
  ],
  building: [
    'M165 110 L170 190',
    'M300 110 L295 190',
    'M475 150 L480 220',
    'M125 250 H540',
    'M340 340 L345 300',
    'M460 340 V300',
  ],
  tree: [
    'M20 300 L25 370',
    'M95 340 V370',
    'M235 340 L290 365',
    'M350 345 L410 365',
    'M495 350 L550 355',
    'M620 335 V365',
  ],
  ground: ['M10 412 H180', 'M230 410 H630'],
};

/** Boxes, as somebody in a hurry would draw them, later ones over earlier ones. */
const boxes = {
  sky: ['M0 0 H640 V427 H0 Z'],
  building: [
    'M105 80 H215 V215 H105 Z',
    'M205 75 H395 V225 H205 Z',
    'M430 115 H540 V240 H430 Z',
    'M90 205 H560 V395 H90 Z',
  ],
  tree: ['M0 265 H70 V395 H0 Z', 'M60 310 H190 V395 H60 Z', 'M200 310 H430 V395 H200 Z', 'M475 315 H640 V390 H475 Z'],
  ground: ['M0 385 H640 V427 H0 Z'],
};

const usual = {
  bilateral: { weight: 10, xy: 80, rgb: 13 },
  gaussian: { weight: 3, xy: 3 },
  normalization: 'symmetric',
  iterations: crfPresets.pydensecrf.iterations,
  gtProb: 0.7,
};

const strips = {
  'bilateral-weight': [0, 3, 10, 30].map((weight) => ({ bilateral: { ...usual.bilateral, weight } })),
  'bilateral-xy': [5, 20, 80, 320].map((xy) => ({ bilateral: { ...usual.bilateral, xy } })),
  'bilateral-rgb': [3, 13, 30, 100].map((rgb) => ({ bilateral: { ...usual.bilateral, rgb } })),
  'gaussian-weight': [0, 3, 10, 30].map((weight) => ({ gaussian: { ...usual.gaussian, weight } })),
  'gaussian-xy': [1, 3, 10, 30].map((xy) => ({ gaussian: { weight: 10, xy } })),
  iterations: [0, 1, 3, 10].map((iterations) => ({ iterations })),
  'gt-prob': [0.3, 0.5, 0.7, 0.99].map((gtProb) => ({ gtProb })),
  normalization: ['symmetric', 'before', 'after', 'none'].map((normalization) => ({ normalization })),
};

/** Writes a label map of 640x427 pixels; what `shapes` does not cover is black. */
async function annotate(file, shapes, style) {
  const paths = Object.entries(shapes).map(([name, lines]) => {
    const color = colors[name];
    return lines.map((line) => `<path d="${line}" ${style(color)}/>`).join('');
  });
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="640" height="427" shape-rendering="crispEdges">
    <rect width="640" height="427" fill="#000"/>${paths.join('')}</svg>`;
  await sharp(Buffer.from(svg)).removeAlpha().png({ palette: true, effort: 10, dither: 0 }).toFile(file);
}

/** The labels that the CRF comes to. */
async function refine(image, { labels, unknown, colors }, changes) {
  const { bilateral, gaussian, normalization, iterations, gtProb } = { ...usual, ...changes };
  const appearance = { kernel: 'bilateral', xy: bilateral.xy, rgb: bilateral.rgb, compatibility: bilateral.weight };
  const smoothness = { kernel: 'gaussian', xy: gaussian.xy, compatibility: gaussian.weight };
  const pairwise = [appearance, smoothness].map((term) => ({ ...term, normalization }));
  const crf = await DenseCrf.create(image, { pairwise });
  const unary = { labels, classes: colors.length, gtProb, unknown };
  const result = await crf.infer(unary, { iterations, marginals: false });
  await crf.close();
  return result.labels;
}

/** The photo under the colours of its labels; unknown pixels stay as they are. */
async function overlay(image, { colors, unknown }, labels, width) {
  const blended = blendOverlay(image, labels, unknown === undefined ? colors : [...colors, [0, 0, 0]], 0.6);
  if (unknown !== undefined) {
    for (let i = 0; i < labels.length; i++) {
      if (labels[i] === unknown) blended.set(image.data.subarray(3 * i, 3 * i + 3), 3 * i);
    }
  }
  const raw = { width: image.width, height: image.height, channels: 3 };
  return await sharp(blended, { raw }).resize({ width }).toColourspace('srgb').png().toBuffer();
}

/** Writes pictures side by side. */
async function strip(name, pictures, gap = 4) {
  const { width, height } = await sharp(pictures[0]).metadata();
  const all = { width: pictures.length * (width + gap) - gap, height, channels: 3, background: '#ffffff' };
  const parts = pictures.map((input, i) => ({ input, left: i * (width + gap), top: 0 }));
  const { size } = await sharp({ create: all })
    .composite(parts)
    .jpeg({ quality: 70, mozjpeg: true })
    .toFile(path.join(folder, `${name}.jpg`));
  console.log(`${name}.jpg: ${all.width}x${height}, ${size} bytes`);
}

async function main() {
  mkdirSync(folder, { recursive: true });
  const image = await decodeImage(photo);
  const files = { scribbles: path.join(folder, 'scribbles.png'), boxes: path.join(folder, 'boxes.png') };
  const pen = (color) => `fill="none" stroke="${color}" stroke-width="9"`;
  await annotate(files.scribbles, scribbles, pen);
  await annotate(files.boxes, boxes, (color) => `fill="${color}"`);

  const drawn = await readAnnotation(files.scribbles);
  const scribbled = await overlay(image, drawn, drawn.labels, 520);
  await strip('scribbles', [scribbled, await overlay(image, drawn, await refine(image, drawn, {}), 520)]);

  const coarse = await readAnnotation(files.boxes);
  for (const [name, values] of Object.entries(strips)) {
    const pictures = [];
    for (const changes of values) {
      const labels = await refine(image, coarse, changes);
      pictures.push(await overlay(image, coarse, labels, 300));
    }
    await strip(name, pictures);
  }
}

main();
