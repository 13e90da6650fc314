// npm run soak -- --minutes N: everything at once, for a long time, on one process: images of many sizes in several
// precisions, alone and in batches, cancelled calls, time limits, bad images, models opened and closed, CRFs, streams of
// images, worker threads that die in the middle. Fails if memory grows, a call is never answered, a result differs from
// an earlier one of the same image, an error has no code, or the event loop is held up.
//
//   npm run build && npm run soak -- [--minutes 30] [--seed 1] [--verbose]
//
// The network is the doctor's, tiny: what is tried is all that surrounds it. The CPU backend has all cores but one.

const { mkdtempSync, rmSync } = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { monitorEventLoopDelay } = require('node:perf_hooks');
const { parseArgs } = require('node:util');
const { setFlagsFromString } = require('node:v8');
const { runInNewContext } = require('node:vm');
const { Worker } = require('node:worker_threads');
const sharp = require('sharp');
const { DeepLab, DeepLabError, DenseCrf, doctor } = require('../dist');
const { writeSelfTest } = require('../dist/self-test');

const { values: args } = parseArgs({
  options: {
    minutes: { type: 'string', default: '30' },
    seed: { type: 'string', default: '1' },
    verbose: { type: 'boolean' },
  },
});
const minutes = Number(args.minutes);
const threads = Math.max(1, os.availableParallelism() - 1);
/** What a run may do: MB per minute, milliseconds. */
const limits = { slope: 1, loopDelay: 10 };

const folder = mkdtempSync(path.join(os.tmpdir(), 'deeplab-soak-'));
const weights = path.join(folder, 'model.safetensors');
const start = performance.now();
const minutesPassed = () => (performance.now() - start) / 60_000;
let failures = 0;
function fail(message) {
  failures++;
  console.error(`FAILED: ${message}`);
}

/** mulberry32: who runs with the same seed does the same things, as far as threads let him. */
function generator(seed) {
  let state = seed | 0;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    below: (most) => Math.floor(next() * most),
    chance: (probability) => next() < probability,
    of: (list) => list[Math.floor(next() * list.length)],
  };
}

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc');
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// ---- Calls, each of which is answered once ----

const calls = { made: 0, answered: 0, ok: 0, codes: {} };
const waiting = new Map();

/** Makes a call and waits for it. Undefined where it failed, as calls may here: with a DeepLabError. */
async function call(name, make) {
  const id = calls.made++;
  waiting.set(id, name);
  try {
    const result = await make();
    calls.ok++;
    return result;
  } catch (error) {
    if (!(error instanceof DeepLabError) || error.code === 'ERR_INTERNAL') fail(`${name}: ${error?.stack ?? error}`);
    calls.codes[error.code] = (calls.codes[error.code] ?? 0) + 1;
    return undefined;
  } finally {
    if (!waiting.delete(id)) fail(`${name} was answered twice`);
    calls.answered++;
  }
}

// ---- Images, and what came of them ----

const sizes = [
  [1, 1],
  [33, 25],
  [64, 64],
  [97, 65],
  [129, 129],
  [200, 133],
  [257, 257],
  [321, 241],
  [513, 513],
];

function image(which) {
  const [width, height] = sizes[which];
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < data.length; i++) data[i] = Math.imul(i + which, 0x9e3779b1) >>> 24;
  return { data, width, height, channels: 3 };
}

/** FNV-1a. */
function digest(bytes) {
  let hash = 0x811c9dc5;
  for (let i = 0; i < bytes.length; i += 1 + (bytes.length >> 12)) hash = Math.imul(hash ^ bytes[i], 0x01000193);
  return hash;
}

const known = new Map();
/** The same question has the same answer, whatever else goes on. */
function check(question, { labels, width, height }) {
  if (labels.length !== width * height) fail(`${question}: ${labels.length} labels`);
  const answer = digest(labels);
  if (!known.has(question)) known.set(question, answer);
  else if (known.get(question) !== answer) fail(`${question}: another answer than before`);
}

const ways = [
  {},
  { scores: true },
  { logits: true },
  { crf: { iterations: 2 } },
  { flip: true },
  { fit: 'tile', size: 65 },
];

// ---- What goes on ----

