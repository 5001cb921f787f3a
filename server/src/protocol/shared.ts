/** Positions and problems. */
export interface Position { line: number; character: number }
export interface Range { start: Position; end: Position }

export type Severity = 'error' | 'warning' | 'info' | 'hint';

/** One finding about a file. `code` is stable and listed in docs/problems.md. */
export interface Problem {
  code: string;
  severity: Severity;
  message: string;
  /** Path of the file that is meant, when it is not the file that was asked about. */
  file?: string;
  range?: Range;
  /** Other places of the same file that belong to it. */
  related?: { message: string; range: Range }[];
  /** The marked text has no effect. */
  unnecessary?: true;
  data?: ProblemData;
}

export interface TextEdit { range: Range; text: string }

/** One remedy. `safe`: it changes neither a recipe nor a picture, so "fix all" applies it unasked. */
export interface QuickFix { title: string; edits: TextEdit[]; safe?: true }

/** Quick fixes, the best first. They travel with the problem, so an editor that drops them loses only these. */
export interface ProblemData { fixes: QuickFix[] }
