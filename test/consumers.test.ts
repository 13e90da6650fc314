// Strict TypeScript applications compile against dist/*.d.ts, whichever module system they have: declarations are checked
// too (skipLibCheck: false), without the DOM and without anything but the types of Node.js. What the types say is
// test-d/index.test-d.ts's.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryFolder } from './folder';

const root = path.join(__dirname, '..');
const folder = temporaryFolder();
const at = (name: string) => path.join(folder, name);

const strictest = {
  strict: true,
  skipLibCheck: false,
  noEmit: true,
  target: 'es2022',
  lib: ['es2023'],
  types: ['node'],
  typeRoots: [path.join(root, 'node_modules/@types')],
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  noPropertyAccessFromIndexSignature: true,
  verbatimModuleSyntax: true,
};

const asModule = `
import { type ClassShare, DeepLab, DeepLabError, denseCrf } from 'deeplab';
const model = await DeepLab.load('model.safetensors', { precision: 'auto' });
try {
  const result = await model.segment(Buffer.from(''), { scores: true, signal: AbortSignal.timeout(1000) });
  const first: ClassShare | undefined = result.classes[0];
  if (result.scores) await denseCrf({ width: 1, height: 1 }, { probabilities: result.scores }, model.crf);
  console.log(first?.name, (await result.toPng()).length);
} catch (error) {
  if (error instanceof DeepLabError && error.code === 'ERR_ABORTED') console.log(error.cause);
}
await model.close();
export {};
`;
const asScript = `
import deeplab = require('deeplab');
const model: Promise<deeplab.DeepLab> = deeplab.DeepLab.load('model.safetensors');
model.then((loaded: deeplab.DeepLab) => loaded.segment('photo.jpg')).then(({ labels }) => console.log(labels.length));
`;

beforeAll(() => {
  if (!existsSync(path.join(root, 'dist/index.d.ts'))) throw new Error('dist/ is missing: npm run build:lib');
  mkdirSync(at('node_modules'));
  symlinkSync(root, at('node_modules/deeplab'));
  writeFileSync(at('module.mts'), asModule);
  writeFileSync(at('script.cts'), asScript);
  writeFileSync(at('wrong.mts'), `import { DeepLab } from 'deeplab';\nawait DeepLab.load(1);\n`);
});

/** What the compiler says. */
function compile(options: object, files: readonly string[]): string {
  writeFileSync(at('tsconfig.json'), JSON.stringify({ compilerOptions: { ...strictest, ...options }, files }));
  const tsc = path.join(root, 'node_modules/typescript/bin/tsc');
  return spawnSync(process.execPath, [tsc, '-p', folder], { encoding: 'utf8' }).stdout;
}

test('a strict application compiles, as module and as script, but for the line that is wrong', () => {
  const errors = compile({ module: 'node16' }, ['module.mts', 'script.cts', 'wrong.mts']);
  expect(errors.trim().split('\n')).toEqual([expect.stringMatching(/wrong\.mts\(2,20\): error TS2345/)]);
});

test('a strict application compiles for a bundler', () => {
  expect(compile({ module: 'esnext', moduleResolution: 'bundler' }, ['module.mts'])).toBe('');
});
