// Runs an ONNX model of one input and one output in onnxruntime: node onnxruntime.js MODEL [INPUT SHAPE OUTPUT]..., where
// INPUT and OUTPUT are files of 32-bit floats and SHAPE is as 1,3,33,49. Prints the shapes of the outputs. A process of its
// own, since onnxruntime does not take the arrays that jest's sandbox makes.

const { readFileSync, writeFileSync } = require('node:fs');
const { InferenceSession, Tensor } = require('onnxruntime-node');

async function main([model, ...runs]) {
  const session = await InferenceSession.create(model, { intraOpNumThreads: 2, logSeverityLevel: 2 });
  const shapes = [];
  for (let i = 0; i < runs.length; i += 3) {
    const [input, shape, output] = runs.slice(i);
    const data = new Float32Array(new Uint8Array(readFileSync(input)).buffer);
    const feeds = { [session.inputNames[0]]: new Tensor('float32', data, shape.split(',').map(Number)) };
    const { [session.outputNames[0]]: result } = await session.run(feeds);
    writeFileSync(output, new Uint8Array(result.data.buffer, result.data.byteOffset, result.data.byteLength));
    shapes.push(result.dims);
  }
  console.log(JSON.stringify(shapes));
}

main(process.argv.slice(2));
