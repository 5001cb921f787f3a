/** Whether a preview could run, from settings, JSON files and headers alone: what `openPipeline` would refuse, all of it and before anyone waits. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CheckpointError } from '../checkpoint';
import { modelFor } from '../models';
import { ModelError } from '../models/builder';
import type { Checkpoint, PreviewSettings } from '../protocol';
import { openDecoder } from './decoder';
import { familyOf, promptNeeds, promptsMissing } from './pipelines';
import { openSource } from './pipelines/source';
import { findPrompt, promptFiles, promptTexts } from './prompts';
import type { PromptFiles } from './prompts';
import { complete, settingProblems } from './settings';
import type { SettingProblem } from './settings';

/** @param base folder of the config @param open reads headers; the editor's remembers them */
export async function previewProblems(checkpoint: Checkpoint, written: Partial<PreviewSettings>, base: string, open: (path: string) => Promise<Checkpoint>): Promise<SettingProblem[]> {
  return caught(null, [], async () => {
    const family = familyOf(modelFor(checkpoint));
    const source = await openSource(checkpoint);
    const about = { channels: family.channels(source), video: family.video };
    const named = written.decoder ?? 'vae';
    let factors;
    const ofDecoder = await caught(written.decoder === undefined ? null : 'decoder', named === 'vae' ? [] : ['vae'], async () => {
      ({ factors } = await openDecoder(source, named, base, about, open));
      return [];
    });
    // Sizes do not depend on the decoder: a tiny one has the factors of the VAE it stands for.
    factors ??= (await openDecoder(source, 'vae', base, about, open).catch(() => undefined))?.factors;
    const ofSettings = factors ? settingProblems(written, family, source, factors) : [];
    const ofPrompts = family.text && factors
      ? await promptProblems(written, base, promptNeeds(family.text, source, family.guided(complete(written, family, source, factors).guidance)), promptsMissing(source), open) : [];
    return [...ofDecoder, ...ofSettings, ...ofPrompts];
  });
}

async function promptProblems({ prompts = [] }: Partial<PreviewSettings>, base: string, needs: ReturnType<typeof promptNeeds>, missing: string, open: (path: string) => Promise<Checkpoint>): Promise<SettingProblem[]> {
  const known = async (): Promise<string[]> => promptTexts(await remembered(join(base, 'prompts')), needs.encoder).filter((text) => !prompts.includes(text)).map((text) => JSON.stringify(text));
  if (prompts.length === 0) {
    return [{ key: null, message: missing, instead: (await known().catch(() => [])).slice(0, 3) }];
  }
  const all: SettingProblem[] = [];
  for (const [index, entry] of prompts.entries()) {
    const found = await caught('prompts', [], async () => {
      await findPrompt(entry, base, needs, remembered, open);
      return [];
    });
    for (const problem of found) {
      all.push({ ...problem, index, instead: [...(await known().catch(() => [])).slice(0, 3), ...(prompts.length > 1 ? [null] : [])] });
    }
  }
  return all;
}

/** What the user can repair becomes a problem of this key. */
async function caught(key: SettingProblem['key'], instead: SettingProblem['instead'], work: () => Promise<SettingProblem[]>): Promise<SettingProblem[]> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof ModelError || error instanceof CheckpointError) {
      return [{ key, message: error.message, instead }];
    }
    throw error;
  }
}

const folders = new Map<string, { modified: number; files: Promise<PromptFiles> }>();

/** The headers of a folder of prompts, read again when files came or went. */
async function remembered(folder: string): Promise<PromptFiles> {
  const modified = await stat(folder).then(({ mtimeMs }) => mtimeMs, () => 0);
  let known = folders.get(folder);
  if (known?.modified !== modified) {
    known = { modified, files: promptFiles(folder) };
    folders.delete(folder);
    folders.set(folder, known);
    [...folders.keys()].slice(0, -8).forEach((oldest) => folders.delete(oldest));
  }
  return known.files;
}
