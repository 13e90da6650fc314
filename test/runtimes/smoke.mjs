// What every runtime is to do with the package, as an application does it: test/runtimes.test.ts runs it on each, with
// the folder of the inputs, and judges the JSON that it prints. In a worker it loads the model and segments once more.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { DeepLab, DeepLabError, denseCrf, importWeights } from 'deeplab';

const folder = isMainThread ? process.argv[2] : workerData;
const input = (name) => path.join(folder, name);
const { width, height } = JSON.parse(readFileSync(input('size.json'), 'utf8'));
const pixels = { data: readFileSync(input('image.raw')), width, height, channels: 3 };
const options = { device: 'cpu', precision: 'f32', threads: 1 };

const digest = ({ labels }) => createHash('sha256').update(labels).digest('hex');

/** The code that a promise fails with, and the reason of an abort. */
async function failure(promise) {
  try {
    await promise;
    return 'none';
  } catch (error) {
    if (!(error instanceof DeepLabError)) return String(error);
    return error.cause instanceof Error && error.code === 'ERR_ABORTED'
      ? `${error.code} ${error.cause.name}`
      : error.code;
  }
}

/** A worker's message, once it has exited by itself. */
async function worker() {
  const thread = new Worker(new URL(import.meta.url), { workerData: folder });
  let message;
  thread.on('message', (received) => {
    message = received;
  });
  const code = await new Promise((resolve, reject) => thread.on('error', reject).on('exit', resolve));
  return code === 0 ? message : `exit ${code}`;
}

async function main() {
  const model = await DeepLab.load(input('weights.safetensors'), options);
  const result = await model.segment(pixels, { scores: true });
  const { labels } = await denseCrf(pixels, { probabilities: result.scores }, model.crf);
  const digests = {
    raw: digest(result),
    png: digest(await model.segment(readFileSync(input('image.png')))),
    jpeg: digest(await model.segment(input('image.jpg'))),
    crf: digest(await model.segment(pixels, { crf: true })),
    denseCrf: digest({ labels }),
    written: digest(await model.segment(await result.overlay({ opacity: 0 }))),
  };

  const large = { data: new Uint8Array(1025 * 1025 * 3), width: 1025, height: 1025, channels: 3 };
  const controller = new AbortController();
  const aborted = failure(model.segment(large, { signal: controller.signal }));
  const timedOut = failure(model.segment(large, { signal: AbortSignal.timeout(1) }));
  setTimeout(() => controller.abort(), 5);
  const failures = {
    aborted: await aborted,
    timedOut: await timedOut,
    noFile: await failure(DeepLab.load(input('none.safetensors'))),
    noWeights: await failure(DeepLab.load(input('size.json'))),
    noImage: await failure(model.segment(Buffer.from('no picture'))),
    noOption: await failure(model.segment(pixels, { fit: 'no fit' })),
    // Read by a thread of the library's own, in WebAssembly.
    keras: await failure(importWeights(input('keras.h5'), input('imported.safetensors'))),
    closed: 'none',
  };
  const inWorker = await worker();
  await model.close();
  failures.closed = await failure(model.segment(pixels));
  const disposable = typeof model[Symbol.asyncDispose] === 'function';
  const required = createRequire(import.meta.url)('deeplab').DeepLab === DeepLab;
  const { bun, deno, node } = process.versions;
  const runtime = bun ? `Bun ${bun}` : deno ? `Deno ${deno}` : `Node.js ${node}`;
  console.log(JSON.stringify({ runtime, digests, failures, worker: inWorker, disposable, required }));
}

if (isMainThread) await main();
else {
  const model = await DeepLab.load(input('weights.safetensors'), options);
  parentPort?.postMessage(digest(await model.segment(pixels)));
  await model.close();
}
