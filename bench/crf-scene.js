// What the CRF benchmark infers: a real photo, and energies as smooth as a network's, written once to files that every
// engine reads.

const { existsSync, mkdirSync, writeFileSync } = require('node:fs');
const path = require('node:path');
const sharp = require('sharp');

const spacing = 32; // pixels between the random values that are interpolated
const sharpness = 60; // nats between the least and the greatest of them: a network is sure of most pixels
const floor = 1e-5; // probabilities are raised to it, as pydensecrf's unary_from_softmax does

/** u in [0, 1), from integers (MurmurHash3's finaliser). */
function random(index) {
  let h = Math.imul(index + 1, 0x9e3779b1);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return ((h ^ (h >>> 16)) >>> 0) / 2 ** 32;
}

/** -log softmax of random fields, interpolated as a network's logits are: float32 [classes,size,size]. */
function smoothEnergies(size, classes) {
  const area = size * size;
  const columns = Math.ceil(size / spacing) + 1;
  const energies = new Float32Array(classes * area);
  const logits = new Float64Array(classes);
  for (let i = 0; i < area; i++) {
    const [x, y] = [(i % size) / spacing, Math.floor(i / size) / spacing];
    const [left, top] = [Math.floor(x), Math.floor(y)];
    let sum = 0;
    for (let c = 0; c < classes; c++) {
      const at = (column, row) => random((c * columns + row) * columns + column);
      const along = (row) => at(left, row) + (x - left) * (at(left + 1, row) - at(left, row));
      logits[c] = sharpness * (along(top) + (y - top) * (along(top + 1) - along(top)));
      sum += Math.exp(logits[c]);
    }
    for (let c = 0; c < classes; c++) energies[c * area + i] = -Math.log(Math.max(Math.exp(logits[c]) / sum, floor));
  }
  return energies;
}

/** The folder in `scratch` with image.rgb (uint8 [size,size,3]) and unary.f32 (float32 [classes,size,size]). */
async function makeScene(scratch, size, classes) {
  const folder = path.join(scratch, `crf-${size}-${classes}`);
  if (existsSync(path.join(folder, 'unary.f32'))) return folder;
  mkdirSync(folder, { recursive: true });
  const photo = sharp(path.join(__dirname, '..', 'examples', 'berlin-cathedral.jpg'));
  writeFileSync(path.join(folder, 'image.rgb'), await photo.resize(size, size).removeAlpha().raw().toBuffer());
  writeFileSync(path.join(folder, 'unary.f32'), smoothEnergies(size, classes));
  return folder;
}

module.exports = { makeScene };
