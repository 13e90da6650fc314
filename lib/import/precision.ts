// How imported weights are stored: 32 or 16 bits, or 8 with a scale for each output channel (docs/import.md). All
// roundings are to the nearest, ties to even.

/** The choices, of which `f32` is exact. */
export const storageChoices = ['f32', 'f16', 'bf16', 'int8'] as const;

/** One of them. */
export type StoragePrecision = (typeof storageChoices)[number];

const float32 = new Float32Array(1);
const bits32 = new Uint32Array(float32.buffer);

function bitsOf(value: number): number {
  float32[0] = value;
  return bits32[0] as number;
}

/** IEEE 754 binary16; what is too large becomes infinite. */
export function toHalf(value: number): number {
  const bits = bitsOf(value);
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fff_ffff;
  if (magnitude > 0x7f80_0000) return sign | 0x7e00;
  const exponent = (magnitude >>> 23) - 112;
  if (exponent >= 31) return sign | 0x7c00;
  if (exponent < -10) return sign;
  // A subnormal number has its leading one among the digits, and fewer of them.
  const digits = exponent > 0 ? magnitude - (112 << 23) : (magnitude & 0x7f_ffff) | 0x80_0000;
  return sign | shiftToEven(digits, exponent > 0 ? 13 : 14 - exponent);
}

/** The upper half of binary32. */
export function toBfloat(value: number): number {
  const bits = bitsOf(value);
  if ((bits & 0x7fff_ffff) > 0x7f80_0000) return (bits >>> 16) | 0x40;
  return shiftToEven(bits, 16);
}

/** `digits` without the last `count`, rounded; a carry runs on into the exponent, as it should. */
function shiftToEven(digits: number, count: number): number {
  const kept = digits >>> count;
  const rest = digits - kept * 2 ** count;
  const half = 2 ** (count - 1);
  return rest > half || (rest === half && kept % 2 === 1) ? kept + 1 : kept;
}

/** A kernel in 8 bits: the value is `values` times the `scales` of its output channel. */
export interface QuantizedKernel {
  readonly values: Int8Array;
  /** One for each output channel. */
  readonly scales: Float32Array;
}

/** Symmetric: the largest magnitude of each output channel becomes 127, and -128 does not occur. */
export function quantizeKernel(kernel: Float32Array, outputs: number): QuantizedKernel {
  const size = kernel.length / outputs;
  const values = new Int8Array(kernel.length);
  const scales = new Float32Array(outputs);
  for (let channel = 0; channel < outputs; channel++) {
    const from = channel * size;
    let largest = 0;
    for (let i = from; i < from + size; i++) largest = Math.max(largest, Math.abs(kernel[i] as number));
    // A channel of zeros has any scale. That of a float is a float, so that what is read is what was rounded for.
    const scale = Math.fround(largest / 127) || 1;
    scales[channel] = scale;
    for (let i = from; i < from + size; i++) {
      values[i] = Math.max(-127, Math.min(127, roundToEven((kernel[i] as number) / scale)));
    }
  }
  return { values, scales };
}

/** Nearest integer; Math.round() takes halves upwards. */
function roundToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}
