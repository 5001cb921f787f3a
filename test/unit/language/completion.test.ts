import assert from 'node:assert/strict';
import { TextDocument } from 'vscode-languageserver-textdocument';
import type { CompletionItem, CompletionList, InsertReplaceEdit, Range, TextEdit } from 'vscode-languageserver-types';
import { schema } from '../../../server/src/config/schema';
import { complete, resolveCompletion } from '../../../server/src/language/completion';
import { withoutPlaceholders } from '../../../server/src/language/completionItems';
import type { CompletionOptions } from '../../../server/src/language/completion';
import type { FolderEntry } from '../../../server/src/language/pathCompletion';
import { parse } from '../config/found';
import { layersNamed, publishedCheckpoint } from '../../fixtures/checkpoints';
import { atCursor, modelOf, reportOf } from './models';
import type { Options } from './models';

interface Offered { labels: string[]; items: CompletionItem[]; /** The document after taking an item. */ after(label: string): string }

/** What an editor shows at the `|`: it keeps items whose filterText holds the typed letters in order, as VS Code does. */
function offered(marked: string, options: Options & Partial<CompletionOptions> = {}): Offered {
  const { model, position, text } = atCursor(marked, options);
  const document = TextDocument.create('file:///x', '', 1, text);
  const { items } = complete(model, position, { snippets: options.snippets ?? false, listFolder: options.listFolder });
  const shown = items.filter((item) => {
    const { range } = item.textEdit as TextEdit;
    assert.equal(range.start.line, range.end.line);
    assert.ok(range.start.line === position.line && range.start.character <= position.character && position.character <= range.end.character, 'the edit covers the cursor');
    return isSubsequence(document.getText({ start: range.start, end: position }), item.filterText ?? item.label);
  }).sort((a, b) => ((a.sortText ?? a.label) < (b.sortText ?? b.label) ? -1 : 1));
  return {
    labels: shown.map((item) => item.label), items: shown,
    after: (label) => {
      const item = shown.find((each) => each.label === label);
      assert.ok(item, `no "${label}" among ${shown.map((each) => each.label).join(', ')}`);
      return TextDocument.applyEdits(document, [item.textEdit as TextEdit]);
    },
  };
}

function isSubsequence(letters: string, text: string): boolean {
  let from = 0;
  return [...letters.toLowerCase()].every((letter) => {
    from = text.toLowerCase().indexOf(letter, from) + 1;
    return from > 0;
  });
}

/** Keys of the whole file, in the schema's order, but these. */
function rootKeys(...but: string[]): string[] {
  return Object.keys(schema.properties ?? {}).filter((key) => !but.includes(key));
}

const checkpoint = layersNamed('blocks.0.attn.q', 'blocks.0.ff.up', 'blocks.1.attn.q', 'blocks.1.ff.up', 'out');

