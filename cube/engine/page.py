"""The report of a run as one page that needs nothing else: a map of the units, seconds by step, the slowest, the failures."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any, Final

from cube.grid import Unit

# Colours that are told apart without red and green (Okabe and Ito 2008), worst first: a unit shows the worst of its layers.
STATES: Final = {"failed": "#d55e00", "missing": "#d0d0d0", "built": "#0072b2", "ready": "#56b4e9"}
MEANING: Final = {"failed": "failed", "missing": "not done", "built": "done in this run", "ready": "done before"}
SLOWEST: Final = 10
STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1a1a1a;background:#fff}
table{border-collapse:collapse;margin:.5rem 0}td,th{padding:.15rem .8rem .15rem 0;text-align:left;vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums}svg{max-width:100%;max-height:32rem;background:#f7f7f7}
i{display:inline-block;width:.8em;height:.8em;margin:0 .3em 0 1em}b.bar{display:inline-block;height:.7em;background:#0072b2}
pre{white-space:pre-wrap;font-size:12px}
"""


def page(document: Mapping[str, Any], units: Mapping[Unit, Mapping[str, str]], seconds: Mapping[str, float]) -> str:
    """A run's `Report.document` as HTML; `units` gives the state of each layer by unit, `seconds` those of units done now."""
    said = [(name, document[key]) for name, key in (("Cube", "cube"), ("Ended", "ended"), ("Release", "release"),
                                                    ("Started", "started")) if document.get(key)]  # fmt: skip
    said += [("Took", f"{document['seconds']:,.0f} s"), ("Cells", f"{document['cells']:,}"),
             ("Cells a second", f"{document['cells_per_second']:,}")]  # fmt: skip
    counts = [(what, document[what]) for what in ("units", "squares")]
    body = [
        f"<h1>{escape(document['title'])}: {escape(document['run'])}</h1>",
        "<table>" + "".join(f"<tr><th>{escape(k)}</th><td>{escape(str(v))}</td></tr>" for k, v in said) + "</table>",
        "<table>" + "".join(
            f"<tr><th>{what.capitalize()}</th>" + "".join(f"<td class=n>{n:,} {escape(state)}</td>" for state, n in row.items())
            + "</tr>" for what, row in counts
        ) + "</table>",
        "<h2>Units</h2>", _legend(), _map(units, seconds),
        _steps(document["steps"]), _slowest(seconds), _failures(document["failures"]),
    ]  # fmt: skip
    title = escape(f"{document['title']}: {document['run']}")
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>"
    return f"{head}{''.join(body)}</html>\n"


def state_of(layers: Mapping[str, str]) -> str:
    """The state that a unit shows: the worst of its layers."""
    return next(state for state in STATES if state in layers.values())


def _legend() -> str:
    return "<p>" + "".join(f'<i style="background:{colour}"></i>{MEANING[state]}' for state, colour in STATES.items()) + "</p>"


def _map(units: Mapping[Unit, Mapping[str, str]], seconds: Mapping[str, float]) -> str:
    """One square a unit, north up."""
    if not units:
        return ""
    top, left = min(u.row for u in units), min(u.col for u in units)
    height, width = max(u.row for u in units) - top + 1, max(u.col for u in units) - left + 1
    cells = []
    for unit, layers in units.items():
        state = state_of(layers)
        behind = [f"{layer} {MEANING[s]}" for layer, s in layers.items() if s == state and len(layers) > 1]
        told = f"{unit.name}: {', '.join(behind) or MEANING[state]}"
        told += f", {seconds[unit.name]:.1f} s" if unit.name in seconds else ""
        cells.append(
            f'<rect x="{unit.col - left}" y="{unit.row - top}" width=".94" height=".94" fill="{STATES[state]}">'
            f"<title>{escape(told)}</title></rect>"
        )
    return f'<svg viewBox="0 0 {width} {height}" width="{min(900, 40 * width)}" role="img">{"".join(cells)}</svg>'


def _steps(steps: Mapping[str, float]) -> str:
    if not steps:
        return ""
    total = sum(steps.values()) or 1.0
    rows = "".join(
        f"<tr><td>{escape(step)}</td><td class=n>{value:,.1f} s</td><td class=n>{value / total:.0%}</td>"
        f'<td><b class=bar style="width:{20 * value / total:.2f}rem"></b></td></tr>'
        for step, value in sorted(steps.items(), key=lambda item: -item[1])
    )
    return f"<h2>Seconds of workers by step, of all receipts</h2><table>{rows}</table>"


def _slowest(seconds: Mapping[str, float]) -> str:
    worst = sorted(seconds.items(), key=lambda item: -item[1])[:SLOWEST]
    rows = "".join(f"<tr><td>{escape(name)}</td><td class=n>{value:,.1f} s</td></tr>" for name, value in worst)
    return f"<h2>Slowest units of this run</h2><table>{rows}</table>" if rows else ""


def _failures(failures: list[dict[str, Any]]) -> str:
    if not failures:
        return "<h2>Failures</h2><p>None.</p>"
    rows = "".join(
        f"<tr><td>{escape(f['unit'])}</td><td>{escape(f['layer'])}</td><td>{escape(f['error'])}"
        + (f"<details><summary>details</summary><pre>{escape(f['details'])}</pre></details>" if f.get("details") else "")
        + f"</td><td class=n>{f['tries']} tried</td></tr>"
        for f in failures
    )
    return f"<h2>Failures</h2><table>{rows}</table>"
