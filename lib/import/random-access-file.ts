// A file of known size that is read piece by piece at positions that the file itself names. Every piece is checked
// against the size before memory is allocated for it.

import { type FileHandle, open, stat } from 'node:fs/promises';
import { DeepLabError } from '../errors';

/** The most bytes that are read as one piece: more than any tensor of a network has. */
const mostBytes = 2 ** 31 - 1;

/** What was wrong, as the error that every reader of weights throws for a damaged file. */
export function damaged(file: string, what: string, cause?: unknown): DeepLabError {
  return new DeepLabError('ERR_INVALID_WEIGHTS', `${file} ${what}`, { cause });
}

export class RandomAccessFile {
  readonly #handle: FileHandle;
  #closed = false;

  private constructor(
    /** The path, for messages. */
    readonly file: string,
    /** In bytes, when the file was opened. */
    readonly size: number,
    handle: FileHandle,
  ) {
    this.#handle = handle;
  }

  /** @throws ERR_NOT_FOUND if there is no such file, or it is a folder or device, or may not be read. */
  static async open(file: string): Promise<RandomAccessFile> {
    try {
      // First of all, since opening a pipe would wait for its writer.
      if (!(await stat(file)).isFile()) throw new Error('it is not a file');
      const handle = await open(file, 'r');
      const { size } = await handle.stat();
      return new RandomAccessFile(file, size, handle);
    } catch (cause) {
      throw new DeepLabError('ERR_NOT_FOUND', `${file} cannot be read: ${(cause as Error).message}`, { cause });
    }
  }

  /**
   * The bytes from `position` on, in memory of their own.
   *
   * @param what - What they are, for the message of the error.
   * @throws ERR_INVALID_WEIGHTS if the file ends before they do, ERR_CLOSED.
   */
  async read(position: number, length: number, what: string): Promise<Buffer<ArrayBuffer>> {
    if (this.#closed) throw new DeepLabError('ERR_CLOSED', `${this.file} was closed before ${what} was read`);
    const fits = Number.isSafeInteger(position) && Number.isSafeInteger(length) && position >= 0 && length >= 0;
    if (!fits || position + length > this.size) {
      throw damaged(
        this.file,
        `is truncated or damaged: ${what} would be bytes ${position} to ${position + length} of ${this.size}`,
      );
    }
    if (length > mostBytes) throw damaged(this.file, `has ${length} bytes of ${what}: expected at most ${mostBytes}`);
    const bytes = Buffer.allocUnsafeSlow(length);
    let done = 0;
    while (done < length) {
      const { bytesRead } = await this.#handle.read(bytes, done, length - done, position + done).catch((cause) => {
        throw damaged(this.file, `cannot be read: ${(cause as Error).message}`, cause);
      });
      if (bytesRead === 0) throw damaged(this.file, `was truncated while ${what} was read`);
      done += bytesRead;
    }
    return bytes;
  }

  /** Closes the file; a second time does nothing. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#handle.close();
  }
}
