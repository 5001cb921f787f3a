import assert from 'node:assert/strict';
import { SymbolKind } from 'vscode-languageserver-types';
import type { DocumentSymbol } from 'vscode-languageserver-types';
import { documentSymbols, flatSymbols } from '../../../server/src/language/documentSymbol';
import { layersNamed } from '../../fixtures/checkpoints';
import { modelOf } from './models';
import type { Options } from './models';

const checkpoint = layersNamed('blocks.0.attn.q', 'blocks.0.ff.up', 'blocks.1.attn.q', 'blocks.1.ff.up', 'out');

/** One line for each symbol: kind, name, detail, what is selected; indented by depth. Checks what LSP demands. */
function outline(text: string, options: Options = {}): string[] {
  const model = modelOf(text, options);
  const offset = (at: DocumentSymbol['range']['start']): number => model.document.offsetAt(at);
  const lines = (symbols: readonly DocumentSymbol[], depth: number): string[] => symbols.flatMap(({ name, kind, detail, range, selectionRange, children = [] }) => {
    assert.ok(name.trim() !== '' && offset(range.start) <= offset(selectionRange.start) && offset(selectionRange.end) <= offset(range.end), `${name} ${JSON.stringify({ range, selectionRange })}`);
    assert.ok(children.every((child) => offset(range.start) <= offset(child.range.start) && offset(child.range.end) <= offset(range.end)), name);
    const kindName = Object.entries(SymbolKind).find(([, value]) => value === kind)?.[0] ?? '';
    return [`${'  '.repeat(depth)}${kindName} ${name}${detail === undefined ? '' : ` (${detail})`} [${model.document.getText(selectionRange)}]`, ...lines(children, depth + 1)];
  });
  return lines(documentSymbols(model), 0);
}

describe('document symbols', () => {
  const text = `# what
version: 1
checkpoint: ./m
defaults: { method: orbitquant, scheme: W4A4 }
rules:
  - name: attention
    layers: ["**.attn.*", "!blocks.1.**"]
    method: { name: rtn }

  # the last one
  - { layers: out, keep: bf16 }
budget: { size: 1GB } # hard
preview:
  classes: [1, 2]
loras:
  - path: a.safetensors
`;

  it('show sections, rules with what they do, and patterns', () => {
    assert.deepEqual(outline(text, { checkpoint }), [
      'Property version (1) [version]',
      'File checkpoint (./m) [checkpoint]',
      'Namespace defaults [defaults]', '  Property method (orbitquant) [method]', '  Property scheme (W4A4) [scheme]',
      'Array rules (2 rules) [rules]',
      '  Class attention (rtn · 1 layer) [attention]', '    String **.attn.* (2 layers) ["**.attn.*"]', '    String !blocks.1.** (excludes 2 layers) ["!blocks.1.**"]',
      '  Class out (keep bf16 · 1 layer) [out]', '    String out (1 layer) [out]',
      'Namespace budget [budget]', '  Property size (1GB) [size]',
      'Namespace preview [preview]', '  Property classes (1, 2) [classes]',
      'Array loras (1 entry) [loras]',
    ]);
  });

  it('are of the same text with other line ends, and tell nothing of layers without a checkpoint', () => {
    assert.deepEqual(outline(text.replaceAll('\n', '\r\n')), outline(text));
    assert.ok(!outline(text).some((line) => line.includes('layer)')));
  });

  it('end where their text ends', () => {
    const model = modelOf(text);
    const rules = documentSymbols(model).find(({ name }) => name === 'rules');
    assert.equal(rules && model.document.getText(rules.range).split('\n').at(-1), '  - { layers: out, keep: bf16 }');
    assert.equal(rules?.children?.[0] && model.document.getText(rules.children[0].range), 'name: attention\n    layers: ["**.attn.*", "!blocks.1.**"]\n    method: { name: rtn }');
  });

  it('stand for text that is half written', () => {
    assert.deepEqual(outline('rules:\n  - layers: ["a\n  - name: 𝒳\n    layers:\n      - \n  - name: " "\n  -\nbud\nbudget:\n', { checkpoint }), [
      'Array rules (3 rules) [rules]', '  Class a (0 layers) [["a]', '    String a (0 layers) [a]', '  Class 𝒳 (0 layers) [𝒳]', '  Class (no name) (0 layers) [" "]', 'Property bud [bud]', 'Property budget [budget]',
    ]);
    assert.deepEqual([outline(''), outline('- a'), outline('[[[[')], [[], [], []]);
  });

  it('show keys that stand there twice, and what aliases bring in, at the alias', () => {
    assert.deepEqual(outline('a: 1\nb: 2\na: 3\n'), ['Property a (1) [a]', 'Property b (2) [b]', 'Property a (3) [a]']);
    assert.deepEqual(outline('p: &p [x, y]\nr: &r { name: n, layers: *p }\nrules:\n  - { layers: *p }\n  - *r\n').slice(-6), [
      '  Class x, y [*p]', '    String x [*p]', '    String y [*p]', '  Class n [*r]', '    String x [*r]', '    String y [*r]',
    ]);
  });

  it('are a flat list for clients that know no tree', () => {
    const flat = flatSymbols(documentSymbols(modelOf(text)), 'file:///x');
    assert.deepEqual(flat.map(({ name, containerName }) => `${containerName ?? ''}/${name}`).slice(2, 9), ['/defaults', 'defaults/method', 'defaults/scheme', '/rules', 'rules/attention', 'attention/**.attn.*', 'attention/!blocks.1.**']);
    assert.ok(flat.every(({ location }) => location.uri === 'file:///x'));
  });
});
