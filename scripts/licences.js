// What is in a package with binaries, and under which terms: its LICENSE and LICENSES. The texts are those that Debian
// installs with the libraries; nothing is written without them.

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

/** Debian's package of a library that is brought along. */
const debianPackage = (library) => {
  const known = { libdnnl: 'libdnnl', libgomp: 'libgomp', libOpenCL: 'ocl-icd-libopencl' };
  const [, name, version] = library.match(/^(\w+)\.so\.(\d+)$/) ?? [];
  if (!Object.hasOwn(known, name))
    throw new Error(`Under which terms may ${library} be passed on? scripts/licences.js`);
  return `${known[name]}${version}`;
};

const terms = {
  libdnnl: {
    what: 'oneDNN',
    spdx: 'Apache-2.0 AND BSD-3-Clause',
    texts: ['Apache-2.0'],
  },
  libgomp: {
    what: "GCC's OpenMP runtime",
    spdx: 'GPL-3.0-or-later WITH GCC-exception-3.1',
    texts: ['GPL-3'],
  },
  'ocl-icd-libopencl': {
    what: "OpenCL's loader, which Debian's oneDNN is linked with",
    spdx: 'BSD-2-Clause',
    texts: [],
  },
};

function readText(file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    throw new Error(`${file} is missing: without the licence texts, libraries may not be passed on`);
  }
}

/** Debian's source package of `name` and its version, as of the packages in build/arm64-sysroot or on this system. */
function source(name, system) {
  const query = ['-W', '-f', '$' + '{source:Package} $' + '{source:Version} $' + '{Package}\n'];
  const admin = path.join(system, 'var/lib/dpkg');
  const [line] = execFileSync('dpkg-query', [`--admindir=${admin}`, ...query, name], { encoding: 'utf8' }).split('\n');
  const [sourceName, version] = line.split(' ');
  return { sourceName, version };
}

/**
 * Writes LICENSE and LICENSES into `folder`, of a package with the `libraries` (names such as libgomp.so.1) from the
 * Debian system `system`. Returns the licence as SPDX names it.
 */
function writeLicences(folder, libraries, system, { cuda = false } = {}) {
  const licences = path.join(folder, 'LICENSES');
  fs.mkdirSync(licences);
  fs.copyFileSync(path.join(__dirname, '..', 'LICENSE'), path.join(folder, 'LICENSE'));
  const lines = ['# What is in this package', '', '- deeplab: MIT, ../LICENSE'];
  const spdx = new Set(['MIT']);

  const add = (name, { what, spdx: licence, texts }, note) => {
    fs.writeFileSync(path.join(licences, `${name}.txt`), readText(`/usr/share/doc/${name}/copyright`));
    for (const text of texts) {
      fs.writeFileSync(path.join(licences, `${text}.txt`), readText(`/usr/share/common-licenses/${text}`));
    }
    for (const one of licence.split(' AND ')) spdx.add(one);
    lines.push(`- ${what}: ${licence}, ${[name, ...texts].map((text) => `${text}.txt`).join(', ')}. ${note}`);
  };
  for (const library of libraries) {
    const name = debianPackage(library);
    const { sourceName, version } = source(name, system);
    add(
      name,
      terms[name.replace(/\d+$/, '')],
      `${library} of Debian, with another name and search path. Its source: ` +
        `https://snapshot.debian.org/package/${sourceName}/${version}/`,
    );
  }
  add('nlohmann-json3-dev', { what: 'JSON for Modern C++', spdx: 'MIT', texts: [] }, 'Compiled into the binary.');
  if (cuda) {
    lines.push(
      "- CUDA runtime: deeplab_cuda.so contains code of libcudart_static.a of NVIDIA's CUDA toolkit, which the toolkit's",
      '  licence (https://docs.nvidia.com/cuda/eula/, attachment A) lists among what applications may redistribute. It stays',
      "  under NVIDIA's terms.",
    );
  }
  fs.writeFileSync(path.join(licences, 'README.md'), `${lines.join('\n')}\n`);
  return cuda ? 'SEE LICENSE IN LICENSES/README.md' : [...spdx].join(' AND ');
}

module.exports = { writeLicences };
