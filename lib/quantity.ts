// How large numbers are written for people: `123,456`, `188.9 G`, `1.5 GiB`. Machines get plain numbers.

/** A whole number with its thousands separated: `123,456`. */
export function formatInteger(value: number): string {
  return value.toLocaleString('en-US');
}

/** Four significant digits and a decimal prefix: `188.9 G`. */
export function formatCount(value: number): string {
  return scaled(value, 1000, ['', ' k', ' M', ' G', ' T', ' P']);
}

/** Bytes with a binary prefix: `1.5 GiB`. */
export function formatBytes(bytes: number): string {
  return scaled(bytes, 1024, [' B', ' KiB', ' MiB', ' GiB', ' TiB', ' PiB']);
}

function scaled(value: number, base: number, units: readonly string[]): string {
  let unit = 0;
  while (value >= base && unit < units.length - 1) {
    value /= base;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)}${units[unit]}`;
}
