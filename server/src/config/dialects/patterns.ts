/** Patterns of other tools, compiled or reported. */
import type { Range } from '../../protocol';
import { problem } from './dialect';
import type { DialectProblem } from './dialect';
import { compileRegex } from './regex';
import type { Regex } from './regex';
import { RegexFault } from './regexParser';
import type { Flavour } from './regexParser';

/** undefined when the tool, or this program, cannot read it; the problem says which. */
export function regexOrProblem(pattern: string, flavour: Flavour, range: Range, problems: DialectProblem[]): Regex | undefined {
  try {
    return compileRegex(pattern, flavour);
  } catch (error) {
    if (!(error instanceof RegexFault)) {
      throw error;
    }
    problems.push(error.unsupported ?
      problem('dialect/pattern-not-read', 'warning', range, `QuantScope cannot say what this takes: ${error.message} (character ${error.position + 1}).`) :
      problem('dialect/pattern', 'error', range, `This is no regular expression: ${error.message} (character ${error.position + 1}).`));
    return undefined;
  }
}
