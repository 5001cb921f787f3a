/** The checkpoint editor: what the file says about itself, its tensors, and one tensor's values on demand. */
import './checkpoint.css';
import type { TensorInfo, TensorStats } from '../../../server/src/protocol';
import { createHistogram } from '../charts/histogram';
import { button, progressRing, searchField, toggle } from '../controls';
import { announcer, facts, h, notice } from '../dom';
import { createGrid } from '../parts/grid';
import type { CheckpointState } from '../messages';
import { formatBytes, formatCount, formatInteger, formatNumber, formatShape } from '../model/format';
import { countDtypes, elements, filterTensors, sortTensors } from '../model/tensorTable';
import type { Order, TensorColumn } from '../model/tensorTable';
import { root, saveState, savedState, transport } from '../page';
import { connect } from '../rpc';

const view = savedState({ query: '', column: 'offset' as TensorColumn, descending: false, tensor: null as string | null, logarithmic: false });
let state: CheckpointState | undefined;
let reading: AbortController | undefined;

const rpc = connect<'checkpoint'>(transport, () => {
  header.append(notice('info', 'The file changed on disk.'));
  void load();
});

const voice = announcer();
const header = h('header', { class: 'header' });
const count = h('span', { class: 'muted count' });
const filter = searchField('Filter tensors', 'Filter by name, dtype or shape: attn -bias BF16', view.query, (query) => {
  remember({ query });
  showRows();
});
const grid = createGrid<TensorInfo>({
  label: 'Tensors',
  columns: [
    { id: 'name', title: 'Name', width: 220, tail: true, text: ({ name }) => name },
    { id: 'dtype', title: 'Type', width: 72, text: ({ dtype }) => dtype },
    { id: 'shape', title: 'Shape', width: 112, numeric: true, text: ({ shape }) => formatShape(shape), hint: 'Outermost dimension first. Sorts by the number of values.' },
    { id: 'bytes', title: 'Size', width: 72, numeric: true, text: ({ bytes }) => formatBytes(bytes) },
    { id: 'offset', title: 'Offset', width: 96, numeric: true, text: ({ offset }) => formatInteger(offset), hint: 'First byte of the data from the start of the file.' },
  ],
  key: ({ name }) => name,
  onOpen: (tensor) => void showTensor(tensor),
  onSort: ({ column, descending }) => {
    remember({ column: column as TensorColumn, descending });
    showRows();
  },
  onLeave: () => filter.focus(),
});
const side = h('aside', { class: 'side', 'aria-label': 'Tensor statistics' });
const histogram = createHistogram();

const toolbar = h('div', { class: 'toolbar' }, filter, count);
const split = h('div', { class: 'split' }, grid.element, side);

root().append(header, toolbar, split, voice.element);
showTensors(false);
header.append(progressRing('Reading the header'));
showHint();
void load();

function remember(change: Partial<typeof view>): void {
  Object.assign(view, change);
  saveState(view);
}

async function load(): Promise<void> {
  try {
    state = await rpc.request('load', null);
    showTensors(true);
    showHeader(state);
    showRows();
    const last = state.checkpoint.tensors.find(({ name }) => name === view.tensor);
    if (last !== undefined) {
      grid.select(last.name);
      await showTensor(last);
    }
  } catch (error) {
    showTensors(false);
    header.replaceChildren(notice('error', message(error)), button('Try Again', () => void load()));
  }
}

/** Without an index there is nothing to filter or to select. */
function showTensors(shown: boolean): void {
  toolbar.hidden = !shown;
  split.hidden = !shown;
}

function showHeader({ checkpoint, fileName, fileBytes }: CheckpointState): void {
  const { tensors, layers, metadata, problems, architecture } = checkpoint;
  const values = tensors.reduce((sum, tensor) => sum + elements(tensor), 0);
  const dtypes = countDtypes(tensors).map(([dtype, number]) => `${dtype} ${formatInteger(number)}`).join(' · ');
  const known = architecture === 'unknown' ? 'architecture not recognised' : architecture;
  const pairs = Object.entries(metadata);
  header.replaceChildren(
    h('div', { class: 'title' }, h('h1', {}, fileName), button('New Quantization Config', () => void rpc.request('newConfig', null))),
    h('p', { class: 'summary' }, ...separated([
      known, `${formatInteger(tensors.length)} tensors`, `${formatInteger(layers.length)} linear layers`, `${formatCount(values)} values`, formatBytes(fileBytes), dtypes,
    ])),
    ...problems.map(({ severity, message: text, code }) => notice(severity, text, code)),
    pairs.length === 0 ? '' : h('details', { class: 'metadata' }, h('summary', {}, `Metadata (${pairs.length})`), facts(pairs.map(([key, value]) => [key, value]))),
  );
}

