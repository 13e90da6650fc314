// A network of this library in the operators of ONNX (https://onnx.ai/onnx/operators), one for one where there is one.
// Batch norms stay nodes of their own: every runtime folds them into the convolutions, and the tensors remain those of the
// weights file. The bytes of the file are for onnx-format.ts.

import { DeepLabError } from './errors';
import { encodeFloats } from './floats';
import type { NativeNode, NativeWindow } from './native-graph';
import type { OnnxAttribute, OnnxNode, OnnxTensor, OnnxValue } from './onnx-format';

/** Names of the file's input and output. */
export const inputName = 'image';
export const outputName = 'logits';

/** A network, but for what is said about it. */
export interface OnnxNetwork {
  readonly nodes: readonly OnnxNode[];
  readonly tensors: readonly OnnxTensor[];
  readonly input: OnnxValue;
  readonly output: OnnxValue;
}

/** Reads a tensor of the weights file. */
type ReadTensor = (name: string, shape: readonly number[]) => Float32Array;

/**
 * The network as ONNX has it: from RGB pixels [N,3,H,W] to logits.
 *
 * @param graph - The network as the papers draw it, nothing fused; the last node reads the logits.
 */
export function onnxNetwork(graph: readonly NativeNode[], readTensor: ReadTensor): OnnxNetwork {
  return new Translation(graph, readTensor).network();
}

class Translation {
  readonly #graph: readonly NativeNode[];
  readonly #readTensor: ReadTensor;
  readonly #nodes: OnnxNode[] = [];
  readonly #tensors = new Map<string, OnnxTensor>();
  /** Of each node of the graph: the value that it computes, and whether that has one pixel at every image size. */
  readonly #values: string[] = [];
  readonly #pixels: boolean[] = [];

  constructor(graph: readonly NativeNode[], readTensor: ReadTensor) {
    this.#graph = graph;
    this.#readTensor = readTensor;
  }

  network(): OnnxNetwork {
    const head = this.#graph.at(-1);
    const logits = head?.inputs[0] ?? 0;
    for (const [id, node] of this.#graph.entries()) {
      if (node === head) break;
      this.#pixels[id] = node.op === 'global_average_pool' || this.#isPixel(node);
      this.#values[id] = this.#translate(node);
    }
    this.#rename(this.#values[logits] ?? '', outputName);
    const input = this.#graph.find(({ op }) => op === 'normalize');
    const [, classes = 0, ...grid] = this.#graph[logits]?.output ?? [];
    const fixed = input?.op === 'normalize' && input.fixedSize;
    return {
      nodes: this.#nodes,
      tensors: [...this.#tensors.values()],
      input: { name: inputName, shape: ['batch', 3, ...(fixed ? input.output.slice(2) : ['height', 'width'])] },
      output: { name: outputName, shape: ['batch', classes, ...(fixed ? grid : ['logits_height', 'logits_width'])] },
    };
  }

  /** The value that a node computes, of nodes that are added for it. */
  #translate(node: NativeNode): string {
    const inputs = node.inputs.map((id) => this.#values[id] ?? '');
    switch (node.op) {
      case 'image':
        return inputName;
      case 'normalize':
        return this.#normalize(node, inputs);
      case 'conv':
      case 'depthwise_conv': {
        const { weight, weightShape, bias, depthwise } = node;
        const tensors = [this.#weights(weight, weightShape)];
        if (bias !== '') tensors.push(this.#weights(bias, weightShape.slice(0, 1)));
        const group = depthwise ? (weightShape[0] ?? 1) : 1;
        const { kernel, dilation } = node.window;
        const attributes = { kernel_shape: [kernel, kernel], dilations: [dilation, dilation], group };
        return this.#add('Conv', node.name, [...inputs, ...tensors], { ...attributes, ...windowed(node) });
      }
      case 'batch_norm': {
        const parts = ['weight', 'bias', 'running_mean', 'running_var'];
        const tensors = parts.map((part) => this.#weights(`${node.tensors}.${part}`, [node.channels]));
        return this.#add('BatchNormalization', node.name, [...inputs, ...tensors], { epsilon: { float: node.eps } });
      }
      case 'relu':
        return this.#add('Relu', node.name, inputs);
      case 'relu6':
        return this.#add('Clip', node.name, [
          ...inputs,
          this.#floats('relu6.min', [], [0]),
          this.#floats('relu6.max', [], [6]),
        ]);
      case 'add':
        return this.#sum(node.name, inputs);
      case 'max_pool': {
        const { kernel } = node.window;
        return this.#add('MaxPool', node.name, inputs, { kernel_shape: [kernel, kernel], ...windowed(node) });
      }
      case 'average_pool': {
        const { kernel } = node.window;
        const attributes = { kernel_shape: [kernel, kernel], count_include_pad: 1, ...windowed(node) };
        return this.#add('AveragePool', node.name, inputs, attributes);
      }
      case 'global_average_pool':
        return this.#add('GlobalAveragePool', node.name, inputs);
      case 'concat':
        return this.#add('Concat', node.name, this.#spread(node, inputs), { axis: 1 });
      case 'fuse_logits':
        if (node.rule !== 'sum' || node.mirrored) throw untranslatable(node);
        return this.#sum(node.name, inputs);
      default:
        throw untranslatable(node);
    }
  }

  /** (pixel * scale - mean) / std, in the network's order of channels. */
  #normalize(node: NativeNode & { readonly op: 'normalize' }, inputs: readonly string[]): string {
    const { name, bgr, valueScale, mean, std } = node;
    let [x = ''] = inputs;
    if (bgr) x = this.#add('Gather', `${name}.bgr`, [x, this.#integers(`${name}.channels`, [2, 1, 0])], { axis: 1 });
    if (valueScale !== 1) x = this.#add('Mul', `${name}.scaled`, [x, this.#floats(`${name}.scale`, [], [valueScale])]);
    x = this.#add('Sub', `${name}.centred`, [x, this.#floats(`${name}.mean`, [1, 3, 1, 1], mean)]);
    return this.#add('Div', name, [x, this.#floats(`${name}.std`, [1, 3, 1, 1], std)]);
  }

  /** The sum of a single value is that value. */
  #sum(name: string, inputs: readonly string[]): string {
    const [only, second] = inputs;
    if (only !== undefined && second === undefined) return only;
    return this.#add(inputs.length === 2 ? 'Add' : 'Sum', name, inputs);
  }

