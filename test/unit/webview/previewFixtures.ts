// A preview of two configs over four compared steps, with every kind of value: small errors, equality, a rule alone.
import type { PreviewFrame, PreviewStep } from '../../../server/src/protocol';
import type { PreviewSummary } from '../../../webview/src/messages';

export function frame(candidate: number, step: number | null, more: Partial<PreviewFrame> = {}): PreviewFrame {
  return { candidate, item: 0, frame: 0, step, width: 16, height: 16, png: '', ...more };
}

export function step(index: number, outputRelativeMse: number, more: Partial<PreviewStep> = {}): PreviewStep {
  return { step: index, timestep: 999 - 50 * index, outputRelativeMse, latentCosine: 0.99, latentPsnrDb: 30, psnrDb: 28, ssim: 0.9, ...more };
}

/** The same, each config followed by itself as deployed. */
export function deployedSummary(): PreviewSummary {
  const result = summary();
  const floatLayers = [...['to_q', 'to_k'].map((name) => ({ name, reason: 'keeps its activations as floats' })), { name: 'proj', reason: 'has | <i>' }];
  const candidates = result.candidates.flatMap((candidate, index) => [candidate, {
    ...candidate, label: `${candidate.label}, as deployed`, perStep: [step(9, 0.011), step(19, 0.031)],
    deployed: {
      integerLayers: index === 0 ? 39 : 1, floatLayers: index === 0 ? floatLayers : [], weightSurrogate: index === 0 ? 3.7e-5 : 0, activationSurrogate: 0, relativeMse: 0.5,
      metrics: { latentCosine: 0.995, latentPsnrDb: null, psnrDb: 41, ssim: 0.97 }, perStep: [step(9, 1e-4), step(19, 3e-4)],
    },
  }]);
  return { ...result, candidates };
}

export function summary(): PreviewSummary {
  const scope = { quantizedLayers: 42, layers: 56, paramsPercent: 84.31, averageBits: 6.0156 };
  return {
    architecture: 'DiTTransformer2DModel', items: ['class 3: digit 3', 'class 7: digit 7'], device: null, milliseconds: 1234,
    settings: { classes: [3, 7], prompts: [], width: 16, height: 16, frames: 1, decoder: 'vae', steps: 20, seed: 5, guidance: 4, mode: 'forced', compareSteps: 2 },
    reference: { finite: true, uniform: false, cached: true },
    candidates: [
      {
        label: 'a.quant.yaml', uri: 'file:///w/a.quant.yaml', rule: null, scope, perStep: [step(9, 0.01), step(19, 0.03, { psnrDb: null })],
        metrics: { latentCosine: 0.99871, latentPsnrDb: 31.2, psnrDb: null, ssim: 1 },
      },
      {
        label: 'b|x.quant.yaml', uri: 'file:///w/b%7Cx.quant.yaml', rule: 1, scope: { ...scope, quantizedLayers: 6, paramsPercent: 100 }, perStep: [step(9, 0.2), step(19, 0.4)],
        metrics: { latentCosine: -0.25, latentPsnrDb: 12, psnrDb: 9.876, ssim: 0.999999 },
      },
    ],
  };
}
