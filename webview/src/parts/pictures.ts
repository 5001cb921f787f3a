/** The pictures: side by side, under a wipe, or as a heat map of their difference. Small pictures are enlarged in whole pixels. */
import type { PreviewFrame } from '../../../server/src/protocol';
import { progressRing } from '../controls';
import { h, notice } from '../dom';
import { difference, paint, rampGradient, scaleEnd } from '../model/difference';
import type { Difference, Pixels } from '../model/difference';
import { formatNumber } from '../model/format';

export type PictureView = 'side' | 'wipe' | 'difference';

export interface Shown { label: string; frame: PreviewFrame | undefined }
export interface PicturesData {
  view: PictureView;
  reference: Shown;
  /** What `chosen` is held against under the wipe and in the difference, with its name inside a sentence. */
  against: Shown & { name: string };
  /** All of them side by side; `chosen` under the wipe and in the difference. */
  candidates: readonly Shown[];
  chosen: number;
  /** 'fit', or screen pixels for each pixel of the picture. */
  zoom: 'fit' | number;
  /** 'auto' or the end of the heat map's scale. */
  scale: string;
  /** Percent of the width, from the left, that shows what `chosen` is held against. */
  wipe: number;
  /** Missing pictures may still come. */
  running: boolean;
}

/** Below this many pixels a side, smoothing would hide what there is to see. */
const SMALL = 256;

export function createPictures(events: { onWipe: (percent: number) => void }): { element: HTMLElement; show(data: PicturesData): void; differencePng(): string | undefined } {
  const element = h('div', { class: 'pictures' });
  const range = h('input', { type: 'range', min: 0, max: 100, step: 1, class: 'wipe-range' });
  const canvas = h('canvas', { role: 'img', class: 'sized' });
  const legend = h('div', {});
  const about = h('p', { class: 'muted' });
  let moveWipe: (percent: number) => void = () => undefined;
  let drawn = 0;
  /** All that is drawn but the pictures themselves: while it stays, they are exchanged in place, so that a video neither flickers nor breaks a drag. */
  let layout = '';
  let painted: Difference | undefined;
  range.addEventListener('input', () => moveWipe(Number(range.value)));

  function show(data: PicturesData): void {
    const ticket = ++drawn;
    painted = undefined;
    element.style.setProperty('--columns', String(data.view === 'side' ? data.candidates.length + 1 : 1));
    const candidate = data.candidates[data.chosen] ?? { label: 'Quantized', frame: undefined };
    const shown = data.view === 'side' ? [data.reference, ...data.candidates] : [data.against, candidate];
    const size = shown.find(({ frame }) => frame !== undefined)?.frame ?? { width: 1, height: 1 };
    element.style.setProperty('--ratio', String(size.width / size.height));
    const next = JSON.stringify([data.view, data.zoom, data.running, shown.map(({ label, frame }) => [label, frame?.width, frame?.height])]);
    const place = (...children: HTMLElement[]): void => {
      layout = next;
      element.replaceChildren(...children);
    };
    const { frame: reference } = data.against;
    const { frame, label } = candidate;
    if (data.view === 'difference' && reference !== undefined && frame !== undefined) {
      void showDifference(data, reference, label, frame, () => ticket === drawn, (make) => {
        if (next !== layout) {
          place(make());
        }
      });
    } else if (next === layout) {
      const frames = shown.flatMap(({ frame: each }) => each ?? []);
      element.querySelectorAll('img').forEach((image, index) => {
        image.src = source(frames[index] ?? { png: '' });
      });
    } else if (data.view === 'side') {
      place(...shown.map((each) => figure(each, data)));
    } else if (reference === undefined || frame === undefined) {
      place(figure(reference === undefined ? data.against : candidate, data));
    } else {
      place(wipe(data, reference, label, frame));
    }
  }

  function wipe(data: PicturesData, reference: PreviewFrame, label: string, frame: PreviewFrame): HTMLElement {
    const top = picture(frame, `${label}, right of the divider`);
    const divider = h('div', { class: 'wipe-divider', 'aria-hidden': 'true' });
    const box = h('div', { class: 'sized wipe' }, picture(reference, `${data.against.label}, left of the divider`), top, divider);
    range.setAttribute('aria-label', `Wipe: width that shows ${data.against.name}, percent`);
    moveWipe = (percent) => {
      box.style.setProperty('--wipe', `${percent}%`);
      range.value = String(percent);
      range.setAttribute('aria-valuetext', `${percent} % ${data.against.name}, ${100 - percent} % ${label}`);
      events.onWipe(percent);
    };
    moveWipe(data.wipe);
    const follow = (event: PointerEvent): void => {
      const { left, width } = box.getBoundingClientRect();
      moveWipe(Math.round(Math.min(100, Math.max(0, (100 * (event.clientX - left)) / width))));
    };
    box.addEventListener('pointerdown', (event) => {
      event.preventDefault();
      box.setPointerCapture(event.pointerId);
      range.focus();
      follow(event);
    });
    box.addEventListener('pointermove', (event) => {
      if (box.hasPointerCapture(event.pointerId)) {
        follow(event);
      }
    });
    return h('figure', { class: 'picture' }, scroller(reference, data.zoom, h('figcaption', { class: 'wipe-labels' }, h('span', {}, data.against.label), h('span', {}, label)), box, range));
  }

  async function showDifference(data: PicturesData, reference: PreviewFrame, label: string, frame: PreviewFrame, current: () => boolean, place: (make: () => HTMLElement) => void): Promise<void> {
    try {
      const [a, b] = await Promise.all([decode(reference), decode(frame)]);
      if (!current()) {
        return;
      }
      const found = difference(a, b);
      const end = scaleEnd(data.scale, found.largest);
      canvas.width = found.width;
      canvas.height = found.height;
      canvas.getContext('2d')?.putImageData(new ImageData(paint(found, end), found.width, found.height), 0, 0);
      canvas.setAttribute('data-largest', String(found.largest));
      canvas.setAttribute('aria-label', `Difference between ${data.against.name} and ${label}: largest ${found.largest}, mean ${formatNumber(found.mean)} of 255 levels`);
      painted = found;
      about.textContent = `Largest of |Δ red|, |Δ green|, |Δ blue| in each pixel. Largest ${found.largest}, mean ${formatNumber(found.mean)} of 255 levels.`;
      legend.replaceChildren(ramp(end));
      place(() => h('figure', { class: 'picture' }, h('figcaption', {}, `Difference: ${label} against ${data.against.name}`), scroller(reference, data.zoom, canvas), legend, about));
    } catch (error) {
      if (current()) {
        layout = '';
        element.replaceChildren(notice('error', error instanceof Error ? error.message : String(error)));
      }
    }
  }

  return { element, show, differencePng: () => (painted === undefined ? undefined : canvas.toDataURL('image/png').replace(/^.*,/, '')) };
}

