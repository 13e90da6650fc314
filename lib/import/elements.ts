// Elements of tensors as files of weights store them, little-endian, as 32-bit floats. Arrays of images and scores are
// read elsewhere (../floats.ts), from fewer types.

import { decodeFloats } from '../floats';

/** Stored types and their sizes in bytes. */
export const elementBytes = {
  f16: 2,
  bf16: 2,
  f32: 4,
  f64: 8,
  i8: 1,
  u8: 1,
  i16: 2,
  u16: 2,
  i32: 4,
  u32: 4,
  i64: 8,
  u64: 8,
} as const;

/** A type of stored elements. */
export type ElementType = keyof typeof elementBytes;

/** How an element that is no float is read from a view of the bytes. */
const readers: Readonly<
  Record<Exclude<ElementType, 'f16' | 'f32' | 'f64' | 'bf16'>, (view: DataView, at: number) => number>
> = {
  i8: (view, at) => view.getInt8(at),
  u8: (view, at) => view.getUint8(at),
  i16: (view, at) => view.getInt16(at, true),
  u16: (view, at) => view.getUint16(at, true),
  i32: (view, at) => view.getInt32(at, true),
  u32: (view, at) => view.getUint32(at, true),
  i64: (view, at) => Number(view.getBigInt64(at, true)),
  u64: (view, at) => Number(view.getBigUint64(at, true)),
};

/** The elements in `bytes`, whose length is a multiple of the type's size; what has more bits is rounded. */
export function decodeElements(bytes: Uint8Array, type: ElementType): Float32Array {
  if (type === 'f16' || type === 'f32' || type === 'f64') return decodeFloats(bytes, type);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = elementBytes[type];
  const values = new Float32Array(bytes.length / size);
  if (type === 'bf16') {
    // The upper half of a 32-bit float.
    const halves = new Uint32Array(values.buffer);
    for (let i = 0; i < halves.length; i++) halves[i] = view.getUint16(2 * i, true) << 16;
    return values;
  }
  const read = readers[type];
  for (let i = 0; i < values.length; i++) values[i] = read(view, i * size);
  return values;
}

/** The number of elements of a shape, or undefined if it has negative sizes or more than can be counted. */
export function elementsIn(shape: readonly number[]): number | undefined {
  let elements = 1;
  for (const size of shape) {
    if (!Number.isSafeInteger(size) || size < 0) return undefined;
    elements *= size;
    if (!Number.isSafeInteger(elements)) return undefined;
  }
  return elements;
}
