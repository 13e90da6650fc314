// ELF files, by binutils' readelf and by patchelf: what they ask of the system that loads them, the rules for the files of
// our packages, and how these find each other. scripts/packages.js makes the packages.

const { execFileSync } = require('node:child_process');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const readelf = (file, ...options) =>
  execFileSync('readelf', ['--wide', ...options, file], { encoding: 'utf8', maxBuffer: 2 ** 28 });

/** What every system has that has glibc and a C++ library; all else comes along in the package. */
const base = /^(libc|libm|libdl|libpthread|librt|libstdc\+\+|libgcc_s|ld-linux-.*)\.so\.\d+$/;

/** Names of the libraries that `file` is linked with and that systems may lack. */
function neededLibraries(file) {
  return [...readelf(file, '--dynamic').matchAll(/\(NEEDED\).*\[(.*)\]/g)]
    .map(([, name]) => name)
    .filter((name) => !base.test(name));
}

/** Paths in `folder` of the libraries that `file` needs, and that these need, by name. */
function librariesOf(file, folder, found = new Map()) {
  for (const name of neededLibraries(file)) {
    if (found.has(name)) continue;
    const library = fs.realpathSync(path.join(folder, name));
    found.set(name, library);
    librariesOf(library, folder, found);
  }
  return found;
}

const patchelf = (...args) => execFileSync('patchelf', args, { stdio: 'inherit' });

/**
 * Gives every library in `folder` a name that no other version of it has, and makes the files find each other. The loader
 * takes libraries of one name for one library: another package's libdnnl.so.2, older or built otherwise, would be used in
 * place of ours if it came first. Returns the paths of all files.
 */
function makePrivate(folder) {
  const names = fs.readdirSync(folder).filter((name) => /\.so(\.\d+)?$/.test(name));
  const hash = createHash('sha256');
  for (const name of names) hash.update(fs.readFileSync(path.join(folder, name)));
  const tag = hash.digest('hex').slice(0, 8);
  const renamed = new Map(names.map((name) => [name, name.replace('.so', `-${tag}.so`)]));
  for (const [name, own] of renamed) {
    fs.renameSync(path.join(folder, name), path.join(folder, own));
    patchelf('--set-soname', own, path.join(folder, own));
  }
  const files = fs.readdirSync(folder).map((name) => path.join(folder, name));
  for (const file of files) {
    for (const name of neededLibraries(file).filter((needed) => renamed.has(needed))) {
      patchelf('--replace-needed', name, renamed.get(name), file);
    }
    patchelf('--set-rpath', '$ORIGIN', file);
  }
  return files;
}

/** The symbol versions that `file` wants, as [library, prefix, version]. */
function wantedVersions(file) {
  const versions = [];
  let library;
  let needs = false;
  for (const line of readelf(file, '--version-info').split('\n')) {
    if (/^Version \w+ section/.test(line)) needs = line.startsWith('Version needs');
    if (!needs) continue;
    library = line.match(/File: (\S+)/)?.[1] ?? library;
    const name = line.match(/Name: (\S+)/)?.[1];
    if (name === undefined) continue;
    const [, prefix = name, version = ''] = name.match(/^(.*)_([\d.]+)$/) ?? [];
    versions.push([library, prefix, version]);
  }
  return versions;
}

/** Symbols of `file` that something else has to define, without those that may be missing or name their library. */
function unversionedSymbols(file) {
  return readelf(file, '--dyn-syms')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , , , binding, , section, name]) => section === 'UND' && binding === 'GLOBAL' && name)
    .map((columns) => columns[7])
    .filter((name) => !name.includes('@'));
}

const compareVersions = (a, b) => a.localeCompare(b, 'en', { numeric: true });

/**
 * The newest version of each system library that `files` want, as { GLIBC: '2.34', ... }. Throws if a file wants what
 * neither the package nor `oldest` has.
 */
function systemNeeds(files, oldest) {
  const bundled = new Set(files.map((file) => path.basename(file)));
  const newest = {};
  for (const file of files) {
    const lacking = neededLibraries(file).filter((name) => !bundled.has(name));
    if (lacking.length > 0) throw new Error(`${file} needs ${lacking.join(', ')}, which is not in its package`);
    for (const [library, prefix, version] of wantedVersions(file)) {
      if (bundled.has(library)) continue;
      if (!Object.hasOwn(oldest, prefix) || compareVersions(version, oldest[prefix]) > 0) {
        throw new Error(
          `${file} wants ${prefix}_${version} of ${library}; packages may want ${JSON.stringify(oldest)} (lib/platforms.ts)`,
        );
      }
      if (newest[prefix] === undefined || compareVersions(version, newest[prefix]) > 0) newest[prefix] = version;
    }
  }
  return newest;
}

/** Throws if `file` wants a symbol of whoever loads it whose name is not `allowed`. */
function checkSymbols(file, allowed) {
  const strange = unversionedSymbols(file).filter((name) => !allowed.test(name));
  if (strange.length > 0) throw new Error(`${file} wants what it may not want: ${strange.join(' ')}`);
}

/**
 * Throws unless Node-API is all that the addon `file` takes from Node, so that it loads in every version and in other
 * runtimes; and without the napi_create_external_... that Electron refuses.
 */
const checkNodeApi = (file) =>
  checkSymbols(file, /^(napi_(?!create_external_|create_buffer_from_)|node_api_(?!create_external_)|dnnl_)/);

module.exports = { checkNodeApi, checkSymbols, librariesOf, makePrivate, systemNeeds };
