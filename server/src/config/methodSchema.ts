/** The schema of `method`: a name, or a name with parts overridden. */
import { methods } from '../methods';
import type { Schema } from './schema';

const names = [...methods.keys()];
const methodTexts = [...methods.values()].map((method) => method.summary);

const group: Schema = {
  type: ['integer', 'string'],
  if: { type: 'string' },
  then: { enum: ['row', 'tensor'] },
  else: { minimum: 1, maximum: 65536 },
  description: 'int and float. Group size: how many consecutive inputs share a scale. `row` is one scale per output channel (weights) or per token (activations), `tensor` one for all. ' +
    'It must divide the width that is left after a tail. nvfp4 has groups of 16, mxfp4 and mxfp8 of 32.',
  examples: ['row', 64, 128, 'tensor'],
};

const scaleDtype = (text: string): Schema => ({ type: 'string', enum: ['fp16', 'bf16', 'fp32'], description: text });
const seed = (text: string): Schema => ({ type: 'integer', minimum: 0, maximum: 4294967295, default: 0, description: text });

const quantizerKinds: Record<string, string> = {
  int: 'Integers with a scale per group (round to nearest).',
  codebook: 'Lloyd–Max codebook of the sphere marginal with one norm per row or token (OrbitQuant Eq 3).',
  midrise: 'Equal steps of fixed width without a level at zero, one norm per row or token: nearly as good as a codebook at 2 and 3 bits, and plain integers for a kernel.',
  float: 'Small floats (FP4, FP8, and the block formats NVFP4, MXFP4, MXFP8).',
  'twin-log': 'Uniform in the logarithm, positive and negative weights apart (LRQ-DiT Eq 3–7); for heavy tails.',
};

const floatFormats: Record<string, string> = {
  fp4: 'E2M1 with an FP16 scale per group of any size.', nvfp4: 'E2M1 with an E4M3 scale per 16 and one float32 scale per tensor.', mxfp4: 'E2M1 with a power of two per 32 (OCP MX).',
  fp8: 'E4M3 with an FP16 scale per group of any size.', mxfp8: 'E4M3 with a power of two per 32 (OCP MX).',
};

const enumOf = (texts: Record<string, string>, description: string): Schema => ({ type: 'string', enum: Object.keys(texts), enumDescriptions: Object.values(texts), description });

const quantizer = (side: 'weights' | 'activations', kinds: readonly string[], more: Record<string, Schema>): Schema => ({
  type: 'object',
  additionalProperties: false,
  description: `Overrides parts of the method's ${side} quantizer.`,
  properties: {
    kind: enumOf(Object.fromEntries(kinds.map((kind) => [kind, quantizerKinds[kind] ?? ''])),
      'The quantizer itself. Changing it keeps the rest of the method, so `orbitquant` with `kind: int` is a rotated integer quantizer.'),
    symmetric: { type: 'boolean', description: 'int only. Symmetric absmax scale (true) or min–max scale with a zero point (false).' },
    group,
    scale: scaleDtype('int only. Type the scales are stored and used in.'),
    norm: scaleDtype('codebook and midrise. Type the norms are stored and used in.'),
    format: enumOf(floatFormats, 'float only. 4-bit formats need a 4-bit scheme, 8-bit formats an 8-bit one. Default: nvfp4 and fp8.'),
    ...more,
  },
});

const clipRatio: Schema = { exclusiveMinimum: 0, maximum: 1 };
const weights = quantizer('weights', Object.keys(quantizerKinds), {
  clip: {
    type: ['number', 'string'], if: { type: 'string' }, then: { enum: ['mse'] }, else: clipRatio,
    description: 'int only. `mse` searches the range of every group for the least error (p = 2.4, 100 steps, down to a fifth; QuaRot); a number in (0, 1] takes that share of the range (DuQuant: 0.8).',
    examples: ['mse', 0.8],
  },
  form: enumOf({
    corrected: 'Ranges over the signs that are there, fitted per row.',
    released: 'As the authors\' program does it: ranges also see the entries of the other sign, one search for the whole layer.',
  }, 'twin-log only. Which form of the method.'),
});
const activations = quantizer('activations', Object.keys(quantizerKinds).filter((kind) => kind !== 'twin-log'), {
  clip: { type: 'number', ...clipRatio, description: 'int only. Takes this share of the range (DuQuant: 0.9).', examples: [0.9] },
  range: { type: 'string', enum: ['static'], enumDescriptions: ['One range per tensor, from calibration.'], description: 'int only. Fixes the range before the model runs; left out, every token has its own at run time.' },
  shift: { type: 'number', minimum: 0, maximum: 1000, description: 'int only. Added to the inputs, before smoothing, and taken off after quantizing; the codes are then unsigned. For inputs that hardly go below zero: 0.171875 behind a GELU (SVDQuant).', examples: [0.171875] },
});

