// What two labels next to each other cost: one weight, a weight per class or a matrix. Native code takes the numbers in
// a row and tells by their count which of the three they are.

import { types } from 'node:util';
import { invalidArgument } from './errors';

/**
 * What it costs to give two pixels labels a and b, where the kernel finds the pixels alike.
 *
 * - A number w: w where a and b differ, as in the Potts model.
 * - A number w_c per class: where both pixels are of class c they gain w_c, else nothing. The same number for every class
 *   is the same as that number alone.
 * - A symmetric matrix, in rows or as its C*C numbers: its element [a][b], the paper's mu(a,b). w off the diagonal and 0
 *   on it is the same as the number w.
 *
 * Whoever comes from pydensecrf: numbers and matrices mean the same there; its vectors have the opposite sign, a positive
 * one penalises agreement.
 */
export type Compatibility = number | readonly number[] | Float32Array | readonly (readonly number[])[];

/** How a compatibility was written; `flat` is a vector or a matrix: which, shows with the number of classes. */
export type CompatibilityForm = 'potts' | 'vector' | 'matrix' | 'flat';

/** Labels are bytes. */
export const maxClasses = 256;

/**
 * Brings a compatibility into the form that native code takes, as a copy.
 *
 * @param name - What errors call it.
 * @throws ERR_INVALID_ARGUMENT
 */
export function readCompatibility(
  compatibility: Compatibility,
  name: string,
): { readonly form: CompatibilityForm; readonly values: Float32Array } {
  if (typeof compatibility === 'number') return { form: 'potts', values: finite([compatibility], () => name) };
  if (types.isFloat32Array(compatibility)) {
    return { form: 'flat', values: finite(compatibility, (i) => `${name}[${i}]`) };
  }
  if (!Array.isArray(compatibility)) {
    throw invalidArgument(name, 'number, Float32Array, array of numbers or array of rows', compatibility);
  }
  if (!Array.isArray(compatibility[0])) {
    return { form: 'vector', values: finite(compatibility, (i) => `${name}[${i}]`) };
  }
  const rows = compatibility.length;
  for (const [i, row] of compatibility.entries()) {
    if (!Array.isArray(row) || row.length !== rows) {
      throw invalidArgument(`${name}[${i}]`, `row of ${rows} numbers`, Array.isArray(row) ? row.length : row);
    }
  }
  const values = finite(compatibility.flat(), (i) => `${name}[${Math.floor(i / rows)}][${i % rows}]`);
  checkSymmetry(values, rows, name);
  return { form: 'matrix', values };
}

/** The numbers as they are stored, in 32 bits. */
function finite(numbers: ArrayLike<unknown>, nameOf: (i: number) => string): Float32Array {
  const values = new Float32Array(numbers.length);
  for (let i = 0; i < numbers.length; i++) {
    const number = numbers[i];
    if (typeof number !== 'number' || !Number.isFinite(Math.fround(number))) {
      throw invalidArgument(nameOf(i), 'finite number', number);
    }
    values[i] = number;
  }
  return values;
}

function checkSymmetry(values: Float32Array, classes: number, name: string): void {
  for (let a = 0; a < classes; a++) {
    for (let b = 0; b < a; b++) {
      const [lower, upper] = [values[a * classes + b], values[b * classes + a]];
      if (lower !== upper) throw invalidArgument(`${name}[${a}][${b}]`, `${upper}, as [${b}][${a}] is`, lower);
    }
  }
}

/**
 * Holds what was read against the number of classes.
 *
 * @throws ERR_INVALID_ARGUMENT
 */
export function checkCompatibility(form: CompatibilityForm, values: Float32Array, classes: number, name: string): void {
  const { length } = values;
  if (form === 'vector' && length !== classes)
    throw invalidArgument(`${name}.length`, `${classes}, one per class`, length);
  if (form === 'matrix' && length !== classes ** 2) {
    throw invalidArgument(`${name}.length`, `${classes} rows, one per class`, Math.sqrt(length));
  }
  if (form === 'flat') {
    if (length === classes ** 2) checkSymmetry(values, classes, name);
    else if (length !== classes) throw invalidArgument(`${name}.length`, `${classes} or ${classes}x${classes}`, length);
  }
}

/** What native code holds, in its simplest form: a number, an array of numbers, or rows. */
export function compatibilityOf(values: Float32Array, classes: number): number | number[] | number[][] {
  const [first] = values;
  if (values.length === 1 && first !== undefined) return first;
  if (values.length === classes) return [...values];
  return Array.from({ length: classes }, (_, a) => [...values.subarray(a * classes, (a + 1) * classes)]);
}
