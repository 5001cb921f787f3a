import { TextDocument } from 'vscode-languageserver-textdocument';
import { parseConfig } from '../../../server/src/config/parse';
import { resolvePlan } from '../../../server/src/config/resolve';
import type { Model } from '../../../server/src/language/model';
import type { Checkpoint, LayerReport, Position, Range } from '../../../server/src/protocol';
import { marginal } from '../../fixtures/fakeEngine';

export interface Options { checkpoint?: Checkpoint; reports?: LayerReport[]; uri?: string }

/** What the features see for this text. Nothing is on by default: no checkpoint, no reports. */
export function modelOf(text: string, { checkpoint, reports = [], uri = 'file:///project/model.quant.yaml' }: Options = {}): Model {
  const document = TextDocument.create(uri, 'quantconfig', 1, text);
  const parsed = parseConfig(document);
  const plan = checkpoint && resolvePlan(parsed.config, checkpoint);
  return {
    document, parsed, checkpoint, plan, checkpointPath: checkpoint?.path, problems: [...parsed.problems, ...(plan?.problems ?? [])],
    reports: new Map(reports.map((report) => [report.name, report])),
  };
}

/** The same for a text with `|` where the cursor stands. */
export function atCursor(marked: string, options?: Options): { model: Model; position: Position; text: string } {
  const offset = marked.indexOf('|');
  if (offset < 0 || marked.includes('|', offset + 1)) {
    throw new Error(`exactly one | in ${JSON.stringify(marked)}`);
  }
  const text = marked.slice(0, offset) + marked.slice(offset + 1);
  const model = modelOf(text, options);
  return { model, position: model.document.positionAt(offset), text };
}

/** The text with «» around these ranges, which may lie in each other. */
export function withMarks(model: Pick<Model, 'document'>, ranges: readonly Range[]): string {
  const { document } = model;
  const marks = ranges.flatMap((range) => {
    const [start, end] = [document.offsetAt(range.start), document.offsetAt(range.end)];
    return [{ at: start, mark: '«', order: -end }, { at: end, mark: '»', order: -start }];
  });
  return marks.sort((a, b) => b.at - a.at || (a.mark === b.mark ? b.order - a.order : a.mark === '«' ? -1 : 1)).reduce((text, { at, mark }) => text.slice(0, at) + mark + text.slice(at), document.getText());
}

export function reportOf(name: string, relativeMse: number, more: Partial<LayerReport> = {}): LayerReport {
  return {
    name, weight: { relativeMse, sqnrDb: relativeMse > 0 ? -10 * Math.log10(relativeMse) : null, expectedRelativeMse: 0.008 },
    marginal: { ...marginal(0.002), rho: 2, rotated: true, before: marginal(0.1), after: marginal(0.002) },
    rows: 8, sampledRows: 8, zeroRows: 0, nonFinite: 0, key: name, ...more,
  };
}
