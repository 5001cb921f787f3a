/** A slider over a few places, and one over the frames of a video that also plays them. */
import { button } from '../controls';
import { h } from '../dom';

export interface Scrubber {
  element: HTMLElement;
  /** Goes away where there is nothing to choose. */
  show(count: number, index: number, text: string): void;
}

export function createScrubber(label: string, onMove: (index: number) => void): Scrubber {
  const range = h('input', { type: 'range', min: 0, step: 1, 'aria-label': label });
  const output = h('output', { class: 'muted', 'aria-live': 'off' });
  const element = h('label', { class: 'scrubber' }, h('span', {}, label), range, output);
  range.addEventListener('input', () => onMove(Number(range.value)));
  return {
    element,
    show: (count, index, text) => {
      element.hidden = count < 2;
      range.max = String(Math.max(0, count - 1));
      range.value = String(index);
      range.setAttribute('aria-valuetext', text);
      output.textContent = text;
    },
  };
}

/** Frames a second. A video model's own rate would be too fast to compare by eye. */
const RATE = 8;
/** For those who want less motion: slowly, and once. */
const CALM_RATE = 2;

/** Nothing moves before Play is pressed; moving the slider by hand pauses, Space on it plays and pauses. */
export function createPlayer(onMove: (frame: number) => void): Scrubber {
  let timer: ReturnType<typeof setInterval> | undefined;
  let [count, at] = [0, 0];
  const scrubber = createScrubber('Frame', (frame) => {
    pause();
    onMove(frame);
  });
  const toggle = button('Play', () => (timer === undefined ? play() : pause()));
  const element = h('div', { class: 'player' }, scrubber.element, toggle);
  scrubber.element.addEventListener('keydown', (event) => {
    if (event.key === ' ') {
      event.preventDefault();
      toggle.click();
    }
  });

  function play(): void {
    const calm = matchMedia('(prefers-reduced-motion: reduce)').matches || document.body.classList.contains('vscode-reduce-motion');
    const last = count - 1;
    timer = setInterval(() => {
      onMove(at >= last ? 0 : at + 1);
      if (calm && at >= last) {
        pause();
      }
    }, 1000 / (calm ? CALM_RATE : RATE));
    toggle.textContent = 'Pause';
    if (at >= last) {
      onMove(0);
    }
  }

  function pause(): void {
    clearInterval(timer);
    timer = undefined;
    toggle.textContent = 'Play';
  }

  return {
    element,
    show: (frames, frame, text) => {
      if (frames !== count && timer !== undefined) {
        pause();
      }
      [count, at] = [frames, frame];
      element.hidden = frames < 2;
      scrubber.show(frames, frame, text);
    },
  };
}
