const light = '--ink: #1f2328; --soft: #59636e; --line: #d1d9e0; --ground: var(--vscode-editor-background, #ffffff); --panel: rgb(128 128 128 / .07); --bar: #8fb8e8; --strong: #0a5cc2; --alarm: #b35900;';
const dark = '--ink: #e6edf3; --soft: #9198a1; --line: #3d444d; --ground: var(--vscode-editor-background, #0d1117); --panel: rgb(128 128 128 / .1); --bar: #25507f; --strong: #79b8ff; --alarm: #e3a04b;';
const highDark = '--ink: #ffffff; --soft: #ffffff; --line: #6fc3df; --ground: #000000; --panel: #000000; --bar: #1b4f72; --strong: #ffffff; --alarm: #ffd37f;';
const highLight = '--ink: #000000; --soft: #000000; --line: #0f4a85; --ground: #ffffff; --panel: #ffffff; --bar: #a9c9ec; --strong: #000000; --alarm: #8a3b00;';

/** In the editor's own viewer the body's class tells the theme, and the ground is that of editors; in a browser the system does. Paper is always light. */
export const style = `
:root { color-scheme: light dark; }
body, body.vscode-light { ${light} }
@media (prefers-color-scheme: dark) { body { ${dark} } }
@media (prefers-contrast: more) { body { ${highLight} } }
@media (prefers-contrast: more) and (prefers-color-scheme: dark) { body { ${highDark} } }
body.vscode-light { color-scheme: light; } body.vscode-dark, body.vscode-high-contrast { color-scheme: dark; } body.vscode-high-contrast-light { color-scheme: light; }
body.vscode-light { ${light} } body.vscode-dark { ${dark} } body.vscode-high-contrast { ${highDark} } body.vscode-high-contrast-light { ${highLight} }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 14px/1.5 system-ui, "Segoe UI", sans-serif; }
main { max-width: 1200px; margin: 0 auto; padding: 32px 24px; }
h1 { font-size: 22px; margin: 0 0 16px; } h1 span { color: var(--soft); font-weight: 400; } h2 { font-size: 16px; margin: 36px 0 4px; } h3 { font-size: 13px; margin: 16px 0 4px; }
p { margin: 4px 0 12px; color: var(--soft); max-width: 90ch; } li { max-width: 100ch; } .note { font-size: 12px; }
.warning { color: var(--ink); border: 1px solid var(--alarm); border-left-width: 6px; padding: 8px 12px; border-radius: 4px; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 12px; margin: 0; }
.facts div { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: 10px 14px; }
dt { color: var(--soft); font-size: 12px; } dd { margin: 0; font-size: 18px; font-weight: 600; } dd small { display: block; font-size: 12px; font-weight: 400; color: var(--soft); }
.scroll { overflow-x: auto; margin-bottom: 12px; } .scroll:focus-visible { outline: 2px solid var(--strong); outline-offset: 2px; } table { border-collapse: collapse; width: 100%; font-size: 12.5px; } caption { text-align: left; font-weight: 600; padding: 8px 0 4px; }
th, td { text-align: left; padding: 3px 10px 3px 0; border-bottom: 1px solid var(--line); white-space: nowrap; vertical-align: top; } th { color: var(--soft); font-weight: 600; } .number { text-align: right; font-variant-numeric: tabular-nums; }
thead th { white-space: normal; vertical-align: bottom; } .long { white-space: normal; overflow-wrap: anywhere; }
code { font: 12px/1.4 ui-monospace, "SF Mono", Consolas, monospace; color: inherit; background: none; padding: 0; }
svg { width: 100%; height: auto; font: 10px system-ui, sans-serif; display: block; } svg.defs { position: absolute; width: 0; height: 0; }
.bar { fill: var(--bar); } .bar.marked { fill: url(#hatch); } .stripe { fill: var(--strong); }
.tick line { stroke: var(--line); } .one { stroke: var(--ink); } .tick text { fill: var(--soft); text-anchor: middle; } .tick text.left { text-anchor: end; } .label { fill: var(--ink); } .value { text-anchor: end; font-variant-numeric: tabular-nums; }
.curves { display: grid; grid-template-columns: repeat(auto-fit, minmax(360px, 1fr)); gap: 24px; margin: 8px 0 16px; } .curve { margin: 0; } .curve figcaption { font-size: 12px; color: var(--soft); }
.line { fill: none; stroke: var(--strong); stroke-width: 1.5; } .mark line { stroke: var(--strong); stroke-width: 3; opacity: .5; } .mark circle { fill: var(--ground); stroke: var(--strong); stroke-width: 1.5; }
.pictures { display: grid; gap: 20px; } .pictures.small { grid-template-columns: repeat(auto-fit, minmax(552px, 1fr)); } .enlarged img { image-rendering: pixelated; } .pictures figure { margin: 0; } .pictures figcaption { font-size: 12px; color: var(--soft); } .pictures b { color: var(--ink); }
.triple { display: flex; gap: 8px; } .triple div { min-width: 0; } .triple img { display: block; max-width: 100%; height: auto; border: 1px solid var(--line); } .triple span { font-size: 11px; color: var(--soft); }
body.vscode-high-contrast .bar:not(.marked), body.vscode-high-contrast-light .bar:not(.marked) { stroke: var(--ink); stroke-width: .5; }
@media (forced-colors: active) { .bar:not(.marked) { fill: CanvasText; } .stripe, .mark circle { fill: Canvas; } .line, .mark line, .mark circle, .one { stroke: CanvasText; } .tick text, .label { fill: CanvasText; } }
@media (max-width: 640px) { .pictures.small, .curves { grid-template-columns: 1fr; } }
@media print {
  html body, html body[class] { ${light} --ground: #ffffff; color-scheme: light; font-size: 11px; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  main { max-width: none; padding: 0; } .facts div, figure, tr, li { break-inside: avoid; } h2 { break-after: avoid; } .scroll { overflow: visible; } table, table code { font-size: 9px; } th, td { padding-right: 6px; white-space: normal; overflow-wrap: anywhere; }
}
`;
