import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { CheckpointStore, openCheckpoint } from '../../../server/src/checkpoint';
import { loadAndLint } from '../../../server/src/lints';
import { previewProblems } from '../../../server/src/preview/check';
import type { Checkpoint, Problem } from '../../../server/src/protocol';
import { temporaryFolders } from '../../fixtures/folder';
import { tinyPixart, tinyWan } from '../../fixtures/pipelines';
import { examples } from '../../fixtures/plans';
import { applied, slice } from '../config/found';

const code = 'plan/preview-cannot-run';

/** The same from the disk as the editor and `lint` see it. */
async function lints(text: string, folder: string): Promise<Problem[]> {
  const { problems } = await loadAndLint(TextDocument.create('file:///x', 'quantconfig', 1, text), join(folder, 'x.quant.yaml'), new CheckpointStore());
  return problems.filter((problem) => problem.code === code);
}

/** What is found: `[marked text] message`, and the titles of the quick fixes, each of which has been applied and leaves no such problem. */
async function finds(preview: string, folder: string, expected: [message: RegExp, fixes: string[]][], checkpoint = './model'): Promise<void> {
  const text = `version: 1\ncheckpoint: ${checkpoint}\ndefaults: { keep: original }\n${preview}\n`;
  const problems = await lints(text, folder);
  for (const problem of problems) {
    for (const fix of problem.data?.fixes ?? []) {
      const after = applied(text, fix);
      assert.ok(!(await lints(after, folder)).some(({ message }) => message === problem.message), `${fix.title} leaves it:\n${after}`);
    }
  }
  assert.deepEqual(problems.map(({ data }) => data?.fixes.map(({ title }) => title) ?? []), expected.map(([, fixes]) => fixes), problems.map(({ message }) => message).join('\n'));
  expected.forEach(([message], i) => assert.match(`[${slice(text, problems[i]?.range)}] ${problems[i]?.message ?? ''}`, message));
}

describe('lint: preview settings that cannot run', function () {
  this.timeout(60_000);
  const folder = temporaryFolders();

  it('finds all of them at once where they are written, and offers values that run', async () => {
    const place = folder();
    await tinyPixart(place);
    await finds('preview: { prompts: [a red fox], width: 16, height: 12 }', place, []);
    await finds('preview:\n  prompts: [a red fox, "a blue fox"] # two\n  width: 30\n  height: 3\n  frames: 5\n  classes: [1]\n  decoder: ./nowhere', place, [
      [/^\[\.\/nowhere\] nowhere: /, ['Change to vae']],
      [/^\[\[1\]\] "classes" belongs to class-conditional models/, ['Remove "classes"']],
      [/^\[30\] "width: 30" does not fit: this model takes multiples of 4 pixels/, ['Change to "width: 28"', 'Change to "width: 32"']],
      [/^\[3\] "height: 3" does not fit/, ['Change to "height: 4"']],
      [/^\[5\] "frames: 5" is for video models/, ['Remove "frames"']],
      [/^\["a blue fox"\] There are no embeddings of "a blue fox" for PixArtSigmaPipeline/, ['Remove "a blue fox"']],
    ]);
  });

  it('knows the prompts that are there, and sees files go', async () => {
    const place = folder();
    await tinyPixart(place);
    await finds('preview: { steps: 4 }', place, [[/^\[preview\] PixArtTransformer2DModel makes pictures of text: name at least one prompt/, ['Add "prompts: ["a red fox"]"']]]);
    await finds('preview: { prompts: [a blue fox] }', place, [[/^\[a blue fox\]/, ['Change to "a red fox"']]]);
    rmSync(join(place, 'prompts'), { recursive: true });
    await finds('preview: { prompts: [a red fox] }', place, [[/^\[a red fox\] There are no embeddings/, []]]);
  });

  it('frames of videos, and a pipeline without a VAE', async () => {
    const place = folder();
    await tinyWan(place);
    await finds('preview: { prompts: [a red fox], decoder: taehv.safetensors, frames: 6 }', place, [[/^\[6\] "frames: 6" does not fit: the VAE of this model makes 4n \+ 1 frames/, ['Change to "frames: 5"', 'Change to "frames: 9"']]]);
    await finds('preview: { prompts: [a red fox] }', place, [[/^\[preview\] The pipeline in .* has no VAE/, []]]);
  });

  it('classes of the bundled example', async () => {
    const glyph = './glyph-dit';
    await finds('preview: { classes: [3, 99], width: 17 }', examples, [
      [/^\[17\] "width: 17" does not fit: this model takes multiples of 2 pixels/, ['Change to "width: 16"', 'Change to "width: 18"']],
      [/^\[99\] There is no class 99: this model knows 0 to 9/, ['Change to "classes: [… 9 …]"', 'Remove 99']],
    ], glyph);
    await finds('preview: { classes: [99] }', examples, [[/^\[99\]/, ['Change to "classes: [… 9 …]"', 'Remove "classes"']]], glyph);
    await finds('preview: { prompts: [a fox] }', examples, [[/^\[\[a fox\]\] "prompts" belongs to models of text/, ['Remove "prompts"']]], glyph);
  });

  it('says once why nothing can run at all', async () => {
    const place = folder();
    await tinyPixart(place);
    rmSync(join(place, 'model/scheduler'), { recursive: true });
    await finds('preview: { prompts: [x], width: 3 }', place, [[/^\[preview\] There is no scheduler\/scheduler_config\.json/, []]]);
  });

  it('reads headers alone, through the one who remembers them', async () => {
    const place = folder();
    await tinyPixart(place);
    const opened: string[] = [];
    const open = async (path: string): Promise<Checkpoint> => {
      opened.push(path.slice(place.length + 1));
      return openCheckpoint(path);
    };
    assert.deepEqual(await previewProblems(await openCheckpoint(join(place, 'model')), { prompts: ['prompts/a-red-fox.safetensors'] }, place, open), []);
    assert.deepEqual(opened, ['model/vae', 'prompts/a-red-fox.safetensors']);
  });
});
