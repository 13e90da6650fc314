// Where files are kept that can be had again: published models after their download, and what came of a download so
// far. Native code keeps the plans of GPUs in the same folder (native/backend/cuda/plan_cache.cc).

import os from 'node:os';
import path from 'node:path';

/** `$DEEPLAB_CACHE`, else `$XDG_CACHE_HOME/deeplab`, else `~/.cache/deeplab`. */
export function cacheFolder(): string {
  const { DEEPLAB_CACHE, XDG_CACHE_HOME } = process.env;
  if (DEEPLAB_CACHE) return path.resolve(DEEPLAB_CACHE);
  if (XDG_CACHE_HOME) return path.join(path.resolve(XDG_CACHE_HOME), 'deeplab');
  return path.join(os.homedir(), '.cache', 'deeplab');
}

/** The file in which a published model is after it was pulled, whether it is there or not. */
export function cachedModel(name: string): string {
  return path.join(cacheFolder(), 'models', `${name}.safetensors`);
}

/** The folder of unfinished downloads. */
export function downloadsFolder(): string {
  return path.join(cacheFolder(), 'downloads');
}
