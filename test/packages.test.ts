// The packages as they are published, installed by npm on a machine without compiler and network: no install script, no
// library of the system but those of C and C++.

import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { binaryPackage, cudaPackage } from '../lib/platforms';
import { version } from '../lib/version';
import { defaultModel, defaultWeights } from '../lib/weights';
import { Consumer, type Manifest, type Outcome, readManifest } from './consumer';
import { temporaryFolder } from './folder';
import { writeSmallModel } from './small-model';

const root = path.join(__dirname, '..');
const platform = `${process.platform}-${process.arch}`;
const name = binaryPackage(platform);
const photo = path.join(root, 'examples/berlin-cathedral.jpg');

const temporary = temporaryFolder();
const packed = path.join(temporary, 'packages');
const model = path.join(temporary, 'model.safetensors');
const consumer = new Consumer(path.join(temporary, 'consumer'));
const installed = (...parts: readonly string[]) => consumer.installed(...parts);
let installation: Outcome;

beforeAll(async () => {
  writeSmallModel(model);
  execFileSync(process.execPath, [path.join(root, 'scripts/packages.js'), packed], { stdio: 'inherit' });
  await consumer.writeLockfile(packed);
  installation = await consumer.run('npm', 'ci', '--offline', '--ignore-scripts', '--no-audit', '--no-fund');
});

/** Runs `code` in the consumer's folder; it prints JSON. */
async function evaluate<T>(code: string): Promise<T> {
  const { stdout, stderr } = await consumer.run('node', '-e', code);
  if (stderr !== '') throw new Error(stderr);
  return JSON.parse(stdout) as T;
}

/** Loads deeplab of each path, then segments with each; prints the shared objects and the labels' hashes. */
const segmentWith = (...packages: readonly string[]) => `
  const { createHash } = require('node:crypto');
  const libraries = ${JSON.stringify(packages)}.map((name) => require(name));
  (async () => {
    const options = { device: 'cpu', threads: 1 };
    const models = await Promise.all(libraries.map(({ DeepLab }) => DeepLab.load(${JSON.stringify(model)}, options)));
    const results = await Promise.all(models.map((model) => model.segment(${JSON.stringify(photo)})));
    const labels = results.map((result) => createHash('sha256').update(result.labels).digest('hex'));
    await Promise.all(models.map((model) => model.close()));
    const { sharedObjects } = process.report.getReport();
    console.log(JSON.stringify({ labels, sharedObjects }));
  })();`;

interface Segmented {
  readonly labels: readonly string[];
  readonly sharedObjects: readonly string[];
}

const named = (files: readonly string[], pattern: RegExp) => files.filter((file) => pattern.test(path.basename(file)));
const errorOf = (code: string) =>
  evaluate<{ code: string; message: string }>(
    `${code}; try { require('deeplab').networks() } catch ({ code, message }) { console.log(JSON.stringify({ code, message })) }`,
  );

