import { counted, quoted } from '../../checkpoint/errors';
import { isLowVector } from '../../checkpoint/vectors';
import type { Checkpoint, Layer, TensorInfo } from '../../protocol';
import { rangeOf } from '../tree';
import { kept, problem, quantized } from './dialect';
import type { Dialect, DialectProblem } from './dialect';
import { describeShare } from './evaluate';
import { ggmlName, ggmlTypes } from './ggmlTypes';
import { explainOthers, vainRules } from './otherTensors';
import { blockTraps, isRuleText, pieces, tensorRule, typeEntry, typeField } from './tensorTypes';
import type { TypeEntry } from './tensorTypes';

/** Tensors that are never converted, whatever a rule says: parts of their names. */
const never = ['img_in.', 'txt_in.', 'time_in.', 'vector_in.', 'guidance_in.', 'final_layer.', 'x_embedder.', 't_embedder.', 'y_embedder.', 'pos_embed', 'context_embedder.', 'time_embed.', 'label_emb.', 'embedding'];

function isNever({ name }: Layer): boolean {
  return isNeverTensor(`${name}.weight`);
}

function isNeverTensor(name: string): boolean {
  return never.some((part) => name.includes(part));
}

/** stable-diffusion.cpp, `tensor_should_be_converted` (2026-08). How many dimensions a tensor has does not matter. */
function isLeft({ name, shape }: TensorInfo, { type }: TypeEntry): boolean {
  return /\.(?:bias|scale|weight_scale)$/.test(name) || isNeverTensor(name) || (shape.at(-1) ?? 1) % (ggmlTypes[type]?.[1] ?? 1) !== 0;
}

/** Whether ggml's blocks fit; the tool leaves a tensor alone where they do not. */
function fits({ inFeatures }: Layer, type: string): boolean {
  return inFeatures % (ggmlTypes[type]?.[1] ?? 1) === 0;
}

/** `--tensor-type-rules`: a list split at every comma, then at the first `=`; std::regex_search, the first match decides. */
export const stableDiffusionCpp: Dialect = {
  root: () => typeField, names: tensorRule((expression) => expression),
  id: 'stable-diffusion.cpp', title: 'stable-diffusion.cpp tensor type rules',
  file: 'Text of `expression=type`, parted by commas, as for `--tensor-type-rules`',
  rule: '`std::regex_search` on the name of the tensor (`.weight` included), case counts, and the first rule that matches decides; embedders and final layers are never converted.',
  unmatched: 'Passed over without a word.',
  codes: ['sdcpp/', 'ggml/'],
  detect: (file) => isRuleText(file) && (file.document.getText().includes(',') || file.document.getText().trim().split(/\s+/).length === 1),
  parse(file) {
    const problems: DialectProblem[] = [];
    const text = file.document.getText().trimEnd();
    const entries = pieces(text, /,/g).flatMap(({ text: rule, start }): TypeEntry[] => {
      const range = rangeOf(file.document, start, start + rule.length);
      const report = (code: 'sdcpp/broken-rule' | 'sdcpp/type' | 'sdcpp/space', message: string): TypeEntry[] => { problems.push(problem(code, code === 'sdcpp/space' ? 'warning' : 'error', range, message)); return []; };
      const at = rule.indexOf('=');
      if (at < 0) {
        return report('sdcpp/broken-rule', `"${rule}" has no "=" and is ignored with a warning. The text is split at every comma, so {1,2} and [a,b] cannot stand in an expression.`);
      }
      const [pattern, type] = [rule.slice(0, at), rule.slice(at + 1)];
      if (type.includes('=')) {
        return report('sdcpp/broken-rule', `"${rule}" is split at its first "=", which leaves "${type}" as the type: look-aheads such as (?=…) cannot stand in an expression. It is ignored with a warning.`);
      }
      if (!ggmlTypes[type]) {
        const meant = ggmlName(type);
        return report('sdcpp/type', `"${type}" is no type of ggml; the rule is ignored with a warning.${meant ? ` Case counts: "${meant}".` : ''}`);
      }
      if (/^\s|\s$/.test(pattern)) {
        report('sdcpp/space', `The expression "${pattern.trim()}" starts or ends with white space, which belongs to it. Write the rules without spaces or line breaks.`);
      }
      return typeEntry(file, rule, pattern, start, rule.length, type, problems);
    });
    return {
      entries, otherwise: quantized('as --type says', null, 16), unmatched: 'ignored', problems: [...file.problems, ...problems],
      decide(layer, [first]) {
        const entry = first as TypeEntry | undefined;
        const leave = isNever(layer) ? 'kept: never converted' : entry && !fits(layer, entry.type) ? 'kept: its blocks do not fit' : undefined;
        return { entry: entry ?? null, treatment: leave ? { ...kept, label: leave } : entry?.treatment ?? quantized('as --type says', null, 16) };
      },
      prepare: (checkpoint) => explainOthers(entries, checkpoint, isLeft, 'stable-diffusion.cpp converts no .bias, .scale or .weight_scale, no embedder and no final layer, and nothing whose last dimension the blocks of a type do not divide.'),
      traps: (checkpoint, decisions) => [...vainRules(entries), ...normTraps(entries, checkpoint), ...blockTraps(entries, decisions, checkpoint, 'they stay as they are.'), ...entries.flatMap((entry) => {
        const dead = checkpoint.layers.filter((layer) => entry.takes(layer) && isNever(layer));
        return dead.length === 0 ? [] : [problem('sdcpp/never-converted', 'warning', entry.range,
          `The tool never converts ${describeShare(dead, checkpoint)} of what this takes, such as "${dead[0]?.name ?? ''}": the rule has no effect on them.`)];
      })],
    };
  },
};

/** Norms that a rule takes along. They hold next to nothing, and every output of their layers goes through them. The bits of a type count its scales. */
function normTraps(entries: readonly TypeEntry[], { tensors }: Checkpoint): DialectProblem[] {
  return entries.flatMap((entry, i) => {
    const [bits = 16] = ggmlTypes[entry.type] ?? [];
    const low = tensors.filter((tensor) => isLowVector(tensor, Math.floor(bits)) && entry.names(tensor.name) && !isLeft(tensor, entry) && !entries.slice(0, i).some((earlier) => earlier.names(tensor.name)));
    return low.length === 0 ? [] : [problem('sdcpp/norms', 'warning', entry.range,
      `${quoted(entry.text)} takes ${counted(low.length, 'vector')} along, such as ${quoted(low[0]?.name ?? '')}: norms in ${entry.type} cost quality and save next to nothing. Put a rule before it that keeps them, such as "norm[^.]*\\.weight$=f32".`)];
  });
}
