import { problem, quantized } from './dialect';
import { describeShare } from './evaluate';
import { backend } from './quantizationConfig';

const exporterKeys = ['layer_config', 'ignore_layers', 'modules_to_not_convert'];

/** Loading only: which layers are packed was decided when AutoRound exported the model. */
export const autoRound = backend({
  id: 'diffusers-auto-round', title: 'AutoRound in diffusers', methods: ['auto-round', 'auto_round'], codes: ['autoround/'],
  rule: 'The loader has no list: it converts what the export packed.',
  unmatched: 'There are no entries.',
}, (fields) => {
  fields.text('backend', ['auto', 'torch', 'tritonv2', 'exllamav2', 'marlin'], 'autoround/backend');
  fields.flag('sym');
  const bits = fields.number('bits') ?? 4;
  const group = fields.number('group_size') ?? 128;
  if (fields.text('quant_method') === 'auto_round') {
    fields.report('autoround/spelling', 'error', fields.range('quant_method'), 'diffusers knows "auto-round" with a hyphen only.', 'auto-round');
  }
  for (const key of exporterKeys.filter((each) => fields.has(each))) {
    fields.report('autoround/exporter-list', 'warning', fields.keyRange(key), `"${key}" belongs to AutoRound's exporter, where it matches parts of names. The loader has no list: it converts what the export packed.`);
  }
  return {
    entries: [], otherwise: quantized(`int${bits} weights per ${group === -1 ? 'row' : `group ${group}`}`, bits), unmatched: 'ignored',
    traps(checkpoint) {
      const odd = group > 0 ? checkpoint.layers.filter(({ inFeatures }) => inFeatures % group !== 0) : [];
      return odd.length === 0 ? [] : [problem('autoround/group', 'warning', fields.range('group_size'),
        `group_size ${group} does not divide the inputs of ${describeShare(odd, checkpoint)}, such as "${odd[0]?.name ?? ''}" (${odd[0]?.inFeatures ?? 0}). Take 32, 64 or 128 where it fits, or -1 for whole rows.`)];
    },
  };
});
