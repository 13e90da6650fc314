// Measures deeplab beside PyTorch and onnxruntime, in turn: every round runs each engine once, so that whatever else
// the machine does falls on all of them alike. Started by bench/run.sh; bench/README.md says how to read the result.
//
// An engine is a child process that lives for the whole run. Ready, it prints {"loadMs", "firstMs", "note"}; for each
// line on its stdin it runs once and prints {"ms"}; when stdin ends, it ends.

const { spawn, spawnSync } = require('node:child_process');
const { existsSync, mkdirSync, openSync, readFileSync, writeFileSync } = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const readline = require('node:readline');
const { setTimeout: sleep } = require('node:timers/promises');
const { parseArgs } = require('node:util');
const { doctor } = require('../dist');
const { formatTable } = require('../dist/table');

const root = path.join(__dirname, '..');
const scratch = path.join(root, 'build', 'bench');
const python = path.join(root, '.venv', 'bin', 'python');
const rivals = path.join(__dirname, 'rivals.py');

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    size: { type: 'string', default: '513' },
    threads: { type: 'string', default: '2' },
    model: { type: 'string' }, // default: the CamVid model of ../shared, else random weights
    only: { type: 'string' }, // engines whose name has one of these words, comma-separated: "bf16,onnxruntime"
  },
});

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
  if (existsSync(camvid)) return camvid;
  const random = path.join(scratch, 'random.safetensors');
  if (!existsSync(random)) runPython('random', random);
  return random;
}

/** Starts an engine and waits until it is ready. */
async function start(engine, model) {
  const log = path.join(scratch, `${engine.name.replaceAll(' ', '-')}.log`);
  const [command, args] = engine.ours
    ? [process.execPath, [path.join(__dirname, 'engine.js'), model, options.size, options.threads]]
    : [python, [rivals, engine.key, model, options.size, options.threads]];
  args.push(engine.ours ? JSON.stringify(engine.load) : scratch);
  const child = spawn(command, args, {
    stdio: ['pipe', 'pipe', openSync(log, 'w')],
    env: { ...process.env, TORCHINDUCTOR_CACHE_DIR: path.join(scratch, 'inductor') },
  });
  child.stdin.on('error', () => {}); // an engine that died is reported by `answer`
  const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`${engine.name} ended early:\n${readFileSync(log, 'utf8').slice(-2000)}`);
    return JSON.parse(value);
  };
  return { child, answer, ...(await answer()) };
}

async function measure({ child, answer }) {
  await sleep(100); // threads of the engine before may still spin for some milliseconds
  child.stdin.write('go\n');
  return (await answer()).ms;
}

/** Largest resident memory that the process has had, in MB. */
function peakMegabytes(pid) {
  const [, kilobytes] = /^VmHWM:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return (Number(kilobytes) * 1024) / 1e6;
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

async function describeMachine() {
  const { cpu, onednn, version } = await doctor();
  const versions = existsSync(python)
    ? spawnSync(python, ['-c', 'import onnxruntime as o, torch as t; print(t.__version__, o.__version__)'], {
        encoding: 'utf8',
      }).stdout.trim()
    : '';
  const [torch, onnxruntime] = versions.split(' ');
  const special = cpu.features.filter((feature) => /amx|avx512_bf16/.test(feature));
  const model = /^model name\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? cpu.name;
  return {
    cpu: model,
    cores: os.availableParallelism(),
    features: special,
    load: os.loadavg()[0],
    versions: { deeplab: version, onednn: onednn.version, node: process.version, torch, onnxruntime },
  };
}

/** Starts the engines one after the other, lets them run in turn, and returns a row of figures for each. */
async function race(list, model) {
  const running = [];
  try {
    for (const engine of list) {
      console.error(`starting ${engine.name}`);
      running.push({ engine, timesMs: [], ...(await start(engine, model)) });
    }
    for (let round = 1; round <= Number(options.rounds); round++) {
      console.error(`round ${round} of ${options.rounds}`);
      for (const each of running) each.timesMs.push(await measure(each));
    }
    return running.map(({ engine: { name, precision, ours }, child, timesMs, loadMs, firstMs, note }) => {
      const figures = { medianMs: median(timesMs), minMs: Math.min(...timesMs), peakMb: peakMegabytes(child.pid) };
      return { name, precision, ours, ...figures, loadMs, firstMs, note, timesMs };
    });
  } finally {
    for (const { child } of running) child.stdin.end();
  }
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
  const machine = await describeMachine();
  const { precisions } = await doctor();
  const model = chooseModel();
  const list = engines.filter(({ name, precision, ours }) => chosen(name) && (!ours || precisions.includes(precision)));
  if (list.some(({ key }) => key === 'onnxruntime')) runPython('export', model);

  const rows = await race(list, model);
  compare(rows);
  const { cpu, cores, features, versions } = machine;
  console.log(`${path.basename(model)}, ${options.size}x${options.size}, batch 1, ${options.threads} threads`);
  console.log(`${cpu}, ${cores} cores, ${features.join(' ') || 'neither AMX nor AVX512-BF16'}`);
  console.log(
    Object.keys(versions)
      .map((name) => `${name} ${versions[name]}`)
      .join(', '),
  );
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
