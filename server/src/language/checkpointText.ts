/** A checkpoint as readable text: what "go to definition" opens. One line per layer, in model order, grouped by block; then the other tensors. */
import { URI } from 'vscode-uri';
import { escaped, grouped } from '../checkpoint/errors';
import { formatBytes } from '../config/resolve';
import type { Checkpoint, Layer } from '../protocol';
import { layerCount, paramsOf, separator } from './text';

export const checkpointScheme = 'quantscope-checkpoint';

/** The path travels whole in the query; the URI's own path is the name that an editor tab shows. */
export function listingUri(path: string): string {
  const wellFormed = path.replace(/\p{Cs}/gu, '\uFFFD');
  const name = wellFormed.split(/[\\/]/).filter(Boolean).at(-1) ?? 'checkpoint';
  return URI.from({ scheme: checkpointScheme, path: `/${name}.layers`, query: wellFormed }).toString();
}

/** Inverse of listingUri. @throws Error when the URI is no listing's. */
export function listingPath(uri: string): string {
  const { scheme, query } = URI.parse(uri);
  if (scheme !== checkpointScheme || query === '') {
    throw new Error(`${uri} does not name a checkpoint listing.`);
  }
  return query;
}

export interface Listing {
  text: string;
  /** 0-based line of a layer by its name; the name starts at column `nameColumn`. */
  layerLines: ReadonlyMap<string, number>;
  /** The same for tensors, by their full names; a layer's weight is on the layer's line. */
  tensorLines: ReadonlyMap<string, number>;
}

export const nameColumn = 2;

const listings = new WeakMap<Checkpoint, Listing>();

export function checkpointListing(checkpoint: Checkpoint): Listing {
  let listing = listings.get(checkpoint);
  if (!listing) {
    listing = write(checkpoint);
    listings.set(checkpoint, listing);
  }
  return listing;
}

function write(checkpoint: Checkpoint): Listing {
  const { layers, tensors } = checkpoint;
  const lines = header(checkpoint);
  const layerLines = new Map<string, number>();
  const tensorLines = new Map<string, number>();
  const row = columns(layers.map(layerCells));
  let block: string | null | undefined;
  layers.forEach((layer, index) => {
    if (layer.block !== block) {
      block = layer.block;
      lines.push('', block === null ? 'outside of blocks' : escaped(block));
    }
    layerLines.set(layer.name, lines.length);
    tensorLines.set(layer.tensor.name, lines.length);
    lines.push(row(index));
  });
  const others = tensors.filter((tensor) => !tensorLines.has(tensor.name));
  const otherRow = columns(others.map(({ name, shape, dtype, bytes }) => [escaped(name), shape.join(' × ') || 'scalar', dtype, formatBytes(bytes)]));
  lines.push('', `other tensors (${grouped(others.length)})`);
  others.forEach((tensor, index) => {
    tensorLines.set(tensor.name, lines.length);
    lines.push(otherRow(index));
  });
  return { text: `${lines.join('\n')}\n`, layerLines, tensorLines };
}

function header({ path, kind, architecture, layers, tensors, problems }: Checkpoint): string[] {
  const bytes = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
  return [
    `${architecture}${separator}${layerCount(layers.length)}${separator}${grouped(tensors.length)} tensors${separator}${formatBytes(bytes)}`,
    `${kind} ${escaped(path)}`,
    `${grouped(paramsOf(layers))} weights in linear layers; columns: name, role, out × in, dtype, weights`,
    ...problems.map((problem) => `${problem.severity} ${problem.code}: ${problem.message}`),
  ];
}

function layerCells({ name, role, outFeatures, inFeatures, tensor, params }: Layer): string[] {
  return [escaped(name), role, `${outFeatures} × ${inFeatures}`, tensor.dtype, grouped(params)];
}

/** Aligned rows: the first two columns and the dtype to the left, sizes to the right. A very long name moves only its own row. */
function columns(rows: readonly (readonly string[])[]): (index: number) => string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, column) => { widths[column] = Math.max(widths[column] ?? 0, cell.length); });
  }
  return (index) => {
    const row = rows[index] ?? [];
    const cells = row.map((cell, column) => (/^[\d,.]+( |$)/.test(cell) ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0)));
    return `${' '.repeat(nameColumn)}${cells.join('  ').trimEnd()}`;
  };
}
