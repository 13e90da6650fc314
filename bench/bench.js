// Measures deeplab beside PyTorch and onnxruntime, in turn (race.js has the protocol of the engines). Started by
// bench/run.sh; bench/README.md says how to read the result.

const { spawnSync } = require('node:child_process');
const { existsSync, mkdirSync, writeFileSync } = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { doctor, networks } = require('../dist');
const { formatTable } = require('../dist/table');
const { describeMachine, machineText } = require('./machine');
const { median, race } = require('./race');

const root = path.join(__dirname, '..');
const scratch = path.join(root, 'build', 'bench');
const python = path.join(root, '.venv', 'bin', 'python');
const rivals = path.join(__dirname, 'rivals.py');

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    size: { type: 'string', default: '513' },
    threads: { type: 'string', default: '2' },
    model: { type: 'string' }, // a weights file
    network: { type: 'string' }, // or one of `deeplab models`, with random weights
    only: { type: 'string' }, // engines whose name has one of these words, comma-separated: "bf16,onnxruntime"
  },
});

const preprocessing = {
  classes: Array.from({ length: 21 }, (_, i) => `class${i}`).join(','),
  channel_order: 'rgb',
  value_range: '0..1',
  mean: '0.485,0.456,0.406',
  std: '0.229,0.224,0.225',
};

const deeplab = (name, load) => ({ name, precision: load.precision, ours: true, load });
const rival = (name, precision, key) => ({ name, precision, ours: false, key });
const engines = [
  deeplab('deeplab f32', { precision: 'f32' }),
  deeplab('deeplab f32 direct', { precision: 'f32', winograd: false }),
  deeplab('deeplab bf16', { precision: 'bf16' }),
  rival('PyTorch eager f32', 'f32', 'eager-f32'),
  rival('PyTorch eager bf16', 'bf16', 'eager-bf16'),
  rival('torch.compile f32', 'f32', 'compile-f32'),
  rival('torch.compile bf16', 'bf16', 'compile-bf16'),
  rival('onnxruntime f32', 'f32', 'onnxruntime'),
];

const chosen = (name) => options.only === undefined || options.only.split(',').some((word) => name.includes(word));

function runPython(key, model) {
  const result = spawnSync(python, [rivals, key, model, options.size, options.threads, scratch], { encoding: 'utf8' });
  if (result.status !== 0) throw new Error(`rivals.py ${key} failed:\n${result.stderr}`);
}

function chooseModel() {
  if (options.model !== undefined) return options.model;
  const camvid = path.join(root, '..', 'shared', 'models', 'deeplabv2-resnet101-camvid.safetensors');
  return options.network === undefined && existsSync(camvid) ? camvid : randomModel(options.network);
}

/** A network of `deeplab models` with random weights: speed depends on shapes, hardly on values. */
function randomModel(name = 'v2-resnet101-aspp') {
  const network = networks().find((one) => one.name === name);
  if (network === undefined) throw new Error(`${name} is none of deeplab models`);
  const file = path.join(scratch, `${name}.safetensors`);
  writeFileSync(`${file}.json`, JSON.stringify({ ...network.metadata, ...preprocessing }));
  if (!existsSync(file)) runPython('random', file);
  return file;
}

/** The process that is an engine. */
function commandOf({ name, ours, load, key }, model) {
  const args = ours
    ? [path.join(__dirname, 'engine.js'), model, options.size, options.threads, JSON.stringify(load)]
    : [rivals, key, model, options.size, options.threads, scratch];
  const env = { TORCHINDUCTOR_CACHE_DIR: path.join(scratch, 'inductor') };
  return { name, command: ours ? process.execPath : python, args, env };
}

function rivalVersions() {
  if (!existsSync(python)) return {};
  const script = 'import onnxruntime as o, torch as t; print(t.__version__, o.__version__)';
  const [torch, onnxruntime] = spawnSync(python, ['-c', script], { encoding: 'utf8' }).stdout.trim().split(' ');
  return { torch, onnxruntime };
}

/** A row of figures for each engine. */
async function measure(list, model) {
  const commands = list.map((engine) => commandOf(engine, model));
  const results = await race(commands, { rounds: Number(options.rounds), scratch });
  return results.map(({ ready: { loadMs, firstMs, note }, runs, peakMb }, i) => {
    const { name, precision, ours } = list[i];
    const timesMs = runs.map(({ ms }) => ms);
    const figures = { medianMs: median(timesMs), minMs: Math.min(...timesMs), peakMb };
    return { name, precision, ours, ...figures, loadMs, firstMs, note, timesMs };
  });
}

/** Adds to every row how many times as fast it is as the fastest of the others in its precision. */
function compare(rows) {
  for (const row of rows) {
    const others = rows.filter(({ ours, precision }) => !ours && precision === row.precision);
    if (others.length > 0) row.speed = Math.min(...others.map(({ medianMs }) => medianMs)) / row.medianMs;
  }
}

function table(rows) {
  const numbers = ['median ms', 'min ms', 'speed', 'peak MB', 'load ms', 'first ms'];
  const columns = [
    { title: 'engine', align: 'left' },
    ...numbers.map((title) => ({ title, align: 'right' })),
    { title: '', align: 'left' },
  ];
  const cells = rows.map(({ name, medianMs, minMs, speed, peakMb, loadMs, firstMs, note }) => [
    name,
    ...[medianMs.toFixed(0), minMs.toFixed(0), speed?.toFixed(2) ?? ''],
    ...[peakMb, loadMs, firstMs].map((value) => value.toFixed(0)),
    note,
  ]);
  return formatTable(columns, cells);
}

async function main() {
  mkdirSync(scratch, { recursive: true });
  const machine = await describeMachine(rivalVersions());
  const { precisions } = await doctor();
  const model = chooseModel();
  const list = engines.filter(({ name, precision, ours }) => chosen(name) && (!ours || precisions.includes(precision)));
  if (list.some(({ key }) => key === 'onnxruntime')) runPython('export', model);

  const rows = await measure(list, model);
  compare(rows);
  console.log(`${path.basename(model)}, ${options.size}x${options.size}, batch 1, ${options.threads} threads`);
  console.log(machineText(machine));
  console.log(`\n${table(rows)}\n`);

  const bf16 = rows.find(({ name }) => name === 'deeplab bf16');
  const onnxruntime = rows.find(({ name }) => name === 'onnxruntime f32');
  if (bf16 && onnxruntime) {
    console.log(
      `deeplab bf16 is ${(onnxruntime.medianMs / bf16.medianMs).toFixed(2)} times as fast as onnxruntime f32`,
    );
  }
  const output = path.join(__dirname, 'results', 'latest.json');
  mkdirSync(path.dirname(output), { recursive: true });
  const result = { date: new Date().toISOString(), machine, options, model: path.basename(model), rows };
  writeFileSync(output, `${JSON.stringify(result, null, 2)}\n`);
  console.log(`Written to ${path.relative(process.cwd(), output)}`);
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
