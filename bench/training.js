// Measures steps of training beside PyTorch's, in turn (race.js has the protocol of the engines):
//
//   node bench/training.js [--network v2-resnet101-aspp] [--batch 4] [--size 321] [--threads 2] [--rounds 5]
//                          [--batch-norm frozen] [--only bf16]
//
// It needs what `npm run bench` installs: .venv with PyTorch, or DEEPLAB_PYTHON. bench/README.md says how to read it.

const { existsSync, mkdirSync, writeFileSync } = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { networks } = require('../dist');
const { formatTable } = require('../dist/table');
const { initialize } = require('../dist/train/initialize');
const { describeMachine, machineText } = require('./machine');
const { median, race } = require('./race');

const root = path.join(__dirname, '..');
const scratch = path.join(root, 'build', 'bench');
const python = process.env.DEEPLAB_PYTHON ?? path.join(root, '.venv', 'bin', 'python');

const { values: options } = parseArgs({
  options: {
    network: { type: 'string', default: 'v2-resnet101-aspp' },
    batch: { type: 'string', default: '4' },
    size: { type: 'string', default: '321' },
    threads: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '5' },
    'batch-norm': { type: 'string', default: 'frozen' },
    only: { type: 'string', default: '' },
  },
});

async function initialWeights() {
  const { metadata } = networks().find(({ name }) => name === options.network);
  const file = path.join(scratch, `${options.network}-initial.safetensors`);
  const described = {
    ...metadata,
    classes: Array.from({ length: 11 }, (_, i) => `class${i}`).join(','),
    channel_order: 'rgb',
    value_range: '0..1',
    mean: '0.485,0.456,0.406',
    std: '0.229,0.224,0.225',
  };
  if (!existsSync(file)) await initialize({ metadata: described, seed: 1, batchNorm: 'trained' }, file);
  return file;
}

async function main() {
  mkdirSync(path.join(__dirname, 'results'), { recursive: true });
  mkdirSync(scratch, { recursive: true });
  const file = await initialWeights();
  const engines = ['bf16', 'f32'].flatMap((precision) => {
    const { batch, size, threads } = options;
    const rest = [file, batch, size, size, threads, precision, options['batch-norm']];
    return [
      {
        name: `deeplab ${precision}`,
        precision,
        command: process.execPath,
        args: [path.join(__dirname, 'training-engine.js'), ...rest],
      },
      {
        name: `PyTorch ${precision}`,
        precision,
        command: python,
        args: [path.join(__dirname, 'training-rival.py'), ...rest],
      },
    ];
  });
  const chosen = engines.filter(({ name }) => name.includes(options.only));
  const results = (await race(chosen, { rounds: Number(options.rounds), scratch })).map(({ engine, runs, peakMb }) => {
    const ms = median(runs.map((run) => run.ms));
    return {
      name: engine.name,
      precision: engine.precision,
      ms,
      imagesPerSecond: (1000 * Number(options.batch)) / ms,
      peakMb,
    };
  });
  const rivalOf = ({ precision }) => results.find(({ name }) => name === `PyTorch ${precision}`);
  const rows = results.map((result) => [
    result.name,
    Math.round(result.ms).toString(),
    result.imagesPerSecond.toFixed(2),
    (rivalOf(result).ms / result.ms).toFixed(2),
    Math.round(result.peakMb).toString(),
  ]);
  const machine = await describeMachine({});
  console.log(
    `${options.network}, ${options.batch} crops of ${options.size}x${options.size}, batch norm ${options['batch-norm']}, ${options.threads} threads; ${machineText(machine)}`,
  );
  const numbers = ['ms a step', 'images/s', 'speed', 'peak MB'].map((title) => ({ title, align: 'right' }));
  console.log(formatTable([{ title: '', align: 'left' }, ...numbers], rows));
  writeFileSync(
    path.join(__dirname, 'results', 'training.json'),
    `${JSON.stringify({ machine, options, results }, null, 2)}\n`,
  );
}

main();
