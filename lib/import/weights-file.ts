// An open file of weights, read by position: files of many gigabytes are never held in memory. What the bytes mean is
// for the readers of each format.

import { type FileHandle, open, stat } from 'node:fs/promises';
import { DeepLabError } from '../errors';

/** The most bytes that are read as one piece: more than any tensor of a network has. */
const mostBytes = 2 ** 31 - 1;

/** "<path> <what>", as the error that every reader of weights throws for a damaged file. */
export function damaged(path: string, what: string, cause?: unknown): DeepLabError {
  return new DeepLabError('ERR_INVALID_WEIGHTS', `${path} ${what}`, { cause });
}

/** Bytes that can be read in parts: a file, or a part of one. */
export interface ByteRange {
  /** How many there are. */
  readonly size: number;
  /**
   * A copy of `length` bytes from `position` on.
   *
   * @throws ERR_INVALID_WEIGHTS if they are not all there.
   */
  read(position: number, length: number): Promise<Buffer>;
}

export class WeightsFile implements ByteRange {
  /** The path, for messages. */
  readonly path: string;
  readonly size: number;
  readonly #handle: FileHandle;
  #closed = false;

  private constructor(path: string, size: number, handle: FileHandle) {
    this.path = path;
    this.size = size;
    this.#handle = handle;
  }

  /** @throws ERR_NOT_FOUND if there is no such file, or it may not be read. */
  static async open(path: string): Promise<WeightsFile> {
    try {
      // Asked before it is opened: to open a named pipe waits for a writer.
      const found = await stat(path);
      if (!found.isFile()) throw new Error('it is not a file');
      return new WeightsFile(path, found.size, await open(path, 'r'));
    } catch (cause) {
      throw new DeepLabError('ERR_NOT_FOUND', `${path} cannot be read: ${(cause as Error).message}`, { cause });
    }
  }

  /**
   * A copy of `length` bytes from `position` on, in memory of its own.
   *
   * @param what - What they are, for the message of the error.
   * @throws ERR_INVALID_WEIGHTS if they are not all there, ERR_CLOSED.
   */
  async read(position: number, length: number, what = 'a part of it'): Promise<Buffer<ArrayBuffer>> {
    if (this.#closed) throw new DeepLabError('ERR_CLOSED', `${this.path} was closed before ${what} was read`);
    this.check(position, length, what);
    if (length > mostBytes) throw this.invalid(`has ${length} bytes of ${what}: expected at most ${mostBytes}`);
    const bytes = Buffer.allocUnsafeSlow(length);
    let done = 0;
    while (done < length) {
      const { bytesRead } = await this.#handle.read(bytes, done, length - done, position + done).catch((cause) => {
        throw this.invalid(`cannot be read: ${(cause as Error).message}`, cause);
      });
      if (bytesRead === 0) throw this.invalid(`ends at byte ${position + done}: it was cut while it was open`);
      done += bytesRead;
    }
    return bytes;
  }

  /** A part of the file, as bytes of their own. */
  range(start: number, size: number): ByteRange {
    this.check(start, size, 'a part of it');
    return {
      size,
      read: async (position, length) => {
        if (!isWithin(position, length, size)) {
          throw this.invalid(`has ${size} bytes from ${start} on: expected ${length} at ${position} of them`);
        }
        return this.read(start + position, length);
      },
    };
  }

  /** "<path> <what>", as an ERR_INVALID_WEIGHTS. */
  invalid(what: string, cause?: unknown): DeepLabError {
    return damaged(this.path, what, cause);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#handle.close();
  }

  private check(position: number, length: number, what: string): void {
    if (isWithin(position, length, this.size)) return;
    const end = position + length;
    throw this.invalid(`is truncated or damaged: ${what} would be bytes ${position} to ${end} of ${this.size}`);
  }
}

function isWithin(position: number, length: number, size: number): boolean {
  return Number.isSafeInteger(position) && Number.isSafeInteger(length) && position >= 0 && length >= 0
    ? position + length <= size
    : false;
}

/** What `use` makes of the file, which stays open if it succeeds and is closed if it throws. */
export async function withWeightsFile<T>(path: string, use: (file: WeightsFile) => Promise<T>): Promise<T> {
  const file = await WeightsFile.open(path);
  try {
    return await use(file);
  } catch (error) {
    await file.close();
    if (error instanceof DeepLabError) throw error;
    throw file.invalid(`cannot be read: ${(error as Error).message}`, error);
  }
}
