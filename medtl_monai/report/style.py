"""The style sheet of a report: dark text on light, one column, readable on a phone and on paper."""

from __future__ import annotations

CSS = """\
:root { color-scheme: light; --ink: #1f2430; --muted: #5b6472; --rule: #d5dae1; --wash: #f4f6f9; --mark: #0072b2; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 66rem; padding: 2rem clamp(1rem, 4vw, 3rem) 3rem; background: #fff; color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { margin: 0 0 1rem; font-size: clamp(1.5rem, 3.5vw, 2.1rem); line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 2.5rem 0 .75rem; padding-bottom: .3rem; border-bottom: 1px solid var(--rule); font-size: 1.3rem;
  line-height: 1.3; overflow-wrap: anywhere; }
p { margin: 0 0 .75rem; max-width: 46rem; overflow-wrap: anywhere; }
.summary { padding: 1rem 1.25rem; border-left: 4px solid var(--mark); background: var(--wash); font-size: 1.08rem; }
.summary p:last-child { margin-bottom: 0; }
nav ol { margin: 1.25rem 0 0; padding: 0; display: flex; flex-wrap: wrap; gap: .35rem 1.5rem;
  list-style-position: inside; }
a { color: #005a8c; }
.wide { margin: 1rem 0 1.5rem; overflow-x: auto; }
.wide:focus-visible { outline: 2px solid var(--mark); outline-offset: 2px; }
table { border-collapse: collapse; font-size: .95rem; min-width: min(100%, 30rem); }
caption { padding-bottom: .5rem; text-align: left; color: var(--muted); }
th, td { padding: .4rem .9rem .4rem .5rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--rule); }
thead th { border-bottom: 2px solid var(--muted); vertical-align: bottom; }
tbody th { font-weight: 500; overflow-wrap: anywhere; }
tbody tr:nth-child(even) { background: var(--wash); }
.num { padding: .4rem .5rem .4rem .9rem; text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
figure { margin: 1.25rem 0 1.75rem; }
img { display: block; max-width: 100%; height: auto; border: 1px solid var(--rule); }
figcaption { margin-top: .5rem; max-width: 46rem; color: var(--muted); font-size: .95rem; }
dl { margin: 0; font-size: .92rem; }
dl div { display: grid; grid-template-columns: minmax(8rem, 14rem) 1fr; gap: 1rem; padding: .3rem 0;
  border-bottom: 1px solid var(--rule); }
dt { color: var(--muted); }
dd { margin: 0; overflow-wrap: anywhere; }
footer { margin-top: 3rem; padding-top: 1rem; border-top: 2px solid var(--ink); font-weight: 600; }
@media (max-width: 36rem) { dl div { grid-template-columns: 1fr; gap: 0; } }
@media print {
  @page { margin: 16mm; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { display: none; }
  .wide { overflow: visible; }
  h2, caption { break-after: avoid; }
  figure, tr, .summary, dl div { break-inside: avoid; }
  thead { display: table-header-group; }
  .summary, tbody tr:nth-child(even) { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
