// Zip files, in which PyTorch and NumPy keep tensors (the format: PKWARE's APPNOTE.TXT). yauzl reads the directory,
// which may be zip64; what is in an entry is read from here, by position where it is stored. Nothing is ever written to
// a disk, so that an entry's name cannot lead anywhere.

import { promisify } from 'node:util';
import zlib from 'node:zlib';
import { type Entry, fromRandomAccessReaderPromise, RandomAccessReader, type ZipFile } from 'yauzl';
import { DeepLabError } from '../errors';
import { mostTensors } from './archive';
import { type ByteRange, WeightsFile } from './weights-file';

/**
 * What a deflated entry may grow to: 16 MiB, and 100 times its size beyond. Weights are noise: they deflate to more than
 * half; deflate itself goes up to 1032 times.
 */
const inflatedFreely = 2 ** 24;
const mostInflation = 100;

/** APPNOTE 4.4.5. */
const stored = 0;
const deflated = 8;

/** Whether a file that begins so may be a zip file: it begins with a local header (4.3.7). */
export function looksLikeZip(head: Uint8Array): boolean {
  return Buffer.from(head.subarray(0, 4)).equals(Buffer.from('PK\x03\x04', 'latin1'));
}

/** One entry of a zip file. */
export interface ZipEntry extends ByteRange {
  readonly name: string;
  /** Up to `length` bytes from its beginning; of a deflated entry no more is inflated. */
  head(length: number): Promise<Buffer>;
  /** All of it, held against its checksum. */
  all(): Promise<Buffer>;
}

/**
 * The entries of a zip file by their names, in their order; folders are left out.
 *
 * @throws ERR_INVALID_WEIGHTS if it is none, or is damaged.
 */
export async function readZip(file: WeightsFile): Promise<ReadonlyMap<string, ZipEntry>> {
  try {
    const reader = new FileReader(file);
    const zip = await fromRandomAccessReaderPromise(reader, file.size, { autoClose: false, lazyEntries: true });
    if (zip.entryCount > mostTensors * 2) throw new Error(`it has ${zip.entryCount} entries`);
    const entries = new Map<string, ZipEntry>();
    let bytes = 0;
    for await (const entry of zip.eachEntry()) {
      if (entry.fileName.endsWith('/')) continue;
      if (entries.has(entry.fileName)) throw new Error(`it has ${entry.fileName} twice`);
      entries.set(entry.fileName, entryOf(file, zip, entry));
      // Entries that share their bytes could inflate these as often as there are entries.
      bytes += entry.compressedSize;
      if (bytes > file.size) throw new Error('its entries overlap');
    }
    return entries;
  } catch (cause) {
    throw file.invalid(`is no sound zip file: ${(cause as Error).message}`, cause);
  }
}

/**
 * What yauzl reads from. Its own reader of files throws where nobody can catch it when a directory gives positions that
 * no file has.
 */
class FileReader extends RandomAccessReader {
  readonly #file: WeightsFile;

  constructor(file: WeightsFile) {
    super();
    this.#file = file;
  }

  override read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (error: Error | null) => void,
  ): void {
    const done = this.#file.read(position, length).then((bytes) => {
      bytes.copy(buffer, offset);
      callback(null);
    });
    // The error of the callback too, whose promise would stay open.
    done.catch(callback).catch(() => {});
  }
}

/** Which format the tensors in a zip file are of; undefined if it is none of them, or no zip file. */
export async function zipHolds(path: string): Promise<'pytorch' | 'npz' | undefined> {
  const file = await WeightsFile.open(path);
  try {
    const names = [...(await readZip(file)).keys()];
    if (names.some((name) => /^(.*\/)?data\.pkl$/.test(name))) return 'pytorch';
    return names.some((name) => name.endsWith('.npy')) ? 'npz' : undefined;
  } catch {
    return undefined;
  } finally {
    await file.close();
  }
}

function entryOf(file: WeightsFile, zip: ZipFile, entry: Entry): ZipEntry {
  const { fileName: name, uncompressedSize: size, compressedSize, compressionMethod: method } = entry;
  if (entry.isEncrypted()) throw new Error(`${name} is encrypted`);
  if (method !== stored && method !== deflated) throw new Error(`${name} is compressed by method ${method}`);
  if (compressedSize > file.size) throw new Error(`${name} is longer than the file`);
  if (size > inflatedFreely + mostInflation * compressedSize) {
    throw new Error(`${name} would inflate from ${compressedSize} to ${size} bytes`);
  }

  /** Checked by yauzl: the compressed bytes end inside of the file. */
  const compressed = async (position: number, length: number) => {
    const { fileDataStart } = await zip.readLocalFileHeaderPromise(entry, { minimal: true });
    return file.read(fileDataStart + position, length);
  };
  const part = async (position: number, length: number): Promise<Buffer> => {
    if (!(position >= 0 && length >= 0 && position + length <= size)) {
      throw file.invalid(`has ${size} bytes in ${name}: expected ${length} from byte ${position} on`);
    }
    if (method === stored) return compressed(position, length);
    // One more is let through, so that there can be too many.
    const bytes = await inflate(await compressed(0, compressedSize), { maxOutputLength: size + 1 });
    if (bytes.length !== size) throw new Error(`it inflates to ${bytes.length} bytes: expected ${size}`);
    return bytes.subarray(position, position + length);
  };
  const head = async (most: number): Promise<Buffer> => {
    const length = Math.min(most, size);
    if (method === stored) return compressed(0, length);
    // Deflate makes bytes more by a little at worst, and fewer by 1032 times: 5 MB, then.
    const some = await compressed(0, Math.min(compressedSize, most + 1024));
    const bytes = await inflate(some, { finishFlush: zlib.constants.Z_SYNC_FLUSH });
    if (bytes.length < length) throw new Error(`it begins with ${bytes.length} bytes: expected ${length}`);
    return bytes.subarray(0, length);
  };
  const named = async (bytes: Promise<Buffer>): Promise<Buffer> => {
    try {
      return await bytes;
    } catch (cause) {
      if (cause instanceof DeepLabError) throw cause;
      throw file.invalid(`is damaged in ${name}: ${(cause as Error).message}`, cause);
    }
  };
  return {
    name,
    size,
    read: (position, length) => named(part(position, length)),
    head: (length) => named(head(length)),
    all: async () => {
      const bytes = await named(part(0, size));
      if (zlib.crc32(bytes) !== entry.crc32) throw file.invalid(`is damaged in ${name}: its checksum differs`);
      return bytes;
    },
  };
}

const inflate = promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.inflateRaw);
