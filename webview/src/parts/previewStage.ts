/** The stage of a preview: what to look at, the pictures, and the scrubbers over steps and video frames. */
import { button, dropdown } from '../controls';
import { h } from '../dom';
import type { PictureFile, PreviewState } from '../messages';
import { SCALES } from '../model/difference';
import { elideEnd } from '../model/format';
import { drawnCandidates } from '../model/previewDeployed';
import { findFrame, latestStep, pictureFileName, positions, REFERENCE, stepTitle, videoFrames } from '../model/previewPlace';
import type { Place } from '../model/previewPlace';
import { createPictures } from './pictures';
import type { PictureView, Shown } from './pictures';
import { createPlayer, createScrubber } from './scrubber';

/** Kept over reloads by the view. */
export interface StageSettings {
  item: number;
  /** Among those drawn. */
  candidate: number;
  step: number | 'finished' | 'latest';
  frame: number;
  show: PictureView;
  /** What a candidate as deployed is held against under the wipe and in the difference; any other is held against full precision. */
  against: 'full' | 'fake';
  zoom: string;
  scale: string;
  wipe: number;
}
export const STAGE_DEFAULTS: StageSettings = { item: 0, candidate: 0, step: 'latest', frame: 0, show: 'side', against: 'full', zoom: 'fit', scale: 'auto', wipe: 50 };

const VIEWS: { id: PictureView; title: string }[] = [{ id: 'side', title: 'Side by Side' }, { id: 'wipe', title: 'Wipe' }, { id: 'difference', title: 'Difference' }];
const AGAINST = [{ id: 'full', title: 'Against: full precision' }, { id: 'fake', title: 'Against: fake quantization' }];
const ZOOMS = [{ id: 'fit', title: 'Fit' }, ...[1, 2, 4, 8, 16, 32].map((factor) => ({ id: String(factor), title: `${factor} ×` }))];
const SCALE_CHOICES = [{ id: 'auto', title: 'Scale: automatic' }, ...SCALES.map((end) => ({ id: String(end), title: `Scale: 0 to ${end}` }))];

export interface StageEvents {
  /** The user moved: remember it and show it. */
  onChange: (change: Partial<StageSettings>) => void;
  /** The same where the stage shows it already. */
  onRemember: (change: Partial<StageSettings>) => void;
  onSave: (pictures: PictureFile[]) => void;
}

export interface Stage {
  element: HTMLElement;
  show(state: PreviewState, settings: StageSettings): void;
  /** The step in view; null for the finished sample. */
  step(): number | null;
}

