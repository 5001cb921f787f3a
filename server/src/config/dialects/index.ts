/** All dialects, and which of them a file is. */
import type { TextDocument } from 'vscode-languageserver-textdocument';
import { maxTextLength, parseTree } from '../tree';
import { autoRound } from './autoRound';
import { autoRoundExporter } from './autoRound/exporter';
import { bitsandbytes } from './bitsandbytes';
import { comfy } from './comfy';
import { compressedTensors } from './compressedTensors';
import { convertToQuant } from './convertToQuant';
import { deepcompressor } from './deepcompressor';
import { deepcompressorRun, isScript, scriptParts } from './deepcompressor/run';
import type { Dialect, DialectFile } from './dialect';
import { fqnToConfig } from './fqnToConfig';
import { gguf } from './gguf';
import { hfQuantConfig } from './hfQuantConfig';
import { parseJsonTree } from './jsonTree';
import { llamaQuantize } from './llamaQuantize';
import { llmCompressor } from './llmCompressor';
import { modelopt } from './modelopt';
import { modeloptRecipe } from './modeloptRecipe';
import { nunchakuLite } from './nunchakuLite';
import { nunchakuMetadata } from './nunchakuMetadata';
import { quanto } from './quanto';
import { pythonMarks } from './python/constructors';
import { pipelineConfig } from './python/pipeline';
import { pythonSections } from './python/sections';
import { quantoMap } from './quantoMap';
import { quantoQuantize } from './quantoQuantize';
import { sdnq } from './sdnq';
import { stableDiffusionCpp } from './stableDiffusionCpp';
import { isRuleText } from './tensorTypes';
import { torchao } from './torchao';
import { unknownBackend } from './unknownBackend';
import { viditq } from './viditq';

/** In the order in which they are asked: the particular before the general. */
export const dialects: readonly Dialect[] = [pipelineConfig, autoRoundExporter, quantoQuantize, bitsandbytes, torchao, quanto, modelopt, gguf, autoRound, nunchakuLite, nunchakuMetadata, sdnq, compressedTensors, unknownBackend, modeloptRecipe, hfQuantConfig, quantoMap, fqnToConfig, llmCompressor, deepcompressor, deepcompressorRun, viditq, comfy, convertToQuant, stableDiffusionCpp, llamaQuantize];

/** Reads a text as JSON or rules of `expression=type` or YAML, by what stands in it. @param name base name of the file */
export function readDialectFile(name: string, document: TextDocument): DialectFile {
  const text = document.getText();
  if (/^\uFEFF?\s*[{[]/.test(text)) {
    return { name, form: 'json', document, ...parseJsonTree(document) };
  }
  const plain: DialectFile = { name, form: 'text', document, root: null, problems: [] };
  if (isScript(name) || isRuleText(plain)) {
    return plain;
  }
  return { name, form: 'yaml', document, ...parseTree(document) };
}

export function isPython(name: string, { languageId }: TextDocument): boolean {
  return languageId === 'python' || name.endsWith('.py');
}

/** Python and shell scripts hold several configs, any other file is one. */
export function holdsSeveral(name: string, document: TextDocument): boolean {
  return isPython(name, document) || isScript(name);
}

/** What may be a config in a text. */
export function readFiles(name: string, document: TextDocument): DialectFile[] {
  return isPython(name, document) ? pythonSections(name, document) : isScript(name) ? scriptParts(name, document) : [readDialectFile(name, document)];
}

/** What is one, with the tool that reads it. */
export function readDialects(name: string, document: TextDocument): { dialect: Dialect; file: DialectFile }[] {
  return readFiles(name, document).flatMap((file) => {
    const dialect = detectDialect(file);
    return dialect ? [{ dialect, file }] : [];
  });
}

/** As `couldBeDialect`, of Python. */
export function couldBePython(text: string): boolean {
  return text.length <= maxOpenLength && pythonMarks.test(text);
}

/** What stands in every text of a tool that is known here. */
const marks = /quantization_config|quant_method|load_in_[48]bit|quant_cfg|quant_algo|\b_type\b|Modifier["']?\s*:|\bquant["']?\s*:|\bn_bits\b|remain_fp_regex|layer_name_regex|["']activations["']\s*:\s*["'](?:none|q)|^\s*"?model\.[\w.]+"?\s*:\s*\d|format_version|deepcompressor[./]app[./]|[^=]=(?:i?q\d|b?f16|f32|tq\d|mxfp4)/im;
/** Of convert_to_quant, whose files are small; other JSON has these too. */
const weakMarks = /"(?:format|skip)"/;

/** Longer texts of an editor are no quantization config; the command line reads up to `maxJsonLength`. */
export const maxOpenLength = 1024 * 1024;

/** A look at a text without reading it: false for nearly every text that no tool here reads. For editors, which ask about every document at every letter. */
export function couldBeDialect(text: string): boolean {
  return text.length <= maxOpenLength && (marks.test(text) || (text.length <= maxTextLength && weakMarks.test(text)));
}

/** undefined: no tool that is known here reads this file. */
export function detectDialect(file: DialectFile): Dialect | undefined {
  return dialects.find((dialect) => dialect.detect(file));
}
