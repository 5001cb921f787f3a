import assert from 'node:assert/strict';
import type { Location, LocationLink } from 'vscode-languageserver-types';
import { checkpointListing, listingUri } from '../../../server/src/language/checkpointText';
import { definition, maxTargets } from '../../../server/src/language/definition';
import { layersNamed, publishedCheckpoint } from '../../fixtures/checkpoints';
import { atCursor } from './models';
import type { Options } from './models';

const checkpoint = layersNamed('blocks.0.attn.q', 'blocks.0.ff.up', 'blocks.1.attn.q', 'blocks.1.ff.up', 'out');

/** The words of the listing that the targets mark. */
function targets(marked: string, options: Options = { checkpoint }): string[] | null {
  const { model, position } = atCursor(marked, options);
  const lines = options.checkpoint ? checkpointListing(options.checkpoint).text.split('\n') : [];
  const links = definition(model, position, true) as LocationLink[] | null;
  const plain = definition(model, position, false) as Location[] | null;
  assert.deepEqual(plain, links?.map((link) => ({ uri: link.targetUri, range: link.targetSelectionRange })) ?? null);
  links?.forEach((link) => assert.equal(link.targetUri, listingUri(options.checkpoint?.path ?? '')));
  return links?.map(({ targetSelectionRange: { start, end } }) => (lines[start.line] ?? '').slice(start.character, end.character)) ?? null;
}

describe('definition', () => {
  it('goes from a pattern to the layers it matches', () => {
    assert.deepEqual(targets('rules: [{ layers: ["**.at|tn.*", out] }]'), ['blocks.0.attn.q', 'blocks.1.attn.q']);
    assert.deepEqual(targets('rules: [{ layers: ["**.attn.*", ou|t] }]'), ['out']);
    assert.deepEqual(targets('rules:\n  - layers:\n      - |blocks.1.**\n'), ['blocks.1.attn.q', 'blocks.1.ff.up']);
  });

  it('goes from an exclusion to what it excludes', () => {
    assert.deepEqual(targets('rules: [{ layers: ["**", "!o|ut"] }]'), ['out']);
  });

  it('marks the pattern it came from', () => {
    const { model, position } = atCursor('rules: [{ layers: ["o|ut"] }]', { checkpoint });
    const [link] = definition(model, position, true) as LocationLink[];
    assert.equal(link?.originSelectionRange && model.document.getText(link.originSelectionRange), '"out"');
  });

  it('goes from the checkpoint to the top of its listing', () => {
    assert.deepEqual(targets('checkpoint: ./|m\n'), ['']);
  });

  it('stops at a number of targets that editors can show', () => {
    assert.equal(targets('rules: [{ layers: "|**" }]', { checkpoint: publishedCheckpoint('FLUX.1-dev') })?.length, maxTargets);
  });

  for (const marked of ['rules: [{ layers: "no|where" }]', 'ver|sion: 1', 'rules: [{ la|yers: out }]', 'check|point: ./m', '|']) {
    it(`has no answer at ${JSON.stringify(marked)}`, () => {
      assert.equal(targets(marked), null);
    });
  }

  it('has no answer without a checkpoint', () => {
    assert.equal(targets('rules: [{ layers: ["o|ut"] }]', {}), null);
  });
});