describe('installed without compiler, network and install scripts', () => {
  test('npm installs it, and says nothing of it', () => {
    expect(installation).toMatchObject({ code: 0, stderr: '' });
    expect(existsSync(installed(name))).toBe(true);
  });

  test('there is no compiler in this test', async () => {
    for (const command of ['cc', 'gcc', 'g++', 'c++', 'clang', 'make', 'ninja', 'cmake', 'python3', 'node-gyp']) {
      expect(await consumer.run('sh', '-c', `command -v ${command}`)).toMatchObject({ code: 127 });
    }
  });

  test('nothing that was installed has a script to run at its installation', () => {
    const { packages } = readManifest(installed('.package-lock.json')) as unknown as {
      packages: Readonly<Record<string, Manifest>>;
    };
    expect(Object.keys(packages)).toContain(`node_modules/${name}`);
    expect(Object.keys(packages).filter((one) => packages[one]?.hasInstallScript)).toEqual([]);
    for (const one of Object.keys(packages)) {
      const { scripts = {} } = readManifest(path.join(consumer.folder, one, 'package.json'));
      expect(Object.keys(scripts).filter((script) => /^(pre|post)?install$/.test(script))).toEqual([]);
      // npm would run node-gyp for it.
      expect(existsSync(path.join(consumer.folder, one, 'binding.gyp'))).toBe(false);
    }
  });

  test('the photo of the demo gets its label map', async () => {
    const result = await consumer.run(
      'npx',
      'deeplab',
      'segment',
      photo,
      '-o',
      'out',
      '--model',
      model,
      '--device',
      'cpu',
    );
    expect(result).toMatchObject({ code: 0, stderr: '' });
    const png = readFileSync(path.join(consumer.folder, 'out/berlin-cathedral.labels.png'));
    expect(png.toString('latin1', 1, 4)).toBe('PNG');
  });

  (existsSync(defaultWeights) ? test : test.skip)(
    'so it does by the model that ships, which is named nowhere',
    async () => {
      const result = await consumer.run('npx', 'deeplab', 'segment', photo, '-o', 'default', '--device', 'cpu');
      expect(result).toMatchObject({ code: 0, stderr: '' });
      expect(result.stdout).toMatch(/\bbuilding\b/);
      expect(readdirSync(installed('deeplab/weights')).sort()).toEqual(
        expect.arrayContaining(['CARD.md', 'README.md', `${defaultModel.name}.safetensors`, 'manifest.json']),
      );
    },
  );

  test('where that model is missing, the message says so', async () => {
    const file = installed('deeplab/weights', `${defaultModel.name}.safetensors`);
    if (existsSync(file)) renameSync(file, `${file}.away`);
    try {
      const { code, stderr } = await consumer.run('npx', 'deeplab', 'segment', photo);
      expect(code).toBe(1);
      expect(stderr).toMatch(/^deeplab: ERR_NOT_FOUND: There is no weights file "camvid-resnet101": looked for /);
      expect(stderr).toContain(`${file}. It ships with deeplab`);
    } finally {
      if (existsSync(`${file}.away`)) renameSync(`${file}.away`, file);
    }
  });

  test('all libraries come from node_modules, but those of C and C++', async () => {
    const { sharedObjects } = await evaluate<Segmented>(segmentWith('deeplab'));
    const prebuilds = installed(name, 'prebuilds', platform);
    for (const library of [/^deeplab\.node$/, /^libdnnl/, /^libgomp/, /^libOpenCL/]) {
      expect(named(sharedObjects, library).map((file) => path.dirname(file))).toEqual([prebuilds]);
    }
    const outside = sharedObjects.filter((file) => file.includes('/') && !file.startsWith(consumer.folder));
    expect(named(outside, /^(?!(lib(c|m|dl|rt|pthread|stdc\+\+|gcc_s|resolv)|ld-.*)[.-]|node$|linux-vdso)/)).toEqual(
      [],
    );
  });

  test('doctor works', async () => {
    const { code, stdout } = await consumer.run('npx', 'deeplab', 'doctor', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ version, platform });
  });

  test('the CUDA backend is found in its package, or the package is named', async () => {
    const { stdout } = await consumer.run('npx', 'deeplab', 'doctor', '--json');
    const { cuda } = JSON.parse(stdout) as { cuda: { library: string; reason: string } };
    const library = installed(cudaPackage(platform), 'deeplab_cuda.so');
    if (existsSync(library)) expect(cuda.library).toBe(library);
    else expect(cuda.reason).toContain(`${cudaPackage(platform)}/deeplab_cuda.so: cannot open`);
  });
});

describe('the manifests', () => {
  const { dependencies } = readManifest(path.join(root, 'package.json')) as unknown as {
    dependencies: Readonly<Record<string, string>>;
  };

  test('deeplab asks for exactly this version of each package with binaries', () => {
    const { optionalDependencies = {} } = readManifest(path.join(packed, 'deeplab/package.json'));
    const others = readdirSync(packed).filter((one) => one.endsWith('.tgz') && !/^deeplab-\d/.test(one));
    expect(Object.keys(optionalDependencies)).toHaveLength(others.length);
    expect(Object.keys(optionalDependencies)).toContain(name);
    expect(new Set(Object.values(optionalDependencies))).toEqual(new Set([version]));
  });

  test('they say what the binaries are for', () => {
    expect(readManifest(installed(name, 'package.json'))).toMatchObject({
      version,
      os: ['linux'],
      cpu: [process.arch],
      libc: ['glibc'],
    });
  });

  test('what only the build needs is not installed', () => {
    expect(Object.keys(dependencies)).not.toContain('node-addon-api');
    expect(existsSync(installed('node-addon-api'))).toBe(false);
    expect(existsSync(installed('cmake-js'))).toBe(false);
  });

  test('the terms of everything that is brought along come with it', () => {
    const licences = readdirSync(installed(name, 'LICENSES'));
    expect(licences.sort()).toEqual(
      expect.arrayContaining(['Apache-2.0.txt', 'GPL-3.txt', 'README.md', 'libgomp1.txt', 'nlohmann-json3-dev.txt']),
    );
  });
});