async function client(model, name, random) {
  const which = random.below(sizes.length);
  const way = random.below(ways.length);
  const options = { ...ways[way], priority: random.of(['interactive', 'bulk']) };
  if (random.chance(0.1)) options.timeoutMs = 1 + random.below(20);
  const controller = new AbortController();
  if (random.chance(0.1)) {
    options.signal = controller.signal;
    setTimeout(() => controller.abort(), random.below(20));
  }
  const result = await call('segment', () => model.segment(image(which), options));
  if (result) check(`${name} ${which} ${way}`, result);
}

async function badImages(model, random) {
  const { data, width, height } = image(3);
  const jpeg = await sharp(data, { raw: { width, height, channels: 3 } })
    .jpeg()
    .toBuffer();
  const detached = new Uint8Array(width * height * 3);
  structuredClone(detached.buffer, { transfer: [detached.buffer] });
  const bad = random.of([
    jpeg.subarray(0, random.below(jpeg.length)),
    Buffer.alloc(100, random.below(256)),
    { data: data.subarray(1), width, height, channels: 3 },
    { data: detached, width, height, channels: 3 },
    path.join(folder, 'missing.jpg'),
    { data, width: -1, height, channels: 3 },
    null,
  ]);
  await call('segment a bad image', () => model.segment(bad));
  // Mutated as soon as the call is made: the answer is that of the bytes as they were.
  const pixels = image(2);
  const pending = call('segment', () => model.segment(pixels));
  pixels.data.fill(255);
  const result = await pending;
  if (result) check('f32 2 0', result);
  await sleep(20);
}

async function openAndClose(random) {
  const loading = call('load', () =>
    DeepLab.load(weights, {
      device: 'cpu',
      precision: 'f32',
      threads: 1,
      ...(random.chance(0.2) && { timeoutMs: 1 + random.below(20) }),
    }),
  );
  const model = await loading;
  if (!model) return;
  const running = [0, 1, 2].map(() => call('segment', () => model.segment(image(4))));
  if (random.chance(0.5)) await running[0];
  await model.close({ abort: random.chance(0.5) });
  await Promise.all(running);
  await sleep(50);
}

async function crf(random) {
  const { data, width, height } = image(3);
  const made = await call('create a CRF', () =>
    DenseCrf.create({ data, width, height, channels: 3 }, { device: 'cpu', threads }),
  );
  if (!made) return;
  const probabilities = new Float32Array(2 * width * height).fill(0.5);
  const limit = random.chance(0.3) ? { timeoutMs: 1 } : {};
  await call('infer', () => made.infer({ probabilities }, { iterations: 3, ...limit }));
  await made.close();
  await sleep(50);
}

async function stream(model, random) {
  const images = Array.from({ length: 20 }, () => image(random.below(6)));
  const leaveAt = random.below(40);
  const results = model.segmentAll(images, { concurrency: 4, order: random.of(['inputs', 'ready']) });
  for await (const { index, error } of results) {
    if (error && error.code !== 'ERR_QUEUE_FULL') fail(`segmentAll: ${error.stack}`);
    if (index === leaveAt) break;
  }
}

const worker = `
  const { parentPort, workerData: { package, weights } } = require('node:worker_threads');
  const { DeepLab } = require(package);
  DeepLab.load(weights, { device: 'cpu', precision: 'f32', threads: 1 }).then(async (model) => {
    parentPort.postMessage('loaded');
    const image = { data: new Uint8Array(129 * 129 * 3), width: 129, height: 129, channels: 3 };
    while (true) await Promise.all([model.segment(image), model.segment(image, { crf: true })]);
  });`;

async function workerThread(random) {
  const workerData = { package: path.join(__dirname, '..'), weights };
  const one = new Worker(worker, { eval: true, workerData });
  one.on('error', (error) => fail(`in a worker: ${error.stack}`));
  if (random.chance(0.7)) await new Promise((resolve) => one.once('message', resolve).once('exit', resolve));
  await sleep(random.below(100));
  await one.terminate();
  await sleep(500);
}

// ---- Memory ----

/** Slope of a line through the points, and its standard error. */
function slopeOf(points) {
  const n = points.length;
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / n;
  const meanY = points.reduce((sum, [, y]) => sum + y, 0) / n;
  const spread = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  const slope = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0) / spread;
  const rest = points.reduce((sum, [x, y]) => sum + (y - meanY - slope * (x - meanX)) ** 2, 0);
  return { slope, error: Math.sqrt(rest / (n - 2) / spread) };
}

