// Line charts as PNG: what training and evaluation draw their curves with. The chart is an SVG that sharp makes pixels
// of; its letters are lib/stroke-font.ts, since a machine may have no fonts.

import sharp from 'sharp';
import { DeepLabError } from './errors';
import { textPaths, textWidth } from './stroke-font';

/** A line of a chart. */
export interface PlotSeries {
  /** What the legend calls it. */
  readonly name: string;
  /** As many as `y`, in ascending order. */
  readonly x: readonly number[];
  /** Where it is not finite (or, on a logarithmic axis, not above 0), the line has a gap. */
  readonly y: readonly number[];
  /** As SVG has it. Default: one of its own. */
  readonly color?: string;
  /** Whether each point is marked with a dot. Default: where there are up to 40 points. */
  readonly dots?: boolean;
}

/** Some lines over a pair of axes. */
export interface PlotPanel {
  readonly title?: string;
  /** What is written at the axes. */
  readonly x?: string;
  readonly y?: string;
  readonly series: readonly PlotSeries[];
  /** Default linear. */
  readonly yScale?: 'linear' | 'log';
  /** The ends of the axis of y. Default: round numbers around the values. */
  readonly yRange?: readonly [low: number, high: number];
}

/** A chart: panels, one below the other. */
export interface Plot {
  readonly title?: string;
  readonly panels: readonly PlotPanel[];
  /** Pixels. Default 900. */
  readonly width?: number;
  /** Of each panel, in pixels. Default 380. */
  readonly panelHeight?: number;
}

/** What tells lines apart, also for most who see fewer colours: Okabe and Ito's palette, without its yellow. */
const colors = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#56b4e9', '#e69f00', '#000000'];

const [small, large] = [9, 12]; // heights of capitals
const ink = '#333';

/** Draws a chart, and encodes it as PNG. */
export async function plot({ title, panels, width = 900, panelHeight = 380 }: Plot): Promise<Buffer> {
  const top = title === undefined ? 8 : 40;
  const height = top + panels.length * panelHeight;
  const parts = panels.map((panel, index) => drawPanel(panel, width, top + index * panelHeight, panelHeight));
  if (title !== undefined)
    parts.unshift(textPaths(title, { x: width / 2, y: 28, size: 14, anchor: 'middle', color: ink }));
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">` +
    `<rect width="100%" height="100%" fill="#fff"/>${parts.join('')}</svg>`;
  try {
    return await sharp(Buffer.from(svg)).flatten({ background: '#fff' }).png().toBuffer();
  } catch (cause) {
    throw new DeepLabError('ERR_INTERNAL', `A chart cannot be drawn: ${(cause as Error).message}`, { cause });
  }
}

/** An axis: its ends, its ticks, and the place of a value from 0 to 1. */
interface Axis {
  readonly ticks: readonly number[];
  readonly place: (value: number) => number;
  readonly label: (value: number) => string;
}

interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

function drawPanel(panel: PlotPanel, width: number, top: number, height: number): string {
  const { series, title, yScale = 'linear' } = panel;
  const y =
    yScale === 'log'
      ? logAxis(series, panel.yRange)
      : linearAxis(
          series.flatMap((one) => one.y),
          panel.yRange,
          6,
        );
  const x = linearAxis(
    series.flatMap((one) => one.x),
    undefined,
    Math.max(2, Math.floor(width / 90)),
    true,
  );
  const names = series.length > 1 || series[0]?.name ? series.map(({ name }) => name) : [];
  const legend = names.length === 0 ? 0 : Math.max(...names.map((name) => textWidth(name, small))) + 48;
  const labels = Math.max(0, ...y.ticks.map((tick) => textWidth(y.label(tick), small)));
  const box = {
    left: 16 + labels + (panel.y === undefined ? 0 : 26),
    top: top + (title === undefined ? 12 : 34),
    right: width - Math.max(24, legend),
    bottom: top + height - (panel.x === undefined ? 30 : 52),
  };
  const middle = (box.left + box.right) / 2;
  const word = (text: string | undefined, place: { x: number; y: number; rotate?: number }) =>
    text === undefined ? '' : textPaths(text, { ...place, size: large - 2, anchor: 'middle', color: ink });
  const upright = { x: 20, y: (box.top + box.bottom) / 2, rotate: -90 };
  return [
    word(title, { x: middle, y: top + 20 }),
    word(panel.x, { x: middle, y: top + height - 10 }),
    word(panel.y, upright),
    drawAxes(x, y, box),
    ...series.map((one, index) => drawLine(one, colorOf(one, index), x, y, box)),
    ...(legend === 0 ? [] : series.map((one, index) => drawKey(one, index, box))),
  ].join('');
}

function drawAxes(x: Axis, y: Axis, { left, top, right, bottom }: Box): string {
  const vertical = x.ticks.map((tick) => {
    const at = left + x.place(tick) * (right - left);
    const label = textPaths(x.label(tick), { x: at, y: bottom + 19, size: small, anchor: 'middle', color: ink });
    return `<path d="M${at.toFixed(1)} ${top}V${bottom}"/>${label}`;
  });
  const horizontal = y.ticks.map((tick) => {
    const at = bottom - y.place(tick) * (bottom - top);
    const label = textPaths(y.label(tick), { x: left - 8, y: at + small / 2, size: small, anchor: 'end', color: ink });
    return `<path d="M${left} ${at.toFixed(1)}H${right}"/>${label}`;
  });
  const frame = `<path stroke="${ink}" d="M${left} ${top}V${bottom}H${right}"/>`;
  return `<g fill="none" stroke="#ddd">${vertical.join('')}${horizontal.join('')}${frame}</g>`;
}

