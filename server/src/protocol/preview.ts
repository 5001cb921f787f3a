/** Previews: settings, pictures and how far they are from the reference. */

/** Sampling runs of the full-precision model that statistics are gathered from; none shares its seed with a preview. */
export interface CalibrationSettings { /** Runs, over other classes or prompts where there are several. */ trajectories: number; /** Sampling steps of each; all are captured. */ steps: number; /** Sample rows kept per layer input. */ rows: number; seed: number }

/** How a preview runs: the `preview` section of a config, with every default filled in. */
export interface PreviewSettings {
  /** Class labels of a class-conditional model, one item each; empty for models of text. */
  classes: number[];
  /** Prompts of a text-conditional model, one item each, as written: text whose embeddings lie in `prompts/` beside the config, or the path of such a file (docs/prompts.md). Empty for models of classes. */
  prompts: string[];
  steps: number;
  seed: number;
  /** Classifier-free guidance; 1 (0 for Z-Image) runs the conditional half alone. FLUX.1-dev takes it as an input. */
  guidance: number;
  /** Size of the pictures, pixels. */
  width: number;
  height: number;
  /** Pictures of a video; 1 for image models. */
  frames: number;
  /** `vae`: the pipeline's own. Otherwise the path of a tiny decoder, relative to the config. */
  decoder: string;
  /** forced: the quantized model runs at stored points of the reference trajectory. free: it samples on its own. */
  mode: 'forced' | 'free';
  /** How many steps of the trajectory are compared, evenly spread, the last included; in forced mode only these are run. */
  compareSteps: number;
}

/** What a preview quantizes. */
export interface PreviewScope { quantizedLayers: number; layers: number; /** Share of the linear weights in quantized layers, percent. */ paramsPercent: number; /** Average bits per linear weight, side data included. */ averageBits: number }

/** Agreement with the reference. Cosine and SSIM: 1 is equal. PSNR in dB, higher is better; null when equal. */
export interface PreviewAgreement { latentCosine: number; latentPsnrDb: number | null; psnrDb: number | null; ssim: number }

export interface PreviewStep extends PreviewAgreement {
  /** 0-based step of the trajectory. */
  step: number;
  timestep: number;
  /** ‖quantized − reference‖² / ‖reference‖² of the model's output, mean over the items; lower is better. In free mode the inputs differ as well. */
  outputRelativeMse: number;
}

/** One picture. candidate −1 is the reference. */
export interface PreviewFrame {
  candidate: number;
  /** Index into PreviewResult.items. */
  item: number;
  /** Frame of a video; 0 for pictures. */
  frame: number;
  /** The model's estimate of the clean picture at this step; null for the finished sample. */
  step: number | null;
  width: number;
  height: number;
  /** PNG, base64. */
  png: string;
}

/** Quantized layers on integers, as a deployed model runs them. */
export interface Deployed {
  integerLayers: number;
  /** Layers that cannot, and why: the end of a sentence that begins with the layer. They run on floats. */
  floatLayers: { name: string; reason: string }[];
  /** Codebooks run on integers near their levels: what that loses at most, relative to the energy of weights and of activations; 0 without codebooks. Lower is better. */
  weightSurrogate: number;
  activationSurrogate: number;
  /** ‖deployed − fake‖² / ‖fake‖² of the model's output, fake quantization being the same codes multiplied as floats; mean over compared steps and items. Lower is closer. In free mode the inputs differ as well. */
  relativeMse: number;
}

/** A candidate as deployed, beside fake quantization: the numbers that the candidate itself has against the reference. */
export interface DeployedPreview extends Deployed { metrics: PreviewAgreement; perStep: PreviewStep[] }

export interface PreviewCandidate { label: string; uri: string; /** Index of the rule that alone was applied, or null. */ rule: number | null; scope: PreviewScope; /** Free: of the finished sample. Forced: mean over the compared steps. */ metrics: PreviewAgreement; perStep: PreviewStep[]; /** Of a candidate that runs as deployed; the one before it is the same with fake quantization. */ deployed?: DeployedPreview }

/** Where the model ran, when not on the processor. Activations are bfloat16 there, those of decoders float32. */
export interface PreviewDevice { name: string; /** What of the model ran on the processor all the same. reason: the end of a sentence that begins with the name. */ processor: { name: string; reason: string }[] }

export interface PreviewResult {
  architecture: string;
  settings: PreviewSettings;
  /** What each item shows: "class 3: digit 3". */
  items: string[];
  /** A broken reference makes every comparison worthless: it is checked first. */
  reference: { finite: boolean; uniform: boolean; /** Read from the cache, not computed. */ cached: boolean };
  candidates: PreviewCandidate[];
  /** Forced: for every compared step one picture of reference and candidates. Free: the finished samples. */
  frames: PreviewFrame[];
  /** Null: the processor. */
  device: PreviewDevice | null;
  milliseconds: number;
}

/** Before a long run: what it costs, and what would be cheaper. */
export interface PreviewEstimate { seconds: number; /** Floating point operations, two per multiply-add. */ flops: number; /** Measured on this machine, per second. */ rate: number; referenceCached: boolean; /** Part of `flops`: runs of the full-precision model for statistics that are not there yet. */ calibrationFlops: number; suggestion: string | null }
