// Numbers as files of arrays store them, little-endian and of 16, 32 or 64 bits, as 32-bit floats.

import { endianness } from 'node:os';

/** Stored types and their sizes in bytes. */
export const floatBytes = { f16: 2, f32: 4, f64: 8 } as const;

/** A type of stored numbers. */
export type FloatType = keyof typeof floatBytes;

/** The numbers in `bytes`, whose length is a multiple of the type's size. Doubles are rounded. */
export function decodeFloats(bytes: Uint8Array, type: FloatType): Float32Array {
  // A copy, since views must start at a multiple of their elements' size. Not bytes.slice(): that of a Buffer is no copy.
  const { buffer } = littleEndian(Uint8Array.from(bytes), floatBytes[type]);
  if (type === 'f32') return new Float32Array(buffer);
  if (type === 'f64') return Float32Array.from(new Float64Array(buffer));
  return Float32Array.from(new Uint16Array(buffer), fromHalf);
}

/** The bytes of numbers as files store them in 32 bits. */
export function encodeFloats(values: Float32Array): Uint8Array {
  return littleEndian(Uint8Array.from(new Uint8Array(values.buffer, values.byteOffset, values.byteLength)), 4);
}

/** Turns elements of `size` bytes around on the machines that have them the other way. */
function littleEndian(bytes: Uint8Array<ArrayBuffer>, size: number): Uint8Array<ArrayBuffer> {
  if (endianness() === 'LE') return bytes;
  for (let at = 0; at < bytes.length; at += size) bytes.subarray(at, at + size).reverse();
  return bytes;
}

/** IEEE 754 binary16: a sign, 5 bits of exponent, 10 bits of fraction. */
function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}