function drawLine(series: PlotSeries, color: string, x: Axis, y: Axis, box: Box): string {
  const { left, top, right, bottom } = box;
  const at = (index: number) => {
    const across = left + x.place(series.x[index] ?? Number.NaN) * (right - left);
    // A value beyond a given range ends at the frame.
    const up = Math.min(1, Math.max(0, y.place(series.y[index] ?? Number.NaN)));
    return Number.isFinite(across) && Number.isFinite(up)
      ? `${across.toFixed(1)} ${(bottom - up * (bottom - top)).toFixed(1)}`
      : undefined;
  };
  const points = thinned(series, 2 * Math.ceil(right - left)).map(at);
  const path = points
    .map((point, index) => (point === undefined ? '' : `${points[index - 1] === undefined ? 'M' : 'L'}${point}`))
    .join('');
  const dots = (series.dots ?? series.x.length <= 40) ? points.filter((point) => point !== undefined) : [];
  return (
    `<path fill="none" stroke="${color}" stroke-width="1.8" stroke-linejoin="round" d="${path}"/>` +
    dots.map((point) => `<circle r="2.8" fill="${color}" transform="translate(${point})"/>`).join('')
  );
}

/** Of more points than pixels can show, the least and the greatest of each stretch: no peak is lost. */
function thinned({ x, y }: PlotSeries, most: number): number[] {
  const all = Array.from(x, (_, index) => index);
  if (all.length <= 2 * most) return all;
  const stretch = Math.ceil((2 * all.length) / most);
  const value = (index: number) => y[index] ?? Number.NaN;
  return Array.from({ length: Math.ceil(all.length / stretch) }, (_, n) => {
    const some = all.slice(n * stretch, (n + 1) * stretch).filter((index) => Number.isFinite(value(index)));
    const [first = n * stretch] = some;
    const least = some.reduce((best, index) => (value(index) < value(best) ? index : best), first);
    const greatest = some.reduce((best, index) => (value(index) > value(best) ? index : best), first);
    return [...new Set([least, greatest])].sort((a, b) => a - b);
  }).flat();
}

function drawKey(series: PlotSeries, index: number, { right, top }: Box): string {
  const y = top + 10 + index * 22;
  const line = `<path stroke="${colorOf(series, index)}" stroke-width="2.5" d="M${right + 12} ${y}h18"/>`;
  return line + textPaths(series.name, { x: right + 38, y: y + small / 2, size: small, color: ink });
}

function colorOf({ color }: PlotSeries, index: number): string {
  return color ?? (colors[index % colors.length] as string);
}

/** @param exact - Whether the axis ends where the values do, as time does, rather than at round numbers. */
function linearAxis(values: readonly number[], range: PlotPanel['yRange'], most: number, exact = false): Axis {
  let [low, high] = range ?? extent(values, Number.isFinite);
  if (low === high) [low, high] = low === 0 ? [0, 1] : [low - Math.abs(low) / 10, high + Math.abs(high) / 10];
  const step = roundStep((high - low) / most);
  if (range === undefined && !exact) [low, high] = [Math.floor(low / step) * step, Math.ceil(high / step) * step];
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.floor(high / step + 1e-9) - first + 1;
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return {
    ticks: Array.from({ length: count }, (_, n) => (first + n) * step),
    place: (value) => (value - low) / (high - low),
    label: (value) => shortNumber(value, digits),
  };
}

/** Powers of ten that hold the values. */
function logAxis(series: readonly PlotSeries[], range: PlotPanel['yRange']): Axis {
  const values = series.flatMap(({ y }) => y);
  const [least, greatest] = range ?? extent(values, (value) => value > 0 && Number.isFinite(value), 1);
  const [low, high] = [
    Math.floor(Math.log10(least)),
    Math.max(Math.ceil(Math.log10(greatest)), Math.floor(Math.log10(least)) + 1),
  ];
  const step = Math.ceil((high - low) / 8);
  return {
    ticks: Array.from({ length: Math.floor((high - low) / step) + 1 }, (_, n) => 10 ** (low + n * step)),
    place: (value) => (value > 0 ? (Math.log10(value) - low) / (high - low) : Number.NaN),
    label: (value) =>
      value >= 1e-3 && value < 1e5 ? String(Number(value.toPrecision(6))) : value.toExponential(0).replace('+', ''),
  };
}

/** Not Math.min(...values): a long run has more of them than a call takes arguments. */
function extent(
  values: readonly number[],
  counts: (value: number) => boolean,
  otherwise = 0,
): [low: number, high: number] {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of values) {
    if (!counts(value)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return low <= high ? [low, high] : [otherwise, otherwise];
}

/** The next of 1, 2, 5, 10, 20, 50 ... times a power of ten. */
function roundStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least));
  return ([1, 2, 5].find((digit) => digit * power >= least * (1 - 1e-9)) ?? 10) * power;
}

/** 20000 as 20k, small ones as 2e-7. */
function shortNumber(value: number, digits: number): string {
  if (Math.abs(value) >= 10_000) {
    const [unit, letter] = Math.abs(value) >= 1e6 ? [1e6, 'M'] : [1e3, 'k'];
    return `${Number((value / unit).toPrecision(6))}${letter}`;
  }
  if (digits > 5) return value === 0 ? '0' : value.toExponential(1).replace('+', '');
  return Math.abs(value) < 10 ** -digits / 2 ? (0).toFixed(digits) : value.toFixed(digits);
}
