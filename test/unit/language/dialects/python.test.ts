/** What an editor shows in a Python file with quantization configs: each place belongs to the config that it stands in. */
import assert from 'node:assert/strict';
import { TextDocument } from 'vscode-languageserver-textdocument';
import type { CompletionItem, TextEdit } from 'vscode-languageserver-types';
import type { CheckpointStore } from '../../../../server/src/checkpoint';
import { dialectCodeLenses } from '../../../../server/src/language/dialects/codeLens';
import { completeDialect } from '../../../../server/src/language/dialects/completion';
import { dialectHover } from '../../../../server/src/language/dialects/hover';
import { dialectInlayHints } from '../../../../server/src/language/dialects/inlayHints';
import { buildDialectModels, modelAt } from '../../../../server/src/language/dialects/model';
import type { DialectModel } from '../../../../server/src/language/dialects/model';
import { layersNamed } from '../../../fixtures/checkpoints';

const layers = layersNamed('blocks.0.attn.to_q', 'blocks.0.ff.up', 'blocks.1.attn.to_q', 'blocks.1.ff.up', 'proj_out');
const head = 'from diffusers import BitsAndBytesConfig, TorchAoConfig, PipelineQuantizationConfig; from optimum.quanto import quantize, freeze, qint8; from auto_round import AutoRound\n';

async function models(text: string, checkpoint = layers): Promise<DialectModel[]> {
  const store = { recent: () => Promise.resolve(checkpoint) } as unknown as CheckpointStore;
  return buildDialectModels(TextDocument.create('file:///project/run.py', 'python', 1, text), store, () => Promise.resolve({ files: [], packages: new Map(), chosen: '/project/flux' }));
}

/** The text without its `|`, which becomes a position. */
async function at(marked: string): Promise<{ found: DialectModel[]; model: DialectModel | undefined; document: TextDocument; position: { line: number; character: number } }> {
  const offset = marked.indexOf('|');
  const text = head + marked.replace('|', '');
  const document = TextDocument.create('file:///project/run.py', 'python', 1, text);
  const found = await models(text);
  const position = document.positionAt(head.length + offset);
  return { found, model: modelAt(found, position), document, position };
}

