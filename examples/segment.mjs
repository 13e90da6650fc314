// Segments a photo and writes an overlay: node examples/segment.mjs [model.safetensors] [photo] [overlay.png]

import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { DeepLab } from 'deeplab';

const example = fileURLToPath(new URL('berlin-cathedral.jpg', import.meta.url));
const [weights, photo = example, output = 'overlay.png'] = process.argv.slice(2);

const model = await DeepLab.load(weights);
const result = await model.segment(photo);
for (const { name, share } of result.classes) console.log(name.padEnd(12), `${(100 * share).toFixed(1)} %`);
await writeFile(output, await result.overlay());
await model.close();
