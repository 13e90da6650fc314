// The letters of our charts, as strokes. sharp draws an SVG's <text> with the machine's fonts, and servers and containers
// often have none: nothing would be drawn, and nobody told. So text is paths here. Where text goes is its caller's.

/** How wide a glyph is, and its strokes as SVG path data. Capitals reach from y 0 down to the baseline, y 10. */
type Glyph = readonly [width: number, path: string];

const bowlLeft = 'M4.4 7A2.2 3 0 0 0 0 7A2.2 3 0 0 0 4.4 7';
const bowlRight = 'M0 7A2.2 3 0 0 1 4.4 7A2.2 3 0 0 1 0 7';

const glyphs: Readonly<Record<string, Glyph>> = {
  ' ': [2.6, ''],
  '!': [0.4, 'M.2 0V6.6M.2 9.8V10'],
  '"': [1.8, 'M0 0V2.6M1.8 0V2.6'],
  '#': [5.6, 'M2 1L1.2 9.4M4.6 1L3.8 9.4M.2 3.6H5.6M0 6.8H5.4'],
  $: [
    5.2,
    'M5 1.8C4.4 .8 3.5 .4 2.6 .4C1.2 .4 .2 1.2 .2 2.5C.2 5.3 5.2 4.3 5.2 7.3C5.2 8.8 4.1 9.6 2.6 9.6C1.4 9.6 .5 9 0 7.8M2.6 -.8V10.8',
  ],
  '%': [
    7.6,
    'M1.7 0A1.7 2.2 0 0 0 1.7 4.4A1.7 2.2 0 0 0 1.7 0M5.9 5.6A1.7 2.2 0 0 0 5.9 10A1.7 2.2 0 0 0 5.9 5.6M6 0L1.6 10',
  ],
  '&': [6.4, 'M6.2 10L1 3C0 1.4 1 0 2.4 0C3.8 0 4.8 1.6 3.6 3C2.6 4.2 0 5 0 7.4C0 9 1.2 10 2.6 10C4.6 10 5.8 8 6 5.6'],
  "'": [0.2, 'M.1 0V2.6'],
  '(': [1.8, 'M1.8 -1C-.6 2.4 -.6 8.6 1.8 12'],
  ')': [1.8, 'M0 -1C2.4 2.4 2.4 8.6 0 12'],
  '*': [4, 'M2 .4V5M0 1.6L4 3.8M4 1.6L0 3.8'],
  '+': [5.2, 'M0 6H5.2M2.6 3.4V8.6'],
  ',': [0.8, 'M.6 9.6V10L0 12'],
  '-': [3, 'M0 6.2H3'],
  '.': [0.4, 'M.2 9.8V10'],
  '/': [3.6, 'M0 11L3.6 -.6'],
  0: [5, 'M2.5 0A2.5 5 0 0 0 2.5 10A2.5 5 0 0 0 2.5 0'],
  1: [5, 'M1 2L3 0V10'],
  2: [5, 'M.2 2.6A2.35 2.6 0 0 1 4.9 2.5C4.9 4.8 1 7 0 10H5'],
  3: [
    5,
    'M.3 1.6C.8 .5 1.6 0 2.5 0C3.9 0 4.7 1 4.7 2.4C4.7 3.8 3.7 4.8 2 4.8C4 4.8 5 5.9 5 7.3C5 9 3.9 10 2.4 10C1.3 10 .4 9.4 0 8.3',
  ],
  4: [5.2, 'M4 10V0L0 7H5.2'],
  5: [5, 'M4.6 0H.8L.4 4.6C1 4 1.7 3.7 2.5 3.7C4 3.7 5 5 5 6.8C5 8.7 3.9 10 2.4 10C1.2 10 .4 9.4 0 8.4'],
  6: [
    5,
    'M4.6 1.2C4.2 .4 3.5 0 2.7 0C1 0 0 2.6 0 6C0 8.8 1 10 2.5 10C4 10 5 8.8 5 7C5 5.2 4 4.2 2.6 4.2C1.2 4.2 .2 5.2 0 6.6',
  ],
  7: [5, 'M0 0H5L1.8 10'],
  8: [5, 'M2.5 0A2.2 2.35 0 0 0 2.5 4.7A2.2 2.35 0 0 0 2.5 0M2.5 4.7A2.5 2.65 0 0 0 2.5 10A2.5 2.65 0 0 0 2.5 4.7'],
  9: [
    5,
    'M.4 8.8C.8 9.6 1.5 10 2.3 10C4 10 5 7.4 5 4C5 1.2 4 0 2.5 0C1 0 0 1.2 0 3C0 4.8 1 5.8 2.4 5.8C3.8 5.8 4.8 4.8 5 3.4',
  ],
  ':': [0.4, 'M.2 4.4V4.6M.2 9.8V10'],
  ';': [0.8, 'M.6 4.4V4.6M.6 9.6V10L0 12'],
  '<': [4.6, 'M4.6 3.4L0 6L4.6 8.6'],
  '=': [5.2, 'M0 4.8H5.2M0 7.2H5.2'],
  '>': [4.6, 'M0 3.4L4.6 6L0 8.6'],
  '?': [4.4, 'M0 2.2C.2 .8 1 0 2.2 0C3.6 0 4.4 1 4.4 2.4C4.4 4.4 2 4.6 2 7M2 9.8V10'],
  '@': [
    8,
    'M5.8 3.4V6.6C5.8 8.4 8 8.2 8 5C8 2 6.2 0 4 0A4 5 0 0 0 4 10H6M5.8 5A1.8 2.2 0 0 0 2.2 5A1.8 2.2 0 0 0 5.8 5',
  ],
  A: [6, 'M0 10L3 0L6 10M1.2 6.5H4.8'],
  B: [5.2, 'M0 0V10H2.6A2.6 2.6 0 0 0 2.6 4.8H0M0 0H2.4A2.4 2.4 0 0 1 2.4 4.8'],
  C: [5.8, 'M5.8 2.2A3.2 5 0 1 0 5.8 7.8'],
  D: [5.7, 'M0 0V10H1.5A4.2 5 0 0 0 1.5 0Z'],
  E: [5, 'M5 0H0V10H5M0 4.8H4.2'],
  F: [5, 'M5 0H0V10M0 4.8H4'],
  G: [6, 'M5.8 2.2A3.2 5 0 1 0 6 7.6V5.4H3.6'],
  H: [5.6, 'M0 0V10M5.6 0V10M0 4.8H5.6'],
  I: [0, 'M0 0V10'],
  J: [3.4, 'M3.4 0V7.4A1.8 2.5 0 0 1 0 8'],
  K: [5.4, 'M0 0V10M5.2 0L0 6M1.9 4L5.4 10'],
  L: [4.6, 'M0 0V10H4.6'],
  M: [6.8, 'M0 10V0L3.4 6.5L6.8 0V10'],
  N: [5.6, 'M0 10V0L5.6 10V0'],
  O: [6.8, 'M3.4 0A3.4 5 0 0 0 3.4 10A3.4 5 0 0 0 3.4 0'],
  P: [5.3, 'M0 10V0H2.6A2.7 2.7 0 0 1 2.6 5.4H0'],
  Q: [6.8, 'M3.4 0A3.4 5 0 0 0 3.4 10A3.4 5 0 0 0 3.4 0M4.2 7.4L6.6 10.6'],
  R: [5.4, 'M0 10V0H2.6A2.7 2.7 0 0 1 2.6 5.4H0M2.8 5.4L5.4 10'],
  S: [5.2, 'M5 1.8C4.4 .5 3.5 0 2.6 0C1.2 0 .2 1 .2 2.4C.2 5.4 5.2 4.2 5.2 7.4C5.2 9 4.1 10 2.6 10C1.4 10 .5 9.3 0 8'],
  T: [5.6, 'M0 0H5.6M2.8 0V10'],
  U: [5.6, 'M0 0V6.8A2.8 3.2 0 0 0 5.6 6.8V0'],
  V: [6, 'M0 0L3 10L6 0'],
  W: [8.8, 'M0 0L2.2 10L4.4 1.5L6.6 10L8.8 0'],
  X: [5.6, 'M0 0L5.6 10M5.6 0L0 10'],
  Y: [5.8, 'M0 0L2.9 5L5.8 0M2.9 5V10'],
  Z: [5.4, 'M0 0H5.4L0 10H5.4'],
  '[': [1.6, 'M1.6 -1H0V12H1.6'],
  '\\': [3.6, 'M0 -.6L3.6 11'],
  ']': [1.6, 'M0 -1H1.6V12H0'],
  '^': [4.4, 'M0 3.4L2.2 0L4.4 3.4'],
  _: [5, 'M0 11.4H5'],
  '`': [1.4, 'M0 0L1.4 2'],
  a: [4.4, `M4.4 4V10${bowlLeft}`],
  b: [4.4, `M0 0V10${bowlRight}`],
  c: [4, 'M4 5.2A2.3 3 0 1 0 4 8.8'],
  d: [4.4, `M4.4 0V10${bowlLeft}`],
  e: [4.5, 'M.1 7H4.5A2.2 3 0 1 0 3.9 9'],
  f: [2.8, 'M3 .2C1.7 -.3 1 .6 1 2V10M0 4H2.7'],
  g: [4.4, `M4.4 4V11A2.2 2.2 0 0 1 .4 12.2${bowlLeft}`],
  h: [4.2, 'M0 0V10M0 7A2.1 3 0 0 1 4.2 7V10'],
  i: [0, 'M0 4V10M0 1.3V1.5'],
  j: [1, 'M1 4V11.4C1 12.7 .6 13.1 -.4 13M1 1.3V1.5'],
  k: [4, 'M0 0V10M3.8 4L0 7.6M1.5 6.2L4 10'],
  l: [1.2, 'M0 0V8.6C0 9.7 .4 10.1 1.2 10'],
  m: [6.8, 'M0 4V10M0 6.6A1.7 2.6 0 0 1 3.4 6.6V10M3.4 6.6A1.7 2.6 0 0 1 6.8 6.6V10'],
  n: [4.2, 'M0 4V10M0 7A2.1 3 0 0 1 4.2 7V10'],
  o: [4.6, 'M2.3 4A2.3 3 0 0 0 2.3 10A2.3 3 0 0 0 2.3 4'],
  p: [4.4, `M0 4V13${bowlRight}`],
  q: [4.4, `M4.4 4V13${bowlLeft}`],
  r: [2.7, 'M0 4V10M0 7C.2 5 1.4 3.9 2.7 4.1'],
  s: [
    3.8,
    'M3.6 5C3.2 4.3 2.5 4 1.9 4C.9 4 .2 4.6 .2 5.4C.2 7.4 3.8 6.4 3.8 8.4C3.8 9.4 3 10 1.9 10C1 10 .4 9.6 0 8.9',
  ],
  t: [2.9, 'M1.2 1.8V8.4C1.2 9.7 1.8 10.2 2.9 9.8M0 4H2.8'],
  u: [4.2, 'M0 4V7A2.1 3 0 0 0 4.2 7V4M4.2 7V10'],
  v: [4.4, 'M0 4L2.2 10L4.4 4'],
  w: [6.4, 'M0 4L1.6 10L3.2 4.6L4.8 10L6.4 4'],
  x: [4, 'M0 4L4 10M4 4L0 10'],
  y: [4.4, 'M0 4L2.2 10M4.4 4L2 10.8C1.4 12.4 1 13 -.2 13'],
  z: [4, 'M0 4H4L0 10H4'],
  '{': [2, 'M2 -1C.8 -1 1 0 1 2C1 4.4 1 5.2 0 5.5C1 5.8 1 6.6 1 9C1 11 .8 12 2 12'],
  '|': [0.2, 'M.1 -1V12'],
  '}': [2, 'M0 -1C1.2 -1 1 0 1 2C1 4.4 1 5.2 2 5.5C1 5.8 1 6.6 1 9C1 11 1.2 12 0 12'],
  '~': [5.2, 'M0 6.8C1 4.4 2 5 2.6 6C3.2 7 4.2 7.6 5.2 5.2'],
};

