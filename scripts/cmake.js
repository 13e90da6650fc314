// Builds the native addon with cmake-js. Used by npm run build:native.
//
//   node scripts/cmake.js [config] [folder] [cmake-js options ...]
//
// config: Release (the default) or Debug. folder: where CMake works and leaves deeplab.node, build/<config> by default.
// Every folder keeps its own CMake cache, so a configuration is never built with another one's settings.

const { spawnSync } = require('node:child_process');
const os = require('node:os');
const path = require('node:path');

const root = path.join(__dirname, '..');
const [config = 'Release', folder = path.join('build', config), ...options] = process.argv.slice(2);

function cmakeJs() {
  try {
    return require.resolve('cmake-js/bin/cmake-js', { paths: [root] });
  } catch {
    console.error(
      `cmake-js is not installed, and without it the native addon cannot be built. In ${root}: npm run setup`,
    );
    process.exit(1);
  }
}

// Always configured anew: that takes well under a second, mends a cache whose configuration had failed (for want of a
// library that is there now), and obeys changed options.
const settings = ['--directory', root, '--config', config, '--out', path.resolve(root, folder), '--log-level', 'warn'];
for (const command of ['configure', 'build']) {
  const { status, error } = spawnSync(
    process.execPath,
    [cmakeJs(), command, ...settings, '--parallel', String(os.availableParallelism()), ...options],
    { cwd: root, stdio: 'inherit' },
  );
  if (error) console.error(`cmake-js could not be started: ${error.message}`);
  if (status !== 0) process.exit(status ?? 1);
}
