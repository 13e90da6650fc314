// Walks over the fields of a protobuf message that lies in a file and is too large for memory, or would be once decoded:
// https://protobuf.dev/programming-guides/encoding. Fields are skipped by their length, so that only what is asked for is
// read. Messages that are small are decoded by protobufjs (message.ts).

import type { WeightsFile } from './weights-file';

/** A field: a number, or the place of its bytes. */
export type WireField =
  | { readonly number: number; readonly kind: 'varint'; readonly value: number }
  | { readonly number: number; readonly kind: 'bytes' | 'fixed'; readonly start: number; readonly end: number };

/** Bytes that are read at once: many small fields, few of a tensor's. */
const windowBytes = 65_536;
/** Far more fields than any network has, far less than a damaged file of gigabytes may seem to have. */
const mostFields = 1_000_000;
/** Of a number in seven bits a byte: a tag, or a length below 2^53. Negative numbers take ten. */
const mostVarintBytes = 10;

export class WireFormat {
  #window: Buffer = Buffer.alloc(0);
  #windowStart = 0;
  #fields = 0;

  constructor(readonly file: WeightsFile) {}

  /** The fields between two positions of the file, which must be those of a message. @throws ERR_INVALID_WEIGHTS */
  async *fields(start: number, end: number): AsyncGenerator<WireField, void> {
    let at = start;
    while (at < end) {
      if (++this.#fields > mostFields) throw this.file.invalid(`has more than ${mostFields} fields`);
      const tag = await this.#varint(at, end);
      const number = Math.floor(tag.value / 8);
      const type = tag.value % 8;
      at = tag.next;
      if (type === 0) {
        const { value, next } = await this.#varint(at, end);
        yield { number, kind: 'varint', value };
        at = next;
        continue;
      }
      let length = type === 1 ? 8 : 4;
      if (type === 2) {
        const { value, next } = await this.#varint(at, end);
        length = value;
        at = next;
      } else if (type !== 1 && type !== 5) {
        // 3 and 4 are groups, which none of the formats has.
        throw this.file.invalid(`is damaged: a field at ${at} has the unknown wire type ${type}`);
      }
      if (number === 0 || length > end - at) {
        throw this.file.invalid(`is truncated or damaged: field ${number} at ${at} would have ${length} bytes`);
      }
      yield { number, kind: type === 2 ? 'bytes' : 'fixed', start: at, end: at + length };
      at += length;
    }
  }

  async #varint(at: number, end: number): Promise<{ readonly value: number; readonly next: number }> {
    const bytes = await this.#bytes(at, Math.min(mostVarintBytes, end - at));
    let value = 0;
    for (const [i, byte] of bytes.entries()) {
      value += (byte & 127) * 2 ** (7 * i);
      if (byte < 128) return { value, next: at + i + 1 };
    }
    throw this.file.invalid(`is truncated or damaged: a number at ${at} does not end`);
  }

  /** A few bytes, from the window that is moved there if need be. */
  async #bytes(position: number, length: number): Promise<Buffer> {
    if (position < this.#windowStart || position + length > this.#windowStart + this.#window.length) {
      this.#window = await this.file.read(position, Math.min(windowBytes, this.file.size - position), 'its fields');
      this.#windowStart = position;
    }
    const from = position - this.#windowStart;
    return this.#window.subarray(from, from + length);
  }
}
