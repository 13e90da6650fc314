// What an ELF file asks of the system that loads it, read with binutils' readelf, and the rules for the files of our
// packages. scripts/packages.js makes the packages.

const { execFileSync } = require('node:child_process');
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

/**
 * Throws unless Node-API is all that the addon `file` takes from Node, so that it loads in every version and in other
 * runtimes; and without the napi_create_external_... that Electron refuses.
 */
function checkNodeApi(file) {
  const strange = unversionedSymbols(file).filter((name) => !/^(napi|node_api|dnnl)_/.test(name));
  if (strange.length > 0) throw new Error(`${file} wants more of Node than Node-API: ${strange.join(' ')}`);
  const external = unversionedSymbols(file).filter((name) =>
    /_create_external_|_create_buffer_from_arraybuffer/.test(name),
  );
  if (external.length > 0) throw new Error(`${file} cannot run in Electron: it uses ${external.join(' ')}`);
}

module.exports = { checkNodeApi, neededLibraries, systemNeeds };
