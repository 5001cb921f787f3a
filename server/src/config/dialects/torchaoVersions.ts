/** What torchao and diffusers of a certain version do with a section that another version takes (tags of both up to torchao 0.18 and diffusers 0.40). */
import type { Checkpoint } from '../../protocol';
import type { DialectProblem } from './dialect';
import { problem } from './dialect';
import type { Fields } from './fields';
import { certain } from '../../python/packages/allowed';
import type { Packages, Versions } from '../../python/packages/allowed';

/** A config class: which torchao has it, and which of them takes which `_version`; 1 wherever it is there, unless said. */
interface ConfigClass { within: Versions; versions?: Readonly<Record<number, Versions>> }

/** 0.10 is the first with `config_from_dict`. */
const first = '0.10';
const classes: Readonly<Record<string, ConfigClass>> = {
  Int4WeightOnlyConfig: { within: { from: first }, versions: { 1: { before: '0.16' }, 2: { from: '0.13' } } },
  Int8WeightOnlyConfig: { within: { from: first }, versions: { 1: { before: '0.18' }, 2: { from: '0.15' } } },
  Int8DynamicActivationInt8WeightConfig: { within: { from: first }, versions: { 1: { before: '0.18' }, 2: { from: '0.15' } } },
  Int8DynamicActivationInt4WeightConfig: { within: { from: first, before: '0.17' } }, Int4DynamicActivationInt4WeightConfig: { within: { from: first, before: '0.16' } },
  Int8DynamicActivationIntxWeightConfig: { within: { from: '0.12' }, versions: { 1: { before: '0.16' }, 2: { from: '0.14' } } }, Int8StaticActivationInt8WeightConfig: { within: { from: '0.16' } },
  Float8WeightOnlyConfig: { within: { from: first }, versions: { 1: { before: '0.16' }, 2: { from: '0.13' } } },
  Float8DynamicActivationFloat8WeightConfig: { within: { from: first }, versions: { 1: { before: '0.16' }, 2: { from: '0.13' } } },
  Float8DynamicActivationInt4WeightConfig: { within: { from: '0.13' } }, Float8DynamicActivationFloat8SemiSparseWeightConfig: { within: { from: first, before: '0.17' } }, Float8StaticActivationFloat8WeightConfig: { within: { from: first } },
  GemliteUIntXWeightOnlyConfig: { within: { from: first, before: '0.17' } }, UIntXWeightOnlyConfig: { within: { from: first, before: '0.17' } }, FPXWeightOnlyConfig: { within: { from: first, before: '0.16' } },
  IntxWeightOnlyConfig: { within: { from: '0.11' }, versions: { 1: { before: '0.16' }, 2: { from: '0.13' } } },
  NVFP4DynamicActivationNVFP4WeightConfig: { within: { from: '0.15' } }, NVFP4WeightOnlyConfig: { within: { from: '0.15' } }, UIntxWeightOnlyConfig: { within: { from: '0.17' } }, Int8DynamicActivationUIntxWeightConfig: { within: { from: '0.17' } }, MXDynamicActivationMXWeightConfig: { within: { from: '0.15' } }, FqnToConfig: { within: { from: '0.15' } }, ModuleFqnToConfig: { within: { from: '0.12' } },
};

const mismatch = 'torchao from 0.13 on warns, goes on with weights that are packed already and stops when it quantizes; older ones, and classes without such a field, stop at once.';

/** A `_version` that no torchao has, whatever is installed. @param object `_type`, `_version`, `_data` */
export function unknownVersion(object: Fields): void {
  const type = object.scalar('_type');
  const version = object.number('_version');
  const known = typeof type === 'string' && Object.hasOwn(classes, type) ? Object.keys(classes[type]?.versions ?? { 1: {} }) : undefined;
  if (version !== undefined && known && !known.includes(String(version))) {
    object.report('torchao/config-version', 'warning', object.range('_version'), `No torchao up to 0.19 has _version ${version} of ${String(type)}, only ${known.join(' and ')}: ${mismatch}`);
  }
}

/** Traps between the versions that the project says. @param config under "default" */
export function torchaoVersionTraps(fields: Fields, config: Fields | undefined, packages: Packages): DialectProblem[] {
  return [...betweenPackages(fields, packages), ...config ? ofClass(config, packages) : []];
}

