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
  /** What a quick fix needs to know. */
  data?: ProblemData;
}
export type ProblemData = { fix: 'replace'; range: Range; text: string; title: string };
