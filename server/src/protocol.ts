/**
 * Every custom message and every data type that crosses a process border. Types only: client and webview import nothing else from the server.
 *
 * Units, once for all: sizes in bytes, positions 0-based in UTF-16 code units (LSP), shapes outermost first, errors relative to the energy of the original,
 * SQNR in dB (higher is better), marginal distances in units of the marginal's standard deviation 1/√d.
 * docs/protocol.md repeats these types for readers; a test holds the two together.
 */
export type * from './protocol/shared';
export type * from './protocol/checkpoint';
export type * from './protocol/plan';
export type * from './protocol/reports';
export type * from './protocol/preview';
export type * from './protocol/capture';
export type * from './protocol/findings';
export type * from './protocol/sensitivity';
export type * from './protocol/firstBad';
export type * from './protocol/allocation';
export type * from './protocol/conversion';
export type * from './protocol/explain';
export type * from './protocol/messages';
