import assert from 'node:assert/strict';
import { documentLinks } from '../../../server/src/language/documentLink';
import type { FolderEntry } from '../../../server/src/language/pathCompletion';
import { modelOf } from './models';

const file = (name: string): FolderEntry => ({ name, isFolder: false });
const folder = (name: string): FolderEntry => ({ name, isFolder: true });

const disk: Record<string, readonly FolderEntry[]> = {
  '/project': [folder('FLUX.1 dev'), folder('transformer'), folder('shards'), folder('single'), folder('empty'), folder('prompts'), file('𝒳.safetensors')],
  '/project/FLUX.1 dev': [folder('transformer'), file('config.json'), file('model_index.json')],
  '/project/transformer': [file('config.json'), file('diffusion_pytorch_model.safetensors')],
  '/project/shards': [file('config.json'), file('model.safetensors.index.json')],
  '/project/single': [file('b.safetensors'), file('a.safetensors')],
  '/project/prompts': [file('fox.safetensors')],
  '/': [folder('project')],
};

function links(text: string, uri?: string): string[] {
  const model = modelOf(text, uri === undefined ? {} : { uri });
  return documentLinks(model, (path) => disk[path] ?? []).map(({ range, target, tooltip }) => `${model.document.getText(range)} → ${target ?? ''} (${tooltip ?? ''})`);
}

describe('document links', () => {
  it('lead to files, and from folders to what says most about them', () => {
    assert.deepEqual(links('checkpoint: "./FLUX.1 dev"\nloras:\n  - path: 𝒳.safetensors\n  - { path: \'single\' }\npreview: { decoder: shards, prompts: [a fox, prompts/fox.safetensors, fox.safetensors] }\n'), [
      './FLUX.1 dev → file:///project/FLUX.1%20dev/model_index.json (Open /project/FLUX.1 dev/model_index.json)',
      '𝒳.safetensors → file:///project/%F0%9D%92%B3.safetensors (Open 𝒳.safetensors)',
      'single → file:///project/single/a.safetensors (Open /project/single/a.safetensors)',
      'shards → file:///project/shards/model.safetensors.index.json (Open /project/shards/model.safetensors.index.json)',
      'prompts/fox.safetensors → file:///project/prompts/fox.safetensors (Open fox.safetensors)',
    ]);
    assert.deepEqual(links('checkpoint: ./transformer/\r\n'), ['./transformer/ → file:///project/transformer/config.json (Open /project/transformer/config.json)']);
    assert.deepEqual(links('checkpoint: /project/transformer', 'untitled:Untitled-1'), ['/project/transformer → file:///project/transformer/config.json (Open /project/transformer/config.json)']);
  });

  it('are none for what is not there', () => {
    for (const text of ['checkpoint: ./nowhere', 'checkpoint: ./empty', 'checkpoint: ""', 'checkpoint: " "', 'checkpoint: 5', 'preview: { decoder: vae }', 'checkpoint: /', 'loras: [path, { path: }]', 'checkpoint: []', 'preview: { prompts: [a, 1] }']) {
      assert.deepEqual(links(text), [], text);
    }
    assert.deepEqual(links('checkpoint: ./transformer', 'untitled:Untitled-1'), []);
  });

  it('stand where a path is written, once', () => {
    assert.deepEqual(links('checkpoint: &c ./transformer\nloras: [{ path: *c }]\n').length, 1);
  });

  it('stay while a bracket is missing elsewhere', () => {
    assert.deepEqual(links('rules:\n  - layers: ["a\nloras:\n  - path: 𝒳.safetensors\n').length, 1);
  });
});
