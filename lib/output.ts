// Writes files so that nobody ever sees half of one. What is in them is the caller's.

import { randomUUID } from 'node:crypto';
import { mkdir, open, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DeepLabError } from './errors';

/**
 * Writes `data` to `file`, replacing it if it exists. The bytes go to a temporary file in the same folder, which is then
 * renamed: `file` is always either what it was or complete. Folders on the way to it are made.
 *
 * @param data - The content, or pieces of it that are made as they are written.
 * @param durable - Whether it is on the disk, under its name, when this is done: a loss of power does not undo it.
 * @throws ERR_WRITE, with the reason, or the DeepLabError that making a piece threw; the temporary file is removed.
 */
export async function writeFileAtomically(
  file: string,
  data: Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  durable = false,
): Promise<void> {
  const folder = path.dirname(file);
  const temporary = path.join(folder, `.${randomUUID()}.tmp`);
  try {
    await mkdir(folder, { recursive: true });
    await writeFile(temporary, data, { flag: 'wx', flush: durable });
    await rename(temporary, file);
    if (durable) await syncFolder(folder);
  } catch (cause) {
    // That the removal fails too, as in a folder that does not exist, says nothing new.
    await rm(temporary, { force: true }).catch(() => {});
    if (cause instanceof DeepLabError) throw cause;
    throw new DeepLabError('ERR_WRITE', `${file} cannot be written: ${(cause as Error).message}`, { cause });
  }
}

/** A name is in its folder, which has to be on the disk as well. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
