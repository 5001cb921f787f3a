/** Which graph runs a checkpoint. Older repositories call both DiT and PixArt "Transformer2DModel"; norm_type tells them apart. */
import type { Program } from '../engine/graph';
import type { Checkpoint } from '../protocol';
import { Builder, ModelError } from './builder';
import type { Given } from './builder';
import { cogvideox } from './cogvideox';
import { autoencoderKlCogVideoX } from './decoders/cogvideox';
import { autoencoderKl } from './decoders/kl';
import { taehv } from './decoders/taehv';
import { autoencoderTiny } from './decoders/tiny';
import { autoencoderKlWan } from './decoders/wan';
import { dit } from './dit';
import { flux } from './flux';
import type { Model } from './model';
import { pixart } from './pixart';
import { wan } from './wan';
import { zimage } from './zimage';

const transformers: readonly Model[] = [dit, pixart, flux, zimage, wan, cogvideox];
const decoders: readonly Model[] = [autoencoderKl, autoencoderTiny, autoencoderKlWan, autoencoderKlCogVideoX, taehv];
const byNormType: Record<string, Model> = { ada_norm_zero: dit, ada_norm_single: pixart };

/** The transformer's graph. @throws ModelError */
export function modelFor(checkpoint: Checkpoint): Model {
  const name = checkpoint.config?.['_class_name'] ?? checkpoint.architecture;
  const model = name === 'Transformer2DModel' ? byNormType[String(checkpoint.config?.['norm_type'])] : transformers.find((each) => each.classes.includes(String(name)));
  if (!model) {
    throw new ModelError(`There is no graph for ${String(name)}; models that can be run: ${transformers.flatMap((each) => each.classes).join(', ')}.`);
  }
  if (!checkpoint.config) {
    throw new ModelError('Running a model needs its config.json beside the weights, as in a diffusers folder.');
  }
  return model;
}

/** The decoder's graph. TAEHV files come without a config and are known by their tensors. @throws ModelError */
export function decoderFor(checkpoint: Checkpoint): Model {
  const isTaehv = checkpoint.config === null && checkpoint.tensors.some((tensor) => tensor.name === 'decoder.1.weight') && checkpoint.tensors.some((tensor) => /^decoder\.\d+\.conv\.0\.weight$/.test(tensor.name));
  const name = checkpoint.config?.['_class_name'] ?? (isTaehv ? 'TAEHV' : 'this checkpoint');
  const decoder = decoders.find((each) => each.classes.includes(String(name)));
  if (!decoder) {
    throw new ModelError(`There is no decoder for ${String(name)}; decoders that can be run: ${decoders.flatMap((each) => each.classes).join(', ')}.`);
  }
  return decoder;
}

/** The program of one pass for inputs of these shapes (batch dimension removed). @throws ModelError */
export function buildProgram(model: Model, checkpoint: Checkpoint, given: Readonly<Record<string, Given>>): Program {
  const builder = new Builder(checkpoint);
  model.build(builder, given);
  return builder.finish();
}