describe('Python in an editor', () => {
  it('hints, lenses: one for each config, at its own lines', async () => {
    const found = await models(`${head}SKIP = ["to_q"]\na = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=SKIP)\nb = PipelineQuantizationConfig(quant_mapping={"transformer": a})\nc = BitsAndBytesConfig(load_in_4bit=four, llm_int8_skip_modules=["proj_out"])\n`);
    const everything = { start: { line: 0, character: 0 }, end: { line: 99, character: 0 } };
    assert.deepEqual(dialectInlayHints(found, everything).map(({ label, position }) => [label, position.line]), [['2 layers · 40.00 %', 1], ['1 layer · 20.00 %', 4]]);
    assert.deepEqual(found.flatMap(dialectCodeLenses).map(({ command, range }) => [range.start.line, command?.title]), [
      [2, 'bitsandbytes in diffusers quantizes 3 of 5 layers (60.00 % of the weights) and keeps 2 (40.00 %)'], [2, 'Checkpoint: project/flux. Choose Another…'],
      [3, 'PipelineQuantizationConfig of diffusers'], [4, 'bitsandbytes in diffusers'], [4, 'Checkpoint: project/flux. Choose Another…'],
    ]);
  });

  it('a list that two configs share is spoken of once', async () => {
    const shared = (second: string): Promise<DialectModel[]> => models(`${head}SKIP = ["to_q", "nothing_here"]\na = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=SKIP)\nb = ${second}\n`);
    const told = (found: DialectModel[]): unknown[] => [dialectInlayHints(found, { start: { line: 1, character: 0 }, end: { line: 2, character: 0 } }).map(({ label }) => label), found.flatMap(({ problems }) => problems).filter(({ range }) => range?.start.line === 1).map(({ code }) => code)];
    assert.deepEqual(told(await shared('BitsAndBytesConfig(load_in_4bit=True, llm_int8_skip_modules=SKIP)')), [['2 layers · 40.00 %', '0 layers'], ['dialect/matches-nothing']]);
    assert.deepEqual(told(await shared('TorchAoConfig(x, SKIP)'))[0], ['2 layers · 40.00 %', '0 layers']);
  });

  const hovers: [marked: string, says: RegExp | null][] = [
    ['q = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=["to|_q"])', /`to_q`: ?|keeps \*\*2 layers\*\*/], ['q = BitsAndBytesConfig(load_|in_8bit=True)', /\*\*load_in_8bit\*\*[^]*LLM\.int8/],
    ['q = Bits|AndBytesConfig(load_in_8bit=True)', /quantizes 5 of 5 layers/], ['SKIP = ["proj_|out"]\nq = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=SKIP)', /keeps \*\*1 layer\*\*/],
    ['q = PipelineQuantizationConfig(quant_ma|pping={"transformer": BitsAndBytesConfig(load_in_8bit=True)})', /\*\*quant_mapping\*\*/], ['q = PipelineQuantizationConfig(quant_mapping={"transformer": BitsAndBytesConfig(load_in_|8bit=True)})', /LLM\.int8/],
    ['quantize(t, qint8, exclude="*.to_|q")\nfreeze(t)', /keeps \*\*2 layers\*\*/], ['quantize(t, wei|ghts=qint8)', /\*\*weights\*\*/], ['AutoRound("flux", layer_config={"to|_q": "W8A16"})', /\*\*2 layers\*\*/], ['AutoRound("flux", ignore_layers="ff, proj_|out")', /keeps \*\*1 layer\*\*/],
    ['qu|x = BitsAndBytesConfig(load_in_8bit=True)', null],
  ];
  for (const [marked, says] of hovers) {
    it(`hover: ${marked}`, async () => {
      const { model, position } = await at(marked);
      const hover = model ? dialectHover(model, position) : null;
      if (says === null) {
        assert.equal(hover, null);
      } else {
        assert.match((hover?.contents as { value: string } | undefined)?.value ?? '', says);
      }
    });
  }

  const offers: [marked: string, label: string, after: string, detail?: string][] = [
    ['q = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=["|"])', 'attn', 'q = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=["attn"])', '2 layers · 40.00 %'],
    ['q = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=[\'proj_out\', \'bl|\'])', 'blocks.1', 'q = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=[\'proj_out\', \'blocks.1\'])'],
    ['SKIP = ["|"]\nq = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=SKIP)', 'proj_out', 'SKIP = ["proj_out"]\nq = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=SKIP)'],
    ['q = BitsAndBytesConfig(|)', 'load_in_4bit', 'q = BitsAndBytesConfig(load_in_4bit=True)'], ['q = BitsAndBytesConfig(load_in_4bit=True, bnb|)', 'bnb_4bit_quant_type', 'q = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")'],
    ['q = BitsAndBytesConfig(bn|b=1)', 'bnb_4bit_quant_type', 'q = BitsAndBytesConfig(bnb_4bit_quant_type=1)'], ['q = BitsAndBytesConfig(load_in_4bit=|)', 'True', 'q = BitsAndBytesConfig(load_in_4bit=True)'],
    ['q = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=|)', '"nf4"', 'q = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")'],
    ['q = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=\'f|\')', '"nf4"', 'q = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=\'nf4\')'],
    ['q = TorchAoConfig(x, mod|)', 'modules_to_not_convert', 'q = TorchAoConfig(x, modules_to_not_convert=[""])'],
    ['quantize(t, qint8, exclude="|")', '*ff*', 'quantize(t, qint8, exclude="*ff*")', '2 layers · 40.00 %'], ['quantize(t, qint8, ex|)', 'exclude', 'quantize(t, qint8, exclude=[""])'], ['quantize(t, weights="|")', '"qint4"', 'quantize(t, weights="qint4")'],
    ['AutoRound("flux", scheme="|")', '"MXFP8"', 'AutoRound("flux", scheme="MXFP8")'], ['AutoRound("flux", ign|)', 'ignore_layers', 'AutoRound("flux", ignore_layers="")'], ['AutoRound("flux", layer_config={"proj_out": "|"})', '"W8A16"', 'AutoRound("flux", layer_config={"proj_out": "W8A16"})'],
    ['q = PipelineQuantizationConfig(quant_backend="|")', '"bitsandbytes_4bit"', 'q = PipelineQuantizationConfig(quant_backend="bitsandbytes_4bit")'],
  ];
  for (const [marked, label, after, detail] of offers) {
    it(`completion: ${marked} → ${label}`, async () => {
      const { model, document, position } = await at(marked);
      assert.ok(model);
      const { items } = completeDialect(model, position, {});
      const item: CompletionItem = items.find((each) => each.label === label) ?? assert.fail(`no "${label}" among ${items.map((each) => each.label).join(', ')}`);
      assert.equal(TextDocument.applyEdits(document, [item.textEdit as TextEdit]), head + after);
      assert.equal(detail === undefined || item.detail === detail, true, item.detail);
      assert.ok(items.every((each) => each.label !== 'quant_method'));
    });
  }

  it('completion: nothing between values, in comments and in other calls', async () => {
    for (const marked of ['q = BitsAndBytesConfig(load_in_4bit=True |)', 'q = BitsAndBytesConfig(load_in_4bit=True) # |', 'q = BitsAndBytesConfig(load_in_4bit=f(|))', 'q = BitsAndBytesConfig(llm_int8_skip_modules=["a" |])']) {
      const { model, position } = await at(marked);
      assert.deepEqual(model ? completeDialect(model, position, {}).items.map(({ label }) => label) : [], [], marked);
    }
  });
});
