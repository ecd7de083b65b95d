"""What `benchmarks/tiles.py` measured, as tables."""

from __future__ import annotations

import statistics
from typing import Any

FLORACUBE = "floracube"
Row = dict[str, Any]


def show(title: str, columns: list[str], rows: list[list[str]]) -> str:
    """A table as text."""
    widths = [max(len(c), *(len(r[i]) for r in rows)) for i, c in enumerate(columns)]

    def line(cells: list[str]) -> str:
        cell_texts = [v.rjust(w) if i else v.ljust(w) for i, (v, w) in enumerate(zip(cells, widths, strict=True))]
        return "  ".join(cell_texts).rstrip()

    return "\n".join([title, line(columns), *(line(row) for row in rows)]) + "\n"


def tables(rows: list[Row], store: str, zooms: list[int]) -> str:
    """Milliseconds by zoom with our advantage, load."""
    rows = [r for r in rows if r["store"] == store]
    times = {(r["server"], r["zoom"], r["state"]): r for r in rows if "zoom" in r}
    servers = list(dict.fromkeys(r["server"] for r in rows))
    text = ""
    for state in ("warm", "cold"):
        lines = []
        for server in servers:
            by_zoom = [times[server, z, state] for z in zooms]
            size = statistics.mean(r["bytes"] for r in by_zoom) / 1e3
            lines.append([server, *(f"{r['ms']:.1f}" for r in by_zoom), f"{size:.0f}"])
            if server == FLORACUBE or FLORACUBE not in servers:
                continue
            comparison = (
                [("warm", "times ours"), ("cold", "times ours, empty cache")] if state == "warm" else [("cold", "times ours")]
            )
            for our_state, label in comparison:
                ratios = [r["ms"] / times[FLORACUBE, z, our_state]["ms"] for r, z in zip(by_zoom, zooms, strict=True)]
                lines.append([f"  {label}", *(f"{ratio:.0f}" for ratio in ratios), ""])
        text += show(f"\n{store}: median ms a tile, {state}", ["server", *(f"zoom {z}" for z in zooms), "kB a tile"], lines)
    lines = [
        [
            r["server"],
            f"{r['requests_per_second']:.1f}",
            f"{r['p50_ms']:.1f}",
            f"{r['p99_ms']:.1f}",
            f"{r['p99_ms'] / r['p50_ms']:.1f}",
            str(r["failed"]),
        ]
        for r in rows
        if "p50_ms" in r
    ]
    if not lines:
        return text
    columns = ["server", "requests/s", "p50 ms", "p99 ms", "p99/p50", "failed"]
    return text + show(f"\n{store}: under load, 8 connections, zooms mixed", columns, lines)
