// What is in a weights file, without loading the weights: layers, shapes, cost. The counting is native; the choice of
// words and columns is here.

import { type CrfParameters, crfOptionsOf } from './crf-options';
import { fromNative, type NativeInspection, native } from './native';
import { checkOptions, integerRule, outputStrideRule } from './options';
import { formatBytes, formatCount, formatInteger } from './quantity';
import { formatTable } from './table';
import { resolveWeights } from './weights';

/** What {@link inspect} finds. */
export interface Inspection extends Omit<NativeInspection, 'crf'> {
  /** The fully connected CRF that belongs to the network: `DeepLab.crf`. */
  readonly crf: CrfParameters;
}

/** The image size that the shapes and costs are counted for. */
export interface InspectOptions {
  /** Width of the image in pixels, 1..65535. Default 513. */
  readonly width?: number | undefined;
  /** Height of the image in pixels, 1..65535. Default 513. */
  readonly height?: number | undefined;
  /** As for `DeepLab.load`. */
  readonly outputStride?: 8 | 16 | undefined;
}

/** A side of an image, in pixels. */
export const sideRule = integerRule(1, 65_535);

/**
 * Describes the network in a weights file: its configuration, and each layer with its output shape [N,C,H,W],
 * multiply-accumulates and parameters, as it would run on one image of the given size.
 *
 * @param pathOrName - As for `DeepLab.load`.
 * @throws ERR_NOT_FOUND, ERR_INVALID_WEIGHTS, ERR_UNSUPPORTED_MODEL, ERR_INVALID_ARGUMENT or ERR_NATIVE_ADDON.
 *
 * @example
 * ```ts
 * import { inspect } from 'deeplab';
 *
 * const { backbone, macs, layers } = await inspect(modelPath, { width: 321, height: 321 });
 * console.log(backbone, `${(macs / 1e9).toFixed(1)} GMAC in ${layers.length} layers`);
 * ```
 */
export async function inspect(pathOrName: string, options: InspectOptions = {}): Promise<Inspection> {
  checkOptions(options, { width: sideRule, height: sideRule, outputStride: outputStrideRule });
  const { width = 513, height = 513, outputStride = 0 } = options;
  const file = await resolveWeights(pathOrName);
  try {
    const found = native().inspectModel(file, width, height, outputStride);
    return { ...found, crf: crfOptionsOf(found.crf, found.classes.length) };
  } catch (error) {
    throw fromNative(error);
  }
}

/** An inspection as text: one line on the network, a table of its layers, the totals and the memory. */
export function formatInspection(inspection: Inspection): string {
  const { architecture, backbone, outputStride, asppRates, classes, layers, macs, parameters } = inspection;
  const table = formatTable(
    [
      { title: 'layer', align: 'left' },
      { title: 'op', align: 'left' },
      { title: 'output', align: 'right' },
      { title: 'MACs', align: 'right' },
      { title: 'parameters', align: 'right' },
    ],
    [
      ...layers.map((layer) => [
        layer.name,
        layer.op,
        layer.output.join('x'),
        formatInteger(layer.macs),
        formatInteger(layer.parameters),
      ]),
      ['total', '', '', formatInteger(macs), formatInteger(parameters)],
    ],
  );
  const rates = asppRates.length > 0 ? `ASPP rates ${asppRates.join(' ')}` : 'no atrous branches';
  const reused = formatBytes(inspection.activationBytes);
  const separate = formatBytes(inspection.activationBytesWithoutReuse);
  return [
    `${architecture} ${backbone}: output stride ${outputStride}, ${rates}, ${classes.length} classes`,
    '',
    table,
    '',
    `${formatCount(macs)}MAC, ${formatCount(parameters)} parameters`,
    `activations in f32: ${reused} planned, ${separate} without reuse`,
  ].join('\n');
}
