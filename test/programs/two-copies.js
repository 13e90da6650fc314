// Two copies of the addon in one process, in turn and at once. Arguments: two paths of the library, a weights file.
// Prints as JSON whether the two are different files, and whether all answers were alike.

const { readFileSync } = require('node:fs');
const { Worker } = require('node:worker_threads');

const [first, second, model] = process.argv.slice(2);
const options = { device: 'cpu', precision: 'f32', threads: 2 };
const data = new Uint8Array(65 * 49 * 3).map((_, i) => (i * 7) % 253);
const image = { data, width: 65, height: 49, channels: 3 };

async function main() {
  const models = [
    await require(first).DeepLab.load(model, options),
    await require(second).DeepLab.load(model, options),
  ];
  const answer = async (one) => {
    const { logits, labels } = await one.segment(image, { logits: true, crf: true });
    return Buffer.concat([Buffer.from(logits.data.buffer), labels]);
  };
  const right = await answer(models[0]);
  const answers = [await answer(models[1]), await answer(models[0])];
  answers.push(...(await Promise.all([0, 1, 0, 1, 0, 1].map((i) => answer(models[i])))));
  // A worker with the second copy, which ends before, and one that process.exit() ends.
  const script =
    "const { library, model, options } = require('node:worker_threads').workerData;" +
    "require(library).DeepLab.load(model, options).then(() => require('node:worker_threads').parentPort.postMessage(0));";
  for (const library of [second, first]) {
    const worker = new Worker(script, { eval: true, workerData: { library, model, options } });
    await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
    if (library === second) await worker.terminate();
  }
  answers.push(await answer(models[0]));
  await models[0].close();
  answers.push(await answer(models[1]));
  const addons = new Set(readFileSync('/proc/self/maps', 'utf8').match(/\/\S+\/deeplab\.node/g));
  console.log(JSON.stringify({ addons: addons.size, alike: answers.every((one) => one.equals(right)) }));
  models[1].segment(image); // and in the middle of this, the end
  if (process.argv[5] === 'exit') process.exit(0);
}

main();
