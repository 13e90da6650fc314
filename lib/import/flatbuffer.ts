// Tables and vectors of a FlatBuffers file: https://flatbuffers.dev/internals. The npm package flatbuffers is the runtime
// of generated code and checks no bounds; here, nothing is read outside the file and no vector is longer than it.
// Which slot is what is for the reader of the format.

import { damaged } from './weights-file';

/** Text longer than this is not a name. */
const mostTextBytes = 1024;

/** The table that is the root of the file. @throws ERR_INVALID_WEIGHTS */
export function rootTable(bytes: Buffer, file: string): FlatTable {
  if (bytes.length < 8) throw damaged(file, `is truncated: it has ${bytes.length} bytes`);
  return new FlatTable(bytes, bytes.readUInt32LE(0), file);
}

/** The values of a slot that holds several. */
export interface FlatVector {
  /** Of the first, from the beginning of the file. */
  readonly start: number;
  readonly length: number;
}

/** A table: slots, each of which may be empty. Slots are numbered from 0 in the order of the schema. */
export class FlatTable {
  readonly #bytes: Buffer;
  readonly #position: number;
  readonly #slots: number;
  readonly #slotCount: number;

  constructor(
    bytes: Buffer,
    position: number,
    readonly file: string,
  ) {
    this.#bytes = bytes;
    this.#position = position;
    this.#slots = position - bytes.readInt32LE(this.#inside(position, 4));
    // The lengths of this list and of the table, then where each slot is in the table.
    const length = bytes.readUInt16LE(this.#inside(this.#slots, 4));
    this.#inside(this.#slots, length);
    this.#slotCount = (length - 4) >> 1;
  }

  int8(slot: number, otherwise = 0): number {
    const at = this.#at(slot, 1);
    return at === undefined ? otherwise : this.#bytes.readInt8(at);
  }

  uint8(slot: number, otherwise = 0): number {
    return this.int8(slot, otherwise) & 255;
  }

  int32(slot: number, otherwise = 0): number {
    const at = this.#at(slot, 4);
    return at === undefined ? otherwise : this.#bytes.readInt32LE(at);
  }

  uint32(slot: number): number {
    return this.int32(slot) >>> 0;
  }

  /** Rounded where it has more than 53 bits. */
  uint64(slot: number): number {
    const at = this.#at(slot, 8);
    return at === undefined ? 0 : Number(this.#bytes.readBigUInt64LE(at));
  }

  text(slot: number): string {
    const { start, length } = this.#vector(slot, 1);
    if (length > mostTextBytes) throw damaged(this.file, `is damaged: a name in it has ${length} bytes`);
    return this.#bytes.toString('utf8', start, start + length);
  }

  table(slot: number): FlatTable | undefined {
    const at = this.#at(slot, 4);
    return at === undefined ? undefined : this.#tableAt(at);
  }

  /** How many values a slot holds. */
  count(slot: number): number {
    const at = this.#at(slot, 4);
    return at === undefined ? 0 : this.#bytes.readUInt32LE(this.#inside(at + this.#bytes.readUInt32LE(at), 4));
  }

  /** Where in the file a vector of bytes is. */
  bytes(slot: number): FlatVector {
    return this.#vector(slot, 1);
  }

  /** @param most - More are an error. */
  int32s(slot: number, most: number): readonly number[] {
    const { start, length } = this.#vector(slot, 4, most);
    return Array.from({ length }, (_, i) => this.#bytes.readInt32LE(start + 4 * i));
  }

  /** @param most - More are an error. */
  tables(slot: number, most: number): readonly FlatTable[] {
    const { start, length } = this.#vector(slot, 4, most);
    return Array.from({ length }, (_, i) => this.#tableAt(start + 4 * i));
  }

  #tableAt(at: number): FlatTable {
    return new FlatTable(this.#bytes, at + this.#bytes.readUInt32LE(at), this.file);
  }

  #vector(slot: number, elementBytes: number, most = Number.POSITIVE_INFINITY): FlatVector {
    const at = this.#at(slot, 4);
    if (at === undefined) return { start: 0, length: 0 };
    const length = this.count(slot);
    if (length > most) throw damaged(this.file, `is damaged: a list in it has ${length} values, of at most ${most}`);
    const start = at + this.#bytes.readUInt32LE(at) + 4;
    return { start: this.#inside(start, length * elementBytes), length };
  }

  /** Where the value of a slot is; undefined if it is empty, as are those that the file's schema did not have yet. */
  #at(slot: number, length: number): number | undefined {
    if (slot >= this.#slotCount) return undefined;
    const offset = this.#bytes.readUInt16LE(this.#slots + 4 + 2 * slot);
    return offset === 0 ? undefined : this.#inside(this.#position + offset, length);
  }

  #inside(at: number, length: number): number {
    if (at >= 0 && at + length <= this.#bytes.length) return at;
    throw damaged(this.file, `is truncated or damaged: it points to byte ${at + length} of ${this.#bytes.length}`);
  }
}
