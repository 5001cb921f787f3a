import assert from 'node:assert/strict';
import { previewMarkdown } from '../../../webview/src/model/previewMarkdown';
import { AGREEMENT, curve, curveDomain, measuredOn, medianOutputError, metricRows, OUTPUT_ERROR, referenceWarning, scopeText, settingTexts, STEP_METRICS } from '../../../webview/src/model/previewMetrics';
import { findFrame, latestStep, pictureFileName, positions, REFERENCE, stepTitle, videoFrames } from '../../../webview/src/model/previewPlace';
import { frame, step, summary } from './previewFixtures';

describe('webview: where a preview stands', () => {
  const frames = [
    frame(REFERENCE, 19), frame(REFERENCE, 4), frame(REFERENCE, null), frame(0, 4), frame(1, 4), frame(1, 19), frame(REFERENCE, 9, { item: 1 }), frame(REFERENCE, 9, { item: 1, frame: 2 }),
  ];

  it('finds the picture of a candidate at a place', () => {
    assert.equal(findFrame(frames, 0, { item: 0, step: 4, frame: 0 }), frames[3]);
    assert.equal(findFrame(frames, REFERENCE, { item: 0, step: null, frame: 0 }), frames[2]);
    assert.equal(findFrame(frames, 0, { item: 0, step: 19, frame: 0 }), undefined);
    assert.equal(findFrame(frames, REFERENCE, { item: 1, step: 9, frame: 2 }), frames[7]);
  });

  it('orders the steps of an item, the finished sample last', () => {
    assert.deepEqual(positions(frames, 0), [4, 19, null]);
    assert.deepEqual(positions(frames, 1), [9]);
    assert.deepEqual(positions(frames, 2), []);
  });

  it('starts at the last step that both sides have', () => {
    assert.equal(latestStep(frames, 0, 0), 4);
    assert.equal(latestStep(frames, 0, 1), 19);
    assert.equal(latestStep(frames, 1, 0), 9);
    assert.equal(latestStep([], 0, 0), null);
  });

  it('counts the frames of a video', () => {
    assert.deepEqual([videoFrames(frames, 0), videoFrames(frames, 1), videoFrames([], 0)], [1, 3, 1]);
  });

  it('counts steps from 1', () => {
    assert.equal(stepTitle(19, 20, 49.000001), 'step 20 of 20, t = 49');
    assert.equal(stepTitle(0, undefined), 'step 1');
    assert.equal(stepTitle(null, 20), 'finished sample');
  });

  it('names files after config and place, whatever the config is called', () => {
    assert.equal(pictureFileName('glyph-dit.quant.yaml', 'reference', { item: 0, step: 19, frame: 0 }, false), 'glyph-dit-reference-item1-step20.png');
    assert.equal(pictureFileName('my model (2).yml', 'difference', { item: 1, step: null, frame: 3 }, true), 'my-model-2-difference-item2-finished-frame4.png');
    assert.doesNotMatch(pictureFileName('../../a\\b:c', 'x', { item: 0, step: 0, frame: 0 }, false), /[\\/:]/);
  });
});

describe('webview: numbers of a preview', () => {
  it('says of every number which direction is better', () => {
    assert.deepEqual(STEP_METRICS.map(({ id, better }) => [id, better]), [
      ['outputRelativeMse', 'lower is better'], ['latentCosine', 'higher is better'], ['latentPsnrDb', 'higher is better'], ['psnrDb', 'higher is better'], ['ssim', 'higher is better'],
    ]);
  });

  it('writes equality as a word and never rounds up to it', () => {
    const rows = new Map(metricRows(summary()).map(({ title, texts }) => [title, texts]));
    assert.deepEqual(rows.get('Latent cosine'), ['0.9987', '−0.2500']);
    assert.deepEqual(rows.get('Image PSNR'), ['equal', '9.88 dB']);
    assert.deepEqual(rows.get('Image SSIM'), ['1.0000', '> 0.9999']);
    assert.deepEqual(rows.get('Output error, median of the steps'), ['0.02000', '0.3000']);
  });

  it('leaves out the output error when no step was compared', () => {
    const result = summary();
    result.candidates.forEach((candidate) => candidate.perStep.splice(0));
    assert.equal(metricRows(result).length, AGREEMENT.length);
    assert.equal(medianOutputError([]), null);
  });

  it('takes the median of the output errors, which one step cannot drive away', () => {
    assert.equal(medianOutputError([step(0, 0.001), step(1, 2), step(2, 0.003)]), 0.003);
    assert.equal(medianOutputError([step(0, 1), step(1, 3)]), 2);
  });

  it('says what the agreement was measured on', () => {
    const result = summary();
    assert.equal(measuredOn(result), 'mean of the compared steps, mean of 2 items');
    assert.equal(measuredOn({ ...result, items: ['x'], settings: { ...result.settings, mode: 'free' } }), 'finished sample');
  });

  it('writes scope and settings', () => {
    const { candidates, settings } = summary();
    assert.deepEqual(candidates.map(scopeText), ['42 of 56 layers · 84.31 % of the weights · 6.016 bits average', '6 of 56 layers · 100 % of the weights · 6.016 bits average']);
    assert.deepEqual(settingTexts(settings), ['forced: 2 of 20 reference steps compared', '16 × 16 pixels', 'seed 5', 'guidance 4']);
    assert.deepEqual(settingTexts({ ...settings, mode: 'free', guidance: 0, width: 832, height: 480, frames: 17, decoder: '../decoders/taew2_1.safetensors' }),
      ['free: 20 sampling steps', '832 × 480 pixels', '17 frames', 'seed 5', 'guidance 0', 'decoder taew2_1.safetensors']);
  });

  it('warns of a reference that nothing can be compared with', () => {
    const sound = { finite: true, uniform: false, cached: false };
    assert.equal(referenceWarning(sound), null);
    assert.match(referenceWarning({ ...sound, finite: false }) ?? '', /NaN or infinite/);
    assert.match(referenceWarning({ ...sound, uniform: true }) ?? '', /uniform/);
  });
});

