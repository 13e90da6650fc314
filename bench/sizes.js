// What an image's size costs: time and peak memory of a large image as it is, resized and in tiles, each in a process of
// its own.
//
//   node bench/sizes.js [--model FILE] [--size WIDTHxHEIGHT] [--tile PIXELS] [--threads N]

const { spawnSync } = require('node:child_process');
const { existsSync, readFileSync } = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { DeepLab } = require('../dist');
const { formatTable } = require('../dist/table');
const { describeMachine, machineText } = require('./machine');

const camvid = path.join(__dirname, '..', '..', 'shared', 'models', 'deeplabv2-resnet101-camvid.safetensors');
const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string', default: camvid },
    size: { type: 'string', default: '2000x1500' },
    tile: { type: 'string', default: '513' },
    threads: { type: 'string', default: '2' },
  },
});
const ways = [
  { fit: 'native' },
  { fit: 'resize', size: Number(options.tile) },
  { fit: 'tile', size: Number(options.tile) },
  { fit: 'tile', size: 2 * Number(options.tile) - 1 },
];

/** In the child: segments the example photo at that size, and prints what it took. */
async function segment(way) {
  const sharp = require('sharp');
  const [width, height] = options.size.split('x').map(Number);
  const photo = path.join(__dirname, '..', 'examples', 'berlin-cathedral.jpg');
  const { data } = await sharp(photo)
    .resize(width, height, { fit: 'fill' })
    .raw()
    .toBuffer({ resolveWithObject: true });
  const model = await DeepLab.load(options.model, { device: 'cpu', threads: Number(options.threads) });
  const before = peakMb();
  const started = performance.now();
  await model.segment({ data, width, height, channels: 3 }, way);
  const seconds = (performance.now() - started) / 1000;
  console.log(JSON.stringify({ seconds, before, peak: peakMb(), precision: model.precision }));
  await model.close();
}

function peakMb() {
  return Number(/VmHWM:\s*(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;
}

async function main() {
  if (positionals.length > 0) return segment(JSON.parse(positionals[0]));
  if (!existsSync(options.model)) throw new Error(`There is no ${options.model}: name a weights file with --model`);
  console.log(`${path.basename(options.model)}, ${options.size}, ${options.threads} threads`);
  console.log(machineText(await describeMachine({})));
  const rows = ways.map((way) => {
    const child = spawnSync(process.execPath, [__filename, JSON.stringify(way), ...process.argv.slice(2)], {
      encoding: 'utf8',
    });
    if (child.status !== 0) return [JSON.stringify(way), 'failed', '', child.stderr.trim().split('\n').at(-1)];
    const { seconds, before, peak } = JSON.parse(child.stdout);
    const { fit, size } = way;
    return [`${fit}${size ? ` ${size}` : ''}`, seconds.toFixed(2), peak.toFixed(0), (peak - before).toFixed(0)];
  });
  const titles = ['seconds', 'peak MB', 'above the loaded model'];
  console.log(
    `\n${formatTable([{ title: 'fit', align: 'left' }, ...titles.map((title) => ({ title, align: 'right' }))], rows)}`,
  );
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
