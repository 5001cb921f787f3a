/** Whatever stands in a file: no dialect throws, none hangs, and every place lies inside of the document. Seeded, so that a failure can be run again. */
import assert from 'node:assert/strict';
import { detectDialect, dialects, readDialects, readFiles } from '../../../../server/src/config/dialects';
import { evaluate } from '../../../../server/src/config/dialects/evaluate';
import type { Range } from '../../../../server/src/protocol';
import { checkpointOf } from '../../../fixtures/checkpoints';
import { dialectTexts } from '../../../fixtures/dialectTexts';
import { pick, random } from '../../../fixtures/random';
import { documentOf } from './support';

const rounds = 60;
const blocks = ['attn.to_q', 'attn.to_k', 'ff.net.0.proj', 'ff.net.2', 'norm1.linear'];
const names = [...[0, 1, 10].flatMap((i) => blocks.map((name) => `transformer_blocks.${i}.${name}`)), 'single_transformer_blocks.1.proj_out', 'single_transformer_blocks.1.norm.linear', 'x_embedder', 'norm_out.linear', 'proj_out'];
const layers = checkpointOf(Object.fromEntries(names.map((name) => [`${name}.weight`, { dtype: 'BF16' as const, shape: [64, 128] }])), { _class_name: 'FluxTransformer2DModel' });

/** What trips readers: other types, other scripts, numbers without end, patterns that blow up elsewhere, every kind of line break. */
const pieces = ['"', '\'', '{', '}', '[', ']', ':', ',', '\\', '\n', '\r\n', '\r', '\t', ' ', '#', '- ', '&a ', '*a', '!!x ', '| ', '\u0000', '\uFEFF', '\u2028', '😀', 'ß', 'null', 'true', '-1', '0', '1e999', '99999999999999999999', '0.5', '""', '[]', '{}', '[[]]',
  '(a+)+$', '(?:', '(?<=x)', '[^]', '{1,999}', 'x{0}', '.*.*.*.*=', 're:', '$import', '<<: ', '---\n', '=q4_K,', '=', 'quant:\n', '"a": {"weights": 1, "activations": 2},', 'block_sizes: {-1: 0}', 'n_bits: []'];

function mutate(text: string, next: () => number): string {
  const at = Math.floor(next() * (text.length + 1));
  const length = Math.floor(next() ** 3 * 40);
  switch (Math.floor(next() * 6)) {
    case 0: return text.slice(0, at); // broken off
    case 1: return text.slice(0, at) + text.slice(at + length);
    case 2: return text.slice(0, at + length) + text.slice(at); // repeated
    case 3: return text.slice(0, at) + pick(next, pieces) + text.slice(at + length);
    case 4: { // another value for a word or number
      const words = [...text.matchAll(/"[^"\n]*"|[\w.-]+/g)];
      const word = words[Math.floor(next() * words.length)];
      return word ? text.slice(0, word.index) + pick(next, pieces) + text.slice(word.index + word[0].length) : text;
    }
    default: return text.slice(0, at) + pick(next, pieces) + text.slice(at);
  }
}

describe('dialects on damaged files', () => {
  it('there is a file for each', () => assert.deepEqual(Object.keys(dialectTexts).sort(), dialects.map(({ id }) => id).sort()));

  for (const [seed, dialect] of dialects.entries()) {
    const { name, text } = dialectTexts[dialect.id] ?? { name: '', text: '' };

    it(`${dialect.id} is recognised`, () => assert.ok(readDialects(name, documentOf(text, name)).some((found) => found.dialect.id === dialect.id)));

    it(`${dialect.id} reads ${rounds} damaged ones`, () => {
      const next = random(seed + 1);
      for (let round = 0; round < rounds; round++) {
        let damaged = text;
        for (let i = Math.floor(next() * 4); i >= 0; i--) {
          damaged = mutate(damaged, next);
        }
        const document = documentOf(damaged, name);
        const where = `seed ${seed + 1}, round ${round}: ${JSON.stringify(damaged)}`;
        const inside = ({ start, end }: Range): void => {
          const [from, to] = [start, end].map((position) => document.offsetAt(position)) as [number, number];
          assert.deepEqual([document.positionAt(from), document.positionAt(to), from <= to], [start, end, true], where);
        };
        try {
          // Its own reader gets the file even where the damage hides what it is.
          for (const file of readFiles(name, document)) {
            for (const reader of new Set([dialect, detectDialect(file) ?? dialect])) {
              const parsed = reader.parse(file);
              const { entries, problems } = evaluate(parsed, layers);
              [...parsed.problems, ...problems].forEach((problem) => problem.range && inside(problem.range));
              [...parsed.entries, ...entries].forEach(({ range }) => inside(range));
            }
          }
        } catch (error) {
          throw error instanceof assert.AssertionError ? error : new Error(where, { cause: error });
        }
      }
    });
  }
});