describe('without the package of the platform', () => {
  const hidden = path.join(temporary, 'hidden');

  test('the message names it and says what may have happened', async () => {
    renameSync(installed('@deeplab'), hidden);
    try {
      const { code, message } = await errorOf('');
      expect(code).toBe('ERR_NATIVE_ADDON');
      expect(message).toContain(
        `The native addon for ${platform} could not be loaded: the package ${name}, which holds`,
      );
      expect(message).toMatch(/--omit=optional/);
      expect(message).toMatch(/lockfile that was made on another operating system/);
      expect(message).toMatch(/npm run build.*DEEPLAB_PREBUILD/);
    } finally {
      renameSync(hidden, installed('@deeplab'));
    }
  });

  test('a build of a clone takes its place', async () => {
    renameSync(installed('@deeplab'), hidden);
    try {
      const build = `process.env.DEEPLAB_PREBUILD = ${JSON.stringify(root)};`;
      const { labels, sharedObjects } = await evaluate<Segmented>(build + segmentWith('deeplab'));
      expect(labels).toHaveLength(1);
      expect(named(sharedObjects, /^deeplab\.node$/)).toEqual([path.join(root, 'build/Release/deeplab.node')]);
    } finally {
      renameSync(hidden, installed('@deeplab'));
    }
  });

  test('a platform without binaries is told those that have some', async () => {
    const { message } = await errorOf(`require('sharp'); Object.defineProperty(process, 'arch', { value: 'riscv64' })`);
    expect(message).toMatch(
      /linux-riscv64 could not .* no binary for this platform, only for linux-x64 and linux-arm64/,
    );
  });

  test('a package of another version is refused', async () => {
    const file = installed(name, 'package.json');
    const before = readFileSync(file, 'utf8');
    writeFileSync(file, JSON.stringify({ ...readManifest(file), version: '99.0.0' }));
    try {
      expect((await errorOf('')).message).toContain(`${name} has version 99.0.0, deeplab ${version}`);
    } finally {
      writeFileSync(file, before);
    }
  });

  test('a damaged binary is named, with the reason', async () => {
    const file = installed(name, 'prebuilds', platform, 'deeplab.node');
    renameSync(file, hidden);
    writeFileSync(file, 'not a library');
    try {
      const { code, message } = await errorOf('');
      expect({ code, message }).toEqual({ code: 'ERR_NATIVE_ADDON', message: expect.stringContaining(file) });
      expect(message).toMatch(/file too short|invalid ELF header/);
    } finally {
      renameSync(hidden, file);
    }
  });
});

describe('several copies in one process', () => {
  const other = (...parts: readonly string[]) => installed('framework/node_modules', ...parts);

  beforeAll(() => {
    cpSync(installed('deeplab'), other('deeplab'), { recursive: true });
    cpSync(installed('@deeplab'), other('@deeplab'), { recursive: true });
    for (const manifest of [other('deeplab/package.json'), other(name, 'package.json')]) {
      writeFileSync(manifest, JSON.stringify({ ...readManifest(manifest), version: '0.0.1' }));
    }
  });

  test('two versions each have their own addon; libraries that are the same are loaded once', async () => {
    const { labels, sharedObjects } = await evaluate<Segmented>(segmentWith('deeplab', other('deeplab')));
    expect(labels[1]).toBe(labels[0]);
    const addons = [installed(name), other(name)].map((one) => path.join(one, 'prebuilds', platform, 'deeplab.node'));
    expect(named(sharedObjects, /^deeplab\.node$/).sort()).toEqual(addons.sort());
    expect(named(sharedObjects, /^libdnnl/)).toHaveLength(1);
  });

  test('a build of a clone takes nothing from a package, nor the other way round', async () => {
    const { labels, sharedObjects } = await evaluate<Segmented>(segmentWith('deeplab', path.join(root, 'dist')));
    expect(labels[1]).toBe(labels[0]);
    expect(named(sharedObjects, /^deeplab\.node$/)).toHaveLength(2);
    expect(named(sharedObjects, /^libdnnl/)).toHaveLength(2);
  });

  test('versions with different libraries each have their own', async () => {
    const { makePrivate } = require('../scripts/elf') as { makePrivate(folder: string): readonly string[] };
    makePrivate(other(name, 'prebuilds', platform));
    const { labels, sharedObjects } = await evaluate<Segmented>(segmentWith('deeplab', other('deeplab')));
    expect(labels[1]).toBe(labels[0]);
    for (const library of [/^deeplab\.node$/, /^libdnnl/, /^libgomp/, /^libOpenCL/]) {
      expect(named(sharedObjects, library)).toHaveLength(2);
    }
  });
});
