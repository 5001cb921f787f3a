/** Schemes of AutoRound's exporter: presets, fields that override them, and what both come to in our terms. Read in auto-round (2026-08), `schemes.py`. */
import { keepOriginal } from '../../../methods/method';
import type { Granularity, Quantizer } from '../../../protocol';
import type { TreeNode } from '../../tree';
import { kept, quantized } from '../dialect';
import type { Treatment } from '../dialect';
import { ggmlRecipes } from '../ggmlTypes';
import { blocksOf2d, staticFloat } from '../quantizationArgs';
import { equivalent, float, int } from '../recipes';
import type { Equivalent } from '../recipes';

/** Under the names that AutoRound gives them. `ggml`: of a GGUF scheme, whose other fields nothing may change. */
export interface Scheme {
  bits?: number; group_size?: number | '2d'; sym?: boolean; data_type?: string;
  act_bits?: number; act_group_size?: number; act_sym?: boolean; act_data_type?: string; act_dynamic?: boolean; ggml?: string;
}

const integer = (bits: number, group = 128): Scheme => ({ bits, group_size: group, sym: true, data_type: 'int', act_bits: 16 });
const dynamic = (bits: number, group: number, type: string, actType = type): Scheme => ({ bits, group_size: group, sym: true, data_type: type, act_bits: bits, act_group_size: group, act_sym: true, act_data_type: actType, act_dynamic: true });
const gguf = (bits: number, ggml: string): Scheme => ({ bits, act_bits: 16, ggml });

export const presets: Readonly<Record<string, Scheme>> = {
  W4A16: integer(4), W2A16: integer(2), W3A16: integer(3), W5A16: integer(5), W6A16: integer(6), W8A16: integer(8), W2A16G64: integer(2, 64), W2A16G32: integer(2, 32),
  MXFP4: dynamic(4, 32, 'mx_fp'), MXFP6: dynamic(6, 32, 'mx_fp'), MXFP8: dynamic(8, 32, 'mx_fp'), MXFP4_RCEIL: dynamic(4, 32, 'mx_fp', 'mx_fp_rceil'), MXFP8_RCEIL: dynamic(8, 32, 'mx_fp', 'mx_fp_rceil'), MXINT4: dynamic(4, 32, 'mx_int'),
  NVFP4: dynamic(4, 16, 'nv_fp', 'nv_fp4_with_static_gs'), NVFP4_E5M3: dynamic(4, 16, 'nvfp4_v2'), INT8: dynamic(8, -1, 'int'), INT8_W8A8: dynamic(8, -1, 'int'), INT4: dynamic(4, -1, 'int'),
  FPW8A16: { bits: 8, group_size: 0, sym: true, data_type: 'fp', act_bits: 16, act_data_type: 'fp' }, FP8_BLOCK: { ...dynamic(8, 128, 'fp'), group_size: '2d' },
  FP8_STATIC: { ...dynamic(8, -1, 'fp'), act_group_size: 0, act_dynamic: false }, BF16: { bits: 16, group_size: 128, sym: true, data_type: 'fp', act_bits: 16, act_data_type: 'fp' },
  W4A16_MIXED: integer(4),
  'GGUF:Q4_0': gguf(4, 'q4_0'), 'GGUF:Q4_1': gguf(4, 'q4_1'), 'GGUF:Q5_0': gguf(5, 'q5_0'), 'GGUF:Q5_1': gguf(5, 'q5_1'), 'GGUF:Q8_0': gguf(8, 'q8_0'), 'GGUF:Q6_K': gguf(6, 'q6_K'), 'GGUF:Q2_K_MIXED': gguf(2, 'q2_K'),
  ...Object.fromEntries([[2, 'S'], [3, 'S'], [3, 'M'], [3, 'L'], [4, 'S'], [4, 'M'], [5, 'S'], [5, 'M']].map(([bits, size]) => [`GGUF:Q${bits ?? ''}_K_${size ?? ''}`, gguf(Number(bits), `q${bits ?? ''}_K`)] as const)),
};

/** Of which the layers are chosen by a rule of its own, or by their loss. */
export const mixed = ['W4A16_MIXED', 'GGUF:Q2_K_MIXED'];

/** What each means, in words. */
export const presetDocs: Readonly<Record<string, string>> = Object.fromEntries(Object.entries(presets).map(([name, scheme]) => [name, mixed.includes(name) ? 'a mixture for language models' : scheme.ggml ? `ggml's ${scheme.ggml}` : treatmentOf(scheme, []).label]));

const families = ['int', 'mx_fp', 'fp', 'nv_fp', 'mx_int'];

/** `mx_fp4` has 4 bits, `int` any number. */
export function bitsOf(type: string | undefined): number | undefined {
  const family = families.find((each) => type !== undefined && type.startsWith(each) && /^\d/.test(type.slice(each.length)));
  return type === undefined || family === undefined ? undefined : Number(/^\d{1,2}/.exec(type.slice(family.length))?.[0]);
}