// `properties`, `required` and `additionalProperties` say nothing about booleans, so a value may be either form without an `anyOf` and its noisy errors.
const optional = (description: string, required: string[], properties: Record<string, Schema>, snippet: string): Schema => ({
  type: ['object', 'boolean'],
  if: { type: 'boolean' },
  then: { enum: [false] },
  description, examples: [false], additionalProperties: false, required, properties,
  defaultSnippets: [{ label: snippet.slice(0, snippet.indexOf(':')), bodyText: snippet }],
});

const smooth = optional('Scales the input channels before quantizing, `x / λ` and `W · λ`, or `false` for not. Needs captured activations.', ['kind'], {
  kind: enumOf({
    absmax: 'λ = max|x| of the channel.', smoothquant: 'λ = max|x|^alpha / max|w|^beta (SmoothQuant).', search: 'The alpha and beta with the least output error (SVDQuant).',
    csb: 'Channel-wise salience balancing over time steps (PTQ4DiT).',
  }, 'Which factors.'),
  alpha: { type: 'number', minimum: 0, maximum: 1, default: 0.5, description: 'smoothquant only. Exponent of the activations.' },
  beta: { type: 'number', minimum: 0, maximum: 1, description: 'smoothquant only. Exponent of the weights; 1 − alpha when left out.' },
  steps: { type: 'integer', minimum: 2, maximum: 200, default: 20, description: 'search only. Steps of the grid.' },
}, 'smooth: { kind: ${1|absmax,smoothquant,search,csb|} }');

const permute = optional('Puts the input channels into another order before they are rotated, or `false` for not.', ['kind'], {
  kind: enumOf({ random: 'A random order, one per width and seed.', zigzag: 'By largest |x|, dealt to blocks back and forth (DuQuant). Needs captured activations.' }, 'Which order.'),
  seed: seed('random only. Seed of the order.'),
  block: { type: 'integer', minimum: 2, maximum: 4096, default: 128, description: 'zigzag only. Channels per block; must divide the width.' },
}, 'permute: { kind: ${1|random,zigzag|} }');

const rotate = optional('Rotation of the inputs before quantizing, or `false` for none.', ['kind'], {
  kind: enumOf({
    rpbh: 'Randomised permuted block Hadamard (OrbitQuant Eq 9); works for every width.',
    hadamard: 'Hadamard matrix over the whole width, with random signs (QuaRot).',
    random: 'Dense random orthogonal matrix.',
    'outlier-aware': 'Greedy block rotation of the largest channels, a permutation, a second rotation (DuQuant, LRQ-DiT). Needs captured activations.',
    pca: 'Eigenvectors of the inputs\' second moments (DiRotQ); goes with `tail`. Needs captured second moments.',
    adaptive: 'hadamard for calm layers, outlier-aware for the others (LRQ-DiT). Needs captured activations.',
  }, 'Which rotation.'),
  seed: seed('Seed of permutations, signs and random matrices; one draw per width.'),
  block: { type: 'integer', minimum: 2, maximum: 1024, default: 128, description: 'outlier-aware only. Channels per block; must divide the width.' },
  steps: { type: 'integer', minimum: 1, maximum: 4096, default: 256, description: 'outlier-aware only. Most greedy steps; the best prefix is kept.' },
  order: { ...enumOf({ zigzag: 'Back and forth by max|x| (DuQuant).', 'round-robin': 'In turn by max − min (LRQ-DiT).' }, 'outlier-aware only. How the permutation deals channels to blocks.'), default: 'zigzag' },
  perHead: { type: 'boolean', default: false, description: 'pca only. One basis for each attention head; for layers that read the outputs of an attention.' },
  threshold: { type: 'number', minimum: 0, maximum: 1000000, default: 1, description: 'adaptive only. From this signal on a layer gets the outlier-aware rotation.' },
  signal: { ...enumOf({ rms: 'RMS of the inputs (LRQ-DiT Eq 11).', 'peak-to-rms': 'Largest |x| over RMS; does not depend on the scale of the inputs.' }, 'adaptive only. What is compared with the threshold.'), default: 'rms' },
}, 'rotate: { kind: ${1|rpbh,hadamard,random,outlier-aware,pca,adaptive|} }');

