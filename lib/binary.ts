// Finds the native addon: a build of this checkout, else the package of this platform (lib/platforms.ts). What to do where
// there is none, or where it does not load, is said here too. lib/native.ts loads it.

import { existsSync } from 'node:fs';
import path from 'node:path';
import { DeepLabError } from './errors';
import { binaryPackage, cudaPackage, cudaPlatforms, oldestLibraries, platforms } from './platforms';
import { version } from './version';

/** Where the addon is. */
export interface Binary {
  /** Path of deeplab.node. */
  readonly file: string;
  /** Path of deeplab_cuda.so if it is not beside the addon, there or not; empty where this platform has none. */
  readonly cudaLibrary: string;
}

/** Whether a bundler has put this file into another one, from where nothing of the package is found. */
const bundled = path.parse(__filename).name !== 'binary';

const root = path.join(__dirname, '..');
const platform: string = `${process.platform}-${process.arch}`;
const cudaFile = 'deeplab_cuda.so';

const buildTools = require('node-gyp-build') as { path(folder: string): string };

/**
 * The addon for this platform. A build of this checkout comes first, then that of the folder DEEPLAB_PREBUILD, then the
 * package. Throws ERR_NATIVE_ADDON with what is missing and how to get it.
 */
export function findBinary(): Binary {
  const local = localBuild();
  if (local !== undefined) return { file: local, cudaLibrary: cudaLibrary() };

  const name = binaryPackage(platform);
  const found = packageFolder(name);
  if (found === undefined) throw missing(name);
  if (found.version !== version) {
    throw failure(`${name} has version ${found.version}, deeplab ${version}: they must be the same`, [
      'install both anew: npm install deeplab',
    ]);
  }
  try {
    return { file: buildTools.path(found.folder), cudaLibrary: cudaLibrary() };
  } catch (cause) {
    throw notLoaded(cause, found.folder);
  }
}

/** What to throw where `file` is there, but could not be loaded. */
export function notLoaded(cause: unknown, file: string): DeepLabError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return failure(`${why} (${file})`, platformTroubles(), cause);
}

function localBuild(): string | undefined {
  try {
    return buildTools.path(root);
  } catch (cause) {
    const { DEEPLAB_PREBUILD: folder } = process.env;
    if (folder) throw notLoaded(cause, `DEEPLAB_PREBUILD=${folder}`);
    return undefined; // the usual case: an installed package has no build
  }
}

/** A package that was installed for this one, wherever the package manager put it. */
function packageFolder(name: string): { readonly folder: string; readonly version: string } | undefined {
  try {
    const manifest = require.resolve(`${name}/package.json`);
    return { folder: path.dirname(manifest), version: (require(manifest) as { version: string }).version };
  } catch {
    return undefined;
  }
}

/** Where it is, or else the first place where it was looked for, so that the message of opening it says so. */
function cudaLibrary(): string {
  if (!cudaPlatforms.some((one) => one === platform)) return '';
  const name = cudaPackage(platform);
  return path.join(packageFolder(name)?.folder ?? path.join(root, 'node_modules', name), cudaFile);
}

function missing(name: string): DeepLabError {
  if (!platforms.some((one) => one === platform)) {
    return failure(`there is no binary for this platform, only for ${platforms.join(' and ')}`, []);
  }
  return failure(`the package ${name}, which holds it, is not installed`, [
    'it is an optional dependency: install without --omit=optional and --no-optional, and with --include=optional where' +
      ' npm is configured to omit them',
    'a node_modules or a lockfile that was made on another operating system may lack it: remove both, then npm install',
    `in a Docker image, run npm ci inside the image; copying node_modules into it brings another platform's packages`,
    ...platformTroubles(),
  ]);
}

/** What this system has that no binary of ours can be loaded with. */
function platformTroubles(): readonly string[] {
  const { header, sharedObjects = [] } = (process.report?.getReport() ?? {}) as {
    readonly header?: { readonly glibcVersionRuntime?: string };
    readonly sharedObjects?: readonly string[];
  };
  const { GLIBC: oldest } = oldestLibraries;
  const glibc = header?.glibcVersionRuntime;
  if (existsSync('/etc/alpine-release') || sharedObjects.some((file) => /\/(ld|libc\.)-?musl-/.test(file))) {
    return [
      `the binaries need glibc ${oldest} or later, and this system has musl, as Alpine Linux does: there is no binary for` +
        ' musl. Use an image of Debian, such as node:22-bookworm-slim',
    ];
  }
  if (glibc !== undefined && compareVersions(glibc, oldest) < 0) {
    return [
      `the binaries need glibc ${oldest} or later, and this system has ${glibc}: use Debian 12, Ubuntu 22.04, Red Hat 9 or later`,
    ];
  }
  return [
    `the binaries need libstdc++ of GCC 11 or later (GLIBCXX_${oldestLibraries.GLIBCXX}): Debian 12, Ubuntu 22.04, Red Hat 9 or later`,
  ];
}

function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((text) => text.split('.').map(Number));
  for (let i = 0; i < 2; i++) {
    const difference = (left?.[i] ?? 0) - (right?.[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function failure(why: string, solutions: readonly string[], cause?: unknown): DeepLabError {
  const inCheckout = existsSync(path.join(root, 'CMakeLists.txt'));
  const build = 'npm run setup && npm run build';
  const fromSource = inCheckout
    ? `build it from source: (cd ${root} && ${build}); at run time it needs Debian's libdnnl2 or libdnnl3`
    : `build it from source: ${build} in a clone of the repository, then set DEEPLAB_PREBUILD to the clone's path`;
  const unbundle = 'this copy is inside of a bundle: have the bundler leave deeplab external (docs/runtimes.md)';
  return new DeepLabError(
    'ERR_NATIVE_ADDON',
    [
      `The native addon for ${platform} could not be loaded: ${why}`,
      'Possible solutions:',
      ...[...(bundled ? [unbundle] : []), ...solutions, fromSource].map((solution) => `  - ${solution}`),
    ].join('\n'),
    { cause },
  );
}
