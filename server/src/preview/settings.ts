/** The `preview` section of a config, completed and held against the model. The same checks serve the editor, before anything runs. */
import { ModelError } from '../models/builder';
import type { PreviewSettings } from '../protocol';
import type { Factors } from './decoder';
import { defaultClasses } from './pipelines/dit';
import type { Family } from './pipelines/family';
import type { Source } from './pipelines/source';

/** More than any published model is trained for; tables of positions grow with it. */
const maxTokens = 200_000;

/** What cannot run. */
export interface SettingProblem {
  /** Where it is written; null for the section as a whole. */
  key: keyof PreviewSettings | null;
  /** Of a list. */
  index?: number;
  message: string;
  /** What would run instead, as written in a config, the best first; null takes the key or the entry of the list away. */
  instead: readonly (string | null)[];
}

export function complete(written: Partial<PreviewSettings>, family: Family, source: Source, factors: Factors): PreviewSettings {
  return { classes: family.text ? [] : defaultClasses(source), prompts: [], seed: 0, decoder: 'vae', mode: 'forced', compareSteps: 4, ...family.defaults(source, factors.space), ...written };
}

/** @throws ModelError when a setting does not fit the model, with those that do */
export function settle(written: Partial<PreviewSettings>, family: Family, source: Source, factors: Factors): PreviewSettings {
  const [problem] = settingProblems(written, family, source, factors);
  if (problem) {
    throw new ModelError(problem.message);
  }
  const settings = complete(written, family, source, factors);
  return { ...settings, compareSteps: Math.min(settings.compareSteps, settings.steps) };
}

/** Everything that numbers alone tell; files are looked at elsewhere (check.ts). */
export function settingProblems(written: Partial<PreviewSettings>, family: Family, source: Source, factors: Factors): SettingProblem[] {
  const settings = complete(written, family, source, factors);
  const { architecture } = source.checkpoint;
  const patch = family.patch(source);
  const sizes = [...ofSide('width', settings.width, patch, factors.space), ...ofSide('height', settings.height, patch, factors.space), ...ofFrames(settings.frames, family, factors.time)];
  return [
    ...(family.text && written.classes !== undefined
      ? [{ key: 'classes' as const, message: `"classes" belongs to class-conditional models; ${architecture} makes pictures of text. Write "prompts" in the preview settings instead.`, instead: [null] }] : []),
    ...(!family.text && written.prompts !== undefined
      ? [{ key: 'prompts' as const, message: `"prompts" belongs to models of text; ${architecture} makes pictures of classes. Write "classes" in the preview settings instead.`, instead: [null] }] : []),
    ...(sizes.length > 0 ? sizes : ofTokens(settings, family, patch, factors)),
    ...family.problems?.(settings, source) ?? [],
  ];
}

function ofSide(key: 'width' | 'height', pixels: number, patch: number, factor: number): SettingProblem[] {
  const unit = patch * factor;
  const below = Math.floor(pixels / unit) * unit;
  const fitting = [...(below > 0 ? [below] : []), below + unit];
  return pixels % unit === 0 ? [] : [{
    key, instead: fitting.sort((a, b) => Math.abs(a - pixels) - Math.abs(b - pixels)).map(String),
    message: `"${key}: ${pixels}" does not fit: this model takes multiples of ${unit} pixels (patch ${patch} × VAE factor ${factor}), such as ${below > 0 ? `${below} or ` : ''}${below + unit}.`,
  }];
}

function ofFrames(frames: number, { video, oddFrames }: Family, factor: number): SettingProblem[] {
  if (!video) {
    return frames === 1 ? [] : [{ key: 'frames', message: `"frames: ${frames}" is for video models; this one makes single pictures. Remove "frames" from the preview settings.`, instead: [null] }];
  }
  const unit = oddFrames ? 2 * factor : factor;
  const below = Math.floor((frames - 1) / unit) * unit + 1;
  return (frames - 1) % unit === 0 ? [] : [{ key: 'frames', message: `"frames: ${frames}" does not fit: the VAE of this model makes ${unit}n + 1 frames, such as ${below} or ${below + unit}.`, instead: [String(below), String(below + unit)] }];
}

function ofTokens({ width, height, frames }: PreviewSettings, { video }: Family, patch: number, { space, time }: Factors): SettingProblem[] {
  const tokens = (width * height * ((frames - 1) / time + 1)) / (patch * space) ** 2;
  return tokens <= maxTokens ? [] : [{
    key: frames > 1 && (width * height) / (patch * space) ** 2 <= maxTokens ? 'frames' : width >= height ? 'width' : 'height', instead: [null],
    message: `${width} × ${height} pixels${video ? ` and ${frames} frames` : ''} are ${tokens} tokens; a preview takes at most ${maxTokens}. Choose a smaller "width" or "height"${video ? ' or fewer "frames"' : ''}.`,
  }];
}
