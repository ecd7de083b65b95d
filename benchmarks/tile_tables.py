"""What `benchmarks/tiles.py` measured, as tables."""

from __future__ import annotations

import statistics
from typing import Any

from inference.evaluation.tables import Table

FLORACUBE = "floracube"
Row = dict[str, Any]


def tables(rows: list[Row], store: str, zooms: list[int]) -> str:
    """Milliseconds by zoom with our advantage, load."""
    rows = [r for r in rows if r["store"] == store]
    times = {(r["server"], r["zoom"], r["state"]): r for r in rows if "zoom" in r}
    servers = list(dict.fromkeys(r["server"] for r in rows))
    parts = []
    for state in ("warm", "cold"):
        lines: list[Row] = []
        for server in servers:
            by_zoom = {z: times[server, z, state] for z in zooms}
            size = statistics.mean(r["bytes"] for r in by_zoom.values()) / 1e3
            lines.append(
                {"server": server, **{f"zoom {z}": f"{r['ms']:.1f}" for z, r in by_zoom.items()}, "kB a tile": round(size)}
            )
            if server == FLORACUBE or FLORACUBE not in servers:
                continue
            for our_state in ("warm", "cold") if state == "warm" else ("cold",):
                label = "  times ours" if our_state == state else "  times ours, empty cache"
                ratios = {f"zoom {z}": round(r["ms"] / times[FLORACUBE, z, our_state]["ms"]) for z, r in by_zoom.items()}
                lines.append({"server": label, **ratios})
        parts.append(Table(f"{store}: median ms a tile, {state}", lines))
    loads = [{k: v for k, v in r.items() if k != "store"} for r in rows if "p50_ms" in r]
    parts += [Table(f"{store}: under load, 8 connections, zooms mixed", loads)] if loads else []
    return "\n" + "\n\n".join(part.text() for part in parts) + "\n"
