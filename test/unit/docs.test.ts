import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { checkpointCodes } from '../../server/src/checkpoint/errors';
import { configCodes } from '../../server/src/config/codes';
import { dialects } from '../../server/src/config/dialects';
import { dialectCodes } from '../../server/src/config/dialects/codes';
import { parse } from './config/found';

/** As GitHub makes it of a heading. */
const anchor = (heading: string): string => heading.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '').replaceAll(' ', '-');
const root = resolve(__dirname, '../..');

describe('generated documents', () => {
  it('repeat what the sources say', () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, ['--import=tsx', 'scripts/generate-docs.mjs', '--check'], { cwd: root, encoding: 'utf8' });
    assert.equal(stdout + stderr, '');
    assert.equal(status, 0);
  });

  it('show examples that the language takes', () => {
    const reference = readFileSync(join(root, 'docs/config.md'), 'utf8');
    const examples = [...reference.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(([, text = '']) => text);
    const sections = [...reference.matchAll(/^## (?!Keys|Methods)/gm)];
    assert.equal(examples.length, sections.length + 1);
    for (const example of examples) {
      const text = example.startsWith('version') ? example : `version: 1\ncheckpoint: ./model\n${example}`;
      assert.deepEqual(parse(text).problems, [], text);
    }
  });

  it('name every tool and every code that is about one', () => {
    const page = readFileSync(join(root, 'docs/dialects.md'), 'utf8');
    assert.deepEqual(Object.keys(dialectCodes).filter((code) => !page.includes(`[\`${code}\`](problems.md#${code.replace('/', '')})`)), []);
    const headings = [...page.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading);
    assert.deepEqual(dialects.filter(({ id, title }) => id !== 'diffusers-unknown' && !headings.includes(title)), []);
    assert.deepEqual([...page.matchAll(/\]\(#([^)]*)\)/g)].map(([, target]) => target).filter((target) => !headings.some((heading) => anchor(heading ?? '') === target)), []);
  });

  it('give every problem code a heading, where diagnostics link to', () => {
    const headings = [...readFileSync(join(root, 'docs/problems.md'), 'utf8').matchAll(/^### (.*)$/gm)].map((match) => match[1]);
    assert.deepEqual(headings, [...Object.keys(configCodes), ...Object.keys(dialectCodes), ...Object.keys(checkpointCodes)]);
    const anchors = headings.map((heading) => heading?.replace('/', ''));
    assert.equal(new Set(anchors).size, anchors.length);
  });
});