describe('completion of keys', () => {
  const keys: [marked: string, labels: string[]][] = [
    ['|', rootKeys()],
    ['version: 1\n|', rootKeys('version')],
    ['|\nversion: 1\ncheckpoint: x\n', rootKeys('version', 'checkpoint')],
    ['version: 1\nru|', ['rules']],
    ['version: 1\nru|les:\n  - layers: x\n', ['rules']],
    ['defaults: { | }', ['method', 'scheme', 'keep']],
    ['defaults: {|}', ['method', 'scheme', 'keep']],
    ['defaults: { method: rtn, | }', ['scheme', 'keep']],
    ['defaults: { |, method: rtn }', ['scheme', 'keep']],
    ['defaults: { method: rtn, |', ['scheme', 'keep']],
    ['defaults: { method: rtn, s|\nrules:\n  - layers: x\n', ['scheme']],
    ['defaults:\n  |', ['method', 'scheme', 'keep']],
    ['defaults:\n  |\n  scheme: W4A4\n', ['method', 'keep']],
    ['defaults:\n  scheme: W4A4\n  m|\nrules: []\n', ['method']],
    ['rules:\n  - layers: x\n    |', ['name', 'scheme', 'method', 'keep']],
    ['rules:\n  - layers: x\n    |\n    keep: bf16\n  - name: y\n', ['name', 'scheme', 'method']],
    ['rules:\n- layers: x\n  |', ['name', 'scheme', 'method', 'keep']],
    ['rules:\n- layers: x\n|', rootKeys('rules')],
    ['rules: [{ layers: x, | }]', ['name', 'scheme', 'method', 'keep']],
    ['rules:\n  - layers: [a,\n      b]\n    s|', ['scheme']],
    ['rules:\n  - layers: ["a\n    s|', ['scheme']],
    ['rules:\n  - layers: [a, b\n    s|', ['scheme']],
    ['rules:\n  - layers: x\n    method: { name: rtn, | }', ['smooth', 'permute', 'rotate', 'tail', 'lowRank', 'weights', 'activations', 'solver']],
    ['rules:\n  - layers: x\n    method:\n      name: rtn\n      weights: { group: 64, | }', ['kind', 'symmetric', 'scale', 'norm', 'format', 'clip', 'form']],
    ['rules:\n  - layers: x\n    method:\n      name: rtn\n      |', ['smooth', 'permute', 'rotate', 'tail', 'lowRank', 'weights', 'activations', 'solver']],
    ['budget: {|', ['size', 'bits']],
    ['{ version: 1, | }', rootKeys('version')],
    ['"version": 1\nche|', ['checkpoint']],
    ['version: 1 # |', []],
    ['# |', []],
    ['version: 1 |', []],
    ['version: 1\n    |', []],
    ['unknown:\n  |', []],
    ['constructor: { | }', []],
    ['rules:\n  - name: |', []],
    ['rules:\n  - name: "rule |"\n', []],
  ];
  for (const [marked, labels] of keys) {
    it(JSON.stringify(marked), () => {
      assert.deepEqual(offered(marked).labels.filter((label) => !label.startsWith('rule: ')), labels);
      assert.deepEqual(offered(marked.replaceAll('\n', '\r\n')).labels.filter((label) => !label.startsWith('rule: ')), labels, 'with CRLF');
    });
  }

  const taken: [marked: string, label: string, after: string][] = [
    ['ver|', 'version', 'version: '],
    ['version: 1\nche|ckpoint: ./x\n', 'checkpoint', 'version: 1\ncheckpoint: ./x\n'],
    ['version: 1\nche|kpnt: ./x\n', 'checkpoint', 'version: 1\ncheckpoint: ./x\n'],
    ['defaults: { | method: rtn }', 'scheme', 'defaults: { scheme: ,  method: rtn }'],
    ['defaults: { sch| method: rtn }', 'scheme', 'defaults: { scheme: ,  method: rtn }'],
    ['defaults: { method: rtn, s| }', 'scheme', 'defaults: { method: rtn, scheme:  }'],
    ['rules:\n  - layers: x\n    ke|\n', 'keep', 'rules:\n  - layers: x\n    keep: \n'],
    ['version: 1\n𝒳: "𝒴"\r\nbud|', 'budget', 'version: 1\n𝒳: "𝒴"\r\nbudget: '],
    ['def|', 'defaults', 'defaults: { method: orbitquant, scheme: W4A4 }'],
  ];
  for (const [marked, label, after] of taken) {
    it(`${JSON.stringify(marked)} with ${label}`, () => {
      assert.equal(offered(marked).after(label), after);
    });
  }

  it('carries the schema\'s docs, and says what is required', () => {
    const item = offered('rules:\n  - lay|').items[0];
    assert.equal(item?.label, 'layers');
    assert.match(item.detail ?? '', /\(required\)$/);
    assert.match(JSON.stringify(item.documentation), /anchored at both ends/);
  });
});

