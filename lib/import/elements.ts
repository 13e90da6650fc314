// Numbers of every type that files of weights store, as 32-bit floats, and the order in which they lie. Floats of
// networks are lib/floats.ts's; here are bfloat16, integers and the other order of bytes besides.

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

/** A type of stored numbers. */
export type ElementType = keyof typeof elementBytes;

/** Whether `name` is a type of stored numbers. */
export function isElementType(name: string): name is ElementType {
  return Object.hasOwn(elementBytes, name);
}

/** The numbers in `bytes`, whose length is a multiple of the type's size, rounded to 32 bits. */
export function decodeElements(bytes: Uint8Array, type: ElementType, bigEndian = false): Float32Array {
  const size = elementBytes[type];
  const little = bigEndian && size > 1 ? reversed(bytes, size) : bytes;
  if (type === 'f16' || type === 'f32' || type === 'f64') return decodeFloats(little, type);
  const view = new DataView(little.buffer, little.byteOffset, little.byteLength);
  const values = new Float32Array(little.byteLength / size);
  const read = readers[type];
  for (let i = 0; i < values.length; i++) values[i] = read(view, i * size);
  return values;
}

const scratch = new DataView(new ArrayBuffer(4));

const readers: Readonly<Record<Exclude<ElementType, 'f16' | 'f32' | 'f64'>, (view: DataView, at: number) => number>> = {
  /** The upper half of a 32-bit float. */
  bf16: (view, at) => {
    scratch.setUint32(0, view.getUint16(at, true) << 16);
    return scratch.getFloat32(0);
  },
  i8: (view, at) => view.getInt8(at),
  u8: (view, at) => view.getUint8(at),
  i16: (view, at) => view.getInt16(at, true),
  u16: (view, at) => view.getUint16(at, true),
  i32: (view, at) => view.getInt32(at, true),
  u32: (view, at) => view.getUint32(at, true),
  i64: (view, at) => Number(view.getBigInt64(at, true)),
  u64: (view, at) => Number(view.getBigUint64(at, true)),
};

function reversed(bytes: Uint8Array, size: number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  for (let at = 0; at < copy.length; at += size) copy.subarray(at, at + size).reverse();
  return copy;
}

/** How many elements a tensor of this shape has; infinite or inexact beyond counting. */
export function elementsOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** The same, or undefined if it has negative sizes or more elements than can be counted. */
export function elementsIn(shape: readonly number[]): number | undefined {
  const elements = elementsOf(shape);
  return Number.isSafeInteger(elements) && shape.every((size) => Number.isSafeInteger(size) && size >= 0)
    ? elements
    : undefined;
}

/** Strides of a tensor whose last index varies fastest, in elements. */
export function rowMajor(shape: readonly number[]): number[] {
  return shape.map((_, dimension) => elementsOf(shape.slice(dimension + 1)));
}

/** Strides of a tensor whose first index varies fastest (Fortran's order), in elements. */
export function columnMajor(shape: readonly number[]): number[] {
  return shape.map((_, dimension) => elementsOf(shape.slice(0, dimension)));
}

/** The elements at indices times strides of `values`, row-major. The caller has made sure that they are there. */
export function gather(values: Float32Array, shape: readonly number[], strides: readonly number[]): Float32Array {
  const total = elementsOf(shape);
  // A dimension of size 1 takes no step, so its stride may be anything.
  const expected = rowMajor(shape);
  if (shape.every((size, i) => size === 1 || strides[i] === expected[i])) {
    return values.length === total ? values : values.slice(0, total);
  }
  const gathered = new Float32Array(total);
  const index = shape.map(() => 0);
  let from = 0;
  for (let to = 0; to < total; to++) {
    gathered[to] = values[from] as number;
    for (let dimension = shape.length - 1; dimension >= 0; dimension--) {
      const stride = strides[dimension] as number;
      const next = (index[dimension] as number) + 1;
      if (next < (shape[dimension] as number)) {
        index[dimension] = next;
        from += stride;
        break;
      }
      from -= (next - 1) * stride;
      index[dimension] = 0;
    }
  }
  return gathered;
}
