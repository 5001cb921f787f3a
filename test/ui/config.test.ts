import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeSparseFlux } from '../fixtures/sparse';
import { EXAMPLE, open } from './vscode';
import type { Workbench } from './vscode';

/** A rule that matches nothing, for the squiggle, and another tool's config for the same model. */
function addFindings(folder: string): void {
  const config = join(folder, EXAMPLE);
  writeFileSync(config, readFileSync(config, 'utf8').replace('budget:', '  - name: matches nothing\n    layers: [no_such_layer.*]\n    keep: bf16\nbudget:'));
  const component = join(folder, 'glyph-dit/transformer/config.json');
  const quantization = { quant_method: 'bitsandbytes', load_in_4bit: true, bnb_4bit_quant_type: 'nf4', bnb_4bit_compute_dtype: 'bfloat16', llm_int8_skip_modules: ['proj_out_2', 'norm1'] };
  writeFileSync(component, JSON.stringify({ ...JSON.parse(readFileSync(component, 'utf8')) as object, quantization_config: quantization }, null, 2));
}

/** FLUX.1-dev in its full size (headers, and holes for data), a config of ours for it, and a quantization_config whose entries take more, or less, than they seem to. */
async function addFlux(folder: string): Promise<void> {
  writeFileSync(join(folder, 'flux.quant.yaml'), `version: 1
checkpoint: ./flux
defaults: { method: svdquant, scheme: W4A4 }
rules:
  - name: modulation
    layers: ["**.norm*.linear"]
    scheme: W4A16
    method: { name: rtn, weights: { group: 64 } }
  - name: embedders and final layers
    layers: [x_embedder, context_embedder, "time_text_embed.**", norm_out.linear, proj_out]
    keep: original
budget: { size: 8GB }
`);
  const transformer = await writeSparseFlux(join(folder, 'flux'));
  const path = join(transformer, 'config.json');
  const quantization = { quant_method: 'bitsandbytes', load_in_4bit: true, bnb_4bit_quant_type: 'nf4', bnb_4bit_compute_dtype: 'bfloat16', llm_int8_skip_modules: ['proj_out', 'norm', 'norm_out', 'transformer_blocks.1', 'ff.net.2'] };
  const { _class_name, ...config } = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  writeFileSync(path, JSON.stringify({ _class_name, quantization_config: quantization, ...config }, null, 2));
  writeFileSync(join(folder, 'quantize_flux.py'), `import torch
from diffusers import BitsAndBytesConfig, FluxPipeline, FluxTransformer2DModel, PipelineQuantizationConfig, TorchAoConfig
from torchao.quantization import Float8WeightOnlyConfig, PerBlock

SKIP = ["proj_out", "norm_out", "transformer_blocks.1"]
nf4 = BitsAndBytesConfig(
    load_in_4bit=True,
    bnb_4bit_quant_type="nf4",
    bnb_4bit_compute_dtype=torch.bfloat16,
    llm_int8_skip_modules=SKIP + ["ff.net.2"],
)
transformer = FluxTransformer2DModel.from_pretrained("flux", subfolder="transformer", quantization_config=nf4)

fp8 = TorchAoConfig(Float8WeightOnlyConfig(granularity=PerBlock((1, 128))), modules_to_not_convert=["norm"])
pipe = FluxPipeline.from_pretrained("flux", quantization_config=PipelineQuantizationConfig(quant_mapping={"tranformer": fp8}))
`);
}

