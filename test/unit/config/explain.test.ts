import assert from 'node:assert/strict';
import { evaluate } from '../../../server/src/config/dialects/evaluate';
import { detectDialect, readDialectFile } from '../../../server/src/config/dialects';
import type { LoadedDialect } from '../../../server/src/config/dialects/load';
import { explainByConfig, explainByDialect } from '../../../server/src/config/explain';
import type { Explained } from '../../../server/src/config/explain';
import type { Checkpoint } from '../../../server/src/protocol';
import { publishedCheckpoint } from '../../fixtures/checkpoints';
import { modelOf } from '../language/models';
import { config, documentOf } from './dialects/support';
import { slice } from './found';

const flux = publishedCheckpoint('FLUX.1-dev');
const wan = publishedCheckpoint('Wan2.1-1.3B');

const ours = `version: 1
checkpoint: ./model
defaults: { method: orbitquant, scheme: W4A4 }
rules:
  - name: feed-forward
    layers: ["**.ff.**", "!**.0.ff.**"]
    scheme: W8A8
  - layers: ["transformer_blocks.1.**"]
    keep: original
`;

function byConfig(name: string, text = ours, checkpoint: Checkpoint | null = flux): Explained {
  return explainByConfig(modelOf(text, checkpoint ? { checkpoint } : {}), name);
}

function byDialect(text: string, name: string, { own, asked }: { own?: Checkpoint; asked?: Checkpoint } = { own: flux }): Explained {
  const file = readDialectFile('config.json', documentOf(text));
  const dialect = detectDialect(file);
  assert.ok(dialect);
  const parsed = dialect.parse(file);
  const { decisions, entries, problems } = own ? evaluate(parsed, own) : { decisions: [], entries: [], problems: [] };
  const loaded: LoadedDialect = { dialect, file, parsed, checkpointPath: own?.path, checkpoint: own, entries, decisions, uncovered: { treatment: parsed.otherwise, layers: [] }, problems };
  return explainByDialect(loaded, name, asked);
}

describe('what a file does to a layer', () => {
  it('ours: the last rule decides, earlier ones are named with the rule that overrules them', () => {
    const { verdict, entries, averageBits } = byConfig('transformer_blocks.1.ff.net.2');
    assert.equal(verdict, 'kept');
    assert.equal(averageBits, 16);
    assert.deepEqual(entries.map(({ text, effect, decides, why, range }) => [text, effect, decides, why, slice(ours, range ?? undefined)]), [
      ['rule 2: transformer_blocks.1.**', 'keep: original', true, 'It is the last rule that takes the layer.', '"transformer_blocks.1.**"'],
      ['feed-forward: **.ff.**', 'W8A8', false, 'A later rule takes the layer too, in line 8.', '"**.ff.**"'],
    ]);
  });

  it('ours: an exclusion leaves the layer to the defaults', () => {
    const { verdict, summary, entries, averageBits } = byConfig('transformer_blocks.0.ff.net.2');
    assert.equal(verdict, 'quantized');
    assert.match(summary, /^orbitquant: weights codebook 4 bit, activations codebook 4 bit, RPBH$/);
    assert.ok(averageBits && averageBits > 4 && averageBits < 4.01);
    assert.deepEqual(entries.map(({ text, effect, why }) => [text, effect, why]), [['defaults', 'orbitquant W4A4', 'No rule takes the layer.']]);
  });

  it('ours: nothing said, no such layer, no checkpoint', () => {
    const bare = 'version: 1\ncheckpoint: ./model\n';
    assert.deepEqual([byConfig('proj_out', bare).verdict, byConfig('proj_out', bare).summary], ['kept', 'Neither a rule nor `defaults` says anything about it: it stays as it is.']);
    assert.equal(byConfig('blocks.0.attn1.to_q').verdict, 'absent');
    assert.equal(byConfig('proj_out', 'version: 1\n', null).verdict, 'unknown');
  });

  const bitsandbytes = config({ quant_method: 'bitsandbytes', load_in_4bit: true, bnb_4bit_quant_type: 'nf4', llm_int8_skip_modules: ['proj_out', 'single_transformer_blocks.3'] });

  it('another tool: by its own rule, entries that take the layer with the one that decides', () => {
    const kept = byDialect(bitsandbytes, 'single_transformer_blocks.3.proj_out');
    assert.equal(kept.verdict, 'kept');
    assert.deepEqual(kept.entries.map(({ text, decides, why }) => [text, decides, why]), [
      ['proj_out', true, 'Of those that take the layer it decides.'], ['single_transformer_blocks.3', false, 'It takes the layer too, but another decides.'],
    ]);
    assert.match(kept.rule, /last segment of its name is the entry/);
    const quantized = byDialect(bitsandbytes, 'transformer_blocks.3.attn.to_q');
    assert.deepEqual([quantized.verdict, quantized.summary, quantized.entries], ['quantized', 'No entry takes it: nf4', []]);
  });

  it('another tool: judged by the checkpoint that was asked about where there is none, or one that is packed', () => {
    assert.equal(byDialect(bitsandbytes, 'proj_out', { asked: flux }).verdict, 'kept');
    assert.equal(byDialect(bitsandbytes, 'proj_out', { own: { ...flux, layers: [] }, asked: flux }).verdict, 'kept');
    assert.equal(byDialect(bitsandbytes, 'transformer_blocks.3.attn.to_q', { own: wan, asked: flux }).verdict, 'absent');
    assert.equal(byDialect(bitsandbytes, 'proj_out', {}).verdict, 'unknown');
  });

  it('another tool: what it adds itself has no place in the file', () => {
    const own = byDialect(config({ quant_method: 'modelopt', quant_type: 'FP8' }), 'proj_out').entries.filter(({ range }) => range === null);
    assert.ok(own.length > 0 && own.every(({ why }) => why.length > 20), JSON.stringify(own));
  });

  it('another tool: a file that the tool refuses says so', () => {
    const broken = byDialect(config({ quant_method: 'bitsandbytes', load_in_4bit: true, load_in_8bit: true }), 'proj_out');
    assert.match(broken.summary, /The tool refuses this file: /);
  });
});
