import { TextDocument } from 'vscode-languageserver-textdocument';
import { exportPlan } from '../../../../server/src/config/convert/export';
import type { Exported } from '../../../../server/src/config/convert/export';
import { importDialect } from '../../../../server/src/config/convert/import';
import type { Imported } from '../../../../server/src/config/convert/import';
import { detectDialect, readDialectFile } from '../../../../server/src/config/dialects';
import { evaluate } from '../../../../server/src/config/dialects/evaluate';
import type { Evaluation } from '../../../../server/src/config/dialects/evaluate';
import { parseConfig } from '../../../../server/src/config/parse';
import { resolvePlan } from '../../../../server/src/config/resolve';
import type { Checkpoint, Plan } from '../../../../server/src/protocol';
import { publishedModel, tensorsOf } from '../../../fixtures/architectures';
import { checkpointOf } from '../../../fixtures/checkpoints';

/** The first blocks of a published model, in their real widths. */
export function firstBlocks(name: string, blocks: number): Checkpoint {
  const model = publishedModel(name);
  const tensors = Object.entries(tensorsOf(model)).filter(([tensor]) => Number(/(?:blocks|layers|refiner)\.(\d+)\./.exec(tensor)?.[1] ?? 0) < blocks);
  return checkpointOf(Object.fromEntries(tensors), { _class_name: model.className, ...model.config });
}

export function configText(...lines: string[]): string { return ['version: 1', 'checkpoint: ./model', ...lines, ''].join('\n'); }

export function planOf(text: string, checkpoint: Checkpoint): Plan {
  const { config, problems } = parseConfig(TextDocument.create('file:///project/c.quant.yaml', 'quantconfig', 1, text));
  const plan = resolvePlan(config, checkpoint);
  const broken = [...problems, ...plan.problems].find(({ severity }) => severity === 'error');
  if (broken) {
    throw new Error(`${broken.message}\n${text}`);
  }
  return plan;
}

export function exported(id: string, text: string, checkpoint: Checkpoint): Exported {
  const { config } = parseConfig(TextDocument.create('file:///project/c.quant.yaml', 'quantconfig', 1, text));
  return exportPlan(id, planOf(text, checkpoint), config, checkpoint);
}

export function imported(text: string, checkpoint: Checkpoint, name = 'config.json'): Imported & Evaluation & { id: string } {
  const file = readDialectFile(name, TextDocument.create(`file:///project/${name}`, 'plaintext', 1, text));
  const dialect = detectDialect(file);
  if (!dialect) {
    throw new Error(`recognised as nothing:\n${text}`);
  }
  const parsed = dialect.parse(file);
  const evaluation = evaluate(parsed, checkpoint);
  const uncovered = { treatment: parsed.otherwise, layers: evaluation.decisions.filter(({ entry }) => entry === null).map(({ layer }) => layer) };
  return { id: dialect.id, ...evaluation, ...importDialect({ dialect, file, parsed, checkpointPath: checkpoint.path, checkpoint, ...evaluation, uncovered }, './model') };
}

/** Every layer with its recipe, without the name of the method; kept in the type it has is kept. */
export function recipesOf(plan: Plan): [string, string][] {
  return plan.layers.map(({ name, recipe, tensor }) => {
    const weights = recipe.weights.kind === 'keep' && recipe.weights.dtype === 'original' ? { kind: 'keep', dtype: tensor.dtype.toLowerCase() } : recipe.weights;
    return [name, sorted({ ...recipe, method: '', weights })];
  });
}

function sorted(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) => (each !== null && typeof each === 'object' && !Array.isArray(each) ? Object.fromEntries(Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1))) : each));
}
