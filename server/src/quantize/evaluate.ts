/** What quantizing does to the output of one layer, on a sample of its inputs. The same kernels as in a preview. */
import type { Engine, JobOptions } from '../engine/client';
import type { LinearRecipe, Program } from '../engine/graph';
import { relativeMse } from '../preview/metrics';
import type { LayerPlan } from '../protocol';
import { refOf } from './files';

/** Output of a layer for inputs [rows, width]. Keeps the full-precision output: candidates are compared with one reference. */
export class LayerProbe {
  private reference: Float32Array | undefined;

  constructor(private readonly engine: Engine, private readonly layer: LayerPlan, private readonly sample: Float32Array) {}

  /** ‖Q(x) Q(W)ᵀ − x Wᵀ‖² / ‖x Wᵀ‖². */
  async outputError(recipe: LinearRecipe, options?: JobOptions): Promise<number> {
    this.reference ??= await this.run(null, options);
    return relativeMse(await this.run(recipe, options), this.reference);
  }

  private async run(recipe: LinearRecipe | null, options?: JobOptions): Promise<Float32Array> {
    const { name, inFeatures, outFeatures, tensor } = this.layer;
    const rows = this.sample.length / inFeatures;
    const program: Program = {
      buffers: [[rows, inFeatures], [rows, outFeatures]], inputs: { x: 0 }, outputs: { y: 1 },
      ops: [{ op: 'linear', name, x: 0, weight: refOf(tensor), bias: null, out: 1 }],
    };
    const graph = await this.engine.openGraph(`probe ${tensor.file} ${tensor.offset} ${rows}`, program);
    try {
      const { outputs } = await graph.run({ inputs: { x: this.sample }, recipes: recipe ? { [name]: recipe } : {}, capture: null }, options);
      return outputs['y'] ?? new Float32Array();
    } finally {
      await graph.close();
    }
  }
}

