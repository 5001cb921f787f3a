/** The `preview` section of a config, completed and held against the model. */
import { ModelError } from '../models/builder';
import type { PreviewSettings } from '../protocol';
import type { Factors } from './decoder';
import { defaultClasses } from './pipelines/dit';
import type { Family } from './pipelines/family';
import type { Source } from './pipelines/source';

/** More than any published model is trained for; tables of positions grow with it. */
const maxTokens = 200_000;

/** @throws ModelError when a setting does not fit the model, with those that do */
export function settle(written: Partial<PreviewSettings>, family: Family, source: Source, factors: Factors): PreviewSettings {
  const settings: PreviewSettings = {
    classes: family.text ? [] : defaultClasses(source), prompts: [], seed: 0, decoder: 'vae', mode: 'forced', compareSteps: 4, ...family.defaults(source, factors.space), ...written,
  };
  if (family.text && written.classes !== undefined) {
    throw new ModelError(`"classes" belongs to class-conditional models; ${source.checkpoint.architecture} makes pictures of text. Write "prompts" in the preview settings instead.`);
  }
  if (!family.text && written.prompts !== undefined) {
    throw new ModelError(`"prompts" belongs to models of text; ${source.checkpoint.architecture} makes pictures of classes. Write "classes" in the preview settings instead.`);
  }
  const patch = family.patch(source);
  const [width, height] = [fit('width', settings.width, patch, factors.space), fit('height', settings.height, patch, factors.space)];
  checkFrames(settings.frames, family, factors.time);
  const tokens = width * height * ((settings.frames - 1) / factors.time + 1);
  if (tokens > maxTokens) {
    throw new ModelError(`${settings.width} × ${settings.height} pixels${family.video ? ` and ${settings.frames} frames` : ''} are ${tokens} tokens; a preview takes at most ${maxTokens}. Choose a smaller "width" or "height"${family.video ? ' or fewer "frames"' : ''}.`);
  }
  return { ...settings, compareSteps: Math.min(settings.compareSteps, settings.steps) };
}

/** @returns tokens along this side */
function fit(name: 'width' | 'height', pixels: number, patch: number, factor: number): number {
  const unit = patch * factor;
  if (pixels % unit !== 0) {
    const below = Math.floor(pixels / unit) * unit;
    throw new ModelError(`"${name}: ${pixels}" does not fit: this model takes multiples of ${unit} pixels (patch ${patch} × VAE factor ${factor}), such as ${below > 0 ? `${below} or ` : ''}${below + unit}.`);
  }
  return pixels / unit;
}

function checkFrames(frames: number, { video, oddFrames }: Family, factor: number): void {
  if (!video && frames !== 1) {
    throw new ModelError(`"frames: ${frames}" is for video models; this one makes single pictures. Remove "frames" from the preview settings.`);
  }
  const unit = oddFrames ? 2 * factor : factor;
  if (video && (frames - 1) % unit !== 0) {
    const below = Math.floor((frames - 1) / unit) * unit + 1;
    throw new ModelError(`"frames: ${frames}" does not fit: the VAE of this model makes ${unit}n + 1 frames, such as ${below} or ${below + unit}.`);
  }
}
