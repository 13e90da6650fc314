// `deeplab weights`: imports weights of other frameworks. The work is in lib/import/, the printing here.

import { type ImportReport, importWeights } from '../import/import';
import type { StoragePrecision } from '../import/precision';
import { formatBytes, formatInteger } from '../quantity';

/** Options of `deeplab weights import`, as commander leaves them. */
export interface ImportCommandOptions {
  readonly out: string;
  readonly as?: string;
  readonly precision?: StoragePrecision;
  readonly json?: boolean;
}

/** Imports a file, and prints what it took of it. */
export async function importCommand(file: string, { out, json, ...options }: ImportCommandOptions): Promise<void> {
  const report = await importWeights(file, out, options);
  process.stdout.write(`${json ? JSON.stringify(report, null, 2) : formatImport(report)}\n`);
}

/** One line on what was written, one on what was read, and one for each reason to leave tensors out. */
export function formatImport(report: ImportReport): string {
  const { output, architecture, backbone, classes, tensors, bytes, precision, format, layout } = report;
  const network = `${architecture} ${backbone}, ${formatInteger(classes.length)} classes`;
  return [
    `${output}: ${network}, ${formatInteger(tensors)} tensors, ${formatBytes(bytes)} in ${precision}`,
    `read as ${format}, with the names of ${layout}`,
    ...formatIgnored(report),
  ].join('\n');
}

/** Tensors with the same reason share a line; a few of them are named. */
function formatIgnored({ ignored }: ImportReport): string[] {
  const byReason = new Map<string, string[]>();
  for (const { name, reason } of ignored) byReason.set(reason, [...(byReason.get(reason) ?? []), name]);
  return Array.from(byReason, ([reason, names]) => {
    const some = names.length > 3 ? `${names.slice(0, 3).join(', ')}, ...` : names.join(', ');
    return `left out ${formatInteger(names.length)} (${some}): ${reason}`;
  });
}
