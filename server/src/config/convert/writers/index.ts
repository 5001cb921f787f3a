/** Every dialect that a plan can be written in, and why the others cannot be. */
import { autoRoundWriter } from './autoRound';
import { comfyWriter } from './comfy';
import { compressedTensorsWriter, llmCompressorWriter } from './compressedTensors';
import { convertToQuantWriter } from './convertToQuant';
import { deepcompressorWriter } from './deepcompressor';
import { bitsandbytesWriter, modeloptWriter, quantoWriter, torchaoWriter } from './diffusers';
import { fqnToConfigWriter } from './fqnToConfig';
import { hfQuantConfigWriter, modeloptRecipeWriter } from './modelopt';
import { nunchakuLiteWriter } from './nunchakuLite';
import { quantoMapWriter } from './quantoMap';
import { sdnqWriter } from './sdnq';
import { llamaQuantizeWriter, stableDiffusionCppWriter } from './tensorTypes';
import { viditqWriter } from './viditq';
import type { Writer } from './writer';

export const writers: readonly Writer[] = [
  bitsandbytesWriter, torchaoWriter, quantoWriter, modeloptWriter, autoRoundWriter, nunchakuLiteWriter, sdnqWriter, compressedTensorsWriter, llmCompressorWriter, modeloptRecipeWriter, hfQuantConfigWriter, quantoMapWriter, fqnToConfigWriter,
  deepcompressorWriter, viditqWriter, comfyWriter, convertToQuantWriter, stableDiffusionCppWriter, llamaQuantizeWriter,
];

/** By Dialect.id. */
export const unwritable: Readonly<Record<string, string>> = {
  'diffusers-pipeline': 'A PipelineQuantizationConfig stands in Python alone. Export the config of its transformer (diffusers-torchao, diffusers-bitsandbytes, …) and hand its values to that class.',
  'auto-round-exporter': 'AutoRound is called from Python, and learns the rounding from data. Hand it the scheme and the layers that the plan names as scheme= and layer_config=.',
  'optimum-quanto-quantize': 'optimum-quanto is called from Python, with one type for all layers that include and exclude leave. Export to optimum-quanto for a map with a type for each layer.',
  'diffusers-gguf': 'diffusers\' GGUF config says nothing about layers: what is packed is in the .gguf file. Export to stable-diffusion.cpp or llama-quantize, whose rules decide it when that file is made.',
  nunchaku: 'The header of a nunchaku file names no layers: its tensors say what is quantized. Export to diffusers-nunchaku-lite for a list of layers, or to deepcompressor, whose results nunchaku converts.',
  'deepcompressor-run': 'A script names configs and says nothing about layers itself. Export to deepcompressor, and name the result in the script.',
  'diffusers-unknown': 'This is no tool but a quantization_config that none reads.',
};
