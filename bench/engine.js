// One configuration of deeplab as a child process of bench.js (race.js has the protocol):
//
//   node bench/engine.js <model.safetensors> <size> <threads> <options of DeepLab.load, JSON>

const readline = require('node:readline');
const { DeepLab } = require('../dist');

async function main([file, sizeText, threadsText, optionsText]) {
  const size = Number(sizeText);
  const image = { data: new Uint8Array(size * size * 3), width: size, height: size, channels: 3 };
  for (let i = 0; i < image.data.length; i++) image.data[i] = (i * 2654435761) >>> 24;

  const timed = async (task) => {
    const started = performance.now();
    await task();
    return performance.now() - started;
  };
  let model;
  const loadMs = await timed(async () => {
    model = await DeepLab.load(file, { device: 'cpu', threads: Number(threadsText), ...JSON.parse(optionsText) });
  });
  const firstMs = await timed(() => model.segment(image));
  console.log(JSON.stringify({ loadMs, firstMs, note: '' }));
  for await (const _ of readline.createInterface({ input: process.stdin })) {
    console.log(JSON.stringify({ ms: await timed(() => model.segment(image)) }));
  }
  await model.close();
}

main(process.argv.slice(2));
