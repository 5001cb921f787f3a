/** Between our config language and the files of other tools. */

/** Something that the other language cannot say, or says only nearly. */
export interface Lossy {
  /** `config.json:5`, a section of ours, or the layers: "38 layers: single_transformer_blocks.*.proj_out". */
  place: string;
  what: string;
  why: string;
}

export interface ImportConfigParams {
  /** Absolute path of another tool's file, or of a .safetensors whose header says how it was quantized. */
  path: string;
  /** Its text as an editor has it; as on the disk when absent. */
  text?: string;
  /** Checkpoint to use instead of the one that belongs to the file. */
  checkpoint?: string;
  /** Of a Python file, which may hold several: the line in which the one that is meant stands, from 0. */
  line?: number;
  /** Folder the config will live in. */
  folder: string;
}
/** `missing`: why there is no config, where naming a checkpoint helps. */
export type ImportConfigResult = { text: string; fileName: string; title: string; lossy: Lossy[] } | { missing: string };

/** A dialect to export to, and what it can say. */
export interface ExportTarget { id: string; title: string; says: string }
export interface ExportConfigParams { uri: string; /** ExportTarget.id */ to: string }
export interface ExportConfigResult {
  text: string;
  title: string;
  /** Usual name of such a file. */
  fileName: string;
  lossy: Lossy[];
  /** Of `lossy`: layers that the tool would keep instead of quantize or the reverse, with other bits or kinds of numbers, or without a part of their recipe. */
  grave: Lossy[];
}
