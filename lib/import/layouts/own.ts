// Our own names (docs/weights.md), which for a ResNet are PyTorch's: a .safetensors file that has our metadata already,
// as after `deeplab weights import`, or the state_dict() of a network that was written in PyTorch after that table.

import type { Archive } from '../archive';
import { classKeys } from './classes';
import { type ImportedModel, type Layout, prefixOf, pytorchBatchNorm, Selection, sizeOf, unsupported } from './layout';
import { resNetBackbone, resNetUnits, takeAspp } from './resnet';

const name = 'deeplab';
const anchor = 'aspp.branches.0.weight';

/** All tensors as they are; whether they are the network's is found by the check of the written file. */
function described(archive: Archive): ImportedModel {
  const selection = new Selection(archive, name);
  for (const [tensor, { shape }] of archive.tensors) selection.take(tensor, tensor, shape);
  return selection.finish(archive.metadata);
}

/** DeepLab v2 on torchvision's ResNet, as PyTorch writes it and with the preprocessing that belongs to its weights. */
function plain(archive: Archive): ImportedModel {
  const prefix = prefixOf(archive, anchor) ?? '';
  if (!archive.tensors.has(`${prefix}layer1.0.conv1.weight`)) {
    throw unsupported(
      archive,
      'has our names, but neither our metadata nor a ResNet: only DeepLab v2 on one needs none',
    );
  }
  const backbone = resNetBackbone(archive, (block) => archive.tensors.has(`${prefix}layer3.${block}.conv1.weight`));
  const selection = new Selection(archive, name);
  for (const unit of resNetUnits(backbone)) {
    selection.takeUnit(unit, { weight: `${prefix}${unit.conv}.weight`, bn: pytorchBatchNorm(`${prefix}${unit.bn}`) });
  }
  if (archive.tensors.has(`${prefix}aspp.branches.4.weight`)) {
    throw unsupported(
      archive,
      'has more than four branches in its ASPP, whose rates no .pth file says: give it metadata',
    );
  }
  const classes = sizeOf(archive, `${prefix}${anchor}`, 0);
  const aspp = `${prefix}aspp.branches.`;
  takeAspp(selection, classes, (branch) => [`${aspp}${branch}.weight`, `${aspp}${branch}.bias`]);
  selection.leave((tensor) => tensor.endsWith('.num_batches_tracked'), 'counts batches, for training');
  return selection.finish({
    architecture: 'deeplab_v2',
    backbone,
    output_stride: '8',
    aspp_rates: '6,12,18,24',
    stride_placement: '3x3',
    max_pool: 'kernel 3, stride 2, padding 1, floor',
    stem_padding: '3',
    bn_eps: '1e-5',
    upsample: 'half_pixel',
    ...classKeys(archive, classes),
    channel_order: 'rgb',
    value_range: '0..1',
    mean: '0.485,0.456,0.406',
    std: '0.229,0.224,0.225',
  });
}

/** Our own files, and DeepLab v2 in PyTorch under the same names. */
export const own: Layout = {
  name,
  title: "this library's own names",
  recognises: (archive) => archive.metadata.architecture !== undefined || prefixOf(archive, anchor) !== undefined,
  import: (archive) => (archive.metadata.architecture === undefined ? plain(archive) : described(archive)),
};
