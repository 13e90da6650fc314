// The public API: what `import { ... } from 'deeplab'` offers, and nothing else.

export { DeepLab, type LoadOptions, type SegmentOptions } from './deeplab';
export { type Diagnosis, doctor } from './doctor';
export { DeepLabError, type DeepLabErrorCode, errorCatalogue } from './errors';
export type { ImageInput, RawImage } from './image';
export { type Inspection, type InspectOptions, inspect } from './inspect';
export { type Color, vocPalette } from './palette';
export { type ClassInfo, type ClassShare, type OverlayOptions, Segmentation } from './segmentation';
export { Tensor, type TensorData } from './tensor';
