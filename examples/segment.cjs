// Prints the class of the pixel in the middle of a photo: node examples/segment.cjs [model.safetensors] [photo]

const path = require('node:path');
const { DeepLab } = require('deeplab');

async function main() {
  const [weights, photo = path.join(__dirname, 'berlin-cathedral.jpg')] = process.argv.slice(2);
  const model = await DeepLab.load(weights);
  const { labels, width, height } = await model.segment(photo);
  const middle = labels[(height >> 1) * width + (width >> 1)];
  console.log(`${photo}, ${width}x${height}: ${model.classes[middle].name} in the middle`);
  await model.close();
}

main();
