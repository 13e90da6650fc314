// Measures the CRF beside pydensecrf, in turn (race.js has the protocol of the engines): lattices and ten iterations of
// mean field, 21 classes. Started by bench/crf.sh; bench/README.md says how to read the result.
//
// An engine gets its task as JSON: { scene, size, classes, threads, iterations, gaussian: { weight, xy },
// bilateral: { weight, xy, rgb } }; scene is a folder of crf-scene.js. It writes the labels of its first run to a file.

const { existsSync, mkdirSync, readFileSync, writeFileSync } = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { formatTable } = require('../dist/table');
const { makeScene } = require('./crf-scene');
const { describeMachine, machineText } = require('./machine');
const { median, race } = require('./race');

const root = path.join(__dirname, '..');
const scratch = path.join(root, 'build', 'bench');
const venv = path.join(root, '.venv', 'bin', 'python');
const { PYDENSECRF: pydensecrf, PYTHON: python = existsSync(venv) ? venv : 'python3' } = process.env;
const classes = 21;

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    size: { type: 'string', default: pydensecrf === undefined ? '97' : '513' },
    threads: { type: 'string', default: '2' },
    iterations: { type: 'string', default: '10' },
  },
});

const configurations = [
  { name: '3,3 + 4,67,3', gaussian: { weight: 3, xy: 3 }, bilateral: { weight: 4, xy: 67, rgb: 3 } },
  { name: '3,1 + 4,67,3', gaussian: { weight: 3, xy: 1 }, bilateral: { weight: 4, xy: 67, rgb: 3 } },
  { name: '3,3 + 10,80,13', gaussian: { weight: 3, xy: 3 }, bilateral: { weight: 10, xy: 80, rgb: 13 } },
];

/** The processes that infer with a configuration. */
function enginesOf({ name: configuration, gaussian, bilateral }, scene) {
  const engine = (title, threads, command, leading) => {
    const name = `${configuration}, ${title}`;
    const labels = path.join(scratch, `crf-${name.replaceAll(/[^\w.]+/g, '-')}.labels`);
    const [size, iterations] = [Number(options.size), Number(options.iterations)];
    const task = JSON.stringify({ scene, size, classes, threads, iterations, gaussian, bilateral });
    return { name, title, configuration, labels, command, args: [...leading, task, labels] };
  };
  const script = path.join(__dirname, 'crf-engine.js');
  const deeplab = (threads) => engine(`deeplab, threads: ${threads}`, threads, process.execPath, [script, 'deeplab']);
  const rival =
    pydensecrf === undefined
      ? engine('plain float64', 1, process.execPath, [script, 'plain'])
      : engine('pydensecrf', 1, python, [path.join(__dirname, 'crf-rival.py'), pydensecrf]);
  return [...new Set([Number(options.threads), 1])].map(deeplab).concat({ ...rival, rival: true });
}

/** A row of figures for each engine; ratios and agreement are to the rival with the same configuration. */
function rowsOf(results) {
  const medianOf = (runs, key) => (runs[0]?.[key] === undefined ? undefined : median(runs.map((run) => run[key])));
  return results.map(({ engine, ready, runs, peakMb }) => {
    const beside = results.find(({ engine: other }) => other.rival && other.configuration === engine.configuration);
    const [own, other] = [engine, beside.engine].map(({ labels }) => readFileSync(labels));
    const medianMs = medianOf(runs, 'ms');
    return {
      configuration: engine.configuration,
      engine: engine.title,
      medianMs,
      minMs: Math.min(...runs.map(({ ms }) => ms)),
      latticeMs: medianOf(runs, 'latticeMs'),
      inferenceMs: medianOf(runs, 'inferenceMs'),
      ...ready,
      peakMb,
      speed: medianOf(beside.runs, 'ms') / medianMs,
      agreement: own.filter((label, i) => label === other[i]).length / own.length,
      runs,
    };
  });
}

function table(rows) {
  const columns = [
    { title: 'kernels', align: 'left' },
    { title: 'engine', align: 'left' },
    ...[
      'median ms',
      'min ms',
      'speed',
      'lattices ms',
      'inference ms',
      'first ms',
      'its lattices',
      'peak MB',
      'agree %',
    ].map((title) => ({ title, align: 'right' })),
  ];
  const whole = (value) => value?.toFixed(0) ?? '';
  const cells = rows.map((row) => [
    row.configuration,
    row.engine,
    ...[whole(row.medianMs), whole(row.minMs), row.speed.toFixed(2), whole(row.latticeMs), whole(row.inferenceMs)],
    ...[whole(row.firstMs), whole(row.firstLatticeMs), whole(row.peakMb), (100 * row.agreement).toFixed(3)],
  ]);
  return formatTable(columns, cells);
}

async function main() {
  mkdirSync(scratch, { recursive: true });
  const machine = await describeMachine({});
  const scene = await makeScene(scratch, Number(options.size), classes);
  const engines = configurations.flatMap((configuration) => enginesOf(configuration, scene));
  const rows = rowsOf(await race(engines, { rounds: Number(options.rounds), scratch }));

  if (pydensecrf === undefined) {
    console.log(
      'PYDENSECRF does not name a folder with pydensecrf: beside the plain implementation of the tests, which',
    );
    console.log('is for its labels, not its speed; the picture is small for its sake.');
  }
  console.log(`CRF, ${options.size}x${options.size}, ${classes} classes, ${options.iterations} iterations`);
  console.log(machineText(machine));
  console.log(`\n${table(rows)}\n`);
  const output = path.join(scratch, 'crf.json');
  const result = { date: new Date().toISOString(), machine, options, classes, rows };
  writeFileSync(output, `${JSON.stringify(result, null, 2)}\n`);
  console.log(`Written to ${path.relative(process.cwd(), output)}`);
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
