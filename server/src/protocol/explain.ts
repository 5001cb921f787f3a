/** What every quantization file of the workspace does to one layer, and why. */
import type { Role } from './checkpoint';
import type { Position, Range } from './shared';

export interface LayersAtParams { /** An open file, of any tool. */ uri: string; position: Position }
/** Layers that a file is about. */
export interface LayersAt {
  checkpoint: string | null;
  /** All of the checkpoint, in model order. */
  layers: string[];
  /** Those that the entry at the position takes. */
  taken: string[];
}


export interface ExplainLayerParams {
  /** Module path, as the checkpoint names it. */
  layer: string;
  /** Checkpoint that the question is about. Files with none of their own are judged by it. */
  checkpoint?: string;
}

export interface LayerExplanation {
  layer: string;
  /** Of the first checkpoint that has the layer; null when none of those named by the files has. */
  facts: { role: Role; block: string | null; inFeatures: number; outFeatures: number; dtype: string } | null;
  files: FileExplanation[];
}

export interface FileExplanation {
  uri: string;
  /** Path within the workspace, with the line in a file that holds several configs. */
  label: string;
  /** Where it stands there. */
  range?: Range;
  /** Whose file it is: "QuantScope", "diffusers torchao". */
  tool: string;
  /** Path of the checkpoint that its entries were applied to; null when there is none. */
  checkpoint: string | null;
  /** 'absent': the checkpoint has no such layer. 'unknown': `summary` says why nothing can be said. */
  verdict: 'quantized' | 'kept' | 'absent' | 'unknown';
  /** In a few words: "int4 per group 64, activations 16 bit", or the reason. */
  summary: string;
  /** Average bits per weight, side data included; null where the file does not say enough. */
  averageBits: number | null;
  /** Of those that take the layer, the deciding first. */
  entries: ExplainedEntry[];
  /** How the tool compares entries with names, and what decides between several; Markdown. */
  rule: string;
}

export interface ExplainedEntry {
  text: string;
  /** null for what the tool adds itself. */
  range: Range | null;
  /** What it says about the layer. */
  effect: string;
  decides: boolean;
  /** Why it decides, or why it does not. */
  why: string;
}
