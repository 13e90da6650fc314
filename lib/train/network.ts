// What the network that is trained is, as the `__metadata__` of a weights file says it (docs/weights.md): the keys of the
// configuration, over those of the network that it names, with the classes of the data where it names none.

import { DeepLabError } from '../errors';
import { family } from '../family';
import { fromNative, native } from '../native';
import type { Color } from '../palette';
import type { Config } from './config';

/** Names and colours of the classes of a dataset. */
export interface DataClasses {
  readonly classes: readonly { readonly name: string; readonly color: Color }[];
}

/**
 * The network's keys, which were checked: it can be built, and has as many classes as the data.
 *
 * @throws ERR_UNSUPPORTED_MODEL naming the key, ERR_INVALID_ARGUMENT for another number of classes.
 */
export function networkMetadata(config: Pick<Config, 'model' | 'augment'>, data: DataClasses): Record<string, string> {
  const { network, ...keys } = config.model;
  const metadata: Record<string, string> = { ...family.find(({ name }) => name === network)?.metadata };
  for (const [key, value] of Object.entries(keys)) if (value !== undefined) metadata[key] = value;
  metadata.classes ??= data.classes.map(({ name }) => name.replaceAll(',', ' ')).join(',');
  metadata.palette ??= data.classes.map(({ color }) => color.join(',')).join(';');
  const { width, height } = config.augment;
  let classes: readonly string[];
  try {
    ({ classes } = native().inspectConfig(metadata, width, height));
  } catch (error) {
    throw fromNative(error);
  }
  if (classes.length !== data.classes.length) {
    const message = `model.classes has ${classes.length} names: expected ${data.classes.length}, as many as the data has`;
    throw new DeepLabError('ERR_INVALID_ARGUMENT', message);
  }
  return metadata;
}

/** The mean colour that the network subtracts, as a pixel: what is padded with it is 0 to the network. */
export function meanColor({ mean, value_range: range, channel_order: order }: Readonly<Record<string, string>>): Color {
  const scale = range === '0..1' ? 255 : 1;
  const values = (mean ?? '').split(',').map((value) => Math.min(255, Math.max(0, Math.round(Number(value) * scale))));
  if (order === 'bgr') values.reverse();
  const [red = 0, green = 0, blue = 0] = values;
  return [red, green, blue];
}