describe('completion of rules', () => {
  it('offers whole rules, indented as the list is', () => {
    assert.equal(offered('rules:\n  |').after('rule: keep'), 'rules:\n  - layers: ["proj_out"]\n    keep: original');
    assert.equal(offered('rules:\n|').labels.includes('rule: keep'), false, 'at the column of the keys, a key is meant');
    assert.equal(offered('rules:\n    - layers: x\n    |').after('rule: scheme'), 'rules:\n    - layers: x\n    - layers: ["**"]\n      scheme: W8A8');
  });

  it('offers them behind the dash too', () => {
    assert.equal(offered('rules:\n  - |').after('rule: weight-only'), 'rules:\n  - layers: ["**.norm*.linear"]\n    scheme: W4A16\n    method: { name: rtn, weights: { group: 64 } }');
    assert.equal(offered('rules:\n  -|').after('rule: keep'), 'rules:\n  - layers: ["proj_out"]\n    keep: original');
    assert.ok(offered('rules:\n  - |').labels.includes('layers'));
  });

  it('offers no whole rule where one has begun', () => {
    assert.deepEqual(offered('rules:\n  - layers: x\n    |').labels.filter((label) => label.startsWith('rule: ')), []);
  });

  it('gives placeholders to editors that fill them in', () => {
    const { items } = offered('rules:\n  |', { snippets: true });
    assert.deepEqual(items.map((item) => [item.insertTextFormat, (item.textEdit as TextEdit).newText.split('\n')[0]]), [
      [2, '- layers: ["${1:**}"]'], [2, '- layers: ["${1:proj_out}"]'], [2, '- layers: ["${1:**.norm*.linear}"]'],
    ]);
    assert.equal(offered('rules:\n  |').items.every((item) => item.insertTextFormat === undefined), true);
  });

  it('offers what the method\'s paper keeps, with patterns that take exactly those layers', () => {
    const flux = publishedCheckpoint('FLUX.1-dev');
    const text = 'version: 1\ncheckpoint: m\ndefaults: { method: orbitquant, scheme: W4A4 }\nrules:\n  - layers: x\n    keep: bf16\n  |';
    const { items, after } = offered(text, { checkpoint: flux });
    assert.deepEqual(items.map(({ label, detail }) => [label, detail]).slice(3), [
      ['rule: modulation', '76 layers · 27.13 % · as OrbitQuant has it'], ['rule: embedders and final layers', '10 layers · 0.54 % · as OrbitQuant has it'],
    ]);
    const made = after('rule: modulation');
    assert.match(made, /\n {2}- name: modulation\n {4}layers: \["[^\n]*"\]\n {4}scheme: W4A16\n {4}method: /);
    assert.deepEqual(parse(made).problems, []);
    assert.equal(offered(`${text.replace('layers: x', 'name: modulation\n    layers: x')}`, { checkpoint: flux }).labels.includes('rule: modulation'), false, 'the rule is there');
    assert.equal(offered(text.replace('  |', '  - |'), { checkpoint: flux }).after('rule: modulation'), made, 'behind a dash');
  });

  it('takes placeholders out by their default', () => {
    assert.equal(withoutPlaceholders('a: ${1:b.*} ${2|c,d|} $3e$0 \\$1 \\\\'), 'a: b.* c e $1 \\');
  });
});

