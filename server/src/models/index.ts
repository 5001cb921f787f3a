/** Which graph runs a checkpoint. Older repositories call both DiT and PixArt "Transformer2DModel"; norm_type tells them apart. */
import type { Program } from '../engine/graph';
import type { Checkpoint } from '../protocol';
import { Builder, ModelError } from './builder';
import type { Given } from './builder';
import { cogvideox } from './cogvideox';
import { dit } from './dit';
import { flux } from './flux';
import type { Model } from './model';
import { pixart } from './pixart';
import { wan } from './wan';
import { zimage } from './zimage';

const models: readonly Model[] = [dit, pixart, flux, zimage, wan, cogvideox];
const byNormType: Record<string, Model> = { ada_norm_zero: dit, ada_norm_single: pixart };

export function modelFor(checkpoint: Checkpoint): Model {
  const name = checkpoint.config?.['_class_name'] ?? checkpoint.architecture;
  const model = name === 'Transformer2DModel' ? byNormType[String(checkpoint.config?.['norm_type'])] : models.find((each) => each.classes.includes(String(name)));
  if (!model) {
    throw new ModelError(`There is no graph for ${String(name)}; models that can be run: ${models.flatMap((each) => each.classes).join(', ')}.`);
  }
  if (!checkpoint.config) {
    throw new ModelError('Running a model needs its config.json beside the weights, as in a diffusers folder.');
  }
  return model;
}

/** The program of one forward pass for inputs of these shapes (batch dimension removed). @throws ModelError */
export function buildProgram(checkpoint: Checkpoint, given: Readonly<Record<string, Given>>): Program {
  const builder = new Builder(checkpoint);
  modelFor(checkpoint).build(builder, given);
  return builder.finish();
}
