// Calls process.exit(42) in the middle of something, and prints the time, by the system's clock, right before.
// Arguments: the library, a weights file, what to be in the middle of, side of the image, milliseconds into it, and
// where: main or worker.

const { writeSync } = require('node:fs');
const { isMainThread, parentPort, Worker, workerData } = require('node:worker_threads');

function exit() {
  writeSync(1, String(performance.timeOrigin + performance.now()));
  process.exit(42);
}

async function begin([library, model, what, side, milliseconds], now) {
  const { DeepLab, DenseCrf } = require(library);
  const size = Number(side);
  const data = new Uint8Array(size * size * 3).map((_, i) => (i * 7) % 253);
  const image = { data, width: size, height: size, channels: 3 };
  const options = { device: 'cpu', precision: 'f32' };
  const probabilities = new Float32Array(21 * size * size).fill(1 / 21);
  let work;
  if (what === 'load') {
    work = DeepLab.load(model, options);
  } else if (what === 'lattice') {
    work = DenseCrf.create(image);
  } else if (what === 'crf') {
    const crf = await DenseCrf.create(image);
    work = crf.infer({ probabilities }, { iterations: 1000 });
  } else {
    const loaded = await DeepLab.load(model, options);
    work = Promise.all([1, 2, 3, 4].map(() => loaded.segment(image)));
  }
  work.then(
    () => writeSync(1, 'too late '),
    () => undefined,
  );
  setTimeout(now, Number(milliseconds));
}

if (!isMainThread) begin(workerData, () => parentPort.postMessage('now'));
else if (process.argv[7] === 'worker') {
  // The worker is in the middle of it, and the main thread ends both.
  new Worker(__filename, { workerData: process.argv.slice(2, 7) }).once('message', exit);
} else begin(process.argv.slice(2, 7), exit);
