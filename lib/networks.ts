// The networks of the family with what they cost and which weights were published for them. Costs are counted from the
// same graph that computes.

import { existsSync } from 'node:fs';
import { type FamilyMember, family } from './family';
import { type InspectOptions, sideRule } from './inspect';
import { readManifest } from './manifest';
import { fromNative, native } from './native';
import { checkOptions } from './options';
import { formatCount } from './quantity';
import { formatTable } from './table';
import { defaultModel, defaultWeights } from './weights';

/** A network of the family. */
export interface NetworkInfo extends FamilyMember {
  /** Multiply-accumulates for one image of the size asked for. */
  readonly macs: number;
  /** Trained parameters. */
  readonly parameters: number;
  /**
   * Names of weights of it: of the model that ships with this package, for `DeepLab.load`, and of published ones, for
   * {@link pullWeights} and `deeplab weights pull`. Their number of classes may be another than the 21 that costs are
   * counted for.
   */
  readonly weights: readonly string[];
}

/** The image size that costs are counted for. */
export type NetworksOptions = Pick<InspectOptions, 'width' | 'height'>;

/** What costs do not depend on, but a config must have. */
const anyPreprocessing = {
  classes: Array.from({ length: 21 }, (_, i) => `class${i}`).join(','),
  channel_order: 'rgb',
  value_range: '0..1',
  mean: '0,0,0',
  std: '1,1,1',
};

/**
 * The networks of the three papers' line that can be built, with their cost and published accuracy. Any other
 * combination of their parts, such as other rates, is described in the `__metadata__` of a weights file.
 *
 * @throws ERR_INVALID_ARGUMENT, ERR_NATIVE_ADDON; ERR_NOT_FOUND if the manifest that DEEPLAB_MANIFEST names is missing.
 *
 * @example
 * ```ts
 * import { networks } from 'deeplab';
 *
 * for (const { name, macs, parameters, weights } of networks({ width: 513, height: 513 })) {
 *   console.log(name, `${(macs / 1e9).toFixed(1)} GMAC`, `${(parameters / 1e6).toFixed(1)} M parameters`, weights);
 * }
 * ```
 */
export function networks(options: NetworksOptions = {}): readonly NetworkInfo[] {
  checkOptions(options, { width: sideRule, height: sideRule });
  const { width = 513, height = 513 } = options;
  const published = Object.entries(readManifest()).map(([name, { network }]) => ({ name, network }));
  const available = [...(existsSync(defaultWeights) ? [defaultModel] : []), ...published];
  const addon = native();
  try {
    return family.map((member) => {
      const { macs, parameters } = addon.inspectConfig({ ...member.metadata, ...anyPreprocessing }, width, height);
      const weights = available.filter(({ network }) => network === member.name).map(({ name }) => name);
      return { ...member, macs, parameters, weights };
    });
  } catch (error) {
    throw fromNative(error);
  }
}

/** The networks as a table. */
export function formatNetworks(list: readonly NetworkInfo[]): string {
  const percent = (value: number | null) => (value === null ? '' : value.toFixed(2));
  return formatTable(
    [
      { title: 'network', align: 'left' },
      { title: 'MACs', align: 'right' },
      { title: 'parameters', align: 'right' },
      { title: 'mIoU', align: 'right' },
      { title: 'with CRF', align: 'right' },
      { title: 'published in', align: 'left' },
      { title: 'weights', align: 'left' },
    ],
    list.map(({ name, macs, parameters, accuracy, accuracyWithCrf, source, weights }) => [
      name,
      formatCount(macs),
      formatCount(parameters),
      percent(accuracy),
      percent(accuracyWithCrf),
      source,
      weights.join(' '),
    ]),
  );
}
