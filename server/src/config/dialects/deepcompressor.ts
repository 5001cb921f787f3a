/** deepcompressor's YAML: what to skip or include goes by a fixed vocabulary of roles, never by names. */
import type { Checkpoint, Layer } from '../../protocol';
import { find } from '../tree';
import { kept, problem, quantized } from './dialect';
import type { Decision, Dialect, DialectEntry, DialectProblem, Treatment } from './dialect';
import { Fields } from './fields';

/** Role keys that stand for others; every other one stands for itself. */
const groups: Readonly<Record<string, readonly string[]>> = {
  embed: ['input_embed', 'time_embed', 'text_embed', 'output_embed'], attn: ['attn_qkv_proj', 'attn_out_proj'], attn_add: ['attn_add_qkv_proj', 'attn_add_out_proj'], ffn: ['ffn_up_proj', 'ffn_down_proj'], ffn_add: ['ffn_add_up_proj', 'ffn_add_down_proj'],
};
const vocabulary = [...Object.keys(groups), ...Object.values(groups).flat(), 'transformer_proj_in', 'transformer_proj_out', 'transformer_norm', 'transformer_add_norm', 'down_sample', 'up_sample',
  'resblock', 'resblock_conv', 'resblock_shortcut', 'resblock_time_proj'];

/** Role keys of a layer by the end of its name, for the models that deepcompressor has structs of. A single block's proj_out is split into two. */
const roles: readonly [pattern: RegExp, ...keys: string[]][] = [
  [/^single_transformer_blocks\.\d+\.proj_out$/, 'attn_out_proj', 'ffn_down_proj'], [/^single_transformer_blocks\.\d+\.proj_mlp$/, 'ffn_up_proj'], [/\.norm1_context\.linear$/, 'transformer_add_norm'],
  [/transformer_blocks\.\d+\.norm1?\.linear$/, 'transformer_norm'], [/\.attn2\.to_[kv]$/, 'attn_add_qkv_proj'], [/\.attn\d?\.to_[qkv]$/, 'attn_qkv_proj'], [/\.attn\d?\.to_out\.0$/, 'attn_out_proj'], [/\.attn\.add_[qkv]_proj$/, 'attn_add_qkv_proj'],
  [/\.attn\.to_add_out$/, 'attn_add_out_proj'], [/\.ff\.net\.0\.proj$/, 'ffn_up_proj'], [/\.ff\.net\.2$/, 'ffn_down_proj'], [/\.ff_context\.net\.0\.proj$/, 'ffn_add_up_proj'], [/\.ff_context\.net\.2$/, 'ffn_add_down_proj'],
  [/^x_embedder$/, 'input_embed'], [/^(?:time_text_embed|adaln_single)\./, 'time_embed'], [/^(?:context_embedder$|caption_projection\.)/, 'text_embed'], [/^(?:norm_out\.linear|proj_out)$/, 'output_embed'],
];
const models = ['FluxTransformer2DModel', 'PixArtTransformer2DModel', 'SanaTransformer2DModel'];

type Part = 'wgts' | 'ipts';
interface RoleEntry extends DialectEntry { part: Part }

export function roleKeys({ name }: Layer): readonly string[] {
  return roles.find(([pattern]) => pattern.test(name))?.slice(1) as readonly string[] | undefined ?? [];
}

export const deepcompressor: Dialect = {
  id: 'deepcompressor', title: 'deepcompressor',
  file: 'YAML with `quant.wgts` or `quant.ipts`',
  rule: 'An entry is a key of a fixed vocabulary of roles, such as `embed` or `ffn_down_proj`; never a name or a pattern.',
  unmatched: 'A key that is not in the vocabulary is a `KeyError`; one whose role the model lacks is passed over.',
  codes: ['deepcompressor/'],
  detect: ({ root }) => ['wgts', 'ipts'].some((part) => find(find(root, 'quant')?.value, part) !== undefined),
  parse(file) {
    const problems: DialectProblem[] = [];
    const node = find(file.root, 'quant')?.value;
    if (node?.kind !== 'map') {
      return { entries: [], otherwise: kept, unmatched: 'error', problems: file.problems };
    }
    const quant = new Fields(node, 'quant', problems, file.document);
    if (quant.has('opts') && quant.map('opts')?.scalar('dtype')) {
      quant.report('deepcompressor/opts', 'error', quant.keyRange('opts'), 'Quantization of outputs (opts) raises NotImplementedError.');
    }
    const parts = (['wgts', 'ipts'] as const).map((part) => readPart(part, quant.map(part)));
    const [weights, inputs] = parts.map(({ bits, label }) => ({ bits, label }));
    const otherwise = { kind: weights?.bits === 16 && inputs?.bits === 16 ? 'keep' : 'quantize', label: `weights ${weights?.label ?? 'kept'}, activations ${inputs?.label ?? 'kept'}`, weightBits: weights?.bits ?? null, activationBits: inputs?.bits ?? null } satisfies Treatment;
    return {
      entries: parts.flatMap(({ entries }) => entries), otherwise, unmatched: 'ignored', problems: [...file.problems, ...problems],
      decide: (layer, taking) => decide(layer, taking as readonly RoleEntry[], otherwise), traps: (checkpoint) => modelTrap(checkpoint, quant),
    };
  },
};

