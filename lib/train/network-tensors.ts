// The tensors of the network that the metadata of a weights file describes, and what each is: from the graph that native
// code builds of it, so that names and shapes are said in one place.

import { batchNormParts } from '../import/layouts/layout';
import { fromNative, native } from '../native';
import type { NativeNode } from '../native-graph';

/** What a tensor is, as NativeParameter has it. */
export type TensorKind = 'kernel' | 'bias' | 'scale' | 'shift' | 'mean' | 'variance';

/** One tensor of a network. */
export interface NetworkTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly kind: TensorKind;
  /** The convolution or batch norm that it belongs to: its name without the last part. */
  readonly layer: string;
}

/** A network's tensors, in the order in which the image meets them. */
export interface NetworkTensors {
  readonly tensors: readonly NetworkTensor[];
  /** The batch norm behind a convolution, by the convolution's layer, where there is one. */
  readonly norms: ReadonlyMap<string, { readonly layer: string; readonly eps: number }>;
}

const normKinds: readonly TensorKind[] = ['scale', 'shift', 'mean', 'variance'];

/** A size of images that every network takes; no tensor depends on it. */
const anySize = 321;

/** @throws ERR_UNSUPPORTED_MODEL naming the key that is missing or wrong. */
export function networkTensors(metadata: Readonly<Record<string, string>>): NetworkTensors {
  const graph = graphOf(metadata);
  const tensors: NetworkTensor[] = [];
  const norms = new Map<string, { layer: string; eps: number }>();
  const add = (name: string, shape: readonly number[], kind: TensorKind) => {
    tensors.push({ name, shape, kind, layer: layerOf(name) });
  };
  for (const node of graph) {
    if (node.op === 'conv' || node.op === 'depthwise_conv') {
      add(node.weight, node.weightShape, 'kernel');
      if (node.bias !== '') add(node.bias, node.weightShape.slice(0, 1), 'bias');
    } else if (node.op === 'batch_norm') {
      for (const [i, part] of batchNormParts.entries()) {
        add(`${node.tensors}.${part}`, [node.channels], normKinds[i] as TensorKind);
      }
      const before = graph[node.inputs[0] ?? 0];
      if (before?.op === 'conv' || before?.op === 'depthwise_conv') {
        norms.set(layerOf(before.weight), { layer: node.tensors, eps: node.eps });
      }
    }
  }
  return { tensors, norms };
}

function graphOf(metadata: Readonly<Record<string, string>>): NativeNode[] {
  try {
    return native().graph(metadata, anySize, anySize, 0);
  } catch (error) {
    throw fromNative(error);
  }
}

/** `layer1.0.conv1` of `layer1.0.conv1.weight`. */
function layerOf(name: string): string {
  return name.slice(0, name.lastIndexOf('.'));
}