/** Drawn for a character that is not ASCII. */
const unknown: Glyph = [4.6, 'M0 0H4.6V10H0Z'];

/** Between two glyphs. */
const gap = 2;

function glyphsOf(text: string): Glyph[] {
  // Letters lose their accents rather than becoming boxes.
  const plain = text.normalize('NFKD').replaceAll(/\p{Mark}/gu, '');
  return Array.from(plain, (character) => glyphs[character] ?? unknown);
}

/** How long `text` is, in pixels, where capitals are `size` pixels high. */
export function textWidth(text: string, size: number): number {
  const widths = glyphsOf(text).reduce((total, [width]) => total + width + gap, 0);
  return (Math.max(0, widths - gap) * size) / 10;
}

/** Where a text stands. */
export interface TextPlace {
  /** Of its start, its middle or its end. */
  readonly x: number;
  /** Of its baseline. */
  readonly y: number;
  /** Height of the capitals, in pixels. */
  readonly size: number;
  readonly anchor?: 'start' | 'middle' | 'end';
  /** Degrees, clockwise, around (x, y). Default 0. */
  readonly rotate?: number;
  /** Default black. */
  readonly color?: string;
}

/** `text` as a group of SVG paths. */
export function textPaths(text: string, place: TextPlace): string {
  const { x, y, size, anchor = 'start', rotate = 0, color = '#000' } = place;
  const scale = size / 10;
  let at = -textWidth(text, size) * { start: 0, middle: 0.5, end: 1 }[anchor];
  const paths = glyphsOf(text).map(([width, path]) => {
    const placed = `<path transform="translate(${at.toFixed(2)} ${(-size).toFixed(2)}) scale(${scale})" d="${path}"/>`;
    at += (width + gap) * scale;
    return path === '' ? '' : placed;
  });
  // One stroke for all sizes would be thick in small text; glyphs are scaled, and so is the stroke.
  const pen = `fill="none" stroke="${color}" stroke-width="1.15" stroke-linecap="round" stroke-linejoin="round"`;
  return `<g transform="translate(${x} ${y}) rotate(${rotate})" ${pen}>${paths.join('')}</g>`;
}
