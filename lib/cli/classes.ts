// The classes of a result, as the command line prints them.

import { formatInteger } from '../quantity';
import type { ClassShare, Segmentation } from '../segmentation';
import { formatTable } from '../table';

/** The classes that an image has, the largest first. */
export function presentClasses({ classes }: Segmentation): ClassShare[] {
  return classes.filter(({ pixels }) => pixels > 0).sort((a, b) => b.pixels - a.pixels);
}

/** A table with a line per class. */
export function formatClasses(classes: readonly ClassShare[]): string {
  return formatTable(
    [
      { title: 'class', align: 'left' },
      { title: 'pixels', align: 'right' },
      { title: 'percent', align: 'right' },
    ],
    classes.map(({ name, pixels, share }) => [name, formatInteger(pixels), (share * 100).toFixed(2)]),
  );
}