describe('completion of values', () => {
  const values: [marked: string, label: string, after: string][] = [
    ['version: |', '1', 'version: 1'],
    ['version:|', '1', 'version: 1'],
    ['defaults: { scheme: | }', 'W4A4', 'defaults: { scheme: W4A4 }'],
    ['defaults: { scheme:| }', 'W4A4', 'defaults: { scheme: W4A4 }'],
    ['defaults: { scheme: W|8A8 }', 'W4A16', 'defaults: { scheme: W4A16 }'],
    ['defaults: { scheme: "W4|" }', 'W4A16', 'defaults: { scheme: "W4A16" }'],
    ['defaults: { scheme: "W4|', 'W4A16', 'defaults: { scheme: "W4A16"'],
    ['defaults:\n  scheme: w4|  # why\n', 'W4A16', 'defaults:\n  scheme: W4A16  # why\n'],
    ['defaults: { method: | }', 'rtn', 'defaults: { method: rtn }'],
    ['defaults: { method: { name: | } }', 'orbitquant', 'defaults: { method: { name: orbitquant } }'],
    ['rules:\n  - layers: x\n    keep: |\n', 'bf16', 'rules:\n  - layers: x\n    keep: bf16\n'],
    ['rules:\n  - layers: x\n    keep:\n      |\n', 'bf16', 'rules:\n  - layers: x\n    keep:\n      bf16\n'],
    ['defaults: { method: { name: rtn, weights: { group: | } } }', '64', 'defaults: { method: { name: rtn, weights: { group: 64 } } }'],
    ['defaults: { method: { name: rtn, weights: { group: | } } }', 'row', 'defaults: { method: { name: rtn, weights: { group: row } } }'],
    ['defaults: { method: { name: rtn, weights: { symmetric: | } } }', 'false', 'defaults: { method: { name: rtn, weights: { symmetric: false } } }'],
    ['defaults: { method: { name: rtn, rotate: | } }', 'false', 'defaults: { method: { name: rtn, rotate: false } }'],
    ['budget: { size: | }', '6.9GB', 'budget: { size: 6.9GB }'],
    ['budget:\n  bits: |', '4.5', 'budget:\n  bits: 4.5'],
  ];
  for (const [marked, label, after] of values) {
    it(`${JSON.stringify(marked)} with ${label}`, () => {
      assert.equal(offered(marked).after(label), after);
    });
  }

  for (const { label, bodyText } of schema.properties?.['defaults']?.properties?.['method']?.defaultSnippets?.slice(1) ?? []) {
    it(`offers ${label} as a whole, which every model can have`, () => {
      const flux = publishedCheckpoint('FLUX.1-dev');
      const text = offered('version: 1\ncheckpoint: m\nrules: [{ layers: "transformer_blocks.*.attn.*", scheme: W4A8, method: | }]').after(label);
      assert.ok(text.includes(withoutPlaceholders(bodyText)));
      const { problems, plan } = modelOf(`${text}\ndefaults: { keep: original }\n`, { checkpoint: flux });
      assert.deepEqual([problems, plan?.rules[0]?.decidedLayers], [[], 133]);
    });
  }

  it('explains methods and schemes', () => {
    const method = offered('defaults: { method: orb| }').items[0];
    assert.equal(method?.detail, 'OrbitQuant');
    assert.match(JSON.stringify(method?.documentation), /Lloyd–Max codebook.*arXiv 2607\.02461/);
    assert.deepEqual(offered('defaults: { scheme: W4A16| }').items.map((item) => item.detail), ['4-bit weights, activations untouched']);
  });

  for (const marked of ['defaults: { scheme: W4A4 | }', 'rules: [{ layers: a, keep: |bf16 x: y }]', 'version: 1\nnote: |']) {
    it(`offers no value in ${JSON.stringify(marked)} that has none to offer`, () => {
      assert.deepEqual(offered(marked).labels.filter((label) => label.startsWith('W')), []);
    });
  }
});

