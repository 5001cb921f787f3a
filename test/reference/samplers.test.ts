/** Samplers and starting noise against the numpy programs: the same time steps, the same trajectory. */
import assert from 'node:assert/strict';
import { samplerFor, SamplerError } from '../../server/src/samplers';
import { torchRandn } from '../../server/src/samplers/noise';
import { numpy } from './python';

/** scheduler_config.json of each oracle sampler. */
const configs: Record<string, Record<string, unknown>> = {
  ddim: { _class_name: 'DDIMScheduler', beta_schedule: 'linear', beta_start: 1e-4, beta_end: 0.02, timestep_spacing: 'leading', steps_offset: 0 },
  'ddim-offset': { _class_name: 'DDIMScheduler', beta_schedule: 'linear', beta_start: 1e-4, beta_end: 0.02, timestep_spacing: 'leading', steps_offset: 1 },
  dpm: { _class_name: 'DPMSolverMultistepScheduler', beta_schedule: 'linear', beta_start: 1e-4, beta_end: 0.02 },
  'flow-static': { _class_name: 'FlowMatchEulerDiscreteScheduler', shift: 3, use_dynamic_shifting: false },
  'flow-dynamic': { _class_name: 'FlowMatchEulerDiscreteScheduler', use_dynamic_shifting: true, base_shift: 0.5, max_shift: 1.15, base_image_seq_len: 256, max_image_seq_len: 4096 },
  unipc: { _class_name: 'UniPCMultistepScheduler', flow_shift: 3, prediction_type: 'flow_prediction' },
  'cog-2b': { _class_name: 'CogVideoXDDIMScheduler', snr_shift_scale: 3 },
  'cog-5b': { _class_name: 'CogVideoXDDIMScheduler', snr_shift_scale: 1 },
};

interface Oracle {
  runs: { sampler: string; steps: number; timesteps: number[]; start: number[]; outputs: number[][]; samples: number[][] }[];
  noise: { seed: number; count: number; values: number[] }[];
}

describe('samplers', () => {
  let oracle: Oracle;
  before(() => { oracle = numpy('samplers.py'); });

  for (const [name, config] of Object.entries(configs)) {
    it(`${name} follows the oracle`, () => {
      const runs = oracle.runs.filter((run) => run.sampler === name);
      assert.equal(runs.length, 4);
      for (const { steps, timesteps, start, outputs, samples } of runs) {
        const sampler = samplerFor(config, steps, 1024);
        assert.deepEqual(sampler.timesteps.map((t) => t.toFixed(9)), timesteps.map((t) => t.toFixed(9)), `${steps} steps`);
        let x = Float32Array.from(start);
        outputs.forEach((output, i) => {
          x = Float32Array.from(sampler.step(Float32Array.from(output), i, x));
          const size = Math.max(1, ...(samples[i] ?? []).map(Math.abs));
          x.forEach((value, at) => assert.ok(Math.abs(value - (samples[i]?.[at] ?? NaN)) <= 1e-5 * size, `${steps} steps, step ${i}: ${value} for ${samples[i]?.[at]}`));
        });
      }
    });
  }

  it('draws the noise that torch draws', () => {
    for (const { seed, count, values } of oracle.noise) {
      torchRandn(count, seed).forEach((value, i) => assert.ok(Math.abs(value - (values[i] ?? NaN)) <= 1e-6, `seed ${seed}, ${i}: ${value} for ${values[i]}`));
    }
    assert.throws(() => torchRandn(8, 0), /fewer than 16/);
  });

  it('refuses what it cannot run, by name', () => {
    assert.throws(() => samplerFor({ _class_name: 'EulerAncestralDiscreteScheduler' }, 4, 1), (error: Error) => error instanceof SamplerError && /EulerAncestral.*DDIMScheduler/.test(error.message));
    assert.throws(() => samplerFor(configs['ddim'] ?? {}, 0, 1), /from 1 to 1000, not 0/);
    assert.throws(() => samplerFor({ _class_name: 'DDIMScheduler', beta_schedule: 'squaredcos_cap_v2' }, 4, 1), /squaredcos/);
  });
});
