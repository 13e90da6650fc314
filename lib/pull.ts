// Gets a published model: downloads it (download.ts), checks it, imports it, and keeps it in the cache, where
// `DeepLab.load` finds it by its name.

import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { type CallOptions, callRules, stoppable } from './abort';
import { cachedModel, downloadsFolder } from './cache';
import { type DownloadProgress, withDownload } from './download';
import { DeepLabError, invalidArgument } from './errors';
import { type ImportReport, importWeights } from './import/import';
import { type PublishedModel, readManifest } from './manifest';
import { booleanRule, checkOptions } from './options';

/** Options of {@link pullWeights}. */
export interface PullOptions extends CallOptions {
  /** Told how far the download is, whenever something has come. */
  readonly onProgress?: ((progress: DownloadProgress) => void) | undefined;
  /**
   * Whether to take a model of which nobody has published a checksum, and which can therefore not be told from another
   * file. Default false: an error.
   */
  readonly unverified?: boolean | undefined;
}

/** What {@link pullWeights} did. */
export interface PulledWeights {
  /** The weights file, in the cache. */
  readonly file: string;
  /** Of the import; undefined if the model was in the cache already. */
  readonly imported?: ImportReport | undefined;
}

/** Of an archive's files: a checkpoint is at most this large, in bytes, when it is unpacked. */
const mostUnpacked = 4 * 2 ** 30;

/**
 * Gets a published model of the manifest (`deeplab weights list`) into the cache, `$DEEPLAB_CACHE`,
 * `$XDG_CACHE_HOME/deeplab` or `~/.cache/deeplab`: `DeepLab.load(name)` finds it there. A download that broke off is
 * continued, also one that was cancelled. The environment's HTTPS_PROXY, HTTP_PROXY and NO_PROXY are honoured.
 *
 * @throws ERR_NOT_FOUND if the manifest has no such model, ERR_DOWNLOAD, ERR_CHECKSUM, ERR_ABORTED, ERR_WRITE,
 * ERR_INVALID_ARGUMENT, and what {@link importWeights} throws.
 *
 * @example
 * ```ts
 * import { DeepLabError, pullWeights } from 'deeplab';
 *
 * try {
 *   const { file } = await pullWeights('deeplabv3-resnet50', {
 *     onProgress: ({ received, total }) => console.log(received, 'of', total),
 *     signal: AbortSignal.timeout(1),
 *   });
 *   console.log(file);
 * } catch (error) {
 *   if (!(error instanceof DeepLabError)) throw error;
 *   console.log(error.code); // ERR_ABORTED, after a millisecond; ERR_DOWNLOAD without a network
 * }
 * ```
 */
export async function pullWeights(name: string, options: PullOptions = {}): Promise<PulledWeights> {
  checkOptions(options, {
    onProgress: { expected: 'function', accepts: (value) => typeof value === 'function' },
    ...callRules,
    unverified: booleanRule,
  });
  const model = publishedModel(name);
  return await stoppable(options, 'download', (signal) => pull(name, model, options, signal));
}

async function pull(
  name: string,
  { url, size, layout: as, unpack, ...model }: PublishedModel,
  { onProgress, unverified = false }: PullOptions,
  signal: AbortSignal,
): Promise<PulledWeights> {
  const file = cachedModel(name);
  if (
    await stat(file).then(
      (found) => found.isFile(),
      () => false,
    )
  )
    return { file };
  const sha256 = model.sha256 ?? model.sha256Prefix ?? undefined;
  if (sha256 === undefined && !unverified) {
    throw new DeepLabError(
      'ERR_INVALID_ARGUMENT',
      `Of ${name} no checksum was published, so that ${url} cannot be verified: unverified (--unverified) takes it as it comes`,
    );
  }
  const folder = downloadsFolder();
  const download = { url, folder, name, size: size ?? undefined, sha256, onProgress, signal };
  const imported = await withDownload(download, (downloaded) =>
    unpack === null
      ? importWeights(downloaded, file, { as, signal })
      : withUnpacked(downloaded, (checkpoint) => importWeights(checkpoint, file, { as, signal })),
  );
  return { file, imported };
}

function publishedModel(name: string): PublishedModel {
  if (typeof name !== 'string') throw invalidArgument('name', 'name of a published model', name);
  const manifest = readManifest();
  const model = Object.hasOwn(manifest, name) ? manifest[name] : undefined;
  if (model !== undefined) return model;
  const names = Object.keys(manifest).join(', ');
  throw new DeepLabError('ERR_NOT_FOUND', `There is no published model ${JSON.stringify(name)}: there are ${names}`);
}

/** Unpacks the checkpoint of TensorFlow in a .tar.gz file, and nothing else of it; gives its `.index` to `use`. */
async function withUnpacked<T>(archive: string, use: (checkpoint: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(`${archive}-`);
  try {
    await unpackCheckpoint(archive, folder);
    const entries = await readdir(folder, { recursive: true });
    const [index, second] = entries.filter((entry) => entry.endsWith('.index'));
    if (index !== undefined && second === undefined) return await use(path.join(folder, index));
    const count = entries.filter((entry) => entry.endsWith('.index')).length;
    throw new DeepLabError('ERR_INVALID_WEIGHTS', `${archive} has ${count} checkpoints (.index): expected one`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function unpackCheckpoint(archive: string, folder: string): Promise<void> {
  const { extract } = await import('tar');
  let bytes = 0;
  try {
    await extract({
      file: archive,
      cwd: folder,
      strict: true,
      filter: (name, entry) => {
        if (!/\.(index|data-\d{5}-of-\d{5})$/.test(name) || !('type' in entry) || entry.type !== 'File') return false;
        bytes += entry.size;
        return bytes <= mostUnpacked;
      },
    });
  } catch (cause) {
    throw new DeepLabError('ERR_INVALID_WEIGHTS', `${archive} cannot be unpacked: ${(cause as Error).message}`, {
      cause,
    });
  }
  if (bytes > mostUnpacked) {
    throw new DeepLabError('ERR_INVALID_WEIGHTS', `${archive} unpacks to more than ${mostUnpacked} bytes`);
  }
}