function separated(parts: readonly string[]): Node[] {
  return parts.filter((part) => part !== '').map((part) => h('span', { class: 'fact' }, part));
}

function showRows(): void {
  if (state === undefined) {
    return;
  }
  const { tensors } = state.checkpoint;
  const found = filterTensors(tensors, view.query);
  const order: Order<TensorColumn> = { column: view.column, descending: view.descending };
  grid.show(sortTensors(found, order), order);
  const bytes = found.reduce((sum, tensor) => sum + tensor.bytes, 0);
  count.textContent = found.length === tensors.length
    ? `${formatInteger(tensors.length)} tensors`
    : `${formatInteger(found.length)} of ${formatInteger(tensors.length)} tensors · ${formatBytes(bytes)}`;
  voice.say(count.textContent);
}

function showHint(): void {
  side.replaceChildren(h('p', { class: 'muted hint' }, 'Select a tensor and press Enter to see its values.'));
}

async function showTensor(tensor: TensorInfo): Promise<void> {
  reading?.abort();
  reading = new AbortController();
  const { signal } = reading;
  remember({ tensor: tensor.name });
  const title = h('h2', { class: 'tensor-name' }, tensor.name);
  const about = h('p', { class: 'muted' }, `${tensor.dtype} · ${formatShape(tensor.shape)} · ${formatBytes(tensor.bytes)}`);
  const layer = state?.checkpoint.layers.find((each) => each.tensor.name === tensor.name)?.name;
  const head = [title, about, ...(layer === undefined ? [] : [button('Explain This Layer', () => void rpc.request('explain', { layer }))])];
  side.replaceChildren(...head, h('div', { class: 'waiting' }, progressRing('Reading the values'), `Reading ${formatCount(elements(tensor))} values…`));
  try {
    const stats = await rpc.request('tensorStats', { tensor: tensor.name }, { signal });
    side.replaceChildren(...head, ...statistics(stats));
    drawHistogram(stats);
    voice.say(`${tensor.name}: ${formatInteger(stats.count)} values from ${formatNumber(stats.min)} to ${formatNumber(stats.max)}.`);
  } catch (error) {
    if (!signal.aborted) {
      side.replaceChildren(...head, notice('error', message(error)), button('Try Again', () => void showTensor(tensor)));
    }
  }
}

function statistics(stats: TensorStats): Node[] {
  const broken = stats.nan + stats.inf;
  return [
    ...(broken === 0 ? [] : [notice('warning', `${formatInteger(stats.nan)} NaN and ${formatInteger(stats.inf)} infinite values. They are left out below.`)]),
    ...(stats.histogram === null ? [h('p', { class: 'muted' }, 'No finite values to draw.')] : [
      histogram.element,
      toggle('Logarithmic Height', view.logarithmic, (logarithmic) => {
        remember({ logarithmic });
        drawHistogram(stats);
      }),
    ]),
    facts([
      ['Values', formatInteger(stats.count)], ['Minimum', formatNumber(stats.min)], ['Maximum', formatNumber(stats.max)], ['Mean', formatNumber(stats.mean)],
      ['Standard deviation', formatNumber(stats.std)], ['Largest magnitude', formatNumber(stats.absMax)],
      ['Excess kurtosis', formatNumber(stats.kurtosis), '0 for a normal distribution; large values mean heavy tails'],
      ['Zeros', formatInteger(stats.zeros)], ['NaN', formatInteger(stats.nan)], ['Infinite', formatInteger(stats.inf)],
    ]),
  ];
}

function drawHistogram(stats: TensorStats): void {
  if (stats.histogram !== null) {
    histogram.draw({
      label: `Histogram of ${stats.name} from ${formatNumber(stats.min)} to ${formatNumber(stats.max)}`,
      series: [{ name: 'count', histogram: stats.histogram, style: 'after' }],
      logarithmic: view.logarithmic,
    });
  }
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
