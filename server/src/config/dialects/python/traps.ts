/** What goes wrong between a config in Python and the model or pipeline it is handed to. Looks at config.json and model_index.json of local folders, never at weights. */
import { readFile, stat } from 'node:fs/promises';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { URI } from 'vscode-uri';
import type { Problem } from '../../../protocol';
import { find } from '../../tree';
import type { TreeNode } from '../../tree';
import { problem } from '../dialect';
import type { DialectFile, DialectProblem } from '../dialect';
import type { Load, ModelLoad } from './loads';
import { missingComponents, namedComponents } from './pipeline';
import { namesOf } from './sections';

const maxJsonBytes = 4 * 1024 * 1024;

/** @returns nothing for files that are no Python. */
export async function pythonTraps(file: DialectFile): Promise<DialectProblem[]> {
  const { python } = file;
  if (!python) {
    return [];
  }
  const tuples = python.name === 'TorchAoConfig' || python.name.endsWith('FqnToConfig') ? python.tuples.map((range) => problem('python/tuple', 'error', range,
    'torchao cannot write a tuple into JSON, and diffusers writes every config while it loads a model: a NotImplementedError. Write a list.',
    { fixes: [{ title: 'Write a list', edits: [{ range, text: `[${file.document.getText(range).replace(/^\(|,?\s*\)$/g, '')}]` }] }] })) : [];
  const found = await Promise.all(python.loads.map((load) => loadTraps(file, load)));
  return [...tuples, ...found.flat()];
}

/** Folder of a load that lies on this machine, absolute. Scripts run in their own folder, or in one above it. */
export async function localFolder(file: DialectFile, { path }: ModelLoad): Promise<string | undefined> {
  let from = dirname(URI.parse(file.document.uri).fsPath);
  for (let levels = 0; path !== undefined && levels < 4; levels++) {
    const folder = resolve(from, path);
    if (await stat(folder).then((found) => found.isDirectory(), () => false)) {
      return folder;
    }
    if (isAbsolute(path) || dirname(from) === from) {
      break;
    }
    from = dirname(from);
  }
  return undefined;
}

async function loadTraps(file: DialectFile, load: Load): Promise<DialectProblem[]> {
  const isPipelineConfig = file.python?.name === 'PipelineQuantizationConfig';
  const owner = load.owner.slice(load.owner.lastIndexOf('.') + 1);
  const isPipeline = /Pipeline$|^AutoPipelineFor/.test(owner);
  if (isPipeline && !isPipelineConfig) {
    return [problem('python/pipeline-wants', 'error', load.range, `${owner} takes a PipelineQuantizationConfig alone: a ValueError. Write quantization_config=PipelineQuantizationConfig(quant_mapping={"transformer": …}), or hand this one to the transformer's from_pretrained.`)];
  }
  if (!isPipeline && isPipelineConfig && /(?:Model|Transformer\w*)$/.test(owner)) {
    return [problem('python/model-wants', 'error', load.range, `${owner} is one model; a PipelineQuantizationConfig is for pipelines and has no quant_method. Hand the config of this component over itself.`)];
  }
  const folder = await localFolder(file, load);
  return [...deviceTraps(file, load), ...folder === undefined ? [] : isPipelineConfig ? await pipelineTraps(file, load, folder) : await ignored(load, join(folder, load.subfolder ?? ''), '')];
}

async function pipelineTraps(file: DialectFile, load: Load, folder: string): Promise<DialectProblem[]> {
  const index = await readJson(join(folder, 'model_index.json'));
  if (!index) {
    return [];
  }
  // A component is a pair of library and class; the rest are the pipeline's own settings.
  const own = Object.keys(index).filter((key) => !key.startsWith('_') && Array.isArray(index[key]));
  const named = namedComponents(file).map(({ name }) => name);
  const quantized = own.filter((name) => named.length === 0 || named.includes(name));
  const inside = await Promise.all(quantized.map((name) => ignored(load, join(folder, name), name)));
  return [...own.length > 0 ? missingComponents(file, own, load.path ?? folder) : [], ...inside.flat()];
}

/** diffusers and transformers prefer the config that a model was saved with; only AutoRound's fields may be changed. */
async function ignored(load: Load, folder: string, component: string): Promise<DialectProblem[]> {
  const saved = (await readJson(join(folder, 'config.json')))?.['quantization_config'];
  const method = typeof saved === 'object' && saved !== null ? String((saved as Record<string, unknown>)['quant_method'] ?? 'unnamed') : undefined;
  return method === undefined || method === 'auto-round' ? [] : [problem('python/ignored', 'warning', load.range,
    `The config.json of ${component === '' ? 'this model' : `"${component}"`} holds a quantization_config already (${method}): it is used, and this one is passed over with no more than a warning. Load the unquantized model, or leave this argument out.`)];
}

/** bitsandbytes runs on a GPU, and stops at layers that a device map puts elsewhere. */
function deviceTraps({ root, python }: DialectFile, { deviceMap }: Load): DialectProblem[] {
  if (python?.name !== 'BitsAndBytesConfig' || !deviceMap) {
    return [];
  }
  const flag = find(root, 'llm_int8_enable_fp32_cpu_offload')?.value;
  const kept = namesOf(find(root, 'llm_int8_skip_modules')?.value);
  const isElsewhere = (node: TreeNode): boolean => node.kind === 'scalar' && (node.value === 'cpu' || node.value === 'disk');
  if (isElsewhere(deviceMap)) {
    return [problem('python/no-gpu', 'error', deviceMap.range, 'bitsandbytes in diffusers quantizes on a GPU alone ("No GPU found"). Leave device_map out, or write "cuda".')];
  }
  const away = deviceMap.kind === 'map' && !(flag?.kind === 'scalar' && flag.value !== false) ? deviceMap.entries.filter(({ key, value }) => isElsewhere(value) && !kept.includes(key)) : [];
  return away.map(({ key, value }) => problem('python/offload', 'error', value.range,
    `"${key}" is put where bitsandbytes cannot quantize: a ValueError. Write llm_int8_enable_fp32_cpu_offload=True, with which such layers stay in float32, or name "${key}" in llm_int8_skip_modules.`));
}

/** undefined where there is none that can be read. */
async function readJson(path: string): Promise<Record<string, unknown> | undefined> {
  const size = await stat(path).then((found) => found.size, () => Infinity);
  const text = size <= maxJsonBytes ? await readFile(path, 'utf8').catch(() => undefined) : undefined;
  try {
    const value: unknown = text === undefined ? undefined : JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined; // its own lint says why
  }
}

/** Quick fixes write JSON; names of classes and arguments stand in Python without quotes. */
export function inPython(found: Problem, { document }: DialectFile): Problem {
  const fixes = found.data?.fixes?.map((fix) => ({ ...fix, edits: fix.edits.map((edit) => (/^\w/.test(document.getText(edit.range)) && /^"\w+"$/.test(edit.text) ? { ...edit, text: edit.text.slice(1, -1) } : edit)) }));
  return fixes ? { ...found, data: { ...found.data, fixes } } : found;
}
