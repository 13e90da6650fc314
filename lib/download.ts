// Downloads a file, and goes on where an earlier attempt, or an earlier process, broke off. What came so far lies in a
// folder of its own, beside what tells whether the server still has the same file; the folder is claimed by renaming it,
// so that no two processes ever write to the same one.

import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import {
  type FileHandle,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { finished, pipeline } from 'node:stream/promises';
import { setTimeout as wait } from 'node:timers/promises';
import { throwIfAborted } from './abort';
import { DeepLabError } from './errors';
import { FinalFailure, requestFile } from './http';

/** How far a download is. */
export interface DownloadProgress {
  /** Bytes that have come. */
  readonly received: number;
  /** Bytes that there are, if the server or the manifest says so. */
  readonly total?: number | undefined;
}

/** A file to download. */
export interface Download {
  readonly url: string;
  /** The folder in which unfinished downloads are. */
  readonly folder: string;
  /** A file's name, by which a later download finds this one. */
  readonly name: string;
  readonly size?: number | undefined;
  /** The beginning of the SHA-256, or all of it; without it nothing is checked but the size. */
  readonly sha256?: string | undefined;
  readonly onProgress?: ((progress: DownloadProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds before the first repetition, then twice as many each. Default 500. */
  readonly patience?: number | undefined;
}

/** Bytes that may have come and not be written yet. */
const mostWaiting = 2 ** 22;

/** Requests in a row, after one that brought something, until a server counts as gone. */
const mostAttempts = 5;

/** What is beside the data: the server's name for the version of the file, to go on only in the same one. */
interface Origin {
  readonly url: string;
  readonly validator: string | null;
}

/** What says that the bytes are wrong: they are not kept. */
const worthless: readonly string[] = [
  'ERR_CHECKSUM',
  'ERR_INVALID_WEIGHTS',
  'ERR_UNSAFE_WEIGHTS',
  'ERR_UNSUPPORTED_MODEL',
];

/**
 * Downloads a file and gives its path to `use`; afterwards the file is gone. What has come is kept for the next time if
 * the download, or `use`, fails for another reason than that it is wrong.
 *
 * @throws ERR_DOWNLOAD, ERR_CHECKSUM, ERR_ABORTED, ERR_WRITE, and what `use` throws.
 */
export async function withDownload<T>(download: Download, use: (file: string) => Promise<T>): Promise<T> {
  const { url, folder, name, signal } = download;
  throwIfAborted(signal, 'download');
  const claimed = await claim(folder, name);
  const file = path.join(claimed, path.posix.basename(new URL(url).pathname) || 'data');
  try {
    await complete(download, claimed, file).catch((cause: unknown) => {
      throw asFailure(cause, download);
    });
    const result = await use(file);
    await rm(claimed, { recursive: true, force: true });
    return result;
  } catch (error) {
    const wrong = error instanceof DeepLabError && worthless.includes(error.code);
    // If another process has put its own back, that one stays.
    const kept = !wrong && (await rename(claimed, partialOf(folder, name)).then(yes, no));
    if (!kept) await rm(claimed, { recursive: true, force: true });
    throw error;
  }
}

const yes = () => true;
const no = () => false;

function partialOf(folder: string, name: string): string {
  return path.join(folder, `${name}.part`);
}

/** A folder that is this process's alone: what an earlier one left behind, or a new one. */
async function claim(folder: string, name: string): Promise<string> {
  const own = path.join(folder, `${name}.${os.hostname()}.${process.pid}.${randomUUID()}`);
  try {
    await mkdir(folder, { recursive: true });
    const left = [`${name}.part`, ...(await readdir(folder)).filter((entry) => isOrphan(entry, name))];
    for (const entry of left) {
      if (await rename(path.join(folder, entry), own).then(yes, no)) return own;
    }
    await mkdir(own);
    return own;
  } catch (cause) {
    throw new DeepLabError('ERR_WRITE', `${own} cannot be made: ${(cause as Error).message}`, { cause });
  }
}

/** Whether a folder was claimed by a process of this machine that has ended without putting it back. */
function isOrphan(entry: string, name: string): boolean {
  const prefix = `${name}.${os.hostname()}.`;
  if (!entry.startsWith(prefix)) return false;
  const [, pid] = /^(\d+)\.[^.]*$/.exec(entry.slice(prefix.length)) ?? [];
  if (pid === undefined) return false;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

/** Makes `file` the whole and right one. */
async function complete(download: Download, claimed: string, file: string): Promise<void> {
  const before = await sizeOf(file);
  const requests = await fetchRest(download, claimed, file);
  const wrong = await differenceOf(download, file);
  if (wrong === undefined) return;
  // That pieces were put together may be to blame: once more, in one.
  if (before === 0 && requests === 1) throw new DeepLabError('ERR_CHECKSUM', wrong);
  await rm(file, { force: true });
  await fetchRest(download, claimed, file);
  const still = await differenceOf(download, file);
  if (still !== undefined) throw new DeepLabError('ERR_CHECKSUM', still);
}

async function sizeOf(file: string): Promise<number> {
  return await stat(file).then(
    ({ size }) => size,
    () => 0,
  );
}

/** Gives the number of requests that it took. */
async function fetchRest(download: Download, claimed: string, file: string): Promise<number> {
  const { patience = 500, signal } = download;
  for (let [attempt, requests] = [1, 1]; ; attempt++, requests++) {
    const before = await sizeOf(file);
    try {
      await fetchOnce(download, claimed, file, before);
      return requests;
    } catch (error) {
      throwIfAborted(signal, 'download');
      if (!mayPass(error)) throw error;
      if ((await sizeOf(file)) > before) attempt = 1;
      if (attempt >= mostAttempts) throw error;
      await wait(patience * 2 ** (attempt - 1) * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => {});
      throwIfAborted(signal, 'download');
    }
  }
}

/** Whether a failure is the network's, or a server's in trouble; not if this machine cannot write. */
function mayPass(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return !(error instanceof FinalFailure || error instanceof DeepLabError || isOfDisk(code));
}

function isOfDisk(code: string | undefined): boolean {
  return ['ENOSPC', 'EDQUOT', 'EACCES', 'EPERM', 'EROFS', 'EIO', 'EFBIG', 'EISDIR'].includes(code ?? '');
}

/** One request, for what is missing behind the `have` bytes that are there. */
async function fetchOnce(download: Download, claimed: string, file: string, have: number): Promise<void> {
  const { url, signal, onProgress } = download;
  const validator = have === 0 ? undefined : await validatorOf(download, claimed);
  const headers =
    validator === undefined ? {} : { range: `bytes=${have}-`, ...(validator && { 'if-range': validator }) };
  const response = await requestFile(url, headers, signal);
  try {
    const start = startOf(response, have);
    if (start === undefined) {
      // 416: there is nothing behind what is there. Either that is all, or it is of another file.
      const [, whole] = /^bytes \*\/(\d+)$/.exec(response.headers['content-range'] ?? '') ?? [];
      if (Number(whole) === have) return;
      await truncate(file);
      throw new Error('what came before is not of the file that is there now');
    }
    const length = response.headers['content-length'];
    const total = length === undefined ? download.size : start + Number(length);
    const origin = JSON.stringify({ url, validator: versionOf(response) });
    const prepare = async () => {
      if (start < have) await truncate(file);
      await writeFile(path.join(claimed, 'origin.json'), origin);
      return await open(file, start === 0 ? 'w' : 'a');
    };
    let received = start;
    onProgress?.({ received, total });
    await append(response, prepare, (bytes) => {
      received += bytes;
      if (received > (download.size ?? Number.POSITIVE_INFINITY)) {
        throw new DeepLabError('ERR_CHECKSUM', `${url} is larger than ${download.size} bytes, as was published`);
      }
      onProgress?.({ received, total });
    });
    if (total !== undefined && received < total) throw new Error(`it broke off at byte ${received} of ${total}`);
  } finally {
    response.destroy();
  }
}

/**
 * Writes a body to the file that `prepare` opens. Not by a pipeline, which throws away what has come but is not written
 * yet when the connection breaks; and from the first moment on, since from Node.js 22 on a connection that breaks takes
 * with it what nobody has listened to.
 */
async function append(
  response: IncomingMessage,
  prepare: () => Promise<FileHandle>,
  count: (bytes: number) => void,
): Promise<void> {
  const opened = prepare();
  try {
    let written: Promise<void> = opened.then(nothing);
    // Its failure is found when it is waited for.
    written.catch((failure: Error) => response.destroy(failure));
    let waiting = 0;
    response.on('data', (chunk: Buffer) => {
      waiting += chunk.length;
      if (waiting > mostWaiting) response.pause();
      written = written.then(async () => {
        await (await opened).appendFile(chunk);
        waiting -= chunk.length;
        response.resume();
      });
      written.catch((failure: Error) => response.destroy(failure));
      try {
        count(chunk.length);
      } catch (failure) {
        response.destroy(failure as Error);
      }
    });
    const end = await finished(response).then(nothing, (failure: Error) => failure);
    await written;
    if (end !== undefined) throw end;
  } finally {
    await opened.then((handle) => handle.close(), nothing);
  }
}

const nothing = (): undefined => undefined;

/** From which byte on the body is; undefined if the server has nothing behind `have`. */
function startOf(response: IncomingMessage, have: number): number | undefined {
  const { statusCode = 0, headers } = response;
  if (statusCode === 200) return 0;
  if (statusCode === 206) {
    const [, start] = /^bytes (\d+)-/.exec(headers['content-range'] ?? '') ?? [];
    if (Number(start) === have) return have;
    throw new FinalFailure(`it sends ${headers['content-range']} where bytes from ${have} on were asked for`);
  }
  if (statusCode === 416 && have > 0) return undefined;
  const what = `it answers ${statusCode} ${response.statusMessage ?? ''}`.trimEnd();
  // Too many requests, timeouts, and whatever is the server's own fault, may pass.
  throw [408, 425, 429].includes(statusCode) || statusCode >= 500 ? new Error(what) : new FinalFailure(what);
}

/** A strong ETag, or else the date: what `If-Range` takes (RFC 9110, section 13.1.5). */
function versionOf({ headers }: IncomingMessage): string | null {
  const { etag } = headers;
  return etag !== undefined && !etag.startsWith('W/') ? etag : (headers['last-modified'] ?? null);
}

/**
 * What the server called the file of which a part is there; empty if it has no name for it but a checksum will tell in
 * the end; undefined if it cannot be gone on with.
 */
async function validatorOf({ url, sha256 }: Download, claimed: string): Promise<string | undefined> {
  try {
    const origin: Partial<Origin> = JSON.parse(await readFile(path.join(claimed, 'origin.json'), 'utf8'));
    if (origin.url !== url) return undefined;
    return origin.validator ?? (sha256 === undefined ? undefined : '');
  } catch {
    return undefined;
  }
}

/** What is wrong with the file; undefined if nothing is. */
async function differenceOf({ url, size, sha256 }: Download, file: string): Promise<string | undefined> {
  const found = await sizeOf(file);
  if (size !== undefined && found !== size) return `${url} has ${found} bytes: ${size} were published`;
  if (sha256 === undefined) return undefined;
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  const digest = hash.digest('hex');
  if (digest.startsWith(sha256)) return undefined;
  const published = sha256.length < digest.length ? `${sha256}...` : sha256;
  return `${url} has the SHA-256 ${digest}: ${published} was published`;
}

function asFailure(cause: unknown, { url, folder, signal }: Download): DeepLabError {
  if (cause instanceof DeepLabError) return cause;
  if (signal?.aborted) {
    return new DeepLabError('ERR_ABORTED', 'The download was aborted', { cause: signal.reason });
  }
  const { message, code } = cause as NodeJS.ErrnoException;
  if (isOfDisk(code)) return new DeepLabError('ERR_WRITE', `${folder} cannot be written to: ${message}`, { cause });
  return new DeepLabError('ERR_DOWNLOAD', `${url} cannot be downloaded: ${message || code}`, { cause });
}