/** What `parse_scheme` makes of a preset or a mapping and the fields beside it: the type decides the bits, activations take after the weights. */
export function resolve(base: Scheme, overrides: Scheme): Scheme {
  const all: Scheme = base.ggml === undefined ? { ...base, ...overrides } : { ...base };
  const own = bitsOf(all.data_type);
  const bits = own !== undefined && own < 16 ? own : all.bits ?? 4;
  const type = own !== undefined && own < 16 ? all.data_type?.replace(/\d+$/, '') : all.data_type;
  const actBits = all.act_bits || 16;
  const actType = all.act_data_type ?? (actBits < 16 && families.includes(type ?? '') ? type : 'float');
  const group = all.group_size ?? 128;
  return {
    ...all, bits, group_size: group, sym: all.sym ?? true, act_dynamic: all.act_dynamic ?? true, act_bits: bitsOf(actType) ?? actBits, act_sym: all.act_sym ?? all.sym ?? true, ...type === undefined ? {} : { data_type: type },
    ...actType === undefined ? {} : { act_data_type: actType }, ...all.act_group_size !== undefined || group === '2d' ? {} : { act_group_size: group },
  };
}

/** Fields of a scheme in a mapping of Python, without those that are None. */
export function schemeOf(node: TreeNode | undefined): Scheme {
  const scheme: Record<string, unknown> = {};
  for (const { key, value } of node?.kind === 'map' ? node.entries : []) {
    if (value.kind === 'scalar' && value.value !== null && Object.hasOwn(kinds, key) && typeof value.value === kinds[key as keyof typeof kinds]) {
      scheme[key] = value.value;
    } else if (key === 'group_size' && value.kind === 'list') {
      scheme[key] = '2d';
    }
  }
  return scheme;
}

const kinds = { bits: 'number', group_size: 'number', sym: 'boolean', data_type: 'string', act_bits: 'number', act_group_size: 'number', act_sym: 'boolean', act_data_type: 'string', act_dynamic: 'boolean' } as const;

/** @param learnt what AutoRound does beyond rounding, in half sentences */
export function treatmentOf(scheme: Scheme, learnt: readonly string[]): Treatment {
  const { bits = 4, act_bits: actBits = 16, ggml } = scheme;
  if (ggml !== undefined) {
    const same = ggmlRecipes[ggml];
    return quantized(ggml, bits, 16, same && { recipe: same.recipe, near: [...same.near, ...learnt] });
  }
  // 9 to 15 bits leave a layer as it is.
  const [own, inputs] = [bits <= 8, actBits <= 8];
  if (!own && !inputs) {
    return kept;
  }
  const per = scheme.group_size === '2d' ? 'block' : scheme.group_size === -1 ? 'row' : scheme.group_size === 0 ? 'tensor' : `group ${scheme.group_size ?? 128}`;
  const label = `${own ? `${typed(scheme.data_type, bits)} weights per ${per}` : 'weights kept'}${inputs ? `, ${typed(scheme.act_data_type, actBits)} activations` : ''}`;
  const weights = own ? quantizerOf(scheme.data_type, bits, scheme.group_size ?? 128, scheme.sym ?? true) : keepOriginal;
  const isStatic = scheme.act_dynamic === false;
  const activations = inputs ? quantizerOf(scheme.act_data_type, actBits, isStatic ? 0 : scheme.act_group_size ?? -1, scheme.act_sym ?? true) : keepOriginal;
  const near = [...scheme.group_size === '2d' ? [blocksOf2d] : [], ...inputs && (isStatic || /static/.test(scheme.act_data_type ?? '')) ? [staticFloat] : [], ...own ? learnt : []];
  const as: Equivalent | undefined = weights && activations ? equivalent(weights, activations, near) : undefined;
  return quantized(label, own ? bits : 16, inputs ? actBits : 16, as);
}

function typed(type = 'int', bits: number): string {
  return /\d/.test(type) ? type : `${type.replace(/_rceil$/, '')}${bits}`;
}

function quantizerOf(type = 'int', bits: number, group: number | '2d', symmetric: boolean): Quantizer | undefined {
  const per: Granularity = group === '2d' ? 128 : group === -1 ? 'row' : group === 0 ? 'tensor' : group;
  switch (true) {
    case type === 'int': return Number.isInteger(bits) && bits >= 1 ? int(bits, per, { symmetric }) : undefined;
    case type.startsWith('mx_fp') && bits !== 6: return float(bits === 4 ? 'mxfp4' : 'mxfp8');
    case type.startsWith('nv_fp') && bits === 4: return float('nvfp4');
    case (type === 'fp' || type === 'float') && bits === 8: return float('fp8', per);
    default: return undefined;
  }
}
