// Depth expansion: where the bottlenecks of a shallower ResNet stand in a deeper one. Those in between are identities,
// which initialize.ts makes of them, so that the deeper network computes what the shallower one did (Net2DeeperNet: Chen
// et al., arXiv 1511.05641, section 2.3).

import type { InitialSource } from './initial-source';

/** Where everything comes from. */
export interface BlockPlaces {
  /** The name, in the source, of one of the network's tensors or layers. */
  sourceOf(name: string): string;
  /** Bottlenecks that the source does not have, such as `layer3.1`. */
  readonly added: ReadonlySet<string>;
}

/** Bottlenecks of layer 3, which is all that ResNet-50 and ResNet-101 differ in (He et al. 2016, table 1). */
const blocks: Readonly<Record<string, number>> = { resnet50: 6, resnet101: 23 };

/** `layer3.1` of `layer3.1.conv1.weight`; undefined outside of bottlenecks. */
export function blockOf(name: string): string | undefined {
  return /^layer\d+\.\d+(?=\.)/.exec(name)?.[0];
}

/**
 * The places of a ResNet-50's bottlenecks in a ResNet-101; anything else keeps its name. The first stays first, for it
 * changes the width and maybe the resolution, the last stays last, and the others spread evenly: the new ones then refine
 * features at every depth, and none is far from trained ones.
 */
export function placeBlocks(
  metadata: Readonly<Record<string, string>>,
  source: InitialSource | undefined,
): BlockPlaces {
  const [before, after] = [source === undefined ? 0 : blocksIn(source), blocks[metadata.backbone ?? ''] ?? 0];
  if (before !== blocks.resnet50 || after <= before) return { sourceOf: (name) => name, added: new Set() };
  const origins = new Map(
    Array.from({ length: before }, (_, i) => [`layer3.${Math.round((i * (after - 1)) / (before - 1))}`, `layer3.${i}`]),
  );
  const all = Array.from({ length: after }, (_, i) => `layer3.${i}`);
  return {
    sourceOf: (name) => {
      const block = blockOf(name);
      return block === undefined ? name : (origins.get(block) ?? block) + name.slice(block.length);
    },
    added: new Set(all.filter((block) => !origins.has(block))),
  };
}

/** Bottlenecks in layer 3 of the source: as it says, or else as many as there are. */
function blocksIn({ tensors, metadata }: InitialSource): number {
  if (metadata.backbone !== undefined) return blocks[metadata.backbone] ?? 0;
  let count = 0;
  while (tensors.has(`layer3.${count}.conv1.weight`)) count++;
  return count;
}
