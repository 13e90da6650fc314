// The messages in TensorFlow's checkpoints, as far as they are read: tensor_bundle.proto, saved_tensor_slice.proto,
// tensor.proto, tensor_shape.proto and types.proto of https://github.com/tensorflow/tensorflow. How checkpoints are put
// together of them is for their reader.

import { messageTypes } from '../protobuf';
import type { ElementType } from './elements';

/** Numbers of DataType, of the types that are read. */
export const dataTypes: Readonly<Record<number, ElementType>> = {
  1: 'f32',
  2: 'f64',
  3: 'i32',
  4: 'u8',
  5: 'i16',
  6: 'i8',
  9: 'i64',
  14: 'bf16',
  17: 'u16',
  19: 'f16',
  22: 'u32',
  23: 'u64',
};

/** Messages within messages are bytes where they are decoded only once their length is known to be sensible. */
export const messages = messageTypes({
  BundleHeader: { numShards: [1, 'int32'], endianness: [2, 'int32'] },
  BundleEntry: {
    dtype: [1, 'int32'],
    shape: [2, 'Shape'],
    shardId: [3, 'int32'],
    offset: [4, 'int64'],
    size: [5, 'int64'],
    crc32c: [6, 'fixed32'],
    slices: [7, 'bytes', 'repeated'],
  },
  Shape: { dim: [2, 'Dimension', 'repeated'], unknownRank: [3, 'bool'] },
  Dimension: { size: [1, 'int64'] },
  SavedTensorSlices: { meta: [1, 'bytes'], data: [2, 'bytes'] },
  SavedTensorSliceMeta: { tensor: [1, 'SavedSliceMeta', 'repeated'] },
  SavedSliceMeta: {
    name: [1, 'string'],
    shape: [2, 'Shape'],
    type: [3, 'int32'],
    slice: [4, 'bytes', 'repeated'],
  },
  SavedSlice: { name: [1, 'string'], data: [3, 'bytes'] },
  // Packed numbers as bytes, so that they do not become an array of JavaScript's numbers.
  TensorProto: { floatVal: [5, 'bytes'], doubleVal: [6, 'bytes'] },
});

export interface Shape {
  readonly dim: readonly { readonly size: number }[];
  readonly unknownRank: boolean;
}

export interface BundleHeader {
  readonly numShards: number;
  readonly endianness: number;
}

export interface BundleEntry {
  readonly dtype: number;
  readonly shape: Shape | null;
  readonly shardId: number;
  readonly offset: number;
  readonly size: number;
  /** Of the tensor's bytes, masked. */
  readonly crc32c: number;
  readonly slices: readonly Uint8Array[];
}

export interface SavedTensorSlices {
  readonly meta: Uint8Array;
  readonly data: Uint8Array;
}

export interface SavedTensorSliceMeta {
  readonly tensor: readonly {
    readonly name: string;
    readonly shape: Shape | null;
    readonly type: number;
    readonly slice: readonly Uint8Array[];
  }[];
}

export interface SavedSlice {
  readonly name: string;
  readonly data: Uint8Array;
}

export interface TensorProto {
  readonly floatVal: Uint8Array;
  readonly doubleVal: Uint8Array;
}

/** The sizes of a shape; undefined if there is none. */
export function sizesOf(shape: Shape | null): readonly number[] | undefined {
  return shape === null || shape.unknownRank ? undefined : shape.dim.map(({ size }) => size);
}
