import assert from 'node:assert/strict';
import { commandsOf } from '../../../../server/src/config/dialects/deepcompressor/shellWords';

describe('words of a shell script', () => {
  const words = (text: string): string[][] => commandsOf(text).map((command) => command.map((word) => word.text));

  it('are parted by space and ended by lines, semicolons and operators; a backslash joins lines', () => {
    assert.deepEqual(words('A=1 run a.yaml \\\n  b.yaml\nnext; third && fourth | tee x\r\n\r\n(cd y)'), [['A=1', 'run', 'a.yaml', 'b.yaml'], ['next'], ['third'], ['fourth'], ['tee', 'x'], ['cd', 'y']]);
  });

  it('lose their quotes, and have none of comments and redirections', () => {
    assert.deepEqual(words('run "a b" \'c $d\' e\\ f g"h"i "j\\"k" # rest\n# all\nx#y > log.txt 2>err < in'), [['run', 'a b', 'c $d', 'e f', 'ghi', 'j"k'], ['x#y']]);
  });

  it('tell what the shell puts in', () => {
    const plain = (text: string): boolean[] => commandsOf(text).flatMap((command) => command.map((word) => word.plain));
    assert.deepEqual(plain('a.yaml $A "$B" `c` *.yaml ~/d {e,f} \'$g\' \\$h'), [true, false, false, false, false, false, false, true, true]);
  });

  it('know their places', () => {
    const text = 'run \\\n "a b" c';
    assert.deepEqual(commandsOf(text)[0]?.map(({ start, end }) => text.slice(start, end)), ['run', '"a b"', 'c']);
  });

  it('end where a quote is not closed, quickly', () => {
    assert.deepEqual(words('run "a b'), [['run', 'a', 'b']]);
    assert.equal(commandsOf(`run ${'"a\\'.repeat(20_000)}`).length, 1);
  });
});
