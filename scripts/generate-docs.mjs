// Writes the documents that repeat the sources: docs/problems.md, docs/config.md, docs/dialects.md, docs/dialect-fields.md, docs/protocol.md and schemas/quantconfig.schema.json.
// Run: node --import=tsx scripts/generate-docs.mjs. With --check it writes nothing and fails when one of them is out of date.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { checkpointCodes } from '../server/src/checkpoint/errors.ts';
import { configCodes } from '../server/src/config/codes.ts';
import { dialectCodes } from '../server/src/config/dialects/codes.ts';
import { dialects } from '../server/src/config/dialects/index.ts';
import { constructors } from '../server/src/config/dialects/python/constructors.ts';
import { schema } from '../server/src/config/schema.ts';
import { methods } from '../server/src/methods/index.ts';

const root = resolve(fileURLToPath(import.meta.url), '../..');
const generated = '<!-- Written by scripts/generate-docs.mjs. Change the source, then run: node --import=tsx scripts/generate-docs.mjs -->';

/** The anchor of a heading is its text without punctuation, as GitHub makes it: `config/tab` → #configtab. diagnostics.ts links there. */
function problems() {
  const section = (code, lines) => [`### ${code}`, '', ...lines, ''];
  const withRemedy = (codes) => Object.entries(codes).flatMap(([code, { meaning, remedy }]) => section(code, [meaning, '', `**What to do.** ${remedy}`]));
  const checkpoint = Object.entries(checkpointCodes).flatMap(([code, meaning]) => section(code, [meaning]));
  return [
    generated, '', '# Problem codes', '',
    'Every finding of the editor, of `quantscope lint` and of `quantscope plan` carries one of these codes. Codes are stable: they may be searched for and filtered by.', '',
    '## Configs and plans', '', '`config/…` is about the text of a `*.quant.yaml`, `plan/…` about what it does to the checkpoint.', '', ...withRemedy(configCodes),
    '## Files of other tools', '', '`dialect/…` holds for all of them, the others for one tool. Text that is no YAML is reported with the codes above.', '', ...withRemedy(dialectCodes),
    '## Checkpoints', '', 'The message of each finding names the file and the place, and ends with what to do.', '', ...checkpoint,
  ].join('\n');
}

const example = `version: 1
checkpoint: ./FLUX.1-dev
defaults: { method: orbitquant, scheme: W4A4 }
rules:
  - name: modulation
    layers: ["**.norm*.linear"]
    scheme: W4A16
    method: { name: rtn, weights: { group: 64 } }
  - layers: [x_embedder, context_embedder, "time_text_embed.**", "norm_out.**", proj_out]
    keep: bf16
budget: { size: 6.9GB }`;

function config() {
  return [
    generated, '', '# The config language', '',
    `${schema.description} Files end in \`.quant.yaml\` or \`.quant.yml\`; the language is YAML, published as a [JSON Schema](../schemas/quantconfig.schema.json), which other editors check against with a first line \`# yaml-language-server: $schema=<path or address of the schema>\`. What it says of layers needs the language server: [other editors](editors.md).`, '',
    '```yaml', example, '```', '',
    'Rules are read from top to bottom, and for each layer the last rule that matches decides. What that rule leaves out comes from `defaults`.', '',
    '| pattern | takes |', '|---|---|',
    '| `proj_out` | the one layer of that name |',
    '| `transformer_blocks.*.attn.to_q` | that layer of every block: `*` matches within one dotted segment |',
    '| `**.ff.**` | everything below any `ff`: `**` matches across segments |',
    '| `!**.norm_out.*` | in a list: excludes what the other patterns of the list took |', '',
    'Both ends are anchored: `to_q` alone is no layer, `**.to_q` is. A pattern that starts with `*` or `!` stands in quotes.', '',
    '## Keys', '', ...keyTable('', schema), '',
    ...Object.entries(schema.properties).flatMap(([key, value]) => keySection(key, value)),
    '## Methods', '',
    'A method is a preset. Every part of it may be overridden: `method: { name: orbitquant, weights: { kind: int, group: 64 } }` is a rotated integer quantizer.', '',
    ...[...methods.values()].flatMap((method) => [`### ${method.name}`, '', `**${method.title}** (${method.source}). ${method.summary}`, '', ...presetTable(method), '']),
  ].join('\n');
}

/** One section per mapping, inner mappings after their outer one. */
function keySection(path, value) {
  const inner = value.items?.properties ? { path: `${path}[]`, schema: value.items } : value.properties ? { path, schema: value } : undefined;
  if (!inner) {
    return [];
  }
  return [`## ${inner.path}`, '', value.description, '', '```yaml', ...exampleOf(inner.path, inner.schema), '```', '', ...keyTable(inner.path, inner.schema), '',
    ...Object.entries(inner.schema.properties).filter(([key]) => path !== 'defaults' || key !== 'method').flatMap(([key, child]) => keySection(`${inner.path}.${key}`, child))];
}

