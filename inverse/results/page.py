"""The paper on which a report is printed: one HTML file with its style and pictures inside, no scripts, no requests."""

import base64
import html
from collections.abc import Iterable, Sequence

STYLE = """
:root { --ink: #1a1a1a; --soft: #565656; --line: #d9d9d9; --wash: #f5f6f7; --blue: #00517f; --amber: #8a3c00; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink); line-height: 1.5; font-size: 1rem;
  font-family: system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, "Liberation Sans", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.05rem; font-weight: 600; margin: 0; color: var(--soft); }
h2 { font-size: 1.3rem; margin: 2.75rem 0 .75rem; line-height: 1.25; }
h3 { font-size: 1.05rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
p { margin: .5rem 0; max-width: 46rem; }
a { color: var(--blue); }
code { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; font-size: .875em;
  overflow-wrap: anywhere; }
pre { background: var(--wash); padding: .75rem 1rem; border-radius: .375rem; white-space: pre-wrap; margin: .75rem 0; }
.value { font-size: clamp(2.1rem, 7.5vw, 3.75rem); font-weight: 650; line-height: 1.1; letter-spacing: -.02em;
  margin: .35rem 0 .25rem; font-variant-numeric: tabular-nums; max-width: none; }
.value small { font-size: .55em; font-weight: 500; letter-spacing: 0; }
.value .error { color: var(--soft); font-weight: 500; }
.name { font-size: 1.1rem; margin: 0; }
.also { display: flex; flex-wrap: wrap; gap: .5rem 2.5rem; margin: 1.1rem 0 0; padding: 0; list-style: none; }
.also strong { display: block; font-size: 1.25rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.also span { color: var(--soft); font-size: .9rem; }
.status { display: inline-block; margin: 1.1rem 0 0; padding: .1rem .6rem; border-radius: 1rem; font-size: .9rem;
  border: 1px solid currentcolor; color: var(--blue); }
.status.partial, .status.failed, .flagged, .failed { color: var(--amber); }
.verdicts { margin: .25rem 0; padding: 0; list-style: none; max-width: 46rem; }
.verdicts li { margin: .6rem 0; padding: .1rem 0 .1rem .9rem; border-left: 4px solid var(--blue); }
.verdicts li.warning { border-color: #d55e00; }
.scroll { overflow-x: auto; margin: 0 0 1.5rem; }
table { border-collapse: collapse; width: 100%; font-size: .94rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding: 0 0 .4rem; }
th, td { text-align: left; padding: .4rem .9rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { font-weight: 600; border-bottom: 2px solid var(--ink); vertical-align: bottom; }
tbody th { font-weight: 500; overflow-wrap: anywhere; min-width: 8rem; }
td.number { white-space: nowrap; }
.measurement { margin: 1.5rem 0 2.25rem; break-inside: avoid; }
.panels { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)) minmax(0, 1.8fr); gap: .9rem;
  margin-top: .6rem; align-items: start; }
figure { margin: 0; }
figure img { display: block; width: 100%; height: auto; }
figure .map { position: relative; }
figure .map img { image-rendering: pixelated; }
.bar { position: absolute; left: 6%; bottom: 6%; border-bottom: 3px solid #fff; color: #fff; font-size: .75rem;
  text-align: center; line-height: 1.3; text-shadow: 0 0 3px #000, 0 0 3px #000; white-space: nowrap; }
figcaption { font-size: .85rem; color: var(--soft); margin-top: .3rem; }
figcaption b { color: var(--ink); font-weight: 600; }
.key { display: flex; align-items: center; gap: .4rem; font-size: .78rem; font-variant-numeric: tabular-nums; }
.key i { flex: 1; height: .55rem; border: 1px solid var(--line); }
.wide { max-width: 44rem; }
footer { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--line); color: var(--soft); font-size: .9rem; }
@media (max-width: 46rem) {
  main { padding: 1.25rem .9rem 3rem; }
  .panels { grid-template-columns: repeat(3, minmax(0, 1fr)); gap: .6rem; }
  .panels .profile { grid-column: 1 / -1; }
}
table.hashes td:last-child { overflow-wrap: anywhere; font-size: .85em; min-width: 14rem; }
@page { margin: 14mm; }
@media print {
  body { font-size: 9pt; line-height: 1.4; }
  main { max-width: none; padding: 0; }
  p, .verdicts { max-width: none; }
  h2 { break-after: avoid; margin: 1.4rem 0 .5rem; }
  .value { font-size: 28pt; }
  .bar, .key i, .status { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .scroll { overflow: visible; margin-bottom: .8rem; }
  .measurement { margin: .8rem 0 1.2rem; }
  .wide { max-width: 13cm; }
  table { font-size: 8.5pt; }
  table.all { font-size: 7.5pt; }
  th, td { padding: .2rem .6rem .2rem 0; }
  tbody th { min-width: 6.5rem; }
  table.hashes td:last-child { min-width: 0; word-break: break-all; }
  td.number { white-space: normal; }
  caption, thead { break-after: avoid; }
  tr { break-inside: avoid; }
  footer { margin-top: 1rem; padding-top: .5rem; }
}
"""

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def document(title: str, body: Iterable[str]) -> str:
    """A whole HTML page. Its own policy forbids the browser to run scripts or to load anything."""
    content = "\n".join(part for part in body if part)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{content}\n</main>\n</body>\n"
        "</html>\n"
    )


def text(value: object) -> str:
    """Any value as text that is safe inside HTML and inside attributes."""
    return html.escape(str(value), quote=True)


def section(title: str, *parts: str) -> str:
    """A headed section; empty when all its parts are."""
    content = "\n".join(part for part in parts if part)
    return f"<section>\n<h2>{text(title)}</h2>\n{content}\n</section>" if content else ""


def paragraph(sentence: str) -> str:
    """One paragraph of plain text."""
    return f"<p>{text(sentence)}</p>" if sentence else ""


def table(
    caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], classes: Sequence[str] = (), *, kind: str = ""
) -> str:
    """A table with column headers and row headers (the first cell of each row).

    `classes` gives each row its class, `kind` the table its own.
    """
    if not rows:
        return ""
    header = "".join(f'<th scope="col">{text(cell)}</th>' for cell in head)
    body = []
    for index, (first, *rest) in enumerate(rows):
        state = f' class="{classes[index]}"' if index < len(classes) and classes[index] else ""
        cells = "".join(f"<td{_number(cell)}>{text(cell)}</td>" for cell in rest)
        body.append(f'<tr{state}><th scope="row">{text(first)}</th>{cells}</tr>')
    opening = f'<table class="{kind}">' if kind else "<table>"
    return (
        f'<div class="scroll">{opening}<caption>{text(caption)}</caption><thead><tr>{header}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def picture(data: bytes, kind: str, alternative: str) -> str:
    """An image held inside the page; `kind` is "png" or "svg+xml"."""
    encoded = base64.b64encode(data).decode("ascii")
    return f'<img src="data:image/{kind};base64,{encoded}" alt="{text(alternative)}">'


def _number(cell: str) -> str:
    return ' class="number"' if "±" in cell and len(cell) < 40 else ""
