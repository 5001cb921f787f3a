import assert from 'node:assert/strict';
import { URI } from 'vscode-uri';
import { checkpointListing, checkpointScheme, listingPath, listingUri, nameColumn } from '../../../server/src/language/checkpointText';
import { checkpointOf, layersNamed, publishedCheckpoint } from '../../fixtures/checkpoints';

describe('checkpoint listing', () => {
  it('reads well', () => {
    const checkpoint = checkpointOf({
      'b.0.q.weight': { dtype: 'BF16', shape: [8, 4] }, 'b.0.q.bias': { dtype: 'F32', shape: [8] }, 'b.10.q.weight': { dtype: 'BF16', shape: [1024, 4] },
      'scale': { dtype: 'F32', shape: [] }, 'out.weight': { dtype: 'F8_E4M3', shape: [4, 2] },
    }, null, '/models/my model.safetensors');
    assert.equal(checkpointListing(checkpoint).text, [
      'unknown · 3 layers · 5 tensors · 8.30 kB',
      'safetensors /models/my model.safetensors',
      '4,136 weights in linear layers; columns: name, role, out × in, dtype, weights',
      ...checkpoint.problems.map((problem) => `${problem.severity} ${problem.code}: ${problem.message}`),
      '', 'b.0',
      '  b.0.q   other     8 × 4  BF16        32',
      '', 'b.10',
      '  b.10.q  other  1024 × 4  BF16     4,096',
      '', 'outside of blocks',
      '  out     other     4 × 2  F8_E4M3      8',
      '', 'other tensors (2)',
      '  b.0.q.bias       8  F32  32 B',
      '  scale       scalar  F32   4 B',
      '',
    ].join('\n'));
  });

  it('finds every layer and tensor of FLUX.1-dev on its line', () => {
    const checkpoint = publishedCheckpoint('FLUX.1-dev');
    const { text, layerLines, tensorLines } = checkpointListing(checkpoint);
    const lines = text.split('\n');
    assert.equal(layerLines.size, 504);
    assert.equal(tensorLines.size, 1160);
    for (const { name } of checkpoint.layers) {
      assert.ok(lines[layerLines.get(name) ?? 0]?.startsWith(`${' '.repeat(nameColumn)}${name} `), name);
    }
    for (const { name } of checkpoint.tensors) {
      assert.ok(lines[tensorLines.get(name) ?? 0]?.slice(nameColumn).startsWith(name.replace(/\.weight$/, '')), name);
    }
  });

  it('is written once per checkpoint', () => {
    const checkpoint = layersNamed('a');
    assert.equal(checkpointListing(checkpoint), checkpointListing(checkpoint));
    assert.notEqual(checkpointListing(layersNamed('a')), checkpointListing(checkpoint));
  });

  it('keeps one line per layer whatever names hold', () => {
    const { text, layerLines } = checkpointListing(layersNamed('a\nb.1.x', 'a\u2028b.2.x', 'c\u0000', 'd'.repeat(4000)));
    assert.equal(layerLines.size, 4);
    assert.doesNotMatch(text, /[\u2028\0]/);
    assert.ok(text.split('\n').every((line) => line.length < 400));
  });
});

describe('listing URI', () => {
  const paths = [
    '/models/FLUX.1-dev', '/a b/c.safetensors', '/100%/x%20y.safetensors', '/möbel/模型/𝒳.safetensors', '/odd?#[]@!$&\'()*+,;=:.safetensors', 'C:\\models\\x.safetensors', 'c:/models/x', '\\\\server\\share\\x', '/', '/a//b/', '/trailing/',
    '/"quoted"/<x>', '/back\\slash',
  ];
  for (const path of paths) {
    it(`holds ${path}, also after an editor has written it anew`, () => {
      assert.equal(listingPath(listingUri(path)), path);
      assert.equal(listingPath(URI.parse(listingUri(path)).toString()), path);
      assert.equal(URI.parse(listingUri(path)).scheme, checkpointScheme);
    });
  }

  it('shows the checkpoint\'s name in the tab', () => {
    assert.match(URI.parse(listingUri('/models/FLUX.1-dev')).path, /^\/FLUX\.1-dev\.layers$/);
    assert.match(URI.parse(listingUri('C:\\models\\x.safetensors')).path, /^\/x\.safetensors\.layers$/);
  });

  it('refuses what is no listing', () => {
    assert.throws(() => listingPath('file:///x'), /does not name a checkpoint listing/);
    assert.throws(() => listingPath('quantscope-checkpoint:/x'), /does not name a checkpoint listing/);
  });
});
