import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import * as vscode from 'vscode';
import { context, EXAMPLE, file, openConfig, write } from './extension';

describe('import, export and tasks', () => {
  it('opens the file of another tool as an unsaved config that says the same', async () => {
    const source = await write('bnb.json', JSON.stringify({ quantization_config: { quant_method: 'bitsandbytes', load_in_4bit: true, bnb_4bit_quant_type: 'nf4', llm_int8_skip_modules: ['proj_out_1', 'proj_out_2'] } }, null, 1));
    await vscode.commands.executeCommand('quantscope.importConfig', source, undefined, { checkpoint: file('glyph-dit').fsPath });
    const document = vscode.window.activeTextEditor?.document;
    assert.ok(document?.isUntitled && document.languageId === 'quantconfig' && document.uri.path.endsWith('/bnb.quant.yaml'), document?.uri.toString());
    assert.match(document.getText(), /^# Imported from bnb\.json \(bitsandbytes in diffusers\)\./);
    const { plan } = await (await context()).request('quantscope/plan', { uri: document.uri.toString() });
    assert.deepEqual(plan.problems.filter(({ severity }) => severity === 'error'), []);
    assert.deepEqual(plan.layers.filter(({ recipe }) => recipe.weights.kind === 'keep').map(({ name }) => name), ['proj_out_1', 'proj_out_2']);
  });

  it('opens the plan of a config as another tool\'s file', async () => {
    await openConfig(file(EXAMPLE));
    const targets = await (await context()).request('quantscope/exportTargets', null);
    assert.ok(targets.some(({ id }) => id === 'compressed-tensors') && targets.every(({ says }) => says.length > 10));
    const config = await write('plain.quant.yaml', 'version: 1\ncheckpoint: ./glyph-dit\ndefaults: { method: rtn, scheme: W8A8 }\nrules:\n  - layers: ["proj_out_*"]\n    keep: original\n');
    await openConfig(config);
    await vscode.commands.executeCommand('quantscope.exportConfig', config, undefined, { to: 'compressed-tensors' });
    const document = vscode.window.activeTextEditor?.document;
    assert.ok(document?.isUntitled, document?.uri.toString());
    const { quantization_config: exported } = JSON.parse(document.getText()) as { quantization_config: { quant_method: string; ignore: string[] } };
    assert.deepEqual([exported.quant_method, exported.ignore], ['compressed-tensors', ['re:proj_out_[^.]*$']]);
  });

  it('offers tasks for each config, and runs one with the editor\'s own Node', async function () {
    this.timeout(120_000);
    const tasks = await vscode.tasks.fetchTasks({ type: 'quantscope' });
    const names = tasks.map(({ name }) => name);
    assert.ok(['lint', 'plan', 'analyze', 'preview', 'quantize'].every((command) => names.includes(`${command} ${EXAMPLE}`)), names.join());
    const task = tasks.find(({ name }) => name === `lint ${EXAMPLE}`) ?? assert.fail();
    assert.deepEqual(task.problemMatchers, ['$quantscope']);
    // As the terminal would start it, which a machine without a display may not have.
    const execution = task.execution as vscode.ProcessExecution;
    const { stderr } = await promisify(execFile)(execution.process, execution.args, { cwd: execution.options?.cwd, env: { ...process.env, ...execution.options?.env } });
    assert.doesNotMatch(stderr, / error /);
  });
});
