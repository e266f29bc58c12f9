"""The look of the page: two palettes, told apart in both and by who sees no red or green."""

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fbfbfa; --card: #ffffff; --ink: #1d2129; --soft: #5d6673; --rule: #dfe2e7;
  --s0: #0b67b2; --s1: #e08a00; --s2: #00876a; --s3: #a05195; --level: #1d2129;
  --error: #b3261e; --warning: #8a5a00; --info: #35618e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171c; --card: #1c2027; --ink: #e6e9ee; --soft: #9aa4b2; --rule: #343b46;
    --s0: #5aa9ec; --s1: #f0ad4a; --s2: #3fc29c; --s3: #d08fc6; --level: #e6e9ee;
    --error: #ff8a80; --warning: #ffc766; --info: #8fbbe8;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 76rem; padding: 2rem 1.25rem 4rem; background: var(--paper);
  color: var(--ink); font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
h1 { font-size: 1.6rem; margin: 0; }
h2 { font-size: 1.1rem; margin: 2.25rem 0 .6rem; }
p { margin: .3rem 0; }
.soft { color: var(--soft); }
.cards { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.25rem 0; padding: 0; }
.cards > div {
  flex: 1 1 9rem; background: var(--card); border: 1px solid var(--rule); border-radius: 10px;
  padding: .7rem .9rem;
}
.cards b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.panel {
  background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 1rem;
  overflow-x: auto;
}
.panel + .panel { margin-top: 1rem; }
.two .panel + .panel { margin-top: 0; }
.two { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td {
  padding: .32rem .3rem; border-bottom: 1px solid var(--rule); text-align: left;
  vertical-align: top;
}
th { color: var(--soft); font-weight: 600; white-space: nowrap; }
td.n, th.n { text-align: right; white-space: nowrap; }
tr:last-child td { border-bottom: 0; }
code { font: .92em ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
ul.findings { list-style: none; margin: 0; padding: 0; display: grid; gap: .55rem; }
ul.findings li {
  background: var(--card); border: 1px solid var(--rule); border-left: 4px solid var(--tone);
  border-radius: 6px; padding: .55rem .8rem;
}
.error { --tone: var(--error); } .warning { --tone: var(--warning); } .info { --tone: var(--info); }
.badge { color: var(--tone); font-weight: 700; margin-right: .5rem; }
.key { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; font-size: .87rem; margin: .5rem 0 0; }
.key i {
  display: inline-block; width: .8rem; height: .8rem; border-radius: 3px; margin-right: .4rem;
  vertical-align: -.08rem;
}
.key i.line { height: 0; border-top: 2px dashed var(--level); border-radius: 0; width: 1.2rem;
  vertical-align: .25rem; }
.key i.mark { width: 0; border-left: 3px solid var(--level); border-radius: 0; }
svg { display: block; width: 100%; max-width: 56rem; height: auto; margin: 0 auto; }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif; }
svg .grid { stroke: var(--rule); stroke-width: 1; }
svg .band { fill: var(--s0); opacity: .16; }
svg .level { stroke: var(--level); stroke-width: 1.5; stroke-dasharray: 6 4; }
svg .curve { fill: none; stroke-width: 2.2; }
svg .mark { stroke: var(--level); stroke-width: 2.5; }
svg .curve.s0 { stroke: var(--s0); } svg .curve.s1 { stroke: var(--s1); stroke-dasharray: 2 4; }
svg .dot.s0, svg .bar.s0 { fill: var(--s0); } svg .dot.s1, svg .bar.s1 { fill: var(--s1); }
svg .bar.s2 { fill: var(--s2); } svg .bar.s3 { fill: var(--s3); }
.key .s0 { background: var(--s0); } .key .s1 { background: var(--s1); }
.key .s2 { background: var(--s2); } .key .s3 { background: var(--s3); }
@media print { body { max-width: none; } .panel, .cards > div, li { break-inside: avoid; } }
"""
