/** The text of a config as YAML's own tokens, gaps and comments included: what formatting, colours and anchors look at. */
import { CST, Lexer } from 'yaml';

export type TokenType = Exclude<CST.SourceToken['type'], 'doc-mode' | 'flow-error-end'> | CST.FlowScalar['type'] | 'block-scalar' | 'comment';

/** `offset` in UTF-16 code units; `source` as written, so that all of them one after the other are the text. */
export interface Token { type: TokenType; offset: number; source: string }

/** @param text that `parseTree` reads: the lexer itself knows no bound */
export function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  let offset = 0;
  let scalar: TokenType | undefined;
  for (const source of new Lexer().lex(text)) {
    const type = CST.tokenType(source);
    if (type === 'scalar') {
      scalar = tokens.findLast((token) => !isGap(token))?.type === 'block-scalar-header' ? 'block-scalar' : 'scalar';
    } else if (type !== 'doc-mode' && type !== 'flow-error-end') {
      // What follows the marker of a scalar is its text, whatever it looks like.
      tokens.push({ type: scalar ?? (type as TokenType | null) ?? 'scalar', offset, source });
      scalar = undefined;
      offset += source.length;
    }
  }
  return tokens;
}

/** What may change without a change of meaning, and comments. */
export function isGap({ type }: { type: string }): boolean { return type === 'space' || type === 'newline' || type === 'comment'; }