/** Snippets of the schema with their placeholders filled, a method's own value for a part of a recipe, or defaults and examples of single keys. */
function exampleOf(path, value) {
  const [top, ...parts] = path.replaceAll('[]', '').split('.');
  if (parts.length > 0) {
    const part = parts.at(-1);
    const method = [...methods.values()].find((each) => parts.length > 1 && each.recipe({ weightBits: 4, activationBits: 4 })[part]);
    const own = method?.recipe({ weightBits: 4, activationBits: 4 })[part] ?? Object.fromEntries((value.required ?? []).map((key) => [key, value.properties[key].enum[0]]));
    const written = Object.fromEntries(Object.entries(own).filter(([key]) => key in value.properties));
    return parts.length === 1 ? ['defaults: { scheme: W4A4, method: { name: orbitquant, weights: { kind: int, group: 64 } } }'] :
      [...method ? [`# as ${method.name} has it`] : [], `defaults: { scheme: W4A4, method: { name: ${method?.name ?? 'rtn'}, ${part}: ${inline(written)} } }`];
  }
  const snippets = (value.defaultSnippets ?? []).map(({ bodyText }) => bodyText.replace(/\$\{\d+\|([^,|]*)[^}]*\}/g, '$1').replace(/\$\{\d+:([^}]*)\}/g, '$1'));
  if (snippets.length > 0) {
    return snippets[0].startsWith('-') ? [`${top}:`, ...snippets.flatMap((text) => text.split('\n').map((line) => `  ${line}`))] : snippets;
  }
  const all = Object.entries(value.properties);
  const defaults = all.filter(([, each]) => each.default !== undefined);
  const chosen = (defaults.length > 0 ? defaults : all).slice(0, value.maxProperties ?? 4);
  return [`${top}: ${inline(Object.fromEntries(chosen.map(([key, each]) => [key, each.default ?? each.examples?.[0]])))}`];
}

/** A flow mapping of YAML. */
function inline(value) {
  return Array.isArray(value) ? `[${value.map(inline).join(', ')}]` : value !== null && typeof value === 'object' ? `{ ${Object.entries(value).map(([key, each]) => `${key}: ${inline(each)}`).join(', ')} }` : String(value);
}

function keyTable(path, { properties, required = [] }) {
  return ['| key | value | meaning |', '|---|---|---|', ...Object.entries(properties).map(([key, value]) =>
    `| \`${key}\`${required.includes(key) ? ' (required)' : ''} | ${valueText(value)} | ${[value.description, ...(value.enumDescriptions ?? []).map((text, i) => `\`${value.enum[i]}\`: ${text}`)].join('<br>')} |`)];
}

function valueText(value) {
  const names = { string: 'text', integer: 'whole number', number: 'number', boolean: '`true` or `false`', array: 'list', object: 'mapping' };
  const code = (each) => `\`${Array.isArray(each) || typeof each === 'object' ? JSON.stringify(each) : String(each)}\``;
  if (value.enum) {
    return value.enum.map(code).join(', ');
  }
  const types = [value.type].flat().map((type) => (type === 'string' && value.then?.enum ? value.then.enum.map(code).join(', ') : type === 'boolean' && value.then?.enum ? code(value.then.enum[0]) : names[type]));
  const examples = value.examples && !value.then ? `, such as ${value.examples.slice(0, 3).map(code).join(', ')}` : '';
  return types.join(' or ') + examples;
}

function presetTable(method) {
  const show = (quantizer) => `\`${JSON.stringify(quantizer).replaceAll('"', '').replaceAll(',', ', ').replaceAll(':', ': ')}\``;
  const recipe = method.recipe({ weightBits: 4, activationBits: 4 });
  return ['Under `scheme: W4A4`:', '', '| rotation | weights | activations |', '|---|---|---|', `| ${recipe.rotate ? show(recipe.rotate) : 'none'} | ${show(recipe.weights)} | ${show(recipe.activations)} |`];
}

