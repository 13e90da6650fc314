// The options with which an image is segmented: what they are, what they must be, and their defaults.

import { type CallOptions, callRules } from './abort';
import { type CrfOptions, overrideCrf } from './crf-options';
import { fitOverlapRule, fitRule, fitSizeRule, readFit } from './fit';
import { pixelLimitRule } from './image';
import type { NativeModelInfo, NativeSegmentOptions } from './native';
import { booleanRule, type OptionRule, oneOfRule } from './options';
import { fuseRule, readScales, scalesRule } from './scales';

/** Options of {@link DeepLab.segment}. */
export interface SegmentOptions extends CallOptions {
  /**
   * How the image meets the network. `native`: as it is, whatever its size. `resize`: its longer side is resized to
   * `size` first. `tile`: as it is, in overlapping squares of side `size`, whose logits are blended, so that memory is
   * that of a tile, and of the whole image's coarse logits. Labels always have the size of the image. Default: what the
   * weights file says (its `input_size`: `native`, or resized to a size that the network is made for).
   */
  readonly fit?: 'native' | 'resize' | 'tile' | undefined;
  /**
   * With `fit: 'resize'` the longer side, with `tile` the side of a tile, in pixels, 1..32768. Default: the size in the
   * weights file, or 513. A tile's is rounded down to a multiple of the output stride and one pixel more.
   */
  readonly size?: number | undefined;
  /** With `fit: 'tile'`: pixels that neighbouring tiles share, 0..size-1. Default: a quarter of `size`. */
  readonly overlap?: number | undefined;
  /**
   * Scales of the image at which the network runs, 1..8 different numbers from 0.25 to 4, of which one is 1. Default
   * [1]. Logits are brought to the grid of scale 1 and fused (DeepLab v2, section 3.2, has 0.5, 0.75 and 1). The time
   * grows with the sum of their squares.
   */
  readonly scales?: readonly number[] | undefined;
  /**
   * How logits of several scales, and of the mirrored image, become one: `max`, the largest of each class, as DeepLab
   * v2 does, or `mean`. Default `max`. Without `scales` and `flip` there is nothing to fuse.
   */
  readonly fuse?: 'max' | 'mean' | undefined;
  /** Whether the network sees each scale mirrored left to right as well, at twice the time. Default false. */
  readonly flip?: boolean | undefined;
  /**
   * Whether a fully connected CRF refines the labels, and the scores: they are then its marginals. Default false. `true`
   * takes the model's own parameters, {@link DeepLab.crf}; an object takes them with these instead, where `pairwise`
   * replaces all terms, of which none may have the kernel `features`.
   */
  readonly crf?: boolean | CrfOptions | undefined;
  /** Whether the result has `scores`: 4 bytes for each pixel and class. Default false. */
  readonly scores?: boolean | undefined;
  /** Whether the result has `logits`, fused where there are several. Default false. */
  readonly logits?: boolean | undefined;
  /**
   * `interactive` calls are computed before `bulk` ones, and never wait for more than one batch of them. Default
   * `interactive`; of {@link DeepLab.segmentAll} `bulk`.
   */
  readonly priority?: 'interactive' | 'bulk' | undefined;
  /** Most pixels that the image may have, against decompression bombs; false for no limit. Default 268402689. */
  readonly limitInputPixels?: number | false | undefined;
}

export const segmentRules: Readonly<Record<keyof SegmentOptions, OptionRule>> = {
  fit: fitRule,
  size: fitSizeRule,
  overlap: fitOverlapRule,
  scales: scalesRule,
  fuse: fuseRule,
  flip: booleanRule,
  crf: {
    expected: 'boolean or object',
    accepts: (value) => typeof value === 'boolean' || (typeof value === 'object' && value !== null),
  },
  scores: booleanRule,
  logits: booleanRule,
  priority: oneOfRule(['interactive', 'bulk']),
  limitInputPixels: pixelLimitRule,
  ...callRules,
};

/** @throws ERR_INVALID_ARGUMENT for options that do not go together, or not with the model. */
export function readSegmentOptions(options: SegmentOptions, model: NativeModelInfo): NativeSegmentOptions {
  const { crf = false } = options;
  return {
    ...readFit(options, model.metadata),
    scales: readScales(options.scales ?? [1]),
    fuse: options.fuse ?? 'max',
    flip: options.flip ?? false,
    scores: options.scores ?? false,
    logits: options.logits ?? false,
    priority: options.priority ?? 'interactive',
    ...(crf !== false && { crf: crf === true ? model.crf : overrideCrf(crf, 'crf', model.crf, model.classes.length) }),
  };
}
