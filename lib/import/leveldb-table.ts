// The table file of LevelDB, in which TensorFlow keeps its checkpoints: sorted keys and values in blocks with checksums.
// The format: https://github.com/google/leveldb/blob/main/doc/table_format.md. What the values say is for the
// reader of checkpoints.

import { mostTensors } from './archive';
import { maskedCrc32c } from './crc32c';
import { damaged, type WeightsFile } from './weights-file';

const magic = Buffer.from('57fb808b247547db', 'hex');
const footerBytes = 48;
/** Behind every block: how it is compressed, and its checksum. */
const trailerBytes = 5;
/** Longer than any key of a checkpoint. Keys are stored by what they add to the one before, so that a small file could
 * have very many long ones. */
const mostKeyBytes = 1024;

/** Where a block is in its file. */
interface BlockHandle {
  readonly offset: number;
  readonly size: number;
}

/** A key, and its value as a view of the block. */
interface TableEntry {
  readonly key: Buffer;
  readonly value: Buffer;
}

export class LeveldbTable {
  private constructor(
    readonly file: WeightsFile,
    /** Those with the entries, in the order of their keys and without overlap. */
    readonly blocks: readonly BlockHandle[],
  ) {}

  /** Reads where the blocks are. @throws ERR_INVALID_WEIGHTS */
  static async open(file: WeightsFile): Promise<LeveldbTable> {
    const { path: name, size } = file;
    if (size < footerBytes) throw damaged(name, `is no table of a checkpoint, or is truncated: it has ${size} bytes`);
    const footer = await file.read(size - footerBytes, footerBytes, 'its footer');
    if (!footer.subarray(-magic.length).equals(magic)) {
      throw damaged(name, 'is no table of a checkpoint, or is truncated: it does not end in the magic number of one');
    }
    const [, afterMeta] = blockHandle(footer, 0, name);
    const [indexBlock] = blockHandle(footer, afterMeta, name);
    const blocks: BlockHandle[] = [];
    let end = 0;
    for (const { value } of entriesOf(await readBlock(file, indexBlock), name)) {
      const [block] = blockHandle(value, 0, name);
      // Blocks that overlap could make a small file endless.
      if (block.offset < end) throw damaged(name, `is damaged: its blocks at ${block.offset} and before it overlap`);
      end = block.offset + block.size;
      if (blocks.push(block) > mostTensors) throw damaged(name, `has more than ${mostTensors} blocks`);
    }
    return new LeveldbTable(file, blocks);
  }

  /** The entries of a block in their order; its checksum is right. */
  async *entries(block: BlockHandle): AsyncGenerator<TableEntry, void> {
    yield* entriesOf(await readBlock(this.file, block), this.file.path);
  }
}

/** The bytes of a block. */
async function readBlock(file: WeightsFile, { offset, size }: BlockHandle): Promise<Buffer> {
  const stored = await file.read(offset, size + trailerBytes, 'a block of the table');
  // The checksum is of the block and of the byte that says how it is compressed.
  const [computed, expected] = [maskedCrc32c(stored.subarray(0, size + 1)), stored.readUInt32LE(size + 1)];
  if (computed !== expected) throw file.invalid(`is damaged: the checksum of its block at ${offset} is wrong`);
  const compression = stored[size];
  if (compression !== 0) {
    throw file.invalid(`has a block of compression ${compression}: expected 0, since TensorFlow compresses none`);
  }
  return stored.subarray(0, size);
}

/** The entries of a block: how many bytes of the key before begin this key, the rest of the key, the value. */
function* entriesOf(block: Buffer, file: string): Generator<TableEntry, void> {
  // Behind the entries are the places where a key is stored as a whole, and the number of these; not needed here.
  const restarts = block.length < 4 ? -1 : block.readUInt32LE(block.length - 4);
  const end = block.length - 4 * (restarts + 1);
  if (restarts < 0 || end < 0) throw damaged(file, 'is damaged: a block of it has no end');
  let key: Buffer = Buffer.alloc(0);
  let at = 0;
  while (at < end) {
    const [shared, afterShared] = varint(block, at, file);
    const [added, afterAdded] = varint(block, afterShared, file);
    const [valueBytes, start] = varint(block, afterAdded, file);
    if (shared > key.length || shared + added > mostKeyBytes || start + added + valueBytes > end) {
      throw damaged(file, 'is damaged: an entry of a block does not fit where it is');
    }
    key = Buffer.concat([key.subarray(0, shared), block.subarray(start, start + added)]);
    at = start + added + valueBytes;
    yield { key, value: block.subarray(start + added, at) };
  }
}

/** The handle at a position, and the position behind it. */
function blockHandle(bytes: Buffer, at: number, file: string): readonly [BlockHandle, number] {
  const [offset, afterOffset] = varint(bytes, at, file);
  const [size, next] = varint(bytes, afterOffset, file);
  return [{ offset, size }, next];
}

/** The number at a position, in seven bits a byte, the lowest first; and the position behind it. */
function varint(bytes: Buffer, at: number, file: string): readonly [number, number] {
  let value = 0;
  for (let i = 0; i < 8; i++) {
    const byte = bytes[at + i];
    if (byte === undefined) break;
    value += (byte & 127) * 2 ** (7 * i);
    if (byte < 128) return [Math.min(value, Number.MAX_SAFE_INTEGER), at + i + 1];
  }
  throw damaged(file, 'is damaged: a number in its table does not end');
}