/** One section per tool. Files that no loader knows are no tool. */
function dialectsPage() {
  const link = (code) => `[\`${code}\`](problems.md#${code.replace('/', '')})`;
  const codeTable = (prefixes) => ['| code | meaning |', '|---|---|', ...Object.entries(dialectCodes).filter(([code]) => prefixes.some((prefix) => code.startsWith(prefix))).map(([code, { meaning }]) => `| ${link(code)} | ${meaning} |`)];
  const tools = dialects.filter(({ id }) => id !== 'diffusers-unknown').toSorted((a, b) => a.title.localeCompare(b.title, 'en'));
  return [
    generated, '', '# Files of other tools', '',
    'The same string in a list of layers selects other layers in each tool, and almost none reports one that selects nothing. QuantScope recognises these files by their content, applies each tool\'s own rule as it is coded, and counts what every entry takes: in the editor, and with `quantscope lint` ([cli.md](cli.md)). The fields that it knows are in [dialect-fields.md](dialect-fields.md).', '',
    '| tool | an entry that takes nothing |', '|---|---|', ...tools.map(({ title, unmatched }) => `| [${title}](#${anchor(title)}) | ${unmatched} |`), '',
    ...tools.flatMap(({ id, title, file, rule, codes }) => [`## ${title}`, '', `**File.** ${file}${inPython(id)}. \`dialect\`: \`${id}\`.`, '', `**How names are compared.** ${rule}`, '', ...codes.length > 0 ? [...codeTable(codes), ''] : []]),
    '## What holds for all of them', '', ...codeTable(['dialect/']), '',
    '## How far it sees', '',
    'Every trap that is known of these tools has a code. A clean lint still means no more than what these places hold:', '',
    '- **Python** is read, never run: literals, names that stand for them, sums and spreads. What only a run knows (arguments of the command line, loops) is left out, and nothing is said to be missing in such a config. Notebooks are not read.',
    '- **Versions** of packages are those that a project says: what is installed in `.venv`, `venv` or `env`, lock files of uv, Poetry and PDM, `requirements*.txt` with `constraints*.txt`, and `pyproject.toml`, in the nearest folder upwards that names one of these packages and no further than the repository. Conda\'s environments and other interpreters lie elsewhere. A trap is reported when every version that is allowed falls into it.',
    '- **Weights** beside a file are looked at by names, types and shapes; the halves of bytes by a few signs, where the unquantized original is known.',
    '- **The machine** is not looked at: findings about GPUs say for which one a file is.', '',
  ].join('\n');
}

/** The classes of Python that make such a config. */
function inPython(id) {
  const method = id.replace(/^diffusers-/, '').replace('nunchaku-lite', 'nunchaku_lite');
  const classes = Object.entries(constructors).filter(([name, { packages, method: own }]) => (id.startsWith('diffusers-') && own === method) || (id === 'torchao-fqn' && name.endsWith('FqnToConfig')) || (id === 'llm-compressor' && packages.includes('llmcompressor')));
  return classes.length > 0 ? `; in Python a call of ${classes.map(([name]) => `\`${name}\``).join(', ')}` : id === 'modelopt' ? '; in Python a mapping that `mtq.quantize` is given' : '';
}

/** As GitHub makes it of a heading. */
function anchor(heading) {
  return heading.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '').replaceAll(' ', '-');
}

/** What may stand in the files of other tools: the tables that parser, completion and hover share. */
function dialectFields() {
  const nothing = { name: '', form: 'json', root: null, problems: [], document: { getText: () => '' } };
  const section = (dialect) => {
    const root = dialect.root(nothing);
    const rows = fieldRows('', root, new Map());
    const source = root.source ?? Object.values(root.fields ?? {}).find((field) => field.source)?.source;
    return rows.length === 0 ? [] : [`## ${dialect.title}`, '', `${root.doc}${source ? ` Read in: ${source}.` : ''}`, '', '| field | value | meaning |', '|---|---|---|', ...rows, ''];
  };
  return [
    generated, '', '# Fields of other tools\' files', '',
    'The editor completes and explains these fields, and reports others where the tool refuses or passes over them. `*` stands for a key of your own, `[]` for an item of a list. What several mappings share stands at the first of them. Names of layers are compared by each tool\'s own rule, and counted while one types.', '',
    ...dialects.filter(({ id }) => id !== 'diffusers-unknown').toSorted((a, b) => a.title.localeCompare(b.title, 'en')).flatMap(section),
  ].join('\n');
}