async function main() {
  writeSelfTest(weights);
  const { precisions } = await doctor();
  const load = { device: 'cpu', threads, cacheSize: 4 };
  const models = {};
  for (const precision of precisions) models[precision] = await DeepLab.load(weights, { ...load, precision });
  models.batches = await DeepLab.load(weights, { ...load, precision: 'f32', maxBatch: 4, queueLimit: { count: 64 } });
  const names = Object.keys(models);

  const loopDelay = monitorEventLoopDelay({ resolution: 1 });
  let going = true;
  let open = Promise.resolve(); // where activities wait between two of their rounds
  let busy = 0;
  const seed = Number(args.seed);
  const forever = async (activity, stream) => {
    const random = generator(seed * 1000 + stream);
    while (true) {
      await open;
      if (!going) return;
      busy++;
      await activity(random);
      busy--;
    }
  };
  /** The process's memory when nothing goes on, which is more even than in the middle of everything. */
  const restingMemory = async () => {
    let goOn;
    open = new Promise((resolve) => {
      goOn = resolve;
    });
    while (busy > 0) await sleep(1);
    gc();
    await sleep(10); // for what is freed on other threads
    const bytes = process.memoryUsage.rss();
    goOn();
    return bytes;
  };
  const activities = [
    ...[1, 2, 3, 4, 5, 6].map(() => (random) => {
      const name = random.of(names);
      return client(models[name], name === 'batches' ? 'f32' : name, random);
    }),
    (random) => badImages(models.f32, random),
    openAndClose,
    crf,
    (random) => stream(models.batches, random),
    workerThread,
  ];
  const running = activities.map(forever);

  // Half of a short run, and a few minutes of a long one, is warming up: caches fill, the heap finds its size.
  const warmUp = Math.min(minutes / 2, 3);
  const samples = [];
  while (minutesPassed() < minutes) {
    if (minutesPassed() >= warmUp) loopDelay.enable();
    await sleep(2000);
    loopDelay.disable();
    const memory = await restingMemory();
    if (minutesPassed() >= warmUp) samples.push([minutesPassed(), memory / 2 ** 20]);
    if (args.verbose) console.log(minutesPassed().toFixed(2), (memory / 2 ** 20).toFixed(1), calls.made);
  }
  going = false;
  const patience = setTimeout(() => {
    fail(`${waiting.size} calls are not answered: ${[...new Set(waiting.values())].join(', ')}`);
    process.exit(1);
  }, 60_000);
  await Promise.all(running);
  clearTimeout(patience);
  const batches = models.batches.stats().batches;
  for (const model of Object.values(models)) await model.close();
  if (waiting.size > 0) fail(`${waiting.size} calls were never answered: ${[...new Set(waiting.values())].join(', ')}`);

  const { slope, error } = slopeOf(samples);
  const p99 = loopDelay.percentile(99) / 1e6;
  // What is not above the limit by twice its standard error may be chance.
  if (slope - 2 * error > limits.slope) fail(`memory grows by ${slope.toFixed(2)} MB a minute`);
  if (p99 > limits.loopDelay) fail(`the event loop's delay is above ${limits.loopDelay} ms for one in a hundred`);
  console.log(
    `${minutesPassed().toFixed(1)} minutes, ${threads} threads: ${calls.made} calls, ${calls.ok} with a result`,
    JSON.stringify(calls.codes),
    `\nbatches ${batches.map(({ size, runs }) => `${runs} of ${size}`).join(', ')}`,
    `\nmemory ${samples.at(-1)[1].toFixed(0)} MB, ${slope.toFixed(2)} +- ${error.toFixed(2)} MB a minute`,
    `\nevent loop's delay: median ${(loopDelay.percentile(50) / 1e6).toFixed(1)}, 99 % ${p99.toFixed(1)} ms`,
  );
  console.log(failures === 0 ? 'passed' : `${failures} failures`);
  process.exitCode = failures === 0 ? 0 : 1;
}

main()
  .catch((error) => {
    console.error(error);
    process.exitCode = 1;
  })
  .finally(() => rmSync(folder, { recursive: true, force: true }));
