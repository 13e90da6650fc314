// How alike two results are.

/** ‖a-b‖/‖b‖; NaN if a value is missing. */
export function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < b.length; i++) {
    const reference = b[i] as number;
    difference += ((a[i] ?? Number.NaN) - reference) ** 2;
    norm += reference ** 2;
  }
  return Math.sqrt(difference / norm);
}

/** The share of labels that are the same, 0..1. */
export function agreement(a: Uint8Array, b: Uint8Array): number {
  expect(a).toHaveLength(b.length);
  return a.filter((label, i) => label === b[i]).length / b.length;
}