/** @param shown mappings that have their rows already, with their paths */
function fieldRows(path, field, shown) {
  const holder = field.fields ?? field.each?.fields ?? field;
  const known = shown.get(holder);
  shown.set(holder, known ?? path);
  const cell = (text) => String(text).replaceAll('|', '\\|');
  const show = (value) => `\`${cell(typeof value === 'string' ? value : JSON.stringify(value))}\``;
  const types = { text: 'text', flag: '`true` or `false`', number: 'number', list: 'list', map: 'mapping', names: 'list of layers', any: field.fields || field.each ? 'mapping' : 'several types' };
  const listed = Object.entries(field.values ?? {});
  const value = [field.names && field.type === 'text' ? 'layers' : types[field.type], ...listed.length > 0 && !field.each && listed.length <= 30 ? [`${field.open ? 'such as ' : ''}${listed.map(([each]) => show(each)).join(', ')}`] : [], ...field.default === undefined ? [] : [`default ${show(field.default)}`]].join('; ');
  const again = known !== undefined && (known === '' || !(field.fields || field.each)); // said already, word for word
  const own = path === '' || field.silent || again ? [] : [`| \`${path}\`${field.required ? ' (required)' : ''} | ${value} | ${cell([field.doc, ...field.names?.doc ? [`Compared by: ${field.names.doc}`] : [], ...known === undefined ? [] : [`Fields as under \`${known}\`.`]].join(' '))} |`];
  const step = (key) => (path === '' ? key : `${path}.${key}`);
  return field.silent || known !== undefined ? own : [
    ...own, ...Object.entries(field.fields ?? {}).flatMap(([key, inner]) => fieldRows(step(key), inner, shown)),
    ...field.each ? fieldRows(step('*'), field.each, shown) : [], ...field.items ? fieldRows(`${path}[]`, field.items, shown) : [],
  ];
}

function protocol() {
  const read = (path) => readFileSync(join(root, path), 'utf8').replaceAll('\r\n', '\n');
  const index = read('server/src/protocol.ts');
  const [, head = ''] = /^\/\*\*\n([\s\S]*?)\*\//.exec(index) ?? [];
  const intro = head.split('\n').map((line) => line.replace(/^ \* ?/, '').trim()).filter((line) => line && !line.includes('docs/protocol.md')).join('\n');
  const parts = [...index.matchAll(/^export type \* from '\.\/(protocol\/\w+)';$/gm)].map(([, path]) => read(`server/src/${path}.ts`));
  const source = parts.join('');
  const sections = parts.map((part) => /^\/\*\* (.*) \*\/\n(?:import .*\n)*([\s\S]*)$/.exec(part) ?? []);
  const messages = (name, row) => {
    const body = new RegExp(`^export interface ${name} \\{\\n([\\s\\S]*?)^\\}`, 'm').exec(source)?.[1] ?? '';
    return [...body.matchAll(/^ {2}'(.*?)': (.*);$/gm)].map(([, method, type]) => row(method, type));
  };
  return [
    generated, '', '# Protocol', '',
    'What the editor and the language server say to each other beyond LSP, and the data types that cross a process border.', '', intro, '',
    '## Requests, editor to server', '', '| method | parameters | result |', '|---|---|---|',
    ...messages('Requests', (method, type) => {
      const [, params, result] = /^\{ params: (.*?); result: (.*?) \}$/.exec(type) ?? [];
      return `| \`${method}\` | ${params === 'null' ? 'none' : `\`${params}\``} | \`${result}\` |`;
    }), '',
    'A cancelled request answers with RequestCancelled (−32800). A failed one carries a message for people, and in `data` either `{ code }` of the engine (`CANCELLED`, `IO`, `ARGUMENT`, `MEMORY`, `CRASHED`, `UNAVAILABLE`) or `{ problem }` of the checkpoint.', '',
    '## Notifications, server to editor', '', '| method | parameters |', '|---|---|', ...messages('Notifications', (method, type) => `| \`${method}\` | \`${type}\` |`), '',
    '## Types', '',
    ...sections.flatMap(([, title, body]) => [`### ${title.replace(/\.$/, '')}`, '', '```ts', body.trim(), '```', '']),
    `SHA-256 of \`server/src/protocol/\`: \`${createHash('sha256').update(source).digest('hex')}\``, '',
  ].join('\n');
}

const documents = {
  'docs/problems.md': problems(), 'docs/config.md': config(), 'docs/dialects.md': dialectsPage(), 'docs/dialect-fields.md': dialectFields(), 'docs/protocol.md': protocol(),
  'schemas/quantconfig.schema.json': `${JSON.stringify(schema, null, 2)}\n`,
};

const stale = Object.entries(documents).filter(([path, text]) => !existsSync(join(root, path)) || readFileSync(join(root, path), 'utf8') !== text).map(([path]) => path);
if (process.argv.includes('--check')) {
  process.stdout.write(stale.map((path) => `${path} is out of date. Run: node --import=tsx scripts/generate-docs.mjs\n`).join(''));
  process.exitCode = stale.length > 0 ? 1 : 0;
} else {
  for (const path of stale) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), documents[path]);
    process.stdout.write(`wrote ${path}\n`);
  }
}
