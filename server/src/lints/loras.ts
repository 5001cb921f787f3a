/** Adapters that change no layer, and adapters whose change quantization rounds away. */
import { basename } from 'node:path';
import { matchAdapter } from '../checkpoint/adapter';
import type { ConfigProblem } from '../config/codes';
import { addRules, removeEntry, removeItem, ruleText } from '../config/edits';
import type { LoraEntry } from '../config/parse';
import { patternsOf } from '../config/template';
import { find } from '../config/tree';
import type { LayerPlan, Problem, QuickFix } from '../protocol';
import { knownDeltas, sampledRows } from './loraDeltas';
import type { AdapterUse, Delta } from './loraDeltas';
import { fix, withFixes } from './lint';
import type { Subject } from './lint';

/** An entry of `loras` and its file, or why that cannot be read. */
export interface LoraFact { entry: LoraEntry; use?: AdapterUse; problem?: Problem }

export function loraLints(subject: Subject, facts: readonly LoraFact[]): Problem[] {
  return facts.flatMap(({ entry, use, problem }): Problem[] => (problem ? [{ ...problem, range: entry.path.range, ...withFixes(removal(subject, entry)) }] : use ? [...targets(subject, entry, use), ...tooSmall(subject, entry, use)] : []));
}

function removal(subject: Subject, entry: LoraEntry): QuickFix[] {
  const { document, root } = subject;
  const owner = find(root, 'loras');
  const items = owner?.value.kind === 'list' ? owner.value.items : [];
  const index = items.findIndex(({ range }) => range === entry.range);
  return owner && index >= 0 && root.kind === 'map' ? fix(subject, 'Remove this adapter', items.length === 1 ? removeEntry(document, root, owner) : removeItem(document, owner, index)) : [];
}

function targets(subject: Subject, entry: LoraEntry, { adapter, file }: AdapterUse): ConfigProblem[] {
  const { layers, unknown, misfits } = matchAdapter(adapter, subject.checkpoint);
  const problem = (message: string): ConfigProblem => ({ code: 'plan/lora-matches-nothing', severity: 'warning', range: entry.path.range, message, ...(layers.length === 0 ? withFixes(removal(subject, entry)) : {}) });
  const name = basename(file.path);
  const [misfit] = misfits;
  if (misfit) {
    const { layer, pair } = misfit;
    return [problem(`${name}: ${misfits.length === 1 ? 'one change has' : `${misfits.length} changes have`} another shape than ${misfits.length === 1 ? 'its layer' : 'their layers'}, first ${layer.name}: [${pair.up.shape.join(', ')}] · [${pair.down.shape.join(', ')}] ` +
      `for a weight of [${layer.outFeatures}, ${layer.inFeatures}]. It was trained for another model.`)];
  }
  const original = /(?:double|single)_blocks|self_attn|adaLN_modulation/.test(unknown[0]?.target ?? '') ? ' These are the names of the original release; convert the adapter to the names of this checkpoint.' : '';
  if (layers.length === 0) {
    return [problem(unknown.length > 0 ? `${name}: none of the ${unknown.length} layers it changes is in this checkpoint (first ${unknown[0]?.target ?? ''}).${original}`
      : adapter.elsewhere > 0 ? `${name}: it changes text encoders alone (${adapter.elsewhere} layers), so nothing that is quantized here.` : `${name}: holds no pair of lora_A and lora_B, lora_down and lora_up. Is it an adapter?`)];
  }
  return unknown.length === 0 ? [] : [problem(`${name}: ${unknown.length} of the ${unknown.length + layers.length} layers it changes are not in this checkpoint (first ${unknown[0]?.target ?? ''}).${original}`)];
}

/** Half a step: a smaller change of a value that sits on a level is rounded back to it. */
const threshold = 0.5;

function tooSmall(subject: Subject, entry: LoraEntry, use: AdapterUse): ConfigProblem[] {
  const deltas = knownDeltas(use, subject.checkpoint, subject.plan) ?? new Map<string, Delta>();
  const small = subject.plan.layers.flatMap((layer) => {
    const delta = deltas.get(layer.name);
    return delta && delta.ratio < threshold ? [{ layer, delta }] : [];
  }).sort((a, b) => a.delta.ratio - b.delta.ratio);
  const [least] = small;
  if (!least) {
    return [];
  }
  const median = small[Math.floor(small.length / 2)]?.delta.ratio ?? 0;
  const places = [...new Map(small.map(({ layer }) => [layer.decidedBy?.rule ?? -1, layer])).values()];
  return [{
    code: 'plan/lora-below-step', severity: 'warning', range: entry.path.range,
    message: `${basename(use.file.path)} at scale ${use.scale} changes ${small.length} of ${deltas.size} quantized layers by less than half a step of their weights: ${median.toPrecision(2)} of a step in the median of these, ${least.delta.ratio.toPrecision(2)} in ${least.layer.name} ` +
      `(root mean squares over ${sampledRows} rows each; from 0.5 on it shows). Fused into quantized weights this is rounded away.`,
    related: places.flatMap(({ decidedBy }) => (decidedBy ? [{ message: `"${decidedBy.name}" sets the steps.`, range: decidedBy.range }] : [])).slice(0, 5),
    ...withFixes(remedies(subject, small)),
  }];
}

function remedies(subject: Subject, small: readonly { layer: LayerPlan; delta: Delta }[]): QuickFix[] {
  const { checkpoint, document, root, config } = subject;
  const patterns = patternsOf(checkpoint, small.map(({ layer }) => layer.name)).map((pattern) => JSON.stringify(pattern)).join(', ');
  const rule = (title: string, line: string): QuickFix[] => fix(subject, title, addRules(document, root, [ruleText(['name: layers of the adapter', `layers: [${patterns}]`, line])]));
  const scheme = config.defaults.scheme?.value;
  const eight = scheme && small.every(({ layer, delta }) => layer.decidedBy?.rule === -1 && (delta.at8 ?? 0) >= threshold);
  return [...(eight ? rule(`Give these layers 8-bit weights: add a rule with "scheme: W8A${scheme.activationBits}"`, `scheme: W8A${scheme.activationBits}`) : []), ...rule('Keep these layers: add a rule with "keep: original"', 'keep: original')];
}
