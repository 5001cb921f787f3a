/** Problems as SARIF 2.1.0 (OASIS), which code hosts and editors read. */
import { pathToFileURL } from 'node:url';
import { checkpointCodes } from '../../checkpoint/errors';
import type { Problem, Severity } from '../../protocol';
import { configCodes } from '../codes';
import { dialectCodes } from './codes';

const levels = { error: 'error', warning: 'warning', info: 'note', hint: 'note' } as const satisfies Record<Severity, string>;

export interface Sarif { $schema: string; version: '2.1.0'; runs: unknown[] }

/**
 * @param file absolute path that problems without a file of their own are about.
 * @param base absolute path of the folder that paths are written relative to; files outside of it are written in full.
 */
export function sarif(problems: readonly Problem[], file: string, base: string, toolVersion: string): Sarif {
  const codes = [...new Set(problems.map(({ code }) => code))].sort();
  return {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json', version: '2.1.0',
    runs: [{
      tool: { driver: { name: 'QuantScope', version: toolVersion, rules: codes.map(rule) } },
      columnKind: 'utf16CodeUnits',
      originalUriBaseIds: { ROOT: { uri: `${pathToFileURL(base).href.replace(/\/$/, '')}/` } },
      results: problems.map((problem) => ({
        ruleId: problem.code, ruleIndex: codes.indexOf(problem.code), level: levels[problem.severity], message: { text: problem.message },
        locations: [{ physicalLocation: { artifactLocation: place(problem.file ?? file, base), ...(problem.range ? { region: region(problem.range) } : {}) } }],
      })),
    }],
  };
}

function rule(id: string): unknown {
  const texts: Readonly<Record<string, string | { meaning: string; remedy: string }>> = { ...checkpointCodes, ...configCodes, ...dialectCodes };
  const text = texts[id];
  return {
    id, shortDescription: { text: typeof text === 'string' ? text : text?.meaning ?? id },
    ...(typeof text === 'object' ? { help: { text: text.remedy } } : {}),
  };
}

/** Lines and columns count from 1; the end is the place behind the last character. */
function region({ start, end }: NonNullable<Problem['range']>): unknown {
  return { startLine: start.line + 1, startColumn: start.character + 1, endLine: end.line + 1, endColumn: end.character + 1 };
}

function place(file: string, base: string): unknown {
  const [uri, root] = [pathToFileURL(file).href, `${pathToFileURL(base).href.replace(/\/$/, '')}/`];
  return uri.startsWith(root) ? { uri: uri.slice(root.length), uriBaseId: 'ROOT' } : { uri };
}