export function createStage(events: StageEvents): Stage {
  const pictures = createPictures({ onWipe: (wipe) => events.onRemember({ wipe }) });
  const choices = h('div', { class: 'toolbar' });
  const title = h('p', { class: 'item-title' });
  const dropdowns = new Map<string, { key: string; element: ReturnType<typeof dropdown> }>();
  const stepRange = createScrubber('Step', (index) => events.onChange({ step: stops[index] ?? 'finished' }));
  const player = createPlayer((frame) => {
    events.onRemember({ frame });
    if (last !== undefined) {
      show(last.state, { ...last.settings, frame });
    }
  });
  const save = button('Save Picture…', () => events.onSave(files()));
  const element = h('section', { class: 'stage', 'aria-label': 'Pictures' }, choices, title, pictures.element, stepRange.element, player.element, h('div', { class: 'toolbar' }, save));
  let last: { state: PreviewState; settings: StageSettings } | undefined;
  let at: Place = { item: 0, step: null, frame: 0 };
  let stops: (number | null)[] = [];
  let shown: { config: string; pictures: (Shown & { what: string })[] } = { config: '', pictures: [] };

  /** What is in view, the heat map too where there is one. */
  function files(): PictureFile[] {
    const named = (what: string): string => pictureFileName(shown.config, what, at, !player.element.hidden);
    const list = shown.pictures.flatMap(({ label, frame, what }) => (frame === undefined ? [] : [{ title: label, png: frame.png, fileName: named(what) }]));
    const heatMap = pictures.differencePng();
    return heatMap === undefined ? list : [...list, { title: 'Difference', png: heatMap, fileName: named('difference') }];
  }

  /** It is made anew only when its options change, so that it keeps the focus; without a choice it goes away. */
  function choose(id: string, label: string, options: readonly { id: string; title: string }[], selected: string, onChoice: (id: string) => void): void {
    const key = JSON.stringify(options);
    const present = dropdowns.get(id);
    if (present?.key === key) {
      present.element.value = selected;
      return;
    }
    const made = dropdown(label, options, selected, onChoice);
    made.hidden = options.length === 0;
    if (present === undefined) {
      choices.append(made);
    } else {
      present.element.replaceWith(made);
    }
    dropdowns.set(id, { key, element: made });
  }

  function show(state: PreviewState, settings: StageSettings): void {
    const { frames, items, candidates, result, phase } = state;
    const drawn = drawnCandidates(state);
    const chosen = Math.min(settings.candidate, drawn.length - 1);
    last = { state, settings };
    at = place(state, settings, drawn[chosen]?.index ?? 0);
    title.textContent = items[at.item] ?? '';
    title.title = title.textContent;
    const reference: Shown = { label: 'Full precision', frame: findFrame(frames, REFERENCE, at) };
    const others = drawn.map(({ label, index, source, deployed }) =>
      ({ label, frame: findFrame(frames, index, at), what: `${deployed ? 'deployed' : 'quantized'}${candidates.length > 1 ? source + 1 : ''}` }));
    const several = drawn.length > 1 && settings.show !== 'side';
    const deployable = several && drawn[chosen]?.deployed === true;
    // The one before a candidate as deployed is the same with fake quantization.
    const fake = deployable && settings.against === 'fake' ? others[chosen - 1] : undefined;
    choose('item', 'Item', items.length > 1 ? items.map((item, index) => ({ id: String(index), title: elideEnd(item, 48) })) : [], String(at.item), (id) => events.onChange({ item: Number(id) }));
    choose('view', 'View', VIEWS, settings.show, (id) => events.onChange({ show: id as PictureView }));
    choose('candidate', 'Candidate', several ? others.map(({ label }, index) => ({ id: String(index), title: label })) : [], String(chosen), (id) => events.onChange({ candidate: Number(id) }));
    choose('against', 'Compared with', deployable ? AGAINST : [], settings.against, (id) => events.onChange({ against: id as StageSettings['against'] }));
    choose('zoom', 'Zoom', ZOOMS, settings.zoom, (zoom) => events.onChange({ zoom }));
    choose('scale', 'Difference scale', settings.show === 'difference' ? SCALE_CHOICES : [], settings.scale, (scale) => events.onChange({ scale }));
    pictures.show({
      view: settings.show, reference, candidates: others, chosen, against: { ...fake ?? reference, name: fake === undefined ? 'full precision' : 'fake quantization' }, zoom: settings.zoom === 'fit' ? 'fit' : Number(settings.zoom), scale: settings.scale,
      wipe: settings.wipe, running: phase === 'running',
    });
    stops = positions(frames, at.item);
    const timestep = result?.candidates[0]?.perStep.find(({ step }) => step === at.step)?.timestep;
    stepRange.show(stops.length, stops.indexOf(at.step), stepTitle(at.step, result?.settings.steps, timestep));
    const count = videoFrames(frames, at.item);
    player.show(count, at.frame, `frame ${at.frame + 1} of ${count}`);

    shown = { config: decodeURIComponent(candidates[0]?.uri ?? '').replace(/^.*\//, ''), pictures: [{ ...reference, what: 'reference' }, ...others] };
    save.disabled = shown.pictures.every(({ frame }) => frame === undefined);
  }

  return { element, show, step: () => at.step };
}

/** What the user chose, brought into what there is. */
function place({ frames, items }: PreviewState, settings: StageSettings, candidate: number): Place {
  const item = Math.max(0, Math.min(settings.item, items.length - 1));
  const wanted = settings.step === 'finished' ? null : settings.step;
  const step = wanted !== 'latest' && positions(frames, item).includes(wanted) ? wanted : latestStep(frames, item, candidate);
  return { item, step, frame: Math.min(settings.frame, videoFrames(frames, item) - 1) };
}
