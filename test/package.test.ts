// The built package, as applications import it.

import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import * as lib from '../lib';

const root = path.join(__dirname, '..');
const evaluate = (type: 'module' | 'commonjs', code: string) =>
  execFileSync(process.execPath, [`--input-type=${type}`, '-e', code], { cwd: root, encoding: 'utf8' });

beforeAll(() => {
  if (!existsSync(path.join(root, 'dist/index.js'))) throw new Error('dist/ is missing: npm run build:lib');
});

test('the public names are these', () => {
  expect(Object.keys(lib).sort()).toEqual([
    'DeepLab',
    'DeepLabError',
    'DenseCrf',
    'Segmentation',
    'Tensor',
    'crfPresets',
    'crfSearch',
    'denseCrf',
    'doctor',
    'errorCatalogue',
    'evaluate',
    'exportOnnx',
    'importWeights',
    'inspect',
    'networks',
    'openDataset',
    'probabilityFloor',
    'pullWeights',
    'train',
    'tune',
    'vocPalette',
  ]);
});

test('require finds every public name', () => {
  const names = evaluate('commonjs', `console.log(Object.keys(require('deeplab')).sort().join())`);
  expect(names.trim()).toBe(Object.keys(lib).sort().join());
});

test('import finds every public name', () => {
  const names = Object.keys(lib).sort().join();
  const code = `import { ${names} } from 'deeplab'; console.log([${names}].every((name) => name !== undefined))`;
  expect(evaluate('module', code).trim()).toBe('true');
});

test('importing it loads no native code: only using it does', () => {
  const loaded = `require('deeplab'); console.log(process.report.getReport().sharedObjects.some((file) => /\\/deeplab[.]node$/.test(file)))`;
  expect(evaluate('commonjs', loaded).trim()).toBe('false');
});
