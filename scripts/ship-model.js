#!/usr/bin/env node
// Makes the model that ships, and its card, of the folder of a training (docs/training.md):
//
//   node scripts/ship-model.js RUN                          weights/NAME.safetensors, in int8
//   node scripts/ship-model.js RUN --card EVALUATIONS       weights/CARD.md, and the accuracy into the file
//
// RUN has config.json, best.safetensors (or last.safetensors, with --last), log.jsonl and curves.png. EVALUATIONS has what
// `deeplab eval --json` printed for the file that the first call made; that call prints the commands. --hardware TEXT says
// in the card what it was trained on. --out FOLDER and --pictures FOLDER are for other places than weights/ and
// docs/images/NAME/. The training began with random weights, or with those of another that did: its folder, which has them,
// has its config.json too. Anything else is refused, for the weights of others may not ship.

const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { importWeights } = require('../dist');
const { version } = require('../dist/version');
const { defaultModel } = require('../dist/weights');

const root = path.join(__dirname, '..');
const { name } = defaultModel;
const mostBytes = 50e6;

const { positionals, values: options } = parseArgs({
  allowPositionals: true,
  options: {
    card: { type: 'string' },
    hardware: { type: 'string' },
    last: { type: 'boolean', default: false },
    out: { type: 'string', default: path.join(root, 'weights') },
    pictures: { type: 'string', default: path.join(root, 'docs', 'images', name) },
  },
});

/** The evaluations of the card, with what `deeplab eval` is told besides the model and the data. */
const evaluations = [
  { file: 'plain.json', flags: '' },
  { file: 'scales.json', flags: ' --scales 0.5,0.75,1 --crf' }, // before and after the CRF
];
const titles = ['one scale', 'scales', 'scales, CRF'];

const output = path.join(options.out, `${name}.safetensors`);
const readJson = (file) => JSON.parse(fs.readFileSync(file, 'utf8'));
const percent = (fraction) => (fraction === null || fraction === undefined ? '' : (100 * fraction).toFixed(2));

/** What the metadata says besides the network. */
const facts = {
  dataset: 'CamVid, 367 training images of 480x360, 11 classes',
  licence: 'research, non-commercial (CamVid: CC BY-NC 4.0)',
  trained_by: `deeplab ${version}, from random initial weights`,
};

