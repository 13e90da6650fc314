// docs/dependencies.md is the list of what an installation brings: no more, no less, and under the licences it says.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryFolder } from './folder';

interface LockedPackage {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly license?: string;
  readonly version?: string;
  readonly hasInstallScript?: boolean;
  readonly dev?: boolean;
  readonly devOptional?: boolean;
}

const read = (file: string) => readFileSync(path.join(__dirname, '..', file), 'utf8');
const { packages } = JSON.parse(read('package-lock.json')) as {
  readonly packages: Readonly<Record<string, LockedPackage>>;
};
const folder = temporaryFolder();
const direct = Object.keys(packages['']?.dependencies ?? {});

/** Where npm put what `from`, itself such a place, calls `name`: inside of it, or inside of a folder above. */
function placeOf(name: string, from: string): string {
  for (let folder = from; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/node_modules/')))) {
    const place = `${folder}${folder && '/'}node_modules/${name}`;
    if (place in packages) return place;
    if (folder === '') throw new Error(`${name}, which ${from} needs, is not in package-lock.json`);
  }
}

/** All that a package needs, without itself and without what is optional. */
function brought(place: string, found = new Set<string>()): Set<string> {
  for (const name of Object.keys(packages[place]?.dependencies ?? {})) {
    const needed = placeOf(name, place);
    if (!found.has(needed)) brought(needed, found.add(needed));
  }
  return found;
}

test('the table lists the dependencies, how many packages they bring, and their licences', () => {
  const rows = Array.from(
    read('docs/dependencies.md').matchAll(/^\| `(.+?)` \| .+ \| (\d+) \| \d+ \| (.+) \|$/gm),
    ([, name, brings, license]) => ({ name, brings: Number(brings), license }),
  );
  expect(rows).toEqual(
    direct.sort().map((name) => {
      const place = `node_modules/${name}`;
      return { name, brings: brought(place).size, license: packages[place]?.license };
    }),
  );
});

test('the lockfile is of the dependencies that package.json names', () => {
  const { dependencies } = JSON.parse(read('package.json')) as { readonly dependencies: Record<string, string> };
  expect(direct.sort()).toEqual(Object.keys(dependencies).sort());
});

test('the bill of materials has every package that is installed with this one', () => {
  const file = path.join(folder, 'sbom.json');
  execFileSync('bash', [path.join(__dirname, '../scripts/sbom.sh'), file], { stdio: 'pipe' });
  const sbom = JSON.parse(readFileSync(file, 'utf8')) as {
    readonly metadata: { readonly component: { readonly name: string } };
    readonly components: readonly { readonly name: string; readonly version: string }[];
  };
  expect(sbom.metadata.component.name).toBe('deeplab');
  const listed = new Set(sbom.components.map(({ name, version }) => `${name}@${version}`));
  const installed = Object.entries(packages)
    .filter(([place, { dev, devOptional }]) => place !== '' && !dev && !devOptional)
    .map(([place, { version }]) => `${place.split('node_modules/').at(-1)}@${version}`);
  expect([...listed].sort()).toEqual([...new Set(installed)].sort());
});

test('no package that is installed with this one runs a script when it is', () => {
  const scripts = Object.entries(packages).filter(
    ([place, { hasInstallScript, dev, devOptional }]) => place !== '' && hasInstallScript && !dev && !devOptional,
  );
  expect(scripts.map(([place]) => place)).toEqual([]);
});
