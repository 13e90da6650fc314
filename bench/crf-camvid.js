// Searches the CRF's parameters for the CamVid model of ../shared, and reports what they do for images that it was not
// searched on. As in the DeepLab papers (arXiv 1606.00915, section 4), on a few images, from coarse to fine, with the
// Gaussian term as it is published and ten iterations.
//
//   node bench/crf-camvid.js [--images 12]
//
// The images of the search are of the training set, for want of others with labels.

const { parseArgs } = require('node:util');
require('./typescript');
const { crfPresets, DeepLab, DenseCrf } = require('../dist');
const { decodeImage } = require('../dist/image');
const { formatTable } = require('../dist/table');
const { Confusion, camvidImages, camvidLabels, missing, weights } = require('../test/camvid');

const { values: options } = parseArgs({ options: { images: { type: 'string', default: '12' } } });

const published = crfPresets['deeplab-v2-resnet101'];
const [{ compatibility: weight, xy, rgb }, smoothness] = published.pairwise;

const coarse = { weight: [2, 4, 8], xy: [15, 30, 60], rgb: [2, 4, 8] };
const finerSteps = [Math.SQRT2, 2 ** 0.25];

/** An image with its labels and what the network thinks of it. */
async function sceneOf(model, file) {
  const image = await decodeImage(file);
  const { scores, labels } = await model.segment(image, { scores: true });
  return { image, scores, labels, truth: await camvidLabels(file) };
}

/** The labels of a scene under a CRF with these parameters of the bilateral term. */
async function refine({ image, scores }, { weight, xy, rgb }) {
  const bilateral = { kernel: 'bilateral', xy, rgb, compatibility: weight };
  const crf = await DenseCrf.create(image, { pairwise: [bilateral, smoothness] });
  const { iterations } = published;
  const { labels } = await crf.infer({ probabilities: scores }, { iterations, marginals: false });
  await crf.close();
  return labels;
}

/** The parameters with the best mean IoU on the scenes; each is tried once. */
async function search(scenes) {
  const tried = new Map();
  const keyOf = ({ weight, xy, rgb }) => `${weight},${xy},${rgb}`;
  let best = { meanIou: 0 };
  const attempt = async (parameters) => {
    if (tried.has(keyOf(parameters))) return;
    const confusion = new Confusion();
    for (const scene of scenes) confusion.add(scene.truth, await refine(scene, parameters));
    const { meanIou } = confusion.figures();
    tried.set(keyOf(parameters), meanIou);
    if (meanIou > best.meanIou) best = { ...parameters, meanIou };
    console.log(`${keyOf(parameters)}: ${meanIou.toFixed(3)}`);
  };
  for (const weight of coarse.weight) {
    for (const xy of coarse.xy) {
      for (const rgb of coarse.rgb) await attempt({ weight, xy, rgb });
    }
  }
  for (const step of finerSteps) {
    for (const name of ['xy', 'rgb', 'weight']) {
      const { meanIou, ...parameters } = best;
      for (const factor of [1 / step, step]) {
        await attempt({ ...parameters, [name]: Number((parameters[name] * factor).toPrecision(2)) });
      }
    }
  }
  return best;
}

/** Figures on the validation images without a CRF and with each of these, each image segmented once. */
async function validate(model, candidates) {
  const confusions = [undefined, ...candidates].map(() => new Confusion());
  for (const file of camvidImages('val')) {
    const scene = await sceneOf(model, file);
    confusions[0].add(scene.truth, scene.labels);
    for (const [i, parameters] of candidates.entries()) {
      confusions[i + 1].add(scene.truth, await refine(scene, parameters));
    }
  }
  return confusions.map((confusion) => confusion.figures());
}

function report(model, names, figures) {
  const right = (title) => ({ title, align: 'right' });
  const columns = [{ title: '', align: 'left' }, ...names.map(right)];
  const row = (title, value) => [title, ...figures.map((each) => value(each).toFixed(2))];
  return formatTable(columns, [
    row('mIoU', ({ meanIou }) => meanIou),
    row('pixel accuracy', ({ accuracy }) => accuracy),
    ...model.classes.map(({ id, name }) => row(name, ({ ious }) => ious[id])),
  ]);
}

async function main() {
  if (missing.length > 0) throw new Error(`${missing.join(' and ')} not found`);
  const model = await DeepLab.load(weights, { precision: 'f32' });
  const count = Number(options.images);
  const training = camvidImages('train');
  const spread = Array.from({ length: count }, (_, i) => training[Math.floor(((i + 0.5) * training.length) / count)]);
  const scenes = [];
  for (const file of spread) scenes.push(await sceneOf(model, file));
  console.log(`Mean IoU on ${count} training images, with weight,xy,rgb of the bilateral term:`);
  const found = await search(scenes);
  const candidates = [{ weight, xy, rgb }, found];
  const names = ['no CRF', ...candidates.map(({ weight, xy, rgb }) => `${weight},${xy},${rgb}`)];
  const figures = await validate(model, candidates);
  console.log(`\nOn the ${camvidImages('val').length} validation images, in per cent:\n`);
  console.log(report(model, names, figures));
  await model.close();
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
