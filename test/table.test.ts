import { formatTable } from '../lib/table';

test('words stand left, numbers right, columns two spaces apart', () => {
  const columns = [
    { title: 'class', align: 'left' },
    { title: 'pixels', align: 'right' },
  ] as const;
  expect(
    formatTable(columns, [
      ['road', '5'],
      ['vegetation', '1,234,567'],
    ]),
  ).toBe(['class          pixels', 'road                5', 'vegetation  1,234,567'].join('\n'));
});

test('without rows the titles remain', () => {
  expect(formatTable([{ title: 'a', align: 'left' }], [])).toBe('a');
});
