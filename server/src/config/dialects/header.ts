/** The quantization metadata of a .safetensors as a text that a dialect reads: what the header holds, or what is told from its tensors. */
import type { Checkpoint, TensorInfo } from '../../protocol';

const quote = (text: string): string => JSON.stringify(text);

/**
 * ComfyUI's metadata from the header or from one small tensor per layer; the config that nunchaku, ModelOpt and others put into the header; the layers that the old
 * marker `scaled_fp8` means; no layers where ComfyUI's notes are about attention alone.
 * @param read the bytes of a tensor as text.
 * @returns undefined when the file holds none of it.
 */
export async function headerText({ metadata, tensors }: Pick<Checkpoint, 'metadata' | 'tensors'>, read: (tensor: TensorInfo) => Promise<string>): Promise<string | undefined> {
  const { _quantization_metadata: comfy, quantization_config: config, model_class: modelClass } = metadata;
  if (comfy !== undefined) {
    return comfy;
  }
  const notes = tensors.filter(({ name, dtype, bytes }) => name.endsWith('.comfy_quant') && dtype === 'U8' && bytes <= 65536);
  if (notes.length > 0) {
    return comfyText(await Promise.all(notes.map(async (tensor) => [tensor.name.slice(0, -'.comfy_quant'.length), await read(tensor)] as const)));
  }
  if (config !== undefined) {
    const others = Object.keys(metadata).filter((key) => key !== 'quantization_config' && key !== 'model_class');
    const lines = [...modelClass === undefined ? [] : [`"model_class": ${quote(modelClass)}`], `"header_keys": [${others.map(quote).join(', ')}]`, `"quantization_config": ${config}`];
    return `{\n  ${lines.join(',\n  ')}\n}\n`;
  }
  return scaledFp8(tensors) ?? (tensors.some(isAttentionNote) ? comfyText([]) : undefined);
}

/** Text in a tensor that says which attention ComfyUI runs in a module. */
export function isAttentionNote({ name, dtype }: TensorInfo): boolean {
  return name.endsWith('.comfy_attention.config') && dtype === 'U8';
}

function comfyText(layers: readonly (readonly [name: string, note: string])[]): string {
  return `{\n  "format_version": "1.0",\n  "layers": {\n${layers.map(([name, note]) => `    ${quote(name)}: ${note}`).join(',\n')}\n  }\n}\n`;
}

/**
 * What nunchaku's merge_safetensors would write into the header of one file: one FP8 tensor in either part means fp4, and the first low-rank branch has the rank.
 * @param tensors of both parts, those of the blocks first
 */
export function nunchakuFolderText(parts: readonly string[], tensors: readonly TensorInfo[]): string {
  const fp4 = tensors.some(({ dtype }) => dtype.startsWith('F8_'));
  const rank = tensors.find(({ name }) => /\.(?:lora|proj)_down/.test(name))?.shape[1] ?? 32;
  const part = fp4 ? '{"dtype": "fp4_e2m1_all", "group_size": 16}' : '{"dtype": "int4", "group_size": 64}';
  return `{\n  "older_folder": [${parts.map(quote).join(', ')}],\n  "quantization_config": {"method": "svdquant", "weight": ${part}, "activation": ${part}, "rank": ${rank}}\n}\n`;
}

/** The marker's own type says the format; as float32 it stands for e4m3, and with two elements for products in full precision. */
function scaledFp8(tensors: readonly TensorInfo[]): string | undefined {
  const marker = tensors.find(({ name }) => name === 'scaled_fp8' || name.endsWith('.scaled_fp8'));
  const format = marker?.dtype === 'F8_E5M2' ? 'float8_e5m2' : 'float8_e4m3fn';
  const full = marker?.shape[0] === 2 ? ', "full_precision_matrix_mult": true' : '';
  const layers = tensors.filter(({ name }) => name.endsWith('.scale_weight')).map(({ name }) => [name.slice(0, -'.scale_weight'.length), `{"format": ${quote(format)}${full}}`] as const);
  return marker ? comfyText(layers) : undefined;
}
