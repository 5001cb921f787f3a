/** Versions of deepcompressor (since March 2025 its package is named deepcompressor-toolkit) and diffusers that do not go together, and presets that take days (deepcompressor 0.0.2 and its issues; tags of diffusers up to 0.40). */
import type { Range } from '../../../protocol';
import { problem } from '../dialect';
import type { DialectProblem } from '../dialect';
import type { Fields } from '../fields';
import { certain } from '../../../python/packages/allowed';
import type { Packages } from '../../../python/packages/allowed';

/** @param pipeline without one a file merged with this may be about FLUX */
export function versionTraps(packages: Packages, pipeline: Fields | undefined, range: Range): DialectProblem[] {
  const name = pipeline?.scalar('name');
  const isFlux = typeof name !== 'string' || name.startsWith('flux');
  const before = certain(packages, 'diffusers', { before: '0.32' });
  const registers = certain(packages, 'deepcompressor', { from: '0.3' }) ?? certain(packages, 'deepcompressor-toolkit', { from: '0.3' });
  const since = isFlux && !registers ? certain(packages, 'diffusers', { from: '0.35' }) : undefined;
  const first = isFlux ? certain(packages, 'deepcompressor', { before: '0.0.2' }) : undefined;
  return [
    ...before ? [problem('deepcompressor/diffusers', 'error', range, `deepcompressor needs diffusers 0.32 or later; here stands ${before}. Pin diffusers==0.32.0.`)] : [],
    ...since ? [problem('deepcompressor/diffusers', 'error', range, `With diffusers 0.35 or later deepcompressor stops at "KeyError: FluxAttention" for FLUX, and where that is registered by hand, it runs out of memory whatever the batch size: here stands ${since}. ` +
      'Pin diffusers==0.32.0, or take deepcompressor\'s branch deepcompressor-v0.3.0.')] : [],
    ...first ? [problem('deepcompressor/old', 'error', range, `deepcompressor 0.0.1 cuts rotary embeddings of FLUX into samples and stops in apply_rotary_emb ("The size of tensor a (4608) must match the size of tensor b"): here stands ${first}. Take its main branch from March 2025 on.`)] : [],
  ];
}

/** SVDQuant's own preset smooths with 20 grids on 128 samples: three to four days for FLUX.1-dev on an L20 (issue 42). svdquant/fast.yaml has 10 grids and 64 samples. */
export function slowTraps(quant: Fields): DialectProblem[] {
  const projection = quant.peek('smooth')?.peek('proj');
  const [grids, samples] = [projection?.scalar('num_grids'), quant.peek('calib')?.scalar('num_samples')];
  if (!projection || typeof grids !== 'number' || grids < 20 || projection.scalar('strategy') !== 'GridSearch' || quant.scalar('enable_smooth') === false || (typeof samples === 'number' && samples <= 64)) {
    return [];
  }
  const settings = projection.scalar('beta') === -2 ? `${2 * grids - 1} settings` : `${grids} settings or more`;
  return [problem('deepcompressor/slow', 'hint', projection.range('num_grids'),
    `Each layer is smoothed with ${settings} on all ${typeof samples === 'number' ? samples : 128} samples: days for FLUX.1-dev on one GPU. For a first run put svdquant/fast.yaml behind this file, which has num_grids 10 and calib.num_samples 64.`)];
}
