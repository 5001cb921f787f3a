/**
 * LoRA files by their header: which layers they change, in the namings that tools write: diffusers and PEFT (`transformer.….lora_A.weight`), older diffusers (`….lora.down.weight`,
 * `….processor.to_q_lora.down.weight`), Kohya and its kin (`lora_unet_…` with underscores for dots, `….lora_down.weight`, `….alpha`).
 */
import type { Checkpoint, Layer, TensorInfo } from '../protocol';

/** ΔW = (alpha / rank) · up · down. */
export interface Pair {
  /** As the file names what it changes. */
  target: string;
  /** [rank, in] */
  down: TensorInfo;
  /** [out, rank] */
  up: TensorInfo;
  /** A tensor with one value, or what the metadata say; null where nothing does: alpha is the rank then. */
  alpha: TensorInfo | number | null;
}

export interface Adapter { pairs: Pair[]; /** Of text encoders. */ elsewhere: number }

const factors = /^(.*?)\.(?:(lora_A|lora_down|lora\.down)|(?:lora_B|lora_up|lora\.up))(?:\.(?!weight$)[\w-]+)?\.weight$/;
const processors = /^(.*)\.processor\.(to_q|to_k|to_v|to_out)_lora\.(down|up)\.weight$/;
const textEncoders = /^(?:base_model\.model\.)?(?:text_encoder|lora_te|te\d?[._]|text_model)/;

const remembered = new WeakMap<Checkpoint, Adapter>();

export function adapterOf(file: Checkpoint): Adapter {
  const known = remembered.get(file) ?? read(file);
  remembered.set(file, known);
  return known;
}

function read({ tensors, metadata }: Checkpoint): Adapter {
  const halves = new Map<string, { down?: TensorInfo; up?: TensorInfo }>();
  const alphas = new Map<string, TensorInfo>();
  for (const tensor of tensors) {
    const [, processor, projection, which] = processors.exec(tensor.name) ?? [];
    const [, plain, isDown] = factors.exec(tensor.name) ?? [];
    const target = processor !== undefined ? `${processor}.${projection === 'to_out' ? 'to_out.0' : projection ?? ''}` : plain;
    if (target !== undefined) {
      halves.set(target, { ...halves.get(target), [(processor === undefined ? isDown !== undefined : which === 'down') ? 'down' : 'up']: tensor });
    } else if (tensor.name.endsWith('.alpha')) {
      alphas.set(tensor.name.slice(0, -'.alpha'.length), tensor);
    }
  }
  const common = alphaIn(metadata);
  const pairs = [...halves].flatMap(([target, { down, up }]) => (down && up ? [{ target, down, up, alpha: alphas.get(target) ?? common }] : []));
  return { pairs: pairs.filter(({ target }) => !textEncoders.test(target)), elsewhere: pairs.filter(({ target }) => textEncoders.test(target)).length };
}

/** diffusers writes PEFT's config of each component into the metadata. */
function alphaIn(metadata: Checkpoint['metadata']): number | null {
  try {
    const config = JSON.parse(metadata['lora_adapter_metadata'] ?? '{}') as Record<string, unknown>;
    const alpha = config['transformer.lora_alpha'] ?? config['lora_alpha'];
    return typeof alpha === 'number' && Number.isFinite(alpha) ? alpha : null;
  } catch {
    return null; // somebody else's key of the same name
  }
}

export interface Matched { layers: { layer: Layer; pair: Pair }[]; /** Pairs whose target is no layer here. */ unknown: Pair[]; /** Targets that are layers of another shape. */ misfits: { layer: Layer; pair: Pair }[] }

const matches = new WeakMap<Adapter, { checkpoint: Checkpoint; matched: Matched }>();

export function matchAdapter(adapter: Adapter, checkpoint: Checkpoint): Matched {
  const known = matches.get(adapter);
  const matched = known?.checkpoint === checkpoint ? known.matched : match(adapter, checkpoint);
  matches.set(adapter, { checkpoint, matched });
  return matched;
}

/** What tools put before the name of a module. */
const prefix = /^(?:base_model\.model\.|model\.diffusion_model\.|diffusion_model\.|transformer\.|unet\.)/;
const flatPrefix = /^(?:lora_unet_|lora_transformer_|lycoris_)/;

function match({ pairs }: Adapter, { layers }: Checkpoint): Matched {
  const dotted = new Map<string, Layer>();
  const flat = new Map<string, Layer>();
  for (const layer of layers) {
    const name = layer.name.replace(/^model\.diffusion_model\./, '');
    dotted.set(layer.name, layer).set(name, layer);
    flat.set(name.replaceAll('.', '_'), layer);
  }
  const layerOf = (target: string): Layer | undefined => {
    for (let name = target; ; name = name.replace(prefix, '')) {
      const layer = dotted.get(name);
      if (layer || !prefix.test(name)) {
        return layer ?? (flatPrefix.test(target) ? flat.get(target.replace(flatPrefix, '')) : undefined);
      }
    }
  };
  const found: Matched = { layers: [], unknown: [], misfits: [] };
  for (const pair of pairs) {
    const layer = layerOf(pair.target);
    const { down, up } = pair;
    const fits = layer && down.shape.length === 2 && up.shape.length === 2 && down.shape[1] === layer.inFeatures && up.shape[0] === layer.outFeatures && up.shape[1] === down.shape[0];
    if (!layer) {
      found.unknown.push(pair);
    } else {
      (fits ? found.layers : found.misfits).push({ layer, pair });
    }
  }
  return found;
}
