/**
 * The flags of `python -m deepcompressor.app.diffusion.ptq` (deepcompressor 0.1.0, `DiffusionPtqRunConfig`, of whose fields omniconfig makes them): the path of a key with
 * dashes, but without `quant` before it.
 */
import { nearest } from '../../nearest';

/** What a flag takes: the next word; `true`, `false` or nothing; every word up to the next flag. */
export type Takes = 'value' | 'switch' | 'list';
export interface Flag { /** As it is written in full. */ name: string; /** Of the key that it sets. */ path: string; takes: Takes }

// Behind a key `?` is a switch, `+` a list; `{…}` are the keys below it.
const search = 'degree objective strategy granularity element_batch_size sample_batch_size element_size sample_size pre_reshape? outputs_device';
const range = `enable_calib_range? calib_range{${search} ratio max_shrink max_expand num_grids allow_scale? skips+}`;
const quantizer = 'dtype zero_point group_shapes+ scale_dtypes+';
const gptq = 'enable_kernel_gptq? kernel_gptq{damp_percentage block_size num_inv_tries hessian_block_size';
const balance = 'fuse_when_possible? allow_a_quant? allow_b_quant? spans+ alpha beta num_grids';
const smooth = `enable_smooth? smooth{enable_proj? proj{${search} ${balance} allow_low_rank? skips+} enable_attn? attn{degree strategy sample_batch_size sample_size outputs_device ${balance}}}`;
const rotation = 'enable_rotation? rotation{name path random? transforms+}';
const inputs = `${quantizer} skips+ static? ${range}`;
const keys = `enable_cache? cache{root} output{root dirname job} pipeline{name path dtype device shift_activations? enable_lora? lora{path weight_name alpha} task}
  eval{protocol num_gpus batch_size batch_size_per_gpu height width clean_caption? num_steps guidance_scale num_samples benchmarks+ gt_metrics+ ref_metrics+ gen_root ref_root gt_stats_root control_root chunk_start chunk_step chunk_only?}
  quant{wgts{${quantizer} ${gptq} skips+} enable_low_rank? low_rank{rank exclusive? compensate? degree objective strategy sample_batch_size sample_size outputs_device num_iters early_stop? skips+} ${range} skips+}
    ipts{${inputs} allow_unsigned?} opts{${inputs} allow_unsigned?} enable_extra_wgts? extra_wgts{${quantizer} includes+} calib{data num_samples batch_size path num_workers} ${rotation} ${smooth} develop_dtype}
  enable_text? text{wgts{${quantizer} intermediate_dtypes+ intermediate_levels+ needs_dequant_saturation? skips+ ${gptq}} ${range}} ipts{${inputs}} opts{${inputs}}
    calib{data num_samples path seq_length min_seq_length max_seq_length local_path} ${rotation} enable_reorder? reorder{degree strategy sample_batch_size sample_size outputs_device allow_x_quant? allow_w_quant? channel_metric channel_index dynamic? skips+} ${smooth} develop_dtype}
  text_cache{root path{rotation reorder smooth wgts acts}} seed skip_gen? skip_eval? load_from save_model copy_on_save?`;

function expand(text: string): Flag[] {
  const above: string[] = [];
  return [...text.matchAll(/(\w+)([?+]?)(\{?)|\}/g)].flatMap(([, key, takes, opens]): Flag[] => {
    if (key === undefined) {
      above.pop();
      return [];
    }
    if (opens) {
      above.push(key);
      return [];
    }
    const path = [...above, key];
    return [{ name: `--${path.slice(path[0] === 'quant' ? 1 : 0).join('-').replaceAll('_', '-')}`, path: path.join('.'), takes: takes === '?' ? 'switch' : takes === '+' ? 'list' : 'value' }];
  });
}

export const flags: readonly Flag[] = expand(keys);
const byName = new Map(flags.map((flag) => [flag.name, flag]));

/** The flag of this name, or the only one that starts with it: argparse takes abbreviations. A text says why there is none. */
export function flagOf(name: string): Flag | { why: string; meant?: string } {
  const found = byName.get(name) ?? flags.filter((flag) => flag.name.startsWith(name));
  if (!Array.isArray(found)) {
    return found;
  }
  const [only, ...more] = found;
  if (only && more.length === 0) {
    return only;
  }
  const unprefixed = name.replace(/^--quant-/, '--');
  const meant = only ? undefined : byName.has(unprefixed) ? unprefixed : nearest(name, flags.map((flag) => flag.name));
  return {
    why: only ? `"${name}" is the beginning of ${found.length} flags, such as ${only.name}` : name === unprefixed ? `"${name}" is no flag` : `"${name}" is no flag: those of the keys below "quant" are written without it`,
    ...meant ? { meant } : {},
  };
}