function readPart(part: Part, fields: Fields | undefined): { bits: number; label: string; entries: RoleEntry[] } {
  const dtype = fields?.text('dtype');
  const bits = dtype === undefined ? 16 : bitsOf(dtype);
  const skips = fields?.names('skips', true) ?? [];
  if (dtype !== undefined && bits === null) {
    fields?.report('deepcompressor/dtype', 'error', fields.range('dtype'), `"${dtype}" is no dtype: s or u, then int4, fp4_e2m1_all, fp8_e4m3_nan and their like.`);
  }
  if (fields && dtype === undefined && skips.length > 0) {
    fields.report('deepcompressor/skips-cleared', 'info', fields.keyRange('skips'), 'Without a dtype nothing is quantized and this list is cleared.');
  }
  const [shapes, scales] = [fields?.list('group_shapes'), fields?.list('scale_dtypes')];
  if (fields && shapes && scales && shapes.length !== scales.length) {
    fields.report('deepcompressor/parallel-lists', 'error', fields.range('scale_dtypes'), `group_shapes has ${shapes.length} entries and scale_dtypes ${scales.length}; they go together, from coarse to fine.`);
  }
  const first = shapes?.[0];
  if (fields?.flag('static') === true && first?.kind === 'list' && !(first.items[0]?.kind === 'scalar' && first.items[0].value === -1)) {
    fields.report('deepcompressor/static', 'error', fields.keyRange('static'), 'static needs -1 as the first number of the first group shape.');
  }
  const entries = skips.flatMap(({ value, range }): RoleEntry[] => {
    if (!vocabulary.includes(value)) {
      fields?.refuse('skips', value, vocabulary, 'deepcompressor/role', 'error', range);
      return [];
    }
    const keys = groups[value] ?? [value];
    // A model without such a role is usual: the lists of the examples are written for several.
    return [{ text: value, range, part, treatment: { ...kept, label: part === 'wgts' ? 'weights kept' : 'activations kept' }, isPath: false, elsewhere: true, takes: (layer) => roleKeys(layer).some((key) => keys.includes(key)) }];
  });
  return { bits: bits ?? 16, label: dtype ?? 'kept', entries: dtype === undefined ? [] : entries };
}

/** Bits of sint4, uint8, sfp4_e2m1_all, sfn8_e4m3 and of torch's types; null for what is none. */
function bitsOf(dtype: string): number | null {
  const [, integer, float] = /^[su](?:(?:int|mag)(\d+)|exp\d+(?:_nan)?|f[pn](\d+)_e\d+m\d+(?:_(?:inf|nan|all))?)$/.exec(dtype) ?? [];
  const [, torch] = /^torch\.b?float(\d+)$/.exec(dtype) ?? [];
  const bits = integer ?? float ?? torch ?? /^[su]exp(\d+)/.exec(dtype)?.[1];
  return bits === undefined ? null : Number(bits);
}

/** Weights and activations each by their own list. Layers without a role are not part of the tool's struct. */
function decide(layer: Layer, taking: readonly RoleEntry[], otherwise: Treatment): Omit<Decision, 'layer'> {
  const [weights, inputs] = (['wgts', 'ipts'] as const).map((part) => taking.find((entry) => entry.part === part));
  if (roleKeys(layer).length === 0) {
    return { entry: null, treatment: { ...kept, label: 'kept: has no role' } };
  }
  if (!weights && !inputs) {
    return { entry: null, treatment: otherwise };
  }
  const [weightBits, activationBits] = [weights ? 16 : otherwise.weightBits, inputs ? 16 : otherwise.activationBits];
  return { entry: weights ?? inputs ?? null, also: inputs ?? null, treatment: weightBits === 16 && activationBits === 16 ? kept : quantized(weights ? 'weights kept, activations quantized' : 'weights quantized, activations kept', weightBits, activationBits) };
}

function modelTrap({ architecture }: Checkpoint, quant: Fields): DialectProblem[] {
  return models.includes(architecture) || architecture === 'unknown' ? [] : [problem('deepcompressor/model', 'error', quant.keyRange('wgts'),
    `deepcompressor has no struct for ${architecture}: FLUX, PixArt and SANA alone (and U-Nets); nunchaku converts FLUX alone.`)];
}
