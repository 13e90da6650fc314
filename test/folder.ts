// A folder for the files of one test file, removed when its tests have run.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** The absolute path of a new, empty folder. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'deeplab-test-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