/** The tensors stay as they are; the header gets other `__metadata__`. */
function rewriteMetadata(file, change) {
  const bytes = fs.readFileSync(file);
  const start = 8 + Number(bytes.readBigUInt64LE());
  const header = JSON.parse(bytes.toString('utf8', 8, start));
  const json = JSON.stringify({ ...header, __metadata__: change(header.__metadata__) });
  const padded = Buffer.from(json.padEnd(json.length + ((8 - (Buffer.byteLength(json) % 8)) % 8)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  const temporary = `${file}.tmp`;
  fs.writeFileSync(temporary, Buffer.concat([length, padded, bytes.subarray(start)]));
  fs.renameSync(temporary, file);
}

function metadataOf(file) {
  const bytes = fs.readFileSync(file);
  return JSON.parse(bytes.toString('utf8', 8, 8 + Number(bytes.readBigUInt64LE()))).__metadata__;
}

const sha256 = (file) => createHash('sha256').update(fs.readFileSync(file)).digest('hex');

/** The folders of the trainings that led to the last of them, the first one first. */
function lineageOf(run) {
  const { init } = readJson(path.join(run, 'config.json'));
  if (!init?.from) return [run];
  const before = path.dirname(path.resolve(init.from));
  if (before !== path.resolve(run) && fs.existsSync(path.join(before, 'config.json')))
    return [...lineageOf(before), run];
  throw new Error(`${run} began with the weights of ${init.from}: those of others may not ship`);
}

async function convert(run) {
  lineageOf(run);
  const trained = path.join(run, options.last ? 'last.safetensors' : 'best.safetensors');
  const { bytes } = await importWeights(trained, output, { precision: 'int8' });
  rewriteMetadata(output, ({ imported_from: _, ...metadata }) => ({ ...metadata, ...facts }));
  if (bytes > mostBytes) throw new Error(`${output} has ${bytes} bytes: expected at most ${mostBytes}`);
  console.log(`${output}: ${fs.statSync(output).size} bytes, SHA-256 ${sha256(output)}`);
  console.log(`Then:\n${commands('RUN').slice(1).join('\n')}`);
}

/** What makes the file and the card of the folder of a training. */
function commands(run) {
  const evaluated = evaluations.map(({ file, flags }) => {
    return `deeplab eval ../shared/data/camvid --data camvid --model ${name}${flags} --json > EVALUATIONS/${file}`;
  });
  const ship = `node scripts/ship-model.js ${run}`;
  return [ship, ...evaluated, `${ship} --card EVALUATIONS`];
}

/** Rows of classes and of the figures over all of them, a column for each evaluation. */
function table(results) {
  const rows = results[0].classes.map(({ name: label }, id) => [label, ...results.map(({ iou }) => iou[id])]);
  const totals = [
    ['**mIoU**', 'miou'],
    ['pixel accuracy', 'pixelAccuracy'],
    ['mean accuracy', 'meanAccuracy'],
    ['frequency-weighted IoU', 'frequencyWeightedIou'],
  ].map(([title, key]) => [title, ...results.map((one) => one[key])]);
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [
    line(['', ...titles]),
    line(['---', ...titles.map(() => '---:')]),
    ...[...rows, ...totals].map(([title, ...figures]) => line([title, ...figures.map(percent)])),
  ].join('\n');
}

/** Updates that the weights have had: those of the best evaluation, or all. */
function iterationsOf(run) {
  const lines = fs.readFileSync(path.join(run, 'log.jsonl'), 'utf8').trim().split('\n').map(JSON.parse);
  const best = lines.findLast(({ kind, best }) => kind === 'evaluation' && best);
  return options.last || best === undefined ? lines.at(-1).iteration : best.iteration;
}

/** How one of the trainings is done again. */
function describeTraining(run, stage) {
  const config = readJson(path.join(run, 'config.json'));
  const began = stage === 0 ? 'from random weights' : 'from the weights of the one before';
  return `${iterationsOf(run)} iterations with the seed ${config.seed}, ${began}, by \`deeplab train --config FILE\` and

\`\`\`json
${JSON.stringify(config, null, 2)}
\`\`\``;
}

function writeCard(run, folder) {
  const [one, several] = evaluations.map(({ file }) => readJson(path.join(folder, file)));
  const results = [one, several, several.withCrf];
  const [plain, scales, crf] = results.map(({ miou }) => percent(miou));
  const accuracy = `${plain} mIoU, CamVid val; ${scales} with scales, ${crf} with CRF`;
  rewriteMetadata(output, (metadata) => ({ ...metadata, accuracy }));
  fs.mkdirSync(options.pictures, { recursive: true });
  const curves = path.join(options.pictures, 'curves.png');
  fs.copyFileSync(path.join(run, 'curves.png'), curves);
  const { classes, channel_order: order, value_range: range, mean, std } = metadataOf(output);
  const fields = {
    name,
    version,
    sha256: sha256(output),
    megabytes: (fs.statSync(output).size / 1e6).toFixed(1),
    classes: classes.split(',').join(', '),
    input: `${order.toUpperCase()}, ${range}, mean ${mean}, std ${std}; any size, best near 480x360`,
    selection: options.last
      ? 'The weights are those of the last iteration.'
      : 'The weights are those of the iteration with the best mIoU on the validation images, which flatters the figures below a little.',
    precision: one.precision ?? 'f32',
    table: table(results.map((each) => ({ ...each, classes: one.classes }))),
    hardware: options.hardware === undefined ? '' : ` On ${options.hardware}.`,
    trainings: lineageOf(run).map(describeTraining).join('\n\n'),
    curves: path.relative(options.out, curves),
    commands: commands('RUN').join('\n'),
  };
  const template = fs.readFileSync(path.join(__dirname, 'model-card.md'), 'utf8');
  const card = template.replace(/\{\{(\w+)\}\}/g, (_, field) => {
    if (fields[field] === undefined) throw new Error(`scripts/model-card.md asks for {{${field}}}`);
    return fields[field];
  });
  fs.writeFileSync(path.join(options.out, 'CARD.md'), card);
  console.log(`${path.join(options.out, 'CARD.md')}: ${accuracy}`);
}

async function main() {
  const [run] = positionals;
  if (run === undefined) throw new Error('usage: node scripts/ship-model.js RUN [--card EVALUATIONS]');
  if (options.card === undefined) await convert(run);
  else writeCard(run, options.card);
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
