// The list of layouts, and which of them an archive has.

import { DeepLabError } from '../../errors';
import type { Archive } from '../archive';
import { caffeVgg } from './caffe-vgg';
import { deeplabPytorch } from './deeplab-pytorch';
import { kerasMobileNet } from './keras-mobilenet';
import type { Layout } from './layout';
import { caffeResNet, tensorflowResNet } from './msra-resnet';
import { own } from './own';
import { slimResNet } from './slim-resnet';
import { tensorflowMobileNet } from './tensorflow-mobilenet';
import { torchvision } from './torchvision';

/** All layouts; the first that recognises an archive has it. */
export const layouts: readonly Layout[] = [
  own,
  deeplabPytorch,
  torchvision,
  caffeResNet,
  caffeVgg,
  tensorflowResNet,
  slimResNet,
  tensorflowMobileNet,
  kerasMobileNet,
];

/** The names of all layouts. */
export const layoutNames: readonly string[] = layouts.map(({ name }) => name);

/**
 * The layout of that name, or the one that recognises the archive.
 *
 * @throws ERR_UNSUPPORTED_MODEL saying what names were seen and which layouts there are.
 */
export function layoutOf(archive: Archive, name?: string): Layout {
  const found = layouts.find((layout) => (name === undefined ? layout.recognises(archive) : layout.name === name));
  if (found !== undefined) return found;
  const names = [...archive.tensors.keys()];
  const seen = names.length === 0 ? 'no tensors' : `${names.length} tensors: ${names.slice(0, 8).join(', ')}`;
  const known = layouts.map(({ name: layout, title }) => `${layout} (${title})`).join('; ');
  throw new DeepLabError(
    'ERR_UNSUPPORTED_MODEL',
    `${archive.file} has names of no layout that is known. It has ${seen}${names.length > 8 ? ', ...' : ''}. Known are ${known}`,
  );
}
