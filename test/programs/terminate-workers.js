// Ends worker_threads at random moments of a model's life while the main thread computes with the same model, and prints
// as JSON what is left of them. Arguments: the library, a weights file, the seed, how many to end, threads of each, and
// whether the main thread computes: with, or without.

const { readdirSync, readFileSync } = require('node:fs');
const path = require('node:path');
const { Worker } = require('node:worker_threads');

const [library, model, seed, count, threads, company] = process.argv.slice(2);

const atOnce = 3;
const lastStep = 11; // of terminated-worker.js

// Numerical Recipes' generator.
let state = Number(seed);
const random = () => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32;
};

const deeplabThreads = () =>
  readdirSync('/proc/self/task').filter((id) => {
    try {
      return readFileSync(`/proc/self/task/${id}/comm`, 'utf8').trim() === 'deeplab';
    } catch {
      return false; // it has just ended
    }
  }).length;
const openFiles = () => readdirSync('/proc/self/fd').length;
const megabytes = () => process.memoryUsage.rss() / 1e6;

async function reaches(steps, wanted) {
  for (;;) {
    const now = Atomics.load(steps, 0);
    if (now >= wanted) return;
    await Atomics.waitAsync(steps, 0, now, 10_000).value;
  }
}

async function endOne(compute) {
  const wanted = Math.floor(random() * (lastStep + 1));
  const delay = random() < 0.5 ? 0 : random() * 20;
  const steps = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(path.join(__dirname, 'terminated-worker.js'), {
    workerData: { library, model, steps, threads: Number(threads) },
  });
  const failure = new Promise((_, reject) => worker.once('error', reject));
  failure.catch(() => undefined);
  await Promise.race([reaches(steps, wanted), failure]);
  if (delay > 0) await new Promise((resolve) => setTimeout(resolve, delay));
  const answer = compute();
  const begin = performance.now();
  await worker.terminate();
  const milliseconds = performance.now() - begin;
  await answer;
  return milliseconds;
}

/** Somebody who computes with the same model all the while. */
async function openCompany() {
  const { DeepLab } = require(library);
  const own = await DeepLab.load(model, { device: 'cpu', precision: 'f32', threads: 1 });
  const data = new Uint8Array(65 * 65 * 3).map((_, i) => (i * 7) % 253);
  const image = { data, width: 65, height: 65, channels: 3 };
  const segment = async () => Buffer.from((await own.segment(image, { logits: true })).logits.data.buffer);
  const right = await segment();
  let wrong = 0;
  const compute = async () => {
    if (!right.equals(await segment())) wrong++;
  };
  return { compute, wrong: () => wrong, close: () => own.close() };
}

async function main() {
  const none = { compute: async () => undefined, wrong: () => 0, close: async () => undefined };
  const { compute, wrong, close } = company === 'with' ? await openCompany() : none;
  const files = openFiles();
  const memory = [];
  const milliseconds = [];
  let begun = 0;
  const slot = async () => {
    while (begun < Number(count)) {
      begun++;
      milliseconds.push(await endOne(compute));
      if (milliseconds.length % 10 === 0) memory.push(megabytes());
    }
  };
  await Promise.all(Array.from({ length: atOnce }, slot));
  const threadsAfter = deeplabThreads();
  const filesMore = openFiles() - files;
  await close();
  while (deeplabThreads() > 0) await new Promise((resolve) => setImmediate(resolve)); // the last one says so as it ends
  milliseconds.sort((a, b) => a - b);
  console.log(
    JSON.stringify({
      ended: milliseconds.length,
      wrong: wrong(),
      threads: threadsAfter,
      filesMore,
      memory,
      medianMs: milliseconds[milliseconds.length >> 1],
      longestMs: milliseconds.at(-1),
    }),
  );
}

main();