describe('Config in the editor', function suite() {
  this.timeout(120_000);
  let workbench: Workbench;

  before(async () => {
    workbench = await open({
      prepare: async (folder) => {
        addFindings(folder);
        await addFlux(folder);
      },
    });
    await workbench.openFile(EXAMPLE);
  });
  after(() => workbench.close());

  it('shows what each rule takes beside it', async () => {
    const hint = workbench.editor.locator('.view-line', { hasText: /\d+\slayers?\s·\s[\d.]+\s%\s·\s[\d.]+\sbits/ });
    await hint.first().waitFor();
    assert.ok(await hint.count() > 1);
  });

  it('underlines a pattern that matches nothing', async () => {
    await workbench.editor.locator('.squiggly-warning').first().waitFor();
    assert.equal(await workbench.editor.locator('.squiggly-error').count(), 0);
    await workbench.screenshot('config');
  });

  it('opens the plan of a rule beside it, from the lens above the rule', async () => {
    const { page } = workbench;
    await workbench.editor.locator('.codelens-decoration a', { hasText: /^Decides 6 layers$/ }).click();
    await page.locator('.tab[data-resource-name="glyph-dit.plan"]').waitFor();
    const plan = page.locator('.editor-instance .monaco-editor').last();
    await plan.locator('.view-line', { hasText: /W4A16\s+4\.250/ }).first().waitFor();
    await plan.locator('.selected-text').first().waitFor();
    await workbench.screenshot('plan');
  });

  it('explains what every quantization file does to a layer', async () => {
    await workbench.run('QuantScope: Explain This Layer');
    const input = workbench.page.locator('.quick-input-widget input');
    await input.fill('proj_out_2');
    await workbench.page.locator('.quick-input-list .monaco-list-row.focused', { hasText: 'proj_out_2' }).waitFor();
    await workbench.page.keyboard.press('Enter');
    const tree = workbench.page.locator('.pane', { hasText: 'proj_out_2 · ' }).locator('.monaco-list-row');
    await tree.filter({ hasText: 'config.json' }).filter({ hasText: 'kept' }).waitFor();
    await tree.filter({ hasText: EXAMPLE }).filter({ hasText: 'bits' }).waitFor();
    assert.ok(await tree.filter({ hasText: 'It is the last rule that takes the layer' }).count() > 0);
    await workbench.screenshot('explain');
  });

  it('shows what the entries of a diffusers config.json take by its tool\'s rule', async () => {
    await workbench.openFile('flux/transformer/config.json');
    await workbench.editor.locator('.view-line', { hasText: 'llm_int8_skip_modules' }).click();
    await workbench.editor.locator('.view-line', { hasText: /"proj_out".*39\slayers\s·\s15\.07\s%/ }).first().waitFor();
    await workbench.editor.locator('.view-line', { hasText: /"ff\.net\.2".*0\slayers/ }).first().waitFor();
    const lens = workbench.editor.locator('.codelens-decoration');
    await lens.filter({ hasText: /bitsandbytes\sin\sdiffusers\squantizes\s408\sof\s504\slayers/ }).waitFor();
    await workbench.editor.locator('.squiggly-warning').first().waitFor();
    await workbench.screenshot('dialect');
    await workbench.editor.locator('.view-line span', { hasText: /^"transformer_blocks\.1"$/ }).first().click();
    await workbench.run('Show or Focus Hover');
    await workbench.page.locator('.monaco-hover', { hasText: 'How bitsandbytes in diffusers compares' }).first().waitFor();
    await workbench.screenshot('dialect-hover');
    await workbench.page.keyboard.press('Escape');
    await lens.locator('a', { hasText: /Choose\sAnother/ }).click();
    await workbench.page.locator('.quick-input-list .monaco-list-row', { hasText: 'glyph-dit' }).first().waitFor();
    await workbench.page.keyboard.press('Escape');
  });

  it('shows what the configs of a Python script take, and what is wrong with them', async () => {
    await workbench.openFile('quantize_flux.py');
    await workbench.editor.locator('.view-line', { hasText: /"proj_out".*39\slayers\s·\s15\.07\s%/ }).first().waitFor();
    await workbench.editor.locator('.view-line', { hasText: /"norm".*38\slayers/ }).first().waitFor();
    await workbench.editor.locator('.codelens-decoration', { hasText: /bitsandbytes\sin\sdiffusers\squantizes\s445\sof\s504\slayers/ }).waitFor();
    await workbench.editor.locator('.squiggly-error').first().waitFor();
    await workbench.run('View: Focus Problems');
    for (const text of ['holds a quantization_config already', 'torchao cannot write a tuple', 'No pipeline has a component "tranformer"']) {
      await workbench.page.locator('.markers-panel .monaco-list-row', { hasText: text }).first().waitFor();
    }
    await workbench.screenshot('python');
    await workbench.run('View: Toggle Panel Visibility');
    await workbench.editor.locator('.view-line', { hasText: /nf4\s=/ }).click();
    await workbench.page.keyboard.press('End');
    await workbench.page.keyboard.press('ArrowLeft');
    await workbench.run('Show or Focus Hover');
    await workbench.page.locator('.monaco-hover', { hasText: 'nothing is anchored' }).first().waitFor();
    await workbench.screenshot('python-hover');
    await workbench.page.keyboard.press('Escape');
    await workbench.editor.locator('.view-line', { hasText: 'SKIP = [' }).click();
    await workbench.page.keyboard.press('End');
    await workbench.page.keyboard.press('ArrowLeft');
    await workbench.page.keyboard.type(', "single_transformer_blocks.3');
    await workbench.page.locator('.suggest-widget .monaco-list-row', { hasText: 'single_transformer_blocks.30' }).first().waitFor();
    await workbench.screenshot('python-completion');
    await workbench.page.keyboard.press('Escape');
  });

  it('keeps up with a config for FLUX.1-dev', async () => {
    await workbench.run('View: Close All Editors');
    await workbench.openFile('flux.quant.yaml');
    await workbench.editor.locator('.view-line', { hasText: /checkpoint:.*504\slayers/ }).waitFor();
    await workbench.editor.locator('.view-line', { hasText: /norm\*.*76\slayers/ }).waitFor();
    await workbench.editor.locator('.view-line', { hasText: /"\*\*\.norm/ }).click();
    await workbench.page.keyboard.press('End');
    await workbench.page.keyboard.press('ArrowLeft');
    await workbench.page.keyboard.type(', "single_transformer_blocks.*.attn.');
    await workbench.page.locator('.suggest-widget .monaco-list-row', { hasText: 'to_q' }).first().waitFor();
    await workbench.screenshot('flux');
    await workbench.page.keyboard.press('Escape');
  });

  it('says in the status bar that it is healthy', async () => {
    await workbench.page.locator('.statusbar-item[id="quantscope.quantscope.quantscope.health"], .statusbar-item', { hasText: 'QuantScope' }).first().waitFor();
  });
});
