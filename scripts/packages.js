#!/usr/bin/env node
// npm run packages: makes the packages that are published, folders and tarballs, in build/packages: deeplab itself, with
// the model that ships and without native code, and for every platform that was built one with its binaries
// (lib/platforms.ts names them). Builds nothing:
//
//   npm run build               deeplab, linux-x64
//   npm run build:cuda          linux-x64-cuda
//   scripts/build-arm64.sh      linux-arm64
//
// What was not built is left out, and deeplab does not ask for it; with --release that is an error. Another folder, new or
// empty, may be named. Throws if a package is too large, or needs a newer system than lib/platforms.ts says.
// docs/packaging.md explains.

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { promisify } = require('node:util');
const prebuildify = promisify(require('prebuildify'));
const { checkNodeApi, checkSymbols, librariesOf, makePrivate, systemNeeds } = require('./elf');
const { writeLicences } = require('./licences');
const { binaryPackage, cudaPackage, cudaPlatforms, oldestLibraries } = require('../dist/platforms');
const { defaultWeights } = require('../dist/weights');

const root = path.join(__dirname, '..');
const [named] = process.argv.slice(2).filter((argument) => !argument.startsWith('-'));
const out = named === undefined ? path.join(root, 'build', 'packages') : path.resolve(named);
const manifest = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));
const release = process.argv.includes('--release');

const run = (command, ...args) =>
  execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });

/** Where the addon was built, and the Debian system whose libraries it was linked with. */
const builds = [
  { arch: 'x64', debian: 'x86_64-linux-gnu' },
  { arch: 'arm64', debian: 'aarch64-linux-gnu' },
].map(({ arch, debian }) => ({
  platform: `linux-${arch}`,
  arch,
  debian,
  ...(arch === process.arch
    ? { folder: 'build/Release', system: '/', strip: 'strip', how: 'npm run build' }
    : {
        folder: `build/${arch}`,
        system: `build/${arch}-sysroot`,
        strip: `${debian}-strip`,
        how: `scripts/build-${arch}.sh`,
      }),
}));
const cudaBuild = { platform: `linux-${process.arch}`, arch: process.arch, folders: ['build/Release', 'build/cuda'] };

/** In bytes, packed. The main one has a model in it, of 50 MB at most. */
const limits = { binary: 25e6, cuda: 60e6, main: 52e6 };

