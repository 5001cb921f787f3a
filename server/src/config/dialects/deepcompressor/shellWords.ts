/** The commands of a shell script, word by word. Nothing is expanded: words that the shell would change are told apart. */

export interface Word {
  /** Without its quotes. */
  text: string;
  /** Offsets of the word as it is written. */
  start: number;
  end: number;
  /** False where the shell puts in what only a run knows: `$MODEL`, `$(…)`, `*`. */
  plain: boolean;
}

/** Space (a line goes on behind a backslash), comments, what ends a command, words; one character is left where a quote is not closed. */
const token = /\\\r?\n|[^\S\r\n]+|#[^\r\n]*|(\r?\n|[;|&()]+)|((?:'[^']*'|"(?:\\[^]|[^"\\])*"|\\[^\r\n]|[^\s;|&()'"\\])+)|[^]/g;
const quotes = /'([^']*)'|"((?:\\[^]|[^"\\])*)"|\\([^])/g;

export function commandsOf(text: string): Word[][] {
  const commands: Word[][] = [[]];
  for (const { 0: all, 1: end, 2: word, index } of text.matchAll(token)) {
    if (end !== undefined) {
      commands.push([]);
    } else if (word !== undefined) {
      commands.at(-1)?.push({
        text: word.replace(quotes, (_, single?: string, double?: string, escaped?: string) => single ?? double?.replace(/\\(["\\$`])/g, '$1') ?? escaped ?? ''),
        start: index, end: index + all.length, plain: !/[$`*?{}~]/.test(word.replace(/'[^']*'|\\[^]/g, '')),
      });
    }
  }
  return commands.map(withoutRedirections).filter((words) => words.length > 0);
}

/** `> log.txt`, `2>errors`: no words of the command. */
function withoutRedirections(words: readonly Word[]): Word[] {
  return words.filter(({ text }, i) => !/^\d*[<>]/.test(text) && !/^\d*[<>]+$/.test(words[i - 1]?.text ?? ''));
}