function figure({ label, frame }: Shown, { zoom, running }: PicturesData): HTMLElement {
  const body = frame !== undefined ? scroller(frame, zoom, picture(frame, label))
    : h('div', { class: 'no-picture muted' }, ...(running ? [progressRing(`Waiting for ${label}`), 'Not here yet'] : ['No picture']));
  return h('figure', { class: 'picture' }, h('figcaption', { title: label }, label), body);
}

function picture(frame: PreviewFrame, label: string): HTMLImageElement {
  const image = h('img', { class: 'sized', alt: `${label}, ${frame.width} × ${frame.height} pixels`, draggable: 'false' });
  image.src = source(frame);
  return image;
}

function source({ png }: Pick<PreviewFrame, 'png'>): string {
  return `data:image/png;base64,${png}`;
}

/** Gives its content the picture's size: fitted into the panel, or so many screen pixels for each pixel. Whole pixels where they are large enough to be seen. */
function scroller({ width, height }: PreviewFrame, zoom: 'fit' | number, ...content: HTMLElement[]): HTMLElement {
  const pixelated = zoom === 'fit' ? Math.max(width, height) < SMALL : zoom > 1;
  const element = h('div', { class: `scroller ${zoom === 'fit' ? 'fit' : 'zoomed'}${pixelated ? ' pixelated' : ''}` }, ...content);
  element.style.setProperty('--ratio', String(width / height));
  element.style.setProperty('--width', `${width * (zoom === 'fit' ? 1 : zoom)}px`);
  return element;
}

async function decode(frame: PreviewFrame): Promise<Pixels> {
  const image = new Image();
  image.src = source(frame);
  try {
    await image.decode();
  } catch {
    throw new Error('A picture could not be decoded. Run the preview again; if it stays so, see the QuantScope log.');
  }
  const canvas = h('canvas', { width: image.naturalWidth, height: image.naturalHeight });
  const context = canvas.getContext('2d', { willReadFrequently: true });
  if (context === null) {
    throw new Error('The difference needs a 2D canvas, and this window has none left. Close other pictures.');
  }
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

function ramp(end: number): HTMLElement {
  const bar = h('div', { class: 'ramp' });
  bar.style.background = rampGradient();
  return h('div', { class: 'ramp-legend', role: 'img', 'aria-label': `Colour scale from 0, dark, to ${end} levels, bright` },
    bar, h('div', { class: 'ramp-ticks' }, ...[0, end / 4, end / 2, (3 * end) / 4, end].map((level) => h('span', {}, String(Math.round(level))))));
}
