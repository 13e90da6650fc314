// A worker_thread that loads a model, computes and closes, again and again, until terminate-workers.js ends it. It counts
// its steps in shared memory, before each.

const { workerData } = require('node:worker_threads');

const step = (number) => {
  Atomics.store(workerData.steps, 0, number);
  Atomics.notify(workerData.steps, 0);
};

async function main() {
  step(1);
  const { DeepLab, DenseCrf } = require(workerData.library);
  const options = { device: 'cpu', precision: 'f32', threads: workerData.threads };
  const image = { data: new Uint8Array(65 * 65 * 3).map((_, i) => i % 251), width: 65, height: 65, channels: 3 };
  const unary = { probabilities: new Float32Array(2 * 65 * 65).fill(0.5) };
  for (;;) {
    step(2);
    const loading = DeepLab.load(workerData.model, options);
    step(3);
    const model = await loading;
    step(4);
    const segmenting = model.segment(image, { scores: true });
    const waiting = model.segment(image, { crf: true });
    step(5);
    await segmenting;
    step(6);
    const building = DenseCrf.create(image, { device: 'cpu', threads: workerData.threads });
    step(7);
    const crf = await building;
    step(8);
    const inferring = crf.infer(unary);
    step(9);
    await Promise.all([inferring, waiting]);
    step(10);
    const closing = [model.close(), crf.close()];
    step(11);
    await Promise.all(closing);
  }
}

main();
