import assert from 'node:assert/strict';
import { difference, shrink } from '../../../../server/src/analysis/evidence/pictures';
import type { PictureRow } from '../../../../server/src/analysis/evidence/pictures';
import type { PreviewSettings } from '../../../../server/src/protocol';
import { fromPng, toPng } from '../../../../server/src/preview/png';
import type { Picture } from '../../../../server/src/preview/metrics';
import { comparison, flat, seedRun } from '../../../fixtures/evidence';

const named = (count: number): string[] => Array.from({ length: count }, (_, i) => `class ${i}`);

function pictures(settings: Partial<PreviewSettings>, count = 2): PictureRow[] {
  return comparison([seedRun(5, named(count).map((_, i) => 20 + i))], settings, named(count)).pictures;
}

function decoded(png: string): Picture { return fromPng(Buffer.from(png, 'base64')); }

describe('pictures of a report', () => {
  it('forced: the compared step that departs most and the last, with their own numbers', () => {
    const rows = pictures({});
    assert.deepEqual(rows.map(({ item, name, step, metrics }) => [item, name, step, metrics.psnrDb]), [[0, 'class 0', 3, 20], [0, 'class 0', 7, 30], [1, 'class 1', 3, 21], [1, 'class 1', 7, 31]]);
    assert.deepEqual(Object.keys(rows[0]?.metrics ?? {}).sort(), ['latentCosine', 'latentPsnrDb', 'psnrDb', 'ssim']);
  });

  it('free: finished samples', () => {
    assert.deepEqual(pictures({ mode: 'free' }).map(({ step, metrics }) => [step, metrics.psnrDb]), [[null, 20], [null, 21]]);
  });

  it('video: first, middle and last frame', () => {
    assert.deepEqual(pictures({ mode: 'free', frames: 13 }).map(({ item, frame, frames }) => [item, frame, frames]), [[0, 0, 13], [0, 6, 13], [0, 12, 13], [1, 0, 13], [1, 6, 13], [1, 12, 13]]);
    assert.deepEqual(pictures({ mode: 'free', frames: 2 }).map(({ frame }) => frame), [0, 1, 0, 1]);
  });

  it('at most six rows, at least one item', () => {
    assert.equal(pictures({ mode: 'free' }, 40).length, 6);
    assert.deepEqual(pictures({ frames: 5 }, 3).map(({ item }) => item), [0, 0, 0, 0, 0, 0]);
  });

  it('tiny pictures are enlarged by whole pixels, large ones averaged', () => {
    assert.deepEqual(pictures({ width: 24, height: 16 }).map(({ enlarged, averaged }) => [enlarged, averaged])[0], [7, 1]);
    const [row] = pictures({ mode: 'free', width: 1040, height: 520 }, 1);
    assert.ok(row);
    assert.deepEqual([row.enlarged, row.averaged, decoded(row.shown.reference).width, decoded(row.shown.reference).height, decoded(row.full.reference).width], [1, 3, 347, 174, 1040]);
  });

  it('the difference is on one scale for each step, the smallest that holds it', () => {
    const [row] = pictures({});
    assert.equal(row?.differenceEnd, 32);
    const { channels, data } = decoded(row.shown.difference);
    assert.equal(channels, 1);
    assert.ok(data.every((value) => value === 1), 'all of them are 32 levels apart');
    assert.ok(Math.abs((decoded(row.shown.quantized).data[0] ?? 0) - (decoded(row.shown.reference).data[0] ?? 0) - 32 / 255) < 1 / 255);
  });

  it('takes the largest of the channels', () => {
    const other = flat(0.5, 2, 1);
    other.data[3] = 0.9; // green of the second pixel
    assert.deepEqual([...difference(flat(0.5, 2, 1), other, 255).data].map((value) => Number(value.toFixed(3))), [0, 0.4]);
  });

  it('averages squares, and what is left at the edge', () => {
    const source: Picture = { channels: 1, width: 3, height: 2, data: Float32Array.of(0, 1, 0.5, 1, 0, 1) };
    assert.deepEqual(shrink(source, 2), { channels: 1, width: 2, height: 1, data: Float32Array.of(0.5, 0.75) });
  });

  it('a PNG gives its picture back', () => {
    for (const channels of [1, 3]) {
      const picture: Picture = { channels, width: 2, height: 2, data: Float32Array.from({ length: 4 * channels }, (_, i) => Math.fround((20 * i) / 255)) };
      assert.deepEqual(fromPng(toPng(picture)), picture);
    }
  });
});