  /** What is concatenated, values of one pixel repeated over the height and width of the others. */
  #spread(node: NativeNode, inputs: readonly string[]): readonly string[] {
    const large = inputs.find((_, i) => !this.#pixels[node.inputs[i] ?? 0]);
    if (large === undefined) return inputs;
    return inputs.map((input, i) => {
      if (!this.#pixels[node.inputs[i] ?? 0]) return input;
      const size = this.#add('Shape', `${node.name}.size`, [large], { start: 2, end: 4 });
      const ones = this.#integers(`${node.name}.ones`, [1, 1]);
      const shape = this.#add('Concat', `${node.name}.shape`, [ones, size], { axis: 0 });
      return this.#add('Expand', `${input}.spread`, [input, shape]);
    });
  }

  #isPixel({ inputs }: NativeNode): boolean {
    return inputs.length > 0 && inputs.every((id) => this.#pixels[id]);
  }

  /** Adds a node whose value is called as itself. */
  #add(
    op: string,
    name: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, OnnxAttribute>> = {},
  ): string {
    this.#nodes.push({ op, name, inputs, output: name, attributes });
    return name;
  }

  #rename(from: string, to: string): void {
    const renamed = (name: string) => (name === from ? to : name);
    for (const [i, node] of this.#nodes.entries()) {
      this.#nodes[i] = { ...node, inputs: node.inputs.map(renamed), output: renamed(node.output) };
    }
  }

  #weights(name: string, shape: readonly number[]): string {
    const bytes = () => encodeFloats(this.#readTensor(name, shape));
    this.#tensors.set(name, { name, type: 'float32', shape, bytes });
    return name;
  }

  #floats(name: string, shape: readonly number[], values: readonly number[]): string {
    const bytes = () => encodeFloats(Float32Array.from(values));
    this.#tensors.set(name, { name, type: 'float32', shape, bytes });
    return name;
  }

  #integers(name: string, values: readonly number[]): string {
    const bytes = () => {
      const buffer = Buffer.alloc(8 * values.length);
      for (const [i, value] of values.entries()) buffer.writeBigInt64LE(BigInt(value), 8 * i);
      return buffer;
    };
    this.#tensors.set(name, { name, type: 'int64', shape: [values.length], bytes });
    return name;
  }
}

/** Strides and padding of a window. */
function windowed(node: NativeNode & { readonly window: NativeWindow }): Readonly<Record<string, OnnxAttribute>> {
  const { kernel, stride, padding, rule } = node.window;
  const strides = [stride, stride];
  if (rule === 'same') return { strides, auto_pad: 'SAME_UPPER' };
  const pads = [padding, padding, padding, padding];
  if (rule === 'floor') return { strides, pads };
  // Runtimes disagree on a last window that would begin in the padding; with these sizes there is none.
  if (node.op !== 'max_pool' || stride + padding > kernel) throw untranslatable(node);
  return { strides, pads, ceil_mode: 1 };
}

function untranslatable({ name, op }: NativeNode): DeepLabError {
  return new DeepLabError('ERR_INTERNAL', `Layer ${name} (${op}) cannot be written as ONNX`);
}