describe('webview: curves of a preview', () => {
  const ssim = AGREEMENT.find(({ id }) => id === 'ssim') ?? assert.fail();
  const psnr = AGREEMENT.find(({ id }) => id === 'psnrDb') ?? assert.fail();

  it('takes one number of each step', () => {
    assert.deepEqual(curve([step(3, 0.5, { psnrDb: null })], psnr), [{ step: 3, timestep: 849, value: null }]);
    assert.equal(curve([step(3, 0.5)], OUTPUT_ERROR)[0]?.value, 0.5);
  });

  it('holds every positive error between half-decades', () => {
    const [low, high] = curveDomain([0.004, 0.2, 0], OUTPUT_ERROR);
    assert.ok(low <= 0.004 && low > 0.0004 && high >= 0.2 && high < 2, `${low} ${high}`);
    const [below, above] = curveDomain([0.01], OUTPUT_ERROR);
    assert.ok(below < 0.01 && above > 0.01);
    assert.deepEqual(curveDomain([0, null], OUTPUT_ERROR), [1e-3, 1]);
  });

  it('never goes beyond what is equal, and never collapses', () => {
    const [low, high] = curveDomain([0.9999, 1], ssim);
    assert.ok(low < 0.9999 && high === 1);
    const [least, most] = curveDomain([30, 30, null, NaN], psnr);
    assert.ok(least < 30 && most > 30 && Number.isFinite(least + most));
    assert.deepEqual(curveDomain([null], psnr), [0, 1]);
  });
});

describe('webview: a preview as Markdown', () => {
  const text = previewMarkdown(summary(), false);
  const lines = text.split('\n');

  it('tells scope, bits and settings', () => {
    assert.match(lines[0] ?? '', /^### Quantized preview: a\.quant\.yaml and b\\\|x\.quant\.yaml$/);
    assert.match(lines[2] ?? '', /DiTTransformer2DModel · forced: 2 of 20 reference steps compared · 16 × 16 pixels · seed 5 · guidance 4 · class 3: digit 3 · class 7: digit 7/);
    assert.ok(lines.includes('| a.quant.yaml | 42 of 56 | 84.31 % | 6.016 |'), text);
  });

  it('has every metric with its direction, and every step of every candidate', () => {
    assert.ok(lines.includes('| Image PSNR | higher is better | equal | 9.88 dB |'), text);
    assert.ok(lines.some((line) => line.startsWith('| 20 of 20 | 49 | 0.03000 | 0.9900 | 30.00 dB | equal |')), text);
    assert.equal(lines.filter((line) => /^\| (10|20) of 20 \|/.test(line)).length, 4);
  });

  it('has as many cells in every row as its head, and no picture', () => {
    const cells = (line: string): number => line.split(/(?<!\\)\|/).length;
    lines.forEach((line, index) => {
      if (/^\|[-:|]+\|$/.test(line)) {
        for (let row = index - 1; lines[row]?.startsWith('|') === true; row++) {
          assert.equal(cells(lines[row] ?? ''), cells(line), lines[row]);
        }
      }
    });
    assert.doesNotMatch(text, /!\[|data:/);
  });

  it('lets no name become markup', () => {
    const result = summary();
    result.items = ['</details> <img src=x> `rm` **bold** [a](b)\n# title'];
    const [first] = result.candidates;
    assert.ok(first !== undefined);
    first.label = '<script>&"\n|';
    const hostile = previewMarkdown(result, false);
    assert.doesNotMatch(hostile, /(?<!\\)<(script|img)|(?<!\\)\*\*bold|^# title/m);
  });

  it('says when the reference is broken and when the config was edited since', () => {
    const result = summary();
    result.reference.finite = false;
    assert.match(previewMarkdown(result, true), /NaN or infinite[^]*edited after this preview/);
  });
});
