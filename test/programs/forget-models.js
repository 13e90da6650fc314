// Loads models that nobody closes, and prints as JSON the resident memory after each, in MB. Arguments: the library, a
// weights file, how many, and `collect` to collect garbage after each. The images are large, and so is what a model
// keeps to compute with.

const { readdirSync, readFileSync } = require('node:fs');

const [library, model, count, collect] = process.argv.slice(2);
const { DeepLab, DenseCrf } = require(library);

const megabytes = () => process.memoryUsage.rss() / 1e6;
const sessions = () =>
  readdirSync('/proc/self/task').filter((id) => {
    try {
      return readFileSync(`/proc/self/task/${id}/comm`, 'utf8').trim() === 'deeplab';
    } catch {
      return false; // it has just ended
    }
  }).length;

const side = 769;
const image = { data: new Uint8Array(side * side * 3), width: side, height: side, channels: 3 };
const options = { device: 'cpu', threads: 1 };

async function forgetOne() {
  const loaded = await DeepLab.load(model, { ...options, precision: 'f32' });
  await loaded.segment(image);
  await DenseCrf.create({ ...image, data: image.data.subarray(0, 3 * 65 * 65), width: 65, height: 65 }, options);
}

async function main() {
  const memory = [];
  for (let i = 0; i < Number(count); i++) {
    await forgetOne();
    if (collect === 'collect') {
      // Once for the object, once for what its finalization has let go.
      for (let pass = 0; sessions() > 0 && pass < 1000; pass++) {
        global.gc();
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    memory.push(megabytes());
  }
  console.log(JSON.stringify({ memory, sessions: sessions() }));
}

main();
