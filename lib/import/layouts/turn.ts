// The axis orders of kernels in other frameworks, and how they become ours.

/** Axis i of ours is axis `turn[i]` of the archive's; empty if both are the same. */
export type Turn = readonly number[];

/** As we have them: [out,in,height,width] (PyTorch, Caffe). */
export const asStored: Turn = [];

/** TensorFlow's and Keras's convolutions: [height,width,in,out]. */
export const hwio: Turn = [3, 2, 0, 1];

/** Their depthwise convolutions: [height,width,channels,1]. */
export const hwc1: Turn = [2, 3, 0, 1];

/** TensorFlow Lite's convolutions: [out,height,width,in]. */
export const ohwi: Turn = [0, 3, 1, 2];

/** Its depthwise convolutions: [1,height,width,channels]. */
export const ihwc: Turn = [3, 0, 1, 2];

/** The shape that the archive must have for ours to be `shape`. */
export function sourceShape(shape: readonly number[], turn: Turn): readonly number[] {
  if (turn.length === 0) return shape;
  const source = new Array<number>(turn.length).fill(0);
  for (const [i, axis] of turn.entries()) source[axis] = shape[i] ?? 0;
  return source;
}

/** The elements in our order. `shape` is the archive's; four dimensions, unless nothing is turned. */
export function turned(values: Float32Array, shape: readonly number[], turn: Turn): Float32Array {
  if (turn.length === 0) return values;
  const [sizes, steps] = [new Array<number>(4).fill(1), new Array<number>(4).fill(1)];
  for (const [i, axis] of turn.entries()) {
    sizes[i] = shape[axis] ?? 1;
    steps[i] = shape.slice(axis + 1).reduce((product, size) => product * size, 1);
  }
  const [n0, n1, n2, n3] = sizes as [number, number, number, number];
  const [s0, s1, s2, s3] = steps as [number, number, number, number];
  const result = new Float32Array(values.length);
  let at = 0;
  for (let a = 0; a < n0; a++) {
    for (let b = 0; b < n1; b++) {
      for (let c = 0; c < n2; c++) {
        let from = a * s0 + b * s1 + c * s2;
        for (let d = 0; d < n3; d++, from += s3) result[at++] = values[from] as number;
      }
    }
  }
  return result;
}
