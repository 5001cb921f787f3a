import type { Checkpoint, PreviewSettings } from '../protocol';

/** Every default filled in; what the model cannot do is brought into its range by the pipeline, with a message. */
export function previewSettings(written: Partial<PreviewSettings>, checkpoint: Checkpoint): PreviewSettings {
  const classes = checkpoint.config?.['num_embeds_ada_norm'];
  const size = Number(checkpoint.config?.['sample_size']);
  const settings: PreviewSettings = {
    classes: typeof classes === 'number' && classes > 207 ? [207] : [0], prompts: [], steps: 20, seed: 0, guidance: 4, width: size, height: size, frames: 1, decoder: 'vae', mode: 'forced', compareSteps: 4, ...written,
  };
  return { ...settings, compareSteps: Math.min(settings.compareSteps, settings.steps) };
}
