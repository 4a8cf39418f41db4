"""The report's look: one style sheet for screen (light and dark), phone and paper. Fonts are the reader's own.

Colours of kinds of work are from Okabe & Ito, "Color Universal Design" (2008): told apart by colour-blind eyes, too.
"""

STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1c2127;--soft:#5b6570;--edge:#d7dce1;--panel:#f5f7f9;--link:#0b57a4;
--compute:#0072b2;--uplink:#d55e00;--downlink:#009e73;--wait:#b9c0c7;--server:#8a5ba6;--other:#7a6a00;--mark:#1c2127;
--crit:#c4001a;--good:#00704f}
@media (prefers-color-scheme:dark){:root{--paper:#14181c;--ink:#e6e9ec;--soft:#a0a9b2;--edge:#39424b;--panel:#1d2329;
--link:#7fb8f0;--compute:#56a8e0;--uplink:#ee8540;--downlink:#35c39a;--wait:#4e5862;--server:#bf93dc;--other:#d8c64a;
--mark:#fff;--crit:#ff6b7d;--good:#52d6ae}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1040px;margin:0 auto;padding:20px 16px 48px}
h1{font-size:1.1rem;margin:0;overflow-wrap:anywhere}h2{font-size:1.25rem;margin:2.2em 0 .4em}
h3{font-size:1rem;margin:1.4em 0 .3em}
p{margin:.5em 0;overflow-wrap:anywhere}.sub,.note{color:var(--soft);font-size:.9rem}
.answer{border-left:5px solid var(--crit);background:var(--panel);padding:12px 16px;margin:14px 0;border-radius:0 6px 6px 0}
.answer dl{margin:0;display:grid;grid-template-columns:max-content 1fr;gap:8px 16px}
.answer dt{color:var(--soft);padding-top:.15em}.answer dd{margin:0;font-size:1.08rem;overflow-wrap:anywhere}
.answer .cure{color:var(--good)}.answer strong{font-weight:650}
.warn{border:1px solid var(--crit);padding:8px 12px;border-radius:6px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(122px,1fr));gap:10px;margin:14px 0;padding:0}
.cards div{background:var(--panel);border-radius:6px;padding:8px 12px}
.cards b{display:block;font-size:1.15rem;font-weight:650}.cards span{color:var(--soft);font-size:.85rem}
nav{font-size:.9rem;display:flex;flex-wrap:wrap;gap:4px 14px}a{color:var(--link)}
.pair{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,420px),1fr));gap:12px 24px;align-items:start}
.pair>*{min-width:0}
.figure svg{width:100%;height:auto;display:block}.figure.wide{overflow-x:auto}.figure.wide svg{min-width:680px}
.scroll{overflow-x:auto;max-height:560px;overflow-y:auto;border:1px solid var(--edge);border-radius:6px;margin:.5em 0}
table{border-collapse:collapse;font-size:.88rem;width:100%}
th,td{padding:4px 8px;text-align:left;white-space:nowrap;border-bottom:1px solid var(--edge)}
th{position:sticky;top:0;background:var(--panel);font-weight:600}.n{text-align:right;font-variant-numeric:tabular-nums}
.pair table{font-size:.82rem}.pair td:first-child{white-space:normal;min-width:7em}
tr:last-child td{border-bottom:0}
details{margin:.8em 0}summary{cursor:pointer;color:var(--link)}
pre{overflow:auto;max-height:560px;background:var(--panel);padding:12px;border-radius:6px;font-size:.8rem}
.legend{display:flex;flex-wrap:wrap;gap:2px 16px;font-size:.85rem;margin:.2em 0}
.legend span{white-space:nowrap}
.legend i{display:inline-block;width:12px;height:12px;margin-right:6px;border-radius:2px;vertical-align:-1px}
svg text{font:12px system-ui,sans-serif;fill:var(--ink)}svg .axis{fill:var(--soft)}svg .small{font-size:11px}
svg .grid{stroke:var(--edge);stroke-width:1}svg .line{fill:none;stroke-width:2;stroke-linejoin:round}
svg .dashed{stroke:var(--soft);stroke-dasharray:4 4;stroke-width:1}
svg .waits{stroke:var(--wait);stroke-width:3}svg .work{stroke-width:11}svg .critical{stroke:var(--crit);stroke-width:3}
svg .whisker{stroke:var(--soft);stroke-width:2}svg .box{stroke:var(--compute);stroke-width:10}
svg .c-mark{fill:var(--mark);stroke:var(--paper);stroke-width:1.5}svg .dot{fill-opacity:.65}
""" + "".join(
    f".{css}{{fill:var(--{name});background:var(--{name})}}svg .line.{css},svg .work.{css}{{stroke:var(--{name})}}\n"
    for css, name in (
        ("c-compute", "compute"), ("c-uplink", "uplink"), ("c-downlink", "downlink"), ("c-wait", "wait"),
        ("c-server", "server"), ("c-other", "other"), ("c-crit", "crit"),
    )
) + """svg .line{fill:none}
@media (max-width:520px){body{font-size:15px}main{padding:14px 12px 40px}.answer dl{grid-template-columns:1fr;gap:0 0}
.answer dd{margin-bottom:8px}svg text{font-size:13px}.figure.wide svg text{font-size:12px}}
@media print{:root{color-scheme:light;--paper:#fff;--ink:#000;--soft:#444;--edge:#bbb;--panel:#fff;--link:#000;
--compute:#0072b2;--uplink:#d55e00;--downlink:#009e73;--wait:#b9c0c7;--server:#8a5ba6;--other:#7a6a00;--mark:#000;--crit:#c4001a;--good:#00543b}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}body{font-size:10pt}main{max-width:none;padding:0}nav{display:none}
.scroll,pre{max-height:none;overflow:visible;border:0}.figure,.cards,.answer,tr{break-inside:avoid}h2,h3{break-after:avoid}
th{position:static}.figure.wide svg{min-width:0}table{font-size:7.5pt}th,td{padding:2px 5px}pre{white-space:pre-wrap}}
"""  # fmt: skip
