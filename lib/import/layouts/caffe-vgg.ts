// DeepLab v1 and v2 with VGG-16 in Caffe, as their authors published them. Facts from the papers (v1: arXiv 1412.7062,
// section 5.2, table 2; v2: arXiv 1606.00915, section 4.1.2, tables 1 and 3): a kernel of 3 has the rate 12 (LargeFOV),
// kernels of 4 and 7 have 4; the average behind pool5 belongs to LargeFOV.

import type { Archive } from '../archive';
import { classKeys } from './classes';
import { invalid, type Layout, Selection, shapeOf, sizeOf, unsupported } from './layout';

const name = 'caffe-vgg16';

/** Channels and number of convolutions of the five blocks (Simonyan and Zisserman 2015, configuration D). */
const blocks = [
  [64, 2],
  [128, 2],
  [256, 3],
  [512, 3],
  [512, 3],
] as const;

/** Rates of the four branches of ASPP: -L as the paper recommends it, and -S. Files do not tell which. */
const asppRates = '6,12,18,24';

/** The names of a branch's three layers: `fc6_1`, `fc7_1`, `fc8_voc12_1`, or without a number where there is only one. */
interface Branch {
  readonly fc6: string;
  readonly fc7: string;
  readonly fc8: string;
}

function branchesOf(archive: Archive): Branch[] {
  const layers = [...archive.tensors.keys()]
    .filter((tensor) => tensor.endsWith('/0'))
    .map((tensor) => tensor.slice(0, -2));
  const last = layers.filter((layer) => /^fc8(_|-|$)/.test(layer));
  const branches: Branch[] = [];
  for (let number = 1; archive.tensors.has(`fc6_${number}/0`); number++) {
    const fc8 = last.find((layer) => layer.endsWith(`_${number}`));
    if (fc8 === undefined) throw invalid(archive, `has no layer fc8_*_${number} beside fc6_${number}`);
    branches.push({ fc6: `fc6_${number}`, fc7: `fc7_${number}`, fc8 });
  }
  if (branches.length > 0) return branches;
  const [fc8, second] = last;
  if (fc8 === undefined) throw unsupported(archive, 'has no classifier (a layer fc8_*): it is not DeepLab');
  if (second !== undefined) {
    throw unsupported(archive, `has ${last.length} classifiers (${last.join(', ')}): DeepLab-MSc cannot be built`);
  }
  return [{ fc6: 'fc6', fc7: 'fc7', fc8 }];
}

/** Official VGG-16 networks of v1 (one branch) and v2 (four). */
export const caffeVgg: Layout = {
  name,
  title: 'DeepLab v1 and v2 in Caffe, VGG-16',
  recognises: ({ tensors }) => tensors.has('conv1_1/0') && tensors.has('conv5_3/0'),
  import: (archive) => {
    const selection = new Selection(archive, name);
    let inputs = 3;
    for (const [i, [outputs, count]] of blocks.entries()) {
      for (let j = 1; j <= count; j++) {
        const layer = `conv${i + 1}_${j}`;
        selection.take(`${layer}.weight`, `${layer}/0`, [outputs, inputs, 3, 3]);
        selection.take(`${layer}.bias`, `${layer}/1`, [outputs]);
        inputs = outputs;
      }
    }
    const branches = branchesOf(archive);
    if (![1, 4].includes(branches.length)) {
      throw unsupported(archive, `has ${branches.length} branches fc6_*: expected one (LargeFOV) or four (ASPP)`);
    }
    const [first] = branches as [Branch];
    const [channels, , kernel] = shapeOf(archive, `${first.fc6}/0`) as [number, number, number];
    if (![3, 4, 7].includes(kernel)) throw unsupported(archive, `has a kernel of ${kernel} in fc6: expected 3, 4 or 7`);
    const classes = classesOf(archive, first);
    for (const [i, { fc6, fc7, fc8 }] of branches.entries()) {
      const target = `aspp.branches.${i}`;
      const take = (part: string, source: string, shape: readonly [number, number, number, number]) => {
        selection.take(`${target}.${part}.weight`, `${source}/0`, shape);
        selection.take(`${target}.${part}.bias`, `${source}/1`, shape.slice(0, 1));
      };
      take('fc6', fc6, [channels, inputs, kernel, kernel]);
      take('fc7', fc7, [channels, channels, 1, 1]);
      take('fc8', fc8, [classes, channels, 1, 1]);
    }
    const largeFov = branches.length === 1;
    return selection.finish({
      architecture: largeFov ? 'deeplab_v1' : 'deeplab_v2',
      backbone: 'vgg16',
      output_stride: '8',
      aspp_rates: largeFov ? (kernel === 3 ? '12' : '4') : asppRates,
      head_channels: String(channels),
      fc6_kernel: String(kernel),
      pool5a: largeFov && kernel === 3 ? 'average' : 'none',
      max_pool: 'kernel 3, stride 2, padding 1, ceil',
      upsample: 'align_corners',
      ...classKeys(archive, classes),
      channel_order: 'bgr',
      value_range: '0..255',
      mean: '104.008,116.669,122.675',
      std: '1,1,1',
    });
  },
};

/** Older files write a bias as [1,1,1,classes], newer ones as [classes]. */
function classesOf(archive: Archive, { fc8 }: Branch): number {
  return sizeOf(archive, `${fc8}/1`, -1);
}
