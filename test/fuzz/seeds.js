// Writes small sound weights files, the seeds of the fuzzer's corpus: node seeds.js <folder>

const { mkdirSync, writeFileSync } = require('node:fs');
const path = require('node:path');

const [folder] = process.argv.slice(2);

function seed(name, header, dataBytes) {
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  writeFileSync(path.join(folder, name), Buffer.concat([length, json, Buffer.alloc(dataBytes, 0x3c)]));
}

const tensor = (dtype, shape, begin, end) => ({ dtype, shape, data_offsets: [begin, end] });

mkdirSync(folder, { recursive: true });
seed('empty', {}, 0);
seed('metadata', { __metadata__: { architecture: 'deeplab_v2', aspp_rates: '6,12' } }, 0);
for (const [dtype, bytes] of Object.entries({ F64: 8, F32: 4, F16: 2, BF16: 2, I8: 1, U8: 1 })) {
  seed(dtype, { 'conv1.weight': tensor(dtype, [2, 3], 0, 6 * bytes) }, 6 * bytes);
}
seed('scalar', { a: tensor('F32', [], 0, 4) }, 4);
seed('nothing', { a: tensor('F32', [0, 0], 0, 0) }, 0);
seed('two', { b: tensor('F16', [1, 2, 1, 1], 4, 8), a: tensor('F32', [1], 0, 4) }, 8);
seed('int8', { w: tensor('I8', [2, 2], 0, 4), 'w.scale': tensor('F32', [2], 4, 12) }, 12);
