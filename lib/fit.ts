// How an image meets the network: the options and what they mean. Resizing, tiles and blending are native.

import { invalidArgument } from './errors';
import type { NativeSegmentOptions } from './native';
import { integerRule, type OptionRule, oneOfRule } from './options';

/** The ways there are. */
export const fitChoices = ['native', 'resize', 'tile'] as const;

export const fitRule: OptionRule = oneOfRule(fitChoices);
export const fitSizeRule: OptionRule = integerRule(1, 32_768);
export const fitOverlapRule: OptionRule = integerRule(0, 32_767);

/** Options of a segmentation that say how the image meets the network. */
export interface FitOptions {
  readonly fit?: (typeof fitChoices)[number] | undefined;
  readonly size?: number | undefined;
  readonly overlap?: number | undefined;
}

/**
 * The options with their defaults.
 *
 * @param metadata - Of the weights file, whose `input_size` is the default size.
 * @throws ERR_INVALID_ARGUMENT for a size or overlap that `fit` has no use for, or an overlap as large as a tile.
 */
export function readFit(
  { fit, size, overlap }: FitOptions,
  metadata: Readonly<Record<string, string>>,
): Pick<NativeSegmentOptions, 'fit' | 'size' | 'overlap'> {
  if (size !== undefined && fit !== 'resize' && fit !== 'tile') {
    throw invalidArgument('size', "undefined, without fit 'resize' or 'tile',", size);
  }
  if (overlap !== undefined && fit !== 'tile')
    throw invalidArgument('overlap', "undefined, without fit 'tile',", overlap);
  const inputSize = metadata.input_size ?? 'any';
  // The file's own rule, which may be to a width and a height.
  if (fit === undefined || (fit === 'resize' && size === undefined && inputSize !== 'any')) {
    return { fit: 'model', size: 0, overlap: 0 };
  }
  const side = size ?? sideOf(inputSize);
  if (fit !== 'tile') return { fit: fit === 'resize' ? 'longest' : 'native', size: side, overlap: 0 };
  const shared = overlap ?? Math.floor(side / 4);
  if (shared >= side) throw invalidArgument('overlap', `integer from 0 to ${side - 1}`, shared);
  return { fit: 'tile', size: side, overlap: shared };
}

/** The longest side that an `input_size` names: `any`, `WIDTHxHEIGHT` or `longest SIDE`. */
function sideOf(inputSize: string): number {
  return Math.max(...(inputSize.match(/\d+/g) ?? ['513']).map(Number));
}