const tail = optional('Keeps a share of the rotated inputs in BF16 on both sides, or `false` for none. Goes with `rotate: { kind: pca }`, which puts the inputs with the most energy last.', ['fraction'], {
  fraction: { type: 'number', exclusiveMinimum: 0, maximum: 0.9, description: 'Share of the input coordinates, rounded up until groups divide the rest.', examples: [0.125] },
}, 'tail: { fraction: ${1:0.125} }');

const lowRank = optional('A BF16 branch of low rank beside the quantized weights, or `false` for none.', ['rank'], {
  rank: { type: 'integer', minimum: 1, maximum: 4096, description: 'Rank of the branch.', examples: [32] },
  iterations: { type: 'integer', minimum: 1, maximum: 100, default: 1, description: 'How often the branch is fitted anew to what the quantizer leaves; stops early when that no longer helps.' },
}, 'lowRank: { rank: ${1:32} }');

const solver: Schema = {
  type: 'object',
  description: 'How codes are found.',
  additionalProperties: false,
  required: ['kind'],
  properties: {
    kind: enumOf({
      rtn: 'Every weight to its nearest level.', gptq: 'Column by column, later columns making good the errors of earlier ones (GPTQ). Needs captured second moments.',
      adaround: 'Learns to round up or down from what whole blocks compute (AdaRound); integers only. Needs captured inputs and outputs of the blocks.',
    }, 'Which solver.'),
    damping: { type: 'number', exclusiveMinimum: 0, maximum: 1, default: 0.01, description: 'gptq only. Share of the mean diagonal that is added to the second moments.' },
    actOrder: { type: 'boolean', default: true, description: 'gptq only. Columns with the most input energy first.' },
    staticGroups: { type: 'boolean', default: true, description: 'gptq only. Scales of groups are taken from the original weights.' },
    iterations: { type: 'integer', minimum: 1, maximum: 100000, default: 2000, description: 'adaround only. Steps of the optimizer.' },
  },
  defaultSnippets: [{ label: 'solver', bodyText: 'solver: { kind: ${1|rtn,gptq,adaround|} }' }],
};

export const method: Schema = {
  type: ['string', 'object'],
  description: 'The quantization method: a name, or a name with parts overridden. A part that stands here replaces the method\'s own as a whole; `weights` and `activations` override single keys.',
  if: { type: 'string' },
  then: { enum: names, enumDescriptions: methodTexts },
  additionalProperties: false,
  required: ['name'],
  properties: {
    name: { type: 'string', enum: names, enumDescriptions: methodTexts, description: 'The method that is the starting point.' },
    smooth, permute, rotate, tail, lowRank, weights, activations, solver,
  },
  defaultSnippets: [
    { label: 'method', bodyText: `method: \${1|${names.join(',')}|}` },
    { label: 'rtn in groups', description: 'Round to nearest, one scale for every group of inputs', bodyText: '{ name: rtn, weights: { group: ${1|64,128,32|} } }' },
    { label: 'gptq in groups', description: 'Columns make good the errors of earlier ones; one scale for every group of inputs', bodyText: '{ name: gptq, weights: { group: ${1|128,64|} }, solver: { kind: gptq, damping: ${2:0.01} } }' },
    { label: 'orbitquant with integers', description: 'OrbitQuant\'s rotation and plain integers instead of its codebook', bodyText: '{ name: orbitquant, weights: { kind: int, group: ${1|64,row|} }, activations: { kind: int } }' },
    { label: 'svdquant with another rank', description: 'How wide the high-precision branch is', bodyText: '{ name: svdquant, lowRank: { rank: ${1:32} } }' },
  ],
};
