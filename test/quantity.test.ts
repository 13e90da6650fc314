import { formatBytes, formatCount, formatInteger } from '../lib/quantity';

test.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1024, '1.0 KiB'],
  [1.5 * 2 ** 30, '1.5 GiB'],
  [2 ** 60, '1024.0 PiB'],
])('%d bytes are written %s', (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

test('counts have decimal prefixes', () => {
  expect([999, 44_000_000, 188_920_000_000].map(formatCount)).toEqual(['999', '44.0 M', '188.9 G']);
});

test('integers have their thousands separated', () => {
  expect(formatInteger(1234567)).toBe('1,234,567');
});
