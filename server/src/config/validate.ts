/** Checks a tree against the schema with ajv and turns its errors into problems that a person can act on. */
import Ajv from 'ajv';
import type { ErrorObject, ValidateFunction } from 'ajv';
import type { Range } from '../protocol';
import type { ConfigCode, ConfigProblem } from './codes';
import { schema } from './schema';
import type { Schema } from './schema';
import { nearest } from './nearest';
import { find, toValue } from './tree';
import type { Entry, TreeNode } from './tree';

let compiled: ValidateFunction | undefined;
const maxRules = schema.properties?.['rules']?.maxItems ?? 0;

export function validate(root: TreeNode | null): ConfigProblem[] {
  if (!root) {
    const start = { line: 0, character: 0 };
    return [{ code: 'config/empty', severity: 'error', message: 'This config is empty. Start with "version: 1" and "checkpoint: <path>".', range: { start, end: start } }];
  }
  // A value of the wrong type breaks other rules too; those say nothing more.
  const errors = errorsOf(root);
  const mistyped = new Set(errors.filter((error) => error.keyword === 'type').map((error) => error.instancePath));
  const telling = errors.filter((error) => error.keyword !== 'if' && (error.keyword === 'type' || !mistyped.has(error.instancePath)));
  return telling.slice(0, 100).map((error) => toProblem(root, error));
}

/** Rules that are right, whatever stands around them; most are as they were at the last keystroke. */
const right = new WeakSet<TreeNode>();

/** Rules known to be right are left out; pointers of the others count all of them. */
function errorsOf(root: TreeNode): ErrorObject[] {
  compiled ??= new Ajv({ allErrors: true, strict: false, verbose: true }).compile(schema);
  const whole = toValue(root);
  const rules = find(root, 'rules')?.value;
  const items = rules?.kind === 'list' && rules.items.length <= maxRules ? rules.items : [];
  const asked = items.flatMap((item, index) => (right.has(item) ? [] : [index]));
  compiled(asked.length < items.length ? { ...whole as object, rules: asked.map((index) => toValue(items[index] as TreeNode)) } : whole);
  const errors = (compiled.errors ?? []).map((error) => ({ ...error, instancePath: error.instancePath.replace(/^\/rules\/(\d+)/, (_, at: string) => `/rules/${asked[Number(at)] ?? at}`) }));
  const wrong = new Set(errors.map(({ instancePath }) => Number(/^\/rules\/(\d+)/.exec(instancePath)?.[1] ?? -1)));
  asked.filter((index) => !wrong.has(index)).forEach((index) => right.add(items[index] as TreeNode));
  return errors;
}

function toProblem(root: TreeNode, error: ErrorObject): ConfigProblem {
  const { node, entry, inList } = locate(root, error.instancePath);
  const range = node.range;
  const subject = entry ? `${inList ? 'Each entry of ' : ''}"${entry.key}"` : 'This file';
  const problem = (code: ConfigCode, message: string, at: Range = range): ConfigProblem => ({ code, severity: 'error', message, range: at });
  const parent = error.parentSchema as Schema;
  switch (error.keyword) {
    case 'additionalProperties': {
      const key = String(error.params['additionalProperty']);
      const at = node.kind === 'map' ? node.entries.find((candidate) => candidate.key === key)?.keyRange : undefined;
      const known = Object.keys(parent.properties ?? {});
      return suggest(problem('config/unknown-key', `"${key}" is not known here. Known: ${known.join(', ')}.`, at), key, known);
    }
    case 'enum': {
      const allowed = ((error.params['allowedValues'] ?? []) as unknown[]).map(String);
      return suggest(problem('config/unknown-value', `${subject} must be ${allowed.join(', ').replace(/, ([^,]*)$/, ' or $1')}.`), node.kind === 'scalar' ? String(node.value) : '', allowed);
    }
    case 'required': {
      const key = String(error.params['missingProperty']);
      const start = node.range.start;
      return problem('config/missing-key', `"${key}" is missing${entry ? ` in ${inList ? 'an entry of ' : ''}"${entry.key}"` : ''}. ${parent.properties?.[key]?.description ?? ''}`.trim(), { start, end: { line: start.line, character: start.character + 1 } });
    }
    case 'type': {
      const types = [error.params['type'] as string | string[]].flat();
      const quoted = types.includes('string') && node.kind === 'scalar' && node.value !== null ? JSON.stringify(String(node.value)) : undefined;
      const mistyped = problem('config/type', `${subject} must be ${types.map((type) => typeNames[type] ?? type).join(' or ')}.${quoted === undefined ? '' : ` Put it in quotes: ${quoted}.`}`);
      return quoted === undefined ? mistyped : replacing(mistyped, `Write ${quoted}`, quoted);
    }
    case 'pattern': return problem('config/value', parent.patternErrorMessage ?? `${subject} must match ${String(error.params['pattern'])}.`);
    case 'maxProperties': return problem('config/value', `${subject} takes only one of ${Object.keys(parent.properties ?? {}).join(', ')}.`);
    case 'minProperties': return problem('config/value', `${subject} needs one of ${Object.keys(parent.properties ?? {}).join(', ')}.`);
    case 'minItems': case 'minLength': return problem('config/value', `${subject} must not be empty.`);
    case 'maxItems': return problem('config/value', `${subject} holds more than ${String(error.params['limit'])} entries. ${entry?.key === 'layers' || entry?.key === 'rules' ? 'Use patterns instead of listing layers.' : 'Remove some.'}`);
    case 'maxLength': return problem('config/value', `${subject} is longer than ${String(error.params['limit'])} characters. Shorten it.`);
    case 'minimum': case 'maximum': return replacing(problem('config/value', `${subject} ${error.message ?? 'is not valid'}.`), `Change to ${String(error.params['limit'])}`, String(error.params['limit']));
    default: return problem('config/value', `${subject} ${error.message ?? 'is not valid'}.`);
  }
}

const typeNames: Record<string, string> = {
  string: 'text', integer: 'a whole number', number: 'a number', boolean: 'true or false', array: 'a list', object: 'a mapping (key: value)', null: 'empty',
};

function suggest(problem: ConfigProblem, written: string, known: string[]): ConfigProblem {
  const text = nearest(written, known);
  return text ? replacing({ ...problem, message: `${problem.message} Did you mean "${text}"?` }, `Change to "${text}"`, text) : problem;
}

function replacing(problem: ConfigProblem, title: string, text: string): ConfigProblem {
  return problem.range ? { ...problem, data: { fixes: [{ title, edits: [{ range: problem.range, text }] }] } } : problem;
}

/** Follows a JSON pointer; `entry` is the key the value stands behind. */
function locate(root: TreeNode, pointer: string): { node: TreeNode; entry: Entry | undefined; inList: boolean } {
  let node = root;
  let inList = false;
  let entry: Entry | undefined;
  for (const part of pointer.split('/').slice(1).map((raw) => raw.replaceAll('~1', '/').replaceAll('~0', '~'))) {
    inList = node.kind === 'list';
    if (node.kind === 'map') {
      entry = node.entries.find((candidate) => candidate.key === part);
      node = entry?.value ?? node;
    } else if (node.kind === 'list') {
      node = node.items[Number(part)] ?? node;
    }
  }
  return { node, entry, inList };
}
