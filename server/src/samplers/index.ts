/** The sampler a checkpoint's scheduler_config.json names. */
import { ddim } from './ddim';
import { dpmSolver } from './dpmSolver';
import { dynamicShift, flowEuler } from './flowEuler';
import { alphasCumprod } from './sampler';
import type { Sampler } from './sampler';
import { unipc } from './unipc';

export class SamplerError extends Error {}

/** @param tokens image tokens, which FLUX's dynamic shift depends on. */
export function samplerFor(config: Readonly<Record<string, unknown>>, steps: number, tokens: number): Sampler {
  const name = String(config['_class_name']);
  const number = (key: string, fallback: number): number => (typeof config[key] === 'number' ? (config[key] as number) : fallback);
  const total = number('num_train_timesteps', 1000);
  if (!Number.isInteger(steps) || steps < 1 || steps > total) {
    throw new SamplerError(`Steps must be a whole number from 1 to ${total}, not ${steps}.`);
  }
  const schedule = config['beta_schedule'] === 'scaled_linear' ? 'scaled_linear' : 'linear';
  if (config['beta_schedule'] !== undefined && !['linear', 'scaled_linear'].includes(String(config['beta_schedule']))) {
    throw new SamplerError(`scheduler_config.json: beta_schedule "${String(config['beta_schedule'])}" is not known; linear and scaled_linear are.`);
  }
  const alphas = (): Float64Array => alphasCumprod(schedule, number('beta_start', 1e-4), number('beta_end', 0.02), total);
  const prediction = config['prediction_type'] === 'v_prediction' ? 'v_prediction' : 'epsilon';
  switch (name) {
    case 'DDIMScheduler': {
      const a = alphas();
      return ddim(a, steps, { prediction, spacing: config['timestep_spacing'] === 'trailing' ? 'trailing' : 'leading', offset: number('steps_offset', 0), finalAlpha: config['set_alpha_to_one'] === false ? a[0] ?? 1 : 1 });
    }
    case 'DPMSolverMultistepScheduler': return dpmSolver(alphas(), steps);
    case 'FlowMatchEulerDiscreteScheduler': return flowEuler(steps, config['use_dynamic_shifting'] === true
      ? { mu: dynamicShift(tokens, { baseShift: number('base_shift', 0.5), maxShift: number('max_shift', 1.15), baseTokens: number('base_image_seq_len', 256), maxTokens: number('max_image_seq_len', 4096) }) }
      : { shift: number('shift', 1) });
    case 'UniPCMultistepScheduler': return unipc(steps, number('flow_shift', 3));
    case 'CogVideoXDDIMScheduler': return ddim(zeroTerminalSnr(alphasCumprod('scaled_linear', number('beta_start', 0.00085), number('beta_end', 0.012), total), number('snr_shift_scale', 3)), steps,
      { prediction: 'v_prediction', spacing: 'trailing', offset: 0, finalAlpha: 1 });
    default: throw new SamplerError(`scheduler_config.json: there is no sampler for ${name}; DDIMScheduler, DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler and CogVideoXDDIMScheduler can be run.`);
  }
}

/** CogVideoX: ᾱ ← ᾱ/(s + (1−s)ᾱ), then √ᾱ is shifted and stretched so that the last step has no signal left. */
function zeroTerminalSnr(alphas: Float64Array, snrShift: number): Float64Array {
  const roots = alphas.map((a) => Math.sqrt(a / (snrShift + (1 - snrShift) * a)));
  const [first = 1, terminal = 0] = [roots[0], roots.at(-1)];
  return roots.map((root) => (((root - terminal) * first) / (first - terminal)) ** 2);
}
