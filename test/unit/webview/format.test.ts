import assert from 'node:assert/strict';
import { elideEnd, elideStart, formatBytes, formatCount, formatDecibel, formatNumber, formatPercent, formatRatio, formatShape, NONE } from '../../../webview/src/model/format';

describe('webview: numbers as text', () => {
  it('writes bytes in decimal units with three digits', () => {
    assert.deepEqual([0, 999, 1000, 32_768, 999_949, 4_260_000, 24_000_000_000].map(formatBytes), ['0 B', '999 B', '1.00 kB', '32.8 kB', '1.00 MB', '4.26 MB', '24.0 GB']);
  });

  it('writes counts with a suffix', () => {
    assert.deepEqual([12, 1500, 2_120_000, 11_900_000_000].map(formatCount), ['12', '1.50 k', '2.12 M', '11.9 G']);
  });

  it('keeps two decimals around ×1 and three digits elsewhere', () => {
    assert.deepEqual([1, 0.968, 1.0449, 12.34, 0.05, 1e-6, 1e5].map(formatRatio), ['×1.00', '×0.97', '×1.04', '×12.3', '×0.0500', '×1.0e-6', '×1.0e+5']);
  });

  it('says that a number is missing', () => {
    assert.equal(formatNumber(null), NONE);
    assert.equal(formatDecibel(null), NONE);
    assert.equal(formatDecibel(20.218), '20.22 dB');
  });

  it('writes four significant digits with a true minus', () => {
    assert.deepEqual([0, 3, -0.42, 0.009501, 1.2e-5, 123456.7, 9999.7].map(formatNumber), ['0', '3', '−0.4200', '0.009501', '1.200e−5', '1.235e+5', '1.000e+4']);
  });

  it('writes shares and shapes', () => {
    assert.deepEqual([formatPercent(0.1507), formatPercent(1), formatPercent(0.99999), formatShape([3, 4]), formatShape([])], ['15.07 %', '100 %', '> 99.99 %', '3 × 4', 'scalar']);
  });

  it('keeps the end of a long name', () => {
    assert.equal(elideStart('transformer_blocks.3.attn1.to_q', 14), '….3.attn1.to_q');
    assert.equal(elideStart('short', 14), 'short');
  });

  it('keeps the start of a long sentence', () => {
    assert.equal(elideEnd('a red fox in the snow', 11), 'a red fox…');
    assert.equal(elideEnd('a red fox', 9), 'a red fox');
  });
});
