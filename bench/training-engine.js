// deeplab as a child process of training.js (race.js has the protocol): a step of SGD, as deeplab train runs it.
//
//   node bench/training-engine.js <weights.safetensors> <batch> <width> <height> <threads> <precision> <frozen|trained>

const readline = require('node:readline');
const { native } = require('../dist/native');

async function main([file, batchText, widthText, heightText, threadsText, precision, batchNorm]) {
  const [batch, width, height] = [Number(batchText), Number(widthText), Number(heightText)];
  const classes = 11;
  const trainer = await native().createTrainer(file, {
    device: 'cpu',
    precision,
    threads: Number(threadsText),
    cudnn: '',
    batch,
    width,
    height,
    batchNorm,
    batchNormMomentum: 0.1,
    dropout: 0,
    loss: 'image',
    ignoreLabel: 255,
    classWeights: new Float32Array(classes).fill(1),
  }).made;
  const pixels = new Uint8Array(batch * width * height * 3);
  for (let i = 0; i < pixels.length; i++) pixels[i] = (i * 2654435761) >>> 24;
  const labels = Uint8Array.from({ length: batch * width * height }, (_, i) => (i >> 4) % classes);
  const learningRates = new Float32Array(trainer.parameters.length).fill(1e-4);
  const weightDecays = new Float32Array(trainer.parameters.length).fill(5e-4);
  const step = async () => {
    const started = performance.now();
    await trainer.accumulate(pixels, labels, { scale: 1, seed: 0 }).result;
    await trainer.update({ learningRates, weightDecays, momentum: 0.9 }).result;
    return performance.now() - started;
  };
  console.log(JSON.stringify({ firstMs: await step() }));
  for await (const _ of readline.createInterface({ input: process.stdin })) {
    console.log(JSON.stringify({ ms: await step() }));
  }
  await trainer.close();
}

main(process.argv.slice(2));
