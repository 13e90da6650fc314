// Applications that are bundled: with the package left external they run as others do; with the package inside they are
// told what to do. esbuild stands for all bundlers. docs/runtimes.md says how it is asked for.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type BuildOptions, build } from 'esbuild';
import { temporaryFolder } from './folder';
import { writeSmallModel } from './small-model';

const root = path.join(__dirname, '..');
const folder = temporaryFolder();
const at = (name: string) => path.join(folder, name);

beforeAll(() => {
  if (!existsSync(path.join(root, 'dist/index.js'))) throw new Error('dist/ is missing: npm run build:lib');
  writeSmallModel(at('weights.safetensors'));
  mkdirSync(at('node_modules'));
  symlinkSync(root, at('node_modules/deeplab'));
  symlinkSync(path.join(root, 'node_modules/sharp'), at('node_modules/sharp'));
  writeFileSync(
    at('application.ts'),
    `import { DeepLab, DeepLabError } from 'deeplab';
     async function main(): Promise<void> {
       const model = await DeepLab.load('weights.safetensors', { device: 'cpu', threads: 1 });
       const image = { data: new Uint8Array(33 * 17 * 3), width: 33, height: 17, channels: 3 as const };
       const { labels } = await model.segment(image);
       await model.close();
       console.log(labels.length);
     }
     main().catch((error) => console.log(error instanceof DeepLabError, error.code, error.message));`,
  );
});

/** What the application prints, bundled. */
async function run(outfile: string, options: BuildOptions): Promise<string> {
  await build({
    entryPoints: [at('application.ts')],
    outfile: at(outfile),
    bundle: true,
    platform: 'node',
    target: 'node20',
    logLevel: 'silent',
    ...options,
  });
  return execFileSync(process.execPath, [outfile], { cwd: folder, encoding: 'utf8' });
}

test.each([
  ['esm', 'bundle.mjs'],
  ['cjs', 'bundle.cjs'],
] as const)('a bundle (%s) that leaves the package external runs', async (format, outfile) => {
  expect(await run(outfile, { format, external: ['deeplab'] })).toBe(`${33 * 17}\n`);
});

test('a bundle that leaves all packages external runs', async () => {
  expect(await run('packages.mjs', { format: 'esm', packages: 'external', minify: true })).toBe(`${33 * 17}\n`);
});

test('a bundler does not take the package in by itself', async () => {
  const errors = run('inside.cjs', { format: 'cjs' }).catch(({ errors }) => errors as readonly { text: string }[]);
  expect(JSON.stringify(await errors)).toMatch(/sharp-.*\.node/);
});

test('a bundle that has the package inside says that it should be left out', async () => {
  const said = await run('inside.cjs', { format: 'cjs', external: ['sharp'] });
  expect(said).toMatch(/^true ERR_NATIVE_ADDON /);
  expect(said).toMatch(/have the bundler leave deeplab external/);
});