describe('completion of patterns', () => {
  const inRule = (value: string): string => `rules:\n  - layers: ${value}\n    keep: bf16\n`;
  const patterns = (value: string, options: Options = { checkpoint }): Offered => offered(inRule(value), options);

  it('offers the same layer of every block first, then containers, names last', () => {
    assert.deepEqual(patterns('[|]').labels, [
      'blocks.*.attn.q', 'blocks.*.ff.up', '**', 'blocks.**', '**.attn.**', '**.ff.**', '**.q', '**.up', 'out', 'blocks.0.**', 'blocks.1.**',
      'blocks.0.attn.q', 'blocks.0.ff.up', 'blocks.1.attn.q', 'blocks.1.ff.up',
    ]);
  });

  it('counts layers and their share of the weights', () => {
    const details = new Map(patterns('[|]').items.map((item) => [item.label, item.detail]));
    assert.equal(details.get('blocks.*.attn.q'), '2 layers · 40.00 %');
    assert.equal(details.get('out'), '1 layer · 20.00 %');
    assert.equal(details.get('**'), '5 layers · 100.00 % · every layer');
    assert.equal(details.get('blocks.1.**'), '2 layers · 40.00 % · one block');
  });

  it('names the role where it is known', () => {
    const flux = publishedCheckpoint('FLUX.1-dev');
    const details = new Map(patterns('[|]', { checkpoint: flux }).items.map((item) => [item.label, item.detail]));
    assert.equal(details.get('transformer_blocks.*.ff.net.2'), '19 layers · 6.03 % · ffn-down');
    assert.equal(details.get('**.ff.**'), '38 layers · 12.06 %');
    assert.deepEqual(patterns('["single_transformer_blocks.37.proj|"]', { checkpoint: flux }).labels, ['single_transformer_blocks.37.proj_mlp', 'single_transformer_blocks.37.proj_out']);
  });

  const typed: [value: string, labels: string[]][] = [
    ['["**.f|"]', ['**.ff.**', 'blocks.*.ff.up', 'blocks.0.ff.up', 'blocks.1.ff.up'].sort()],
    ['["**.ff|"]', ['**.ff.**', 'blocks.*.ff.up', 'blocks.0.ff.up', 'blocks.1.ff.up'].sort()],
    ['[blocks.1|]', ['blocks.1.**', 'blocks.1.attn.q', 'blocks.1.ff.up']],
    ['["blocks.*.|"]', ['blocks.*.attn.q', 'blocks.*.ff.up', 'blocks.0.**', 'blocks.0.attn.q', 'blocks.0.ff.up', 'blocks.1.**', 'blocks.1.attn.q', 'blocks.1.ff.up'].sort()],
    ['[OUT|]', ['out']],
    ['[nothing|]', []],
    ['[out, ou|]', []],
    ['["!o|", "**"]', ['!blocks.*.attn.q', '!blocks.*.ff.up', '!blocks.**', '!blocks.0.**', '!blocks.0.attn.q', '!blocks.0.ff.up', '!blocks.1.**', '!blocks.1.attn.q', '!blocks.1.ff.up', '!out'].sort()],
    ['["blocks.0.**", "!|"]', ['!blocks.*.attn.q', '!blocks.*.ff.up', '!**', '!blocks.**', '!**.attn.**', '!**.ff.**', '!**.q', '!**.up', '!blocks.0.**', '!blocks.0.attn.q', '!blocks.0.ff.up'].sort()],
  ];
  for (const [value, labels] of typed) {
    it(`${value} narrows to ${labels.length}`, () => {
      assert.deepEqual([...patterns(value).labels].sort(), [...labels].sort());
    });
  }

  it('asks to be asked again with every letter: which ones to show depends on what is typed', () => {
    const { model, position } = atCursor(inRule('[|]'), { checkpoint });
    assert.equal(complete(model, position).isIncomplete, true);
  });

  it('puts what other rules have behind the rest of its kind, and what is typed first', () => {
    const text = 'rules:\n  - { name: first, layers: [blocks.*.attn.q], keep: bf16 }\n  - { layers: [|] }\n';
    assert.deepEqual(offered(text, { checkpoint }).labels.slice(0, 3), ['blocks.*.ff.up', 'blocks.*.attn.q', '**']);
    assert.equal(offered(text, { checkpoint }).items[1]?.detail, '2 layers · 40.00 % · in first');
    assert.equal(patterns('["blocks.0.ff.up|"]').labels[0], 'blocks.0.ff.up');
    assert.equal(patterns('["**.up|"]').labels[0], '**.up');
  });

  it('resolves to the blocks and roles behind a pattern, and what is measured', () => {
    const { model, position } = atCursor(inRule('["**.ff|"]'), { checkpoint, reports: [reportOf('blocks.0.ff.up', 0.01)] });
    const item = complete(model, position).items.find(({ label }) => label === '**.ff.**');
    assert.ok(item);
    assert.equal(item.documentation, undefined);
    const docs = (resolveCompletion(model, JSON.parse(JSON.stringify(item)) as CompletionItem).documentation as { value: string }).value;
    assert.match(docs, /^- `blocks\.0–1`: 2 × other, 40\.00 %\n\nDecided now by `no rule` \(2\)\.\n\nMeasured on 1 of 2:\n/);
    assert.deepEqual(resolveCompletion(modelOf('version: 1\n'), item), item, 'the checkpoint has gone');
    assert.deepEqual(resolveCompletion(model, { label: 'x' }), { label: 'x' });
  });

  it('says what an exclusion takes out of its list', () => {
    assert.equal(patterns('["**.q", "!bl|"]').items.find((item) => item.label === '!blocks.0.**')?.detail, 'takes out 1 layer · one block');
  });

  const taken: [value: string, label: string, after: string][] = [
    ['[|]', '**.ff.**', '["**.ff.**"]'],
    ['[|]', 'out', '[out]'],
    ['[|]', 'blocks.*.attn.q', '[blocks.*.attn.q]'],
    ['["**.f|"]', '**.ff.**', '["**.ff.**"]'],
    ['[\'**.f|\']', '**.ff.**', '[\'**.ff.**\']'],
    ['["**.f|]', '**.ff.**', '["**.ff.**"]'],
    ['["**.f|', '**.ff.**', '["**.ff.**"'],
    ['["**.f|, "out"]', '**.ff.**', '["**.ff.**", "out"]'],
    ['[**.f|]', '**.ff.**', '["**.ff.**"]'],
    ['[*|]', '**.ff.**', '["**.ff.**"]'],
    ['[!|, "**"]', '!out', '["!out", "**"]'],
    ['["**.ff.|**", out]', 'blocks.0.ff.up', '["blocks.0.ff.up", out]'],
    ['["blo|cks.9.zzz", out]', 'blocks.0.ff.up', '["blocks.0.ff.up", out]'],
    ['[| out]', '**.ff.**', '["**.ff.**",  out]'],
    ['[out, |', '**.ff.**', '[out, "**.ff.**"'],
    ['[out, | ]', '**.ff.**', '[out, "**.ff.**" ]'],
    ['|', '**.ff.**', '"**.ff.**"'],
    ['ou|', 'out', 'out'],
  ];
  for (const [value, label, after] of taken) {
    it(`${value} with ${label} is ${after}`, () => {
      assert.equal(patterns(value).after(label), inRule(after));
    });
  }

  it('works in a list of dashes', () => {
    const block = (item: string): string => `rules:\n  - layers:\n      - out\n${item}\n    keep: bf16\n`;
    assert.equal(offered(block('      - |'), { checkpoint }).after('**.ff.**'), block('      - "**.ff.**"'));
    assert.equal(offered(block('      - "**.f|"'), { checkpoint }).after('**.ff.**'), block('      - "**.ff.**"'));
    assert.equal(offered(block('      - **.f|'), { checkpoint }).after('**.ff.**'), block('      - "**.ff.**"'));
    assert.equal(offered(block('      |'), { checkpoint }).after('**.ff.**'), block('      - "**.ff.**"'));
    assert.equal(offered(block('      -|'), { checkpoint }).after('**.ff.**'), block('      - "**.ff.**"'));
  });

  it('quotes what YAML would read as something else', () => {
    const odd = layersNamed('a: b', '5', 'true', 'x#y', 'q"r', 'n\nm', '𝒳', '-');
    const after = (label: string): string => patterns('[|]', { checkpoint: odd }).after(label);
    for (const { name } of odd.layers) {
      const { config, problems } = parse(`version: 1\ncheckpoint: m\n${after(name)}`);
      assert.deepEqual([config.rules[0]?.layers[0]?.value, problems], [name, []], after(name));
    }
  });

  it('offers the schema\'s examples without a checkpoint', () => {
    assert.deepEqual(patterns('[|]', {}).labels, ['**.ff.**', '**.norm*.linear', 'proj_out']);
  });

  it('offers at most 200 and finds the rest by typing', () => {
    const flux = publishedCheckpoint('FLUX.1-dev');
    assert.equal(patterns('[|]', { checkpoint: flux }).labels.length, 200);
    assert.deepEqual(patterns('["transformer_blocks.18.attn.to_add|"]', { checkpoint: flux }).labels, ['transformer_blocks.18.attn.to_add_out', 'single_transformer_blocks.18.attn.to_add_out'].slice(0, 1));
  });
});

