// What the addon says of a network's operations: the nodes of native/graph/graph.h, as lib/onnx-network.ts reads them.

/** A sliding window over height and width, the same in both. */
export interface NativeWindow {
  readonly kernel: number;
  readonly stride: number;
  /** The atrous rate. */
  readonly dilation: number;
  /** Pixels before and after; `same` computes its own. */
  readonly padding: number;
  /** An incomplete last window is dropped, counts, or is as TensorFlow's SAME has it. */
  readonly rule: 'floor' | 'ceil' | 'same';
}

/** What an operation of a network is, by its name. */
export type NativeOp =
  | {
      readonly op: 'normalize';
      /** The network sees blue first. */
      readonly bgr: boolean;
      /** (pixel * valueScale - mean) / std, in the network's channel order. */
      readonly valueScale: number;
      readonly mean: readonly number[];
      readonly std: readonly number[];
      /** The input always has the size that `output` says. */
      readonly fixedSize: boolean;
    }
  | {
      readonly op: 'conv' | 'depthwise_conv';
      readonly window: NativeWindow;
      /** Names of tensors; an empty bias is none. */
      readonly weight: string;
      readonly weightShape: readonly number[];
      readonly bias: string;
      readonly depthwise: boolean;
    }
  | {
      readonly op: 'batch_norm';
      /** The tensors are `<tensors>.weight`, `bias`, `running_mean` and `running_var`, of [channels]. */
      readonly tensors: string;
      readonly eps: number;
      readonly channels: number;
    }
  | { readonly op: 'max_pool' | 'average_pool'; readonly window: NativeWindow }
  | {
      readonly op: 'fuse_logits';
      readonly rule: 'max' | 'mean' | 'sum';
      /** Of any input: that it is of the mirrored image. */
      readonly mirrored: boolean;
    }
  | {
      readonly op: 'image' | 'relu' | 'relu6' | 'add' | 'global_average_pool' | 'concat' | 'segmentation_head';
    };

/** One operation of a network; native/graph/graph.h says what each computes. */
export type NativeNode = NativeOp & {
  readonly name: string;
  /** Indices of the nodes whose outputs it reads, all before it. */
  readonly inputs: readonly number[];
  /** Output shape, [N,C,H,W]. */
  readonly output: readonly number[];
};
