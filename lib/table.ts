// Aligned text tables for terminals.

/** Heads a column; its cells stand left (words) or right (numbers). */
export interface Column {
  readonly title: string;
  readonly align: 'left' | 'right';
}

/** A line of titles and a line per row, columns two spaces apart, without a newline at the end. */
export function formatTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const lines = [columns.map(({ title }) => title), ...rows];
  const widths = columns.map((_, column) => Math.max(...lines.map((line) => (line[column] ?? '').length)));
  return lines
    .map((line) =>
      columns
        .map(({ align }, column) => {
          const cell = line[column] ?? '';
          const width = widths[column] ?? 0;
          return align === 'left' ? cell.padEnd(width) : cell.padStart(width);
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
