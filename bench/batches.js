// What batches gain on a CPU: images a second with 16 calls at once, one by one and in batches, for images of several
// sizes. Rounds in turn; medians.
//
//   node bench/batches.js [--model FILE] [--sides 33,65,129,257] [--batches 1,4,8] [--precision f32] [--rounds 5] [--threads N]

const { existsSync } = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { DeepLab } = require('../dist');
const { formatTable } = require('../dist/table');
const { describeMachine, machineText } = require('./machine');

const camvid = path.join(__dirname, '..', '..', 'shared', 'models', 'deeplabv2-resnet101-camvid.safetensors');
const { values: options } = parseArgs({
  options: {
    model: { type: 'string', default: camvid },
    sides: { type: 'string', default: '33,65,129,257' },
    batches: { type: 'string', default: '1,4,8' },
    precision: { type: 'string', default: 'f32' },
    rounds: { type: 'string', default: '5' },
    threads: { type: 'string', default: String(os.availableParallelism()) },
  },
});
const numbers = (text) => text.split(',').map(Number);
const calls = 16;

/** Milliseconds an image, of `calls` at once. */
async function round(model, image) {
  const start = performance.now();
  await Promise.all(Array.from({ length: calls }, () => model.segment(image)));
  return (performance.now() - start) / calls;
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

async function main() {
  if (!existsSync(options.model)) throw new Error(`There is no ${options.model}: name a weights file with --model`);
  console.log(
    `${path.basename(options.model)}, ${options.precision}, ${options.threads} threads, ${calls} calls at once`,
  );
  console.log(machineText(await describeMachine({})));
  const sizes = numbers(options.batches);
  const models = [];
  for (const maxBatch of sizes) {
    const { precision, threads } = options;
    models.push(await DeepLab.load(options.model, { device: 'cpu', precision, threads: Number(threads), maxBatch }));
  }
  const rows = [];
  for (const side of numbers(options.sides)) {
    const data = Uint8Array.from({ length: side * side * 3 }, (_, i) => Math.imul(i, 0x9e3779b1) >>> 24);
    const image = { data, width: side, height: side, channels: 3 };
    for (const model of models) await round(model, image);
    const times = models.map(() => []);
    for (let i = 0; i < Number(options.rounds); i++) {
      for (const [at, model] of models.entries()) times[at].push(await round(model, image));
    }
    rows.push([`${side}x${side}`, ...times.map((each) => median(each).toFixed(1))]);
  }
  for (const model of models) await model.close();
  const columns = sizes.map((size) => ({ title: `batches of ${size}, ms an image`, align: 'right' }));
  console.log(formatTable([{ title: 'image', align: 'left' }, ...columns], rows));
}

main();