describe('completion for editors that can more', () => {
  const listOf = (marked: string, options: Partial<CompletionOptions>): CompletionList => {
    const { model, position } = atCursor(marked, { checkpoint });
    return complete(model, position, options);
  };

  it('sends what all items share once', () => {
    const { itemDefaults, items } = listOf('rules:\n  - layers: ["**.f|"]\n', { itemDefaults: ['editRange', 'insertTextMode'] });
    assert.deepEqual(itemDefaults, { editRange: { start: { line: 1, character: 13 }, end: { line: 1, character: 19 } }, insertTextMode: 1 });
    assert.deepEqual([items[0]?.textEdit, items[0]?.textEditText, items[0]?.insertTextMode], [undefined, '"blocks.*.ff.up"', undefined]);
    assert.equal(listOf('# |', { itemDefaults: ['editRange'] }).itemDefaults, undefined);
  });

  it('shows counts beside every label', () => {
    assert.deepEqual(listOf('rules:\n  - layers: [|]\n', { labelDetails: true }).items[0]?.labelDetails, { description: '2 · 40.0 %' });
    assert.equal(listOf('rules:\n  - layers: [|]\n', {}).items[0]?.labelDetails, undefined);
  });

  it('lets a comma or bracket accept where few values can be meant', () => {
    const accepts = (marked: string, label: string): unknown => listOf(marked, { commitCharacters: true }).items.find((item) => item.label === label)?.commitCharacters;
    assert.deepEqual(accepts('defaults: { method: r| }', 'rtn'), [',', '}', ']']);
    assert.equal(accepts('defaults: { scheme: W| }', 'W4A4'), undefined, 'there are more schemes than those');
    assert.equal(accepts('defaults:\n  method: r|\n', 'rtn'), undefined, 'no bracket to close');
    assert.equal(accepts('rules: [{ layers: [o|] }]', 'out'), undefined);
    assert.equal(listOf('defaults: { method: r| }', {}).items[0]?.commitCharacters, undefined);
  });

  it('keeps the folders behind the cursor where the editor inserts', () => {
    const listFolder = (): FolderEntry[] => [{ name: 'FLUX.1-dev', isFolder: true }];
    const [item] = listOf('checkpoint: ./FL|UX/transformer\n', { insertReplace: true, listFolder }).items;
    const { newText, insert, replace } = item?.textEdit as InsertReplaceEdit;
    const after = (range: Range): string => TextDocument.applyEdits(TextDocument.create('file:///x', '', 1, 'checkpoint: ./FLUX/transformer\n'), [{ range, newText }]);
    assert.deepEqual([after(insert), after(replace)], ['checkpoint: ./FLUX.1-dev/transformer\n', 'checkpoint: ./FLUX.1-dev\n']);
    assert.ok((listOf('checkpoint: ./FL|\n', { insertReplace: true, listFolder }).items[0]?.textEdit as TextEdit).range);
  });

  it('starts at what is required or usual', () => {
    const first = (marked: string): string[] => listOf(marked, {}).items.filter(({ preselect }) => preselect).map(({ label }) => label);
    assert.deepEqual(first('|'), ['version', 'checkpoint']);
    assert.deepEqual(first('rules:\n  - |'), ['layers']);
    assert.deepEqual(first('preview: { mode: | }'), ['forced']);
  });
});