function betweenPackages(fields: Fields, packages: Packages): DialectProblem[] {
  const range = fields.keyRange('quant_method');
  const [old, removed] = [certain(packages, 'torchao', { before: '0.15' }), certain(packages, 'torchao', { from: '0.16' })];
  const [strict, broken] = [certain(packages, 'diffusers', { from: '0.38' }), certain(packages, 'diffusers', { from: '0.33', before: '0.37' })];
  const [moved, upTo] = [certain(packages, 'torchao', { from: '0.17' }), certain(packages, 'diffusers', { from: '0.37', before: '0.41' })];
  return [
    ...old && (strict || !packages.get('diffusers')?.to) ? [problem('torchao/old', strict ? 'error' : 'warning', range,
      `diffusers 0.38 and later need torchao 0.15 or later, and stop otherwise: here ${old}${strict ? ` stands beside ${strict}` : ''}. Take torchao 0.15 or later; weights that it saves as safetensors need 0.16.`)] : [],
    ...removed && broken ? [problem('torchao/import', 'error', range,
      `diffusers from 0.33 to 0.36 cannot import its models beside torchao 0.16 or later ("name 'logger' is not defined"): here ${broken} stands beside ${removed}. Take diffusers 0.37 or later; torchao's safetensors need 0.39.`)] : [],
    ...moved && upTo ? [problem('torchao/moved', 'info', range,
      `diffusers up to 0.40 looks for tensors of torchao where they were before 0.17, says so in the log and cannot load pickles that hold them (UIntXWeightOnlyConfig): here ${upTo} stands beside ${moved}. Other weights are not touched by it.`)] : [],
  ];
}

/** A class, or a `_version` of it, that none of the allowed versions of torchao has. */
function ofClass(config: Fields, packages: Packages): DialectProblem[] {
  const type = config.scalar('_type');
  const known = typeof type === 'string' && Object.hasOwn(classes, type) ? classes[type] : undefined;
  const outside = known && notWithin(packages, known.within);
  if (outside) {
    return [problem('torchao/config-class', 'error', config.range('_type'), `Only torchao ${spoken(known.within)} has ${String(type)}; with ${outside} the config is refused ("Failed to find class"). Take such a torchao, or another config.`)];
  }
  const version = config.number('_version') ?? 1;
  const taking = known?.versions?.[version];
  const not = taking && notWithin(packages, taking);
  return not ? [problem('torchao/config-version', 'warning', config.range(config.has('_version') ? '_version' : '_type'),
    `Only torchao ${spoken(taking)} has _version ${version} of ${String(type)}${config.has('_version') ? '' : ', which a config without _version means'}; here it is ${not}: ${mismatch}`)] : [];
}

function notWithin(packages: Packages, { from, before }: Versions): string | undefined {
  return (from === undefined ? undefined : certain(packages, 'torchao', { before: from })) ?? (before === undefined ? undefined : certain(packages, 'torchao', { from: before }));
}

function spoken({ from, before }: Versions): string {
  return from !== undefined && before !== undefined ? `from ${from} to before ${before}` : from !== undefined ? `${from} and later` : `before ${before ?? ''}`;
}

/** The weights beside the section are torchao tensors in safetensors. @returns nothing where all versions read them */
export function safetensorsTrap(fields: Fields, packages: Packages): DialectProblem[] {
  const needs = 'loading them needs torchao 0.16 or later and diffusers 0.39 or later';
  const short = [certain(packages, 'torchao', { before: '0.16' }), certain(packages, 'diffusers', { before: '0.39' })].filter((place) => place !== undefined);
  const enough = certain(packages, 'torchao', { from: '0.16' }) && certain(packages, 'diffusers', { from: '0.39' });
  return enough ? [] : [problem('torchao/safetensors', short.length > 0 ? 'error' : 'info', fields.keyRange('quant_method'),
    `The weights beside this file are torchao tensors in safetensors: ${needs}${short.length > 0 ? `; here stands ${short.join(' and ')}` : ''}.`)];
}

/** Whether torchao made the weights. */
export function isStoredByTorchao({ tensors }: Checkpoint): boolean {
  return tensors.some(({ name }) => name.endsWith('._weight_qdata'));
}