/** An empty folder of build/packages for the package `name`. */
function stage(name) {
  const folder = path.join(out, name.replace(/^@[^/]*\//, ''));
  fs.mkdirSync(folder, { recursive: true });
  return folder;
}

const write = (file, text) => fs.writeFileSync(file, text);
const writeManifest = (folder, content) =>
  write(path.join(folder, 'package.json'), `${JSON.stringify(content, null, 2)}\n`);

/** What the manifests of packages with binaries have in common. */
const binaryManifest = (name, arch, description, license, files) => ({
  name,
  version: manifest.version,
  description,
  license,
  os: ['linux'],
  cpu: [arch],
  libc: ['glibc'],
  files: [...files, 'LICENSES'],
  publishConfig: { access: 'public' }, // names with a scope are private unless they say so
  preferUnplugged: true, // Yarn: a library cannot be loaded out of an archive
});

/** Packs a folder as npm publishes it. Throws if it is larger than `limit` bytes. */
function pack(folder, limit) {
  const [{ filename, size, unpackedSize, name }] = JSON.parse(
    run('npm', 'pack', folder, '--pack-destination', out, '--json', '--loglevel=error'),
  );
  const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
  console.log(`${name}: ${megabytes(size)} packed, ${megabytes(unpackedSize)} unpacked, ${path.join(out, filename)}`);
  if (size > limit) throw new Error(`${filename} has ${megabytes(size)}; it may have ${megabytes(limit)}`);
  return name;
}

async function packBinary({ platform, arch, debian, folder, system, strip }) {
  const name = binaryPackage(platform);
  const staged = stage(name);
  const build = path.join(staged, 'build', 'Release');
  fs.mkdirSync(build, { recursive: true });
  const addon = path.join(root, folder, 'deeplab.node');
  fs.copyFileSync(addon, path.join(build, 'deeplab.node'));
  const needed = librariesOf(addon, path.resolve(root, system, 'usr/lib', debian));
  for (const [library, file] of needed) fs.copyFileSync(file, path.join(build, library));
  // CMake has built the addon: node-gyp has nothing to do. What is left is to strip, to name and to place the files.
  const options = { cwd: staged, name: 'deeplab', napi: true, platform: 'linux', arch, nodeGyp: 'true' };
  await prebuildify({ ...options, strip: true, stripBin: strip, quiet: true });
  fs.rmSync(path.join(staged, 'build'), { recursive: true });

  const files = makePrivate(path.join(staged, 'prebuilds', platform));
  checkNodeApi(path.join(staged, 'prebuilds', platform, 'deeplab.node'));
  const needs = systemNeeds(files, oldestLibraries);
  const license = writeLicences(staged, [...needed.keys()], path.resolve(root, system));
  const description = `Binaries of deeplab for ${platform} with glibc`;
  writeManifest(staged, binaryManifest(name, arch, description, license, ['prebuilds']));
  write(
    path.join(staged, 'README.md'),
    `# ${name}

The native addon of [deeplab](https://www.npmjs.com/package/deeplab) for ${platform}, and the libraries that it needs.
Installed with deeplab, as an optional dependency, where it fits; not for use by itself.

Needs ${needsText(needs)}. LICENSES says what is in it.
`,
  );
  return pack(staged, limits.binary);
}

const needsText = (needs) =>
  Object.entries(needs)
    .map(([prefix, version]) => `${prefix}_${version}`)
    .join(', ');

function packCuda({ platform, arch }, library) {
  const name = cudaPackage(platform);
  const staged = stage(name);
  const file = path.join(staged, path.basename(library));
  fs.copyFileSync(library, file);
  run('strip', '--strip-all', file);
  checkSymbols(file, /^$/);
  const needs = systemNeeds([file], oldestLibraries);
  const license = writeLicences(staged, [], '/', { cuda: true });
  const description = `CUDA backend of deeplab for ${platform}: needs a driver for CUDA 13 and cuDNN 9`;
  writeManifest(staged, binaryManifest(name, arch, description, license, [path.basename(file)]));
  write(
    path.join(staged, 'README.md'),
    `# ${name}

The CUDA backend of [deeplab](https://www.npmjs.com/package/deeplab) for ${platform}. Installed with deeplab, as an optional
dependency, where it fits; not for use by itself. cuDNN and the driver are not in it: \`npx deeplab doctor\` says what is
missing.

Needs ${needsText(needs)}. LICENSES says what is in it.
`,
  );
  return pack(staged, limits.cuda);
}

/** Of the models that lie in weights/, the one that ships. */
const isPublished = (file) => path.extname(file) !== '.safetensors' || file === defaultWeights;

/** deeplab itself, which asks for exactly these versions of the `others`. */
function packMain(others) {
  const staged = stage(manifest.name);
  const { scripts, devDependencies, overrides, binary, ...published } = manifest;
  const optionalDependencies = Object.fromEntries(others.map((name) => [name, manifest.version]));
  writeManifest(staged, { ...published, optionalDependencies });
  for (const name of [...manifest.files, 'README.md', 'LICENSE']) {
    fs.cpSync(path.join(root, name), path.join(staged, name), { recursive: true, filter: isPublished });
  }
  if (!fs.existsSync(defaultWeights))
    missing(path.relative(root, defaultWeights), 'weights/CARD.md says how it is made');
  return pack(staged, limits.main);
}

function missing(name, how) {
  if (release) throw new Error(`${name} was not built: ${how}`);
  console.log(`${name} was not built: left out (${how})`);
}

async function main() {
  if (named === undefined) fs.rmSync(out, { recursive: true, force: true });
  else if (fs.existsSync(out) && fs.readdirSync(out).length > 0) throw new Error(`${out} is not empty`);
  const made = [];
  for (const build of builds) {
    if (fs.existsSync(path.join(root, build.folder, 'deeplab.node'))) made.push(await packBinary(build));
    else missing(binaryPackage(build.platform), build.how);
  }
  const cuda = cudaBuild.folders.map((folder) => path.join(root, folder, 'deeplab_cuda.so')).find(fs.existsSync);
  if (cuda !== undefined) made.push(packCuda(cudaBuild, cuda));
  else for (const platform of cudaPlatforms) missing(cudaPackage(platform), 'npm run build:cuda');
  packMain(made);
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