describe('completion of checkpoint paths', () => {
  const folders: Record<string, FolderEntry[]> = {
    '/project': [{ name: 'FLUX.1-dev', isFolder: true }, { name: 'model.safetensors', isFolder: false }, { name: 'notes.txt', isFolder: false }, { name: '.git', isFolder: true },
      { name: 'a b', isFolder: true }, { name: 'x.safetensors.index.json', isFolder: false }],
    '/project/FLUX.1-dev': [{ name: 'transformer', isFolder: true }],
    '/': [{ name: 'models', isFolder: true }],
  };
  const listFolder = (path: string): FolderEntry[] => folders[path] ?? [];
  const path = (value: string, uri?: string): Offered => offered(`checkpoint: ${value}\n`, { listFolder, ...(uri ? { uri } : {}) });

  it('lists folders, then checkpoint files', () => {
    assert.deepEqual(path('|').labels, ['FLUX.1-dev/', 'a b/', 'model.safetensors', 'x.safetensors.index.json']);
  });

  const taken: [value: string, label: string, after: string][] = [
    ['|', 'FLUX.1-dev/', './FLUX.1-dev'], ['./mo|', 'model.safetensors', './model.safetensors'], ['mo|', 'model.safetensors', './model.safetensors'],
    ['"./|"', 'a b/', '"./a b"'], ['./|', 'a b/', '"./a b"'], ['./FLUX.1-dev/|', 'transformer/', './FLUX.1-dev/transformer'], ['/m|', 'models/', '/models'],
    ['./FLUX.1-dev/../mo|', 'model.safetensors', './FLUX.1-dev/../model.safetensors'],
  ];
  for (const [value, label, after] of taken) {
    it(`${value} with ${label}`, () => {
      assert.equal(path(value).after(label), `checkpoint: ${after}\n`);
    });
  }

  it('offers nothing for a config without a folder, or where nothing can be listed', () => {
    assert.deepEqual(path('|', 'untitled:Untitled-1').labels, []);
    assert.deepEqual(path('./nowhere/|').labels, []);
    assert.deepEqual(offered('checkpoint: |').labels, []);
  });
});

