// Two copies of the package in one application, as npm installs them where versions differ: each has its addon.

import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { temporaryFolder } from './folder';
import { familyModel } from './models';

const root = path.join(__dirname, '..');
const folder = temporaryFolder();

/** The library in a folder of its own, with a binary of its own. */
function copyOfPackage(name: string): string {
  const copy = path.join(folder, name);
  cpSync(path.join(root, 'dist'), path.join(copy, 'dist'), { recursive: true });
  copyFileSync(path.join(root, 'package.json'), path.join(copy, 'package.json'));
  symlinkSync(path.join(root, 'node_modules'), path.join(copy, 'node_modules'));
  mkdirSync(path.join(copy, 'build/Release'), { recursive: true });
  const binary = require('node-gyp-build').path(root) as string;
  copyFileSync(binary, path.join(copy, 'build/Release/deeplab.node'));
  return path.join(copy, 'dist/index.js');
}

test.each(['exit', 'end'])('work in turn and at once, and %s in any order', (end) => {
  const copies = [copyOfPackage(`${end}-a`), copyOfPackage(`${end}-b`)];
  const args = [path.join(__dirname, 'programs/two-copies.js'), ...copies, familyModel('v3-mobilenet-v2'), end];
  const { DEEPLAB_PREBUILD: _, ...env } = process.env;
  expect(JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8', env }))).toEqual({
    addons: 2,
    alike: true,
  });
});
