// What the processes of the app say to each other. Types alone, and a few names: the preload script, which a sandbox keeps
// from loading modules, imports it as types. Every message is data that the structured clone algorithm copies.

import type { DeepLabErrorCode } from 'deeplab';

/** The channel on which a window gets its port to the model. */
export const portChannel = 'deeplab:port';

/** From a window to the model: over a port of its own, so that images do not pass through the main process. */
export type Request =
  /** `id` is the window's own, of no other request that is under way. */
  | { readonly kind: 'segment'; readonly id: number; readonly image: Uint8Array; readonly crf: boolean }
  | { readonly kind: 'cancel'; readonly id: number };

/** From the model to a window: one for each `segment`, whatever becomes of it. */
export type Reply =
  | {
      readonly kind: 'labels';
      readonly id: number;
      readonly width: number;
      readonly height: number;
      /** Class of each pixel, row by row. */
      readonly labels: Uint8Array;
      /** Those in the picture, the largest first. */
      readonly classes: readonly Legend[];
    }
  | { readonly kind: 'error'; readonly id: number; readonly code: DeepLabErrorCode; readonly message: string };

/** A class, its colour and its share of the pixels, 0..1. */
export interface Legend {
  readonly id: number;
  readonly name: string;
  readonly color: readonly [number, number, number];
  readonly share: number;
}

/** From the main process to the model's. */
export type Command =
  | { readonly kind: 'load'; readonly model: string; readonly threads?: number }
  /** Comes with a port. */
  | { readonly kind: 'connect' }
  | { readonly kind: 'close' };

/** From the model's process to the main one. */
export type Report =
  | { readonly kind: 'loaded'; readonly device: string; readonly precision: string }
  | { readonly kind: 'failed'; readonly code: DeepLabErrorCode; readonly message: string }
  | { readonly kind: 'closed' };

/** What the preload script gives the page, as `window.deeplab`. */
export interface Bridge {
  /** Never rejects: an Error loses its code on its way through the context bridge. */
  segment(id: number, image: Uint8Array, crf: boolean): Promise<Reply>;
  cancel(id: number): void;
}
