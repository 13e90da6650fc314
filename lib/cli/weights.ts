// `deeplab weights`: imports weights of other frameworks, exports ours, lists published models and pulls them. The work is
// in lib/import/, lib/onnx.ts and lib/pull.ts, the printing here.

import { existsSync } from 'node:fs';
import path from 'node:path';
import { cachedModel } from '../cache';
import { type ImportReport, importWeights } from '../import/import';
import type { StoragePrecision } from '../import/precision';
import { readManifest } from '../manifest';
import { exportOnnx } from '../onnx';
import { pullWeights } from '../pull';
import { formatBytes, formatInteger } from '../quantity';
import { formatTable } from '../table';
import { defaultModel, defaultWeights } from '../weights';
import { DownloadBar } from './download-bar';

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

/** The model that ships, as its file describes it; none if it is not there. */
async function shippedModels() {
  if (!existsSync(defaultWeights)) return [];
  const { openSafetensors } = require('../import/safetensors') as typeof import('../import/safetensors');
  const archive = await openSafetensors(defaultWeights);
  await archive.close();
  const { classes = '', dataset = '', accuracy = null, licence = null } = archive.metadata;
  const title = 'DeepLab v2, ResNet-101';
  const described = { title, classes: classes.split(',').length, dataset, accuracy, licence };
  return [{ ...defaultModel, ...described, source: 'weights/CARD.md', file: defaultWeights, where: 'ships' }];
}

/** Prints the model that ships and the published ones, and which of them are in the cache. */
export async function listCommand({ json }: { readonly json?: boolean }): Promise<void> {
  const published = Object.entries(readManifest()).map(([name, model]) => {
    const file = cachedModel(name);
    const there = existsSync(file);
    return { name, ...model, file: there ? file : null, where: there ? 'yes' : 'no' };
  });
  const models = [...(await shippedModels()), ...published];
  if (json) {
    const listed = models.map(({ where: _, ...model }) => model);
    process.stdout.write(`${JSON.stringify(listed, null, 2)}\n`);
    return;
  }
  const table = formatTable(
    [
      { title: 'name', align: 'left' },
      { title: 'network', align: 'left' },
      { title: 'classes', align: 'right' },
      { title: 'published accuracy', align: 'left' },
      { title: 'pulled', align: 'left' },
    ],
    models.map(({ name, title, classes, accuracy, where }) => [name, title, String(classes), accuracy ?? '', where]),
  );
  process.stdout.write(`${table}\n`);
}

/** Pulls a model, with a progress bar for people; prints its file. */
export async function pullCommand(name: string, options: { readonly unverified?: boolean }): Promise<void> {
  const interruption = new AbortController();
  // Once to stop in good order, with what has come kept; a second time ends the process at once.
  const interrupt = () => interruption.abort();
  process.once('SIGINT', interrupt);
  const bar = new DownloadBar(process.stderr.isTTY);
  try {
    const { signal } = interruption;
    const onProgress = bar.show.bind(bar);
    const { file, imported } = await pullWeights(name, { ...options, onProgress, signal });
    bar.stop();
    process.stdout.write(`${imported === undefined ? `${file} is there already` : formatImport(imported)}\n`);
  } finally {
    bar.stop();
    process.off('SIGINT', interrupt);
  }
}

/** Writes a network as ONNX; without the name of a file, in the working folder under the model's name. */
export async function exportCommand(model: string, { onnx }: { readonly onnx: string | true }): Promise<void> {
  const file = onnx === true ? `${path.parse(model).name}.onnx` : onnx;
  await exportOnnx(model, file);
  process.stdout.write(`${file}\n`);
}
