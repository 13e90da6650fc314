// A project that installs this package as its users do, from tarballs, on a machine without compiler and network. npm
// takes what the package depends on from tarballs as well, which are packed from this checkout's node_modules.

import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { create } from 'tar';

const root = path.join(__dirname, '..');

/** A package.json, or an entry of a package-lock.json. */
export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly scripts?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly dev?: boolean;
  readonly hasInstallScript?: boolean;
  readonly [field: string]: unknown;
}

export const readManifest = (file: string) => JSON.parse(readFileSync(file, 'utf8')) as Manifest;
const writeJson = (file: string, content: unknown) => writeFileSync(file, `${JSON.stringify(content, null, 2)}\n`);

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A folder for PATH with what npm needs, and no more: no compiler, no make, no Python. */
function bareCommands(folder: string): string {
  // npm tells its scripts where it is.
  const told = process.env.npm_execpath ?? '';
  const onPath = () => (process.env.PATH ?? '').split(':').map((one) => path.join(one, 'npm'));
  const npm = told.endsWith('npm-cli.js') ? told : realpathSync(onPath().find((one) => existsSync(one)) ?? 'npm');
  mkdirSync(folder);
  symlinkSync(process.execPath, path.join(folder, 'node'));
  symlinkSync('/bin/sh', path.join(folder, 'sh'));
  for (const name of ['npm', 'npx'])
    symlinkSync(path.join(path.dirname(npm), `${name}-cli.js`), path.join(folder, name));
  return folder;
}

/** Packs each folder as npm would, for a lockfile to name. */
async function packModule(folder: string, tarball: string): Promise<void> {
  const inner = /(^|\/)node_modules(\/|$)/;
  await create(
    { gzip: { level: 1 }, file: tarball, cwd: folder, prefix: 'package', filter: (file) => !inner.test(file) },
    ['.'],
  );
}

export class Consumer {
  private readonly commands: string;

  /** `folder` is new. */
  constructor(readonly folder: string) {
    mkdirSync(folder);
    this.commands = bareCommands(path.join(folder, 'bin'));
  }

  /** Path of something under node_modules. */
  installed(...parts: readonly string[]): string {
    return path.join(this.folder, 'node_modules', ...parts);
  }

  /** Writes package.json and package-lock.json for the packages in `packed`, a folder of scripts/packages.js. */
  async writeLockfile(packed: string): Promise<void> {
    const modules = path.join(this.folder, 'modules');
    mkdirSync(modules);
    const packages: Record<string, unknown> = {};
    const ours = readdirSync(packed).filter((name) => existsSync(path.join(packed, name, 'package.json')));
    for (const name of ours) {
      const manifest = readManifest(path.join(packed, name, 'package.json'));
      const tarball = `${manifest.name.replace('@', '').replace('/', '-')}-${manifest.version}.tgz`;
      const resolved = `file:${path.relative(this.folder, path.join(packed, tarball))}`;
      packages[`node_modules/${manifest.name}`] = { ...manifest, resolved, optional: manifest.name !== 'deeplab' };
      if (manifest.name === 'deeplab') {
        packages[''] = { name: 'consumer', version: '1.0.0', dependencies: { deeplab: resolved } };
      }
    }
    const lock = readManifest(path.join(root, 'package-lock.json')).packages as Record<string, Manifest>;
    for (const [place, entry] of Object.entries(lock)) {
      if (place === '' || entry.dev) continue;
      const { integrity, ...rest } = entry;
      if (!existsSync(path.join(root, place))) {
        packages[place] = entry; // of another platform
        continue;
      }
      const tarball = path.join('modules', `${Object.keys(packages).length}.tgz`);
      await packModule(path.join(root, place), path.join(this.folder, tarball));
      packages[place] = { ...rest, resolved: `file:${tarball}` };
    }
    writeJson(path.join(this.folder, 'package.json'), packages['']);
    const locked = { name: 'consumer', version: '1.0.0', lockfileVersion: 3, requires: true, packages };
    writeJson(path.join(this.folder, 'package-lock.json'), locked);
  }

  /** Runs one of the bare commands in the project, in an environment without settings. */
  async run(command: 'node' | 'npm' | 'npx' | 'sh', ...args: readonly string[]): Promise<Outcome> {
    const env = { PATH: this.commands, HOME: this.folder, npm_config_update_notifier: 'false' };
    try {
      const file = path.join(this.commands, command);
      return { code: 0, ...(await promisify(execFile)(file, args, { cwd: this.folder, env })) };
    } catch (error) {
      const { code, stdout, stderr } = error as { code: unknown; stdout: string; stderr: string };
      if (typeof code !== 'number') throw error;
      return { code, stdout, stderr };
    }
  }
}