describe('completion everywhere', () => {
  const text = [
    'version: 1', 'checkpoint: ./m # here', 'defaults: { method: orbitquant, scheme: W4A4 }', 'rules:',
    '  - name: modulation', '    layers: ["**.q", !x, \'!out\']', '    scheme: W4A16', '    method: { name: rtn, weights: { group: 64 } }',
    '  - layers:', '      - "**.up"', '      - out', '    method:', '      name: orbitquant', '      rotate: false', '    scheme: W3A3', 'budget: { size: 6.9GB }', '',
  ].join('\n');

  it('leaves valid YAML behind at every place of a config', () => {
    let taken = 0;
    for (let offset = 0; offset <= text.length; offset++) {
      const { items, after } = offered(`${text.slice(0, offset)}|${text.slice(offset)}`, { checkpoint });
      for (const item of [...items.slice(0, 2), ...items.slice(-1)]) {
        const result = after(item.label);
        assert.deepEqual(parse(result).problems.filter((problem) => /yaml|tab|duplicate/.test(problem.code)).map((problem) => `${problem.message}\n${result}`), [], `offset ${offset}`);
        taken++;
      }
    }
    assert.ok(taken > 300, `${taken}`);
  });

  it('answers at every place of a config that is cut off there', () => {
    for (let offset = 0; offset <= text.length; offset++) {
      const { model, position } = atCursor(`${text.slice(0, offset)}|`, { checkpoint });
      assert.ok(Array.isArray(complete(model, position).items));
    }
  });
});
