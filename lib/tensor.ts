// Numbers with a shape: the form in which a network's raw output leaves this library. No arithmetic lives here.

import { types } from 'node:util';
import { invalidArgument } from './errors';

/** What a tensor may hold: 32-bit floats or bytes. */
export type TensorData = Float32Array | Uint8Array;

/**
 * A typed array with a shape, row-major (the last index varies fastest).
 *
 * @example
 * ```ts
 * import { Tensor } from 'deeplab';
 *
 * const tensor = new Tensor(new Float32Array([1, 2, 3, 4, 5, 6]), [2, 3]);
 * console.log(tensor.dtype, tensor.at(1, 0)); // f32 4
 * ```
 */
export class Tensor<D extends TensorData = TensorData> {
  /** The elements: shared with the caller, not copied. */
  readonly data: D;
  /** Sizes of the dimensions, such as [C,h,w]; empty for a single number. */
  readonly shape: readonly number[];

  /**
   * @throws ERR_INVALID_ARGUMENT if `data` is of another type, a size is not a whole number from 0 on, or the product
   * of the sizes is not the length of `data`.
   */
  constructor(data: D, shape: readonly number[]) {
    if (!types.isFloat32Array(data) && !types.isUint8Array(data)) {
      throw invalidArgument('data', 'Float32Array or Uint8Array', data);
    }
    if (!Array.isArray(shape)) throw invalidArgument('shape', 'array of sizes', shape);
    for (const size of shape) {
      if (!Number.isSafeInteger(size) || size < 0) throw invalidArgument('shape', 'sizes that are integers >= 0', size);
    }
    const length = shape.reduce((product, size) => product * size, 1);
    if (length !== data.length) {
      throw invalidArgument('data.length', `${length} (shape [${shape.join(',')}])`, data.length);
    }
    this.data = data;
    this.shape = [...shape];
  }

  /** Type of the elements: `f32` (Float32Array) or `u8` (Uint8Array). */
  get dtype(): 'f32' | 'u8' {
    return types.isFloat32Array(this.data) ? 'f32' : 'u8';
  }

  /**
   * The element at `indices`, one per dimension.
   *
   * @throws ERR_INVALID_ARGUMENT if there are too few or too many indices, or one lies outside its dimension.
   */
  at(...indices: readonly number[]): number {
    if (indices.length !== this.shape.length) {
      throw invalidArgument(
        'number of indices',
        `${this.shape.length} (shape [${this.shape.join(',')}])`,
        indices.length,
      );
    }
    let offset = 0;
    this.shape.forEach((size, dimension) => {
      const index = indices[dimension] as number;
      if (!Number.isInteger(index) || index < 0 || index >= size) {
        throw invalidArgument(`index ${dimension}`, `integer from 0 to ${size - 1}`, index);
      }
      offset = offset * size + index;
    });
    return this.data[offset] as number;
  }
}
