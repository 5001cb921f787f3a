import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Location, LocationLink } from 'vscode-languageserver-types';
import { checkpointListing, listingUri } from '../../../server/src/language/checkpointText';
import { definition, maxTargets } from '../../../server/src/language/definition';
import type { DefinitionOptions } from '../../../server/src/language/definition';
import type { FolderEntry } from '../../../server/src/language/pathCompletion';
import { methods } from '../../../server/src/methods';
import { layersNamed, publishedCheckpoint } from '../../fixtures/checkpoints';
import { atCursor, withMarks } from './models';
import type { Options } from './models';

const files: Record<string, readonly FolderEntry[]> = {
  '/project': [{ name: 'a.safetensors', isFolder: false }, { name: 'taesd', isFolder: true }, { name: 'm', isFolder: true }, { name: 'empty', isFolder: true }],
  '/project/taesd': [{ name: 'diffusion_pytorch_model.safetensors', isFolder: false }, { name: 'config.json', isFolder: false }],
  '/project/m': [{ name: 'transformer', isFolder: true }, { name: 'model_index.json', isFolder: false }],
};
const everything: DefinitionOptions = { linkSupport: true, listings: true, methodDocs: 'file:///docs/methods', listFolder: (path) => files[path] ?? [] };

const checkpoint = layersNamed('blocks.0.attn.q', 'blocks.0.ff.up', 'blocks.1.attn.q', 'blocks.1.ff.up', 'out');

/** The words of the listing that the targets mark. */
function targets(marked: string, options: Options = { checkpoint }): string[] | null {
  const { model, position } = atCursor(marked, options);
  const lines = options.checkpoint ? checkpointListing(options.checkpoint).text.split('\n') : [];
  const links = definition(model, position, everything) as LocationLink[] | null;
  const plain = definition(model, position, { ...everything, linkSupport: false }) as Location[] | null;
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
    const [link] = definition(model, position, everything) as LocationLink[];
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

  it('has no answer for a pattern without a checkpoint, or where its listing cannot be shown', () => {
    assert.equal(targets('rules: [{ layers: ["o|ut"] }]', {}), null);
    const { model, position } = atCursor('rules: [{ layers: ["o|ut"] }]', { checkpoint });
    assert.equal(definition(model, position, { ...everything, listings: false }), null);
  });

  /** Where plain targets are: the URI, or the config with its targets marked. */
  function places(marked: string, options: Partial<DefinitionOptions> = {}): string[] {
    const { model, position } = atCursor(marked);
    const found = definition(model, position, { ...everything, ...options, linkSupport: false }) as Location[] | null;
    return (found ?? []).map(({ uri, range }) => (uri === model.document.uri ? withMarks(model, [range]) : uri));
  }

  it('goes from an alias to its anchor, to the last one before it', () => {
    const text = (from: string, to: string): string[] => [`defaults: { method: &m rtn }\nrules:\n  - { layers: a, method: ${from} }\n  - { layers: &m b }\n`, `defaults: { method: «&m» rtn }\nrules:\n  - { layers: a, method: ${to} }\n  - { layers: &m b }\n`];
    const [marked = '', expected] = text('*|m', '*m');
    assert.deepEqual(places(marked), [expected]);
    assert.deepEqual(places('a: &x 1\nb: &x 2\nc: *x|'), ['a: &x 1\nb: «&x» 2\nc: *x']);
    assert.deepEqual(places('a: *|x\nb: &x 2'), []);
  });

  it('goes from a method to its card, and every method has one', () => {
    assert.deepEqual(places('defaults: { method: orbit|quant }'), ['file:///docs/methods/orbitquant.md']);
    assert.deepEqual(places('rules:\n  - layers: a\n    method: { name: |rtn }'), ['file:///docs/methods/rtn.md']);
    assert.deepEqual(places('defaults: { method: or|bit }'), []);
    assert.deepEqual(places('defaults: { method: r|tn }', { methodDocs: undefined }), []);
    for (const name of methods.keys()) {
      assert.ok(existsSync(join(__dirname, '../../../docs/methods', `${name}.md`)), name);
    }
  });

  it('goes from a path to its file, from a folder to what says most about it', () => {
    assert.deepEqual(places('loras: [{ path: a.safe|tensors }]'), ['file:///project/a.safetensors']);
    assert.deepEqual(places('preview: { decoder: "./tae|sd" }'), ['file:///project/taesd/config.json']);
    assert.deepEqual(places('preview: { prompts: [a fox, ./a.safetensors|] }'), ['file:///project/a.safetensors']);
    assert.deepEqual(places('checkpoint: ./m|\n'), ['file:///project/m/model_index.json']);
    for (const nothing of ['preview: { decoder: v|ae }', 'loras: [{ path: nowh|ere.safetensors }]', 'preview: { prompts: [a f|ox] }', 'checkpoint: ./emp|ty', 'checkpoint: |" "']) {
      assert.deepEqual(places(nothing), [], nothing);
    }
  });
});
