/** The sampler a checkpoint's scheduler_config.json names. */
import { ddim } from './ddim';
import { dpmSolver } from './dpmSolver';
import { dynamicShift, flowEuler } from './flowEuler';
import { alphasCumprod } from './sampler';
import type { Sampler } from './sampler';
import { unipc } from './unipc';

export class SamplerError extends Error {}

const never = [false, null];

/** Options that change the update rule, with the values that are implemented. Absent ones have these values by default, or the class does not look at them. */
const options: Readonly<Record<string, Readonly<Record<string, readonly unknown[]>>>> = {
  DDIMScheduler: { clip_sample: never, thresholding: never, rescale_betas_zero_snr: never, trained_betas: never, timestep_spacing: ['leading', 'trailing'], prediction_type: ['epsilon', 'v_prediction'] },
  DPMSolverMultistepScheduler: {
    algorithm_type: ['dpmsolver++'], solver_order: [2], solver_type: ['midpoint'], prediction_type: ['epsilon'], timestep_spacing: ['linspace'], final_sigmas_type: ['zero'], lower_order_final: [true],
    euler_at_final: never, thresholding: never, use_karras_sigmas: never, use_exponential_sigmas: never, use_beta_sigmas: never, use_lu_lambdas: never, use_flow_sigmas: never, rescale_betas_zero_snr: never, trained_betas: never,
  },
  FlowMatchEulerDiscreteScheduler: {
    invert_sigmas: never, shift_terminal: never, use_karras_sigmas: never, use_exponential_sigmas: never, use_beta_sigmas: never, stochastic_sampling: never, time_shift_type: ['exponential'],
  },
  UniPCMultistepScheduler: {
    solver_order: [2], solver_type: ['bh2'], prediction_type: ['flow_prediction'], predict_x0: [true], use_flow_sigmas: [true], final_sigmas_type: ['zero'], lower_order_final: [true], thresholding: never,
    use_karras_sigmas: never, use_exponential_sigmas: never, use_beta_sigmas: never, use_dynamic_shifting: never, shift_terminal: never,
  },
  CogVideoXDDIMScheduler: { prediction_type: ['v_prediction'], timestep_spacing: ['trailing'], rescale_betas_zero_snr: [true], set_alpha_to_one: [true], beta_schedule: ['scaled_linear'], trained_betas: never },
};

/** @param tokens image tokens, which FLUX's dynamic shift depends on. */
export function samplerFor(config: Readonly<Record<string, unknown>>, steps: number, tokens: number): Sampler {
  const name = String(config['_class_name']);
  const number = (key: string, fallback: number): number => (typeof config[key] === 'number' ? (config[key] as number) : fallback);
  const total = number('num_train_timesteps', 1000);
  if (!Number.isInteger(steps) || steps < 1 || steps > total) {
    throw new SamplerError(`Steps must be a whole number from 1 to ${total}, not ${steps}.`);
  }
  for (const [key, allowed] of Object.entries(options[name] ?? {})) {
    if (key in config && !allowed.includes(config[key])) {
      throw new SamplerError(`scheduler_config.json: ${name} with "${key}": ${JSON.stringify(config[key])} is not known; ${allowed.map((value) => JSON.stringify(value)).join(' or ')} can be run.`);
    }
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
