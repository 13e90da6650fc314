// CRC-32C (Castagnoli), as TensorFlow's checkpoints and LevelDB's tables have it: RFC 3720, appendix B.4. zlib.crc32 has
// the other polynomial.

/** Four tables, to take four bytes at a step: entry b of table k is the CRC of byte b with k zero bytes behind it. */
const tables = makeTables();

function makeTables(): readonly [Uint32Array, Uint32Array, Uint32Array, Uint32Array] {
  const [first, second, third, fourth] = Array.from({ length: 4 }, () => new Uint32Array(256)) as [
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
  ];
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    // 0x82f63b78 is the polynomial 0x1edc6f41 with its bits in reverse order.
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
    first[byte] = crc;
  }
  const shifted = (crc: number) => (crc >>> 8) ^ (first[crc & 255] as number);
  for (let byte = 0; byte < 256; byte++) {
    second[byte] = shifted(first[byte] as number);
    third[byte] = shifted(second[byte] as number);
    fourth[byte] = shifted(third[byte] as number);
  }
  return [first, second, third, fourth];
}

/** The CRC-32C of `bytes`. */
export function crc32c(bytes: Uint8Array): number {
  const [first, second, third, fourth] = tables;
  let crc = 0xffffffff;
  let at = 0;
  for (const end = bytes.length - 3; at < end; at += 4) {
    const word =
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24);
    crc ^= word;
    crc =
      (fourth[crc & 255] as number) ^
      (third[(crc >>> 8) & 255] as number) ^
      (second[(crc >>> 16) & 255] as number) ^
      (first[crc >>> 24] as number);
  }
  for (; at < bytes.length; at++) crc = (crc >>> 8) ^ (first[(crc ^ (bytes[at] as number)) & 255] as number);
  return ~crc >>> 0;
}

/** A CRC as it is stored beside what it is of: rotated and shifted, so that a CRC of CRCs is no special case. */
export function maskedCrc32c(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}
