"""What `benchmarks/tiles.py` measured, as tables and as a picture."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

OURS = "floracube"
Row = dict[str, Any]


def show(title: str, columns: list[str], rows: list[list[str]]) -> str:
    """A table as text."""
    widths = [max(len(c), *(len(r[i]) for r in rows)) for i, c in enumerate(columns)]

    def line(cells: list[str]) -> str:
        padded = [v.rjust(w) if i else v.ljust(w) for i, (v, w) in enumerate(zip(cells, widths, strict=True))]
        return "  ".join(padded).rstrip()

    return "\n".join([title, line(columns), *(line(row) for row in rows)]) + "\n"


def tables(rows: list[Row], store: str, zooms: list[int]) -> str:
    """Milliseconds by zoom with our advantage, load, memory."""
    own = [r for r in rows if r["store"] == store]
    times = {(r["server"], r["zoom"], r["state"]): r for r in own if r["zoom"] is not None}
    servers = list(dict.fromkeys(r["server"] for r in own))
    text = ""
    for state in ("warm", "cold"):
        lines = []
        for server in servers:
            found = [times[server, z, state] for z in zooms]
            size = statistics.mean(r["bytes"] for r in found) / 1e3
            lines.append([server, *(f"{r['ms']:.1f}" for r in found), f"{size:.0f}"])
            if server == OURS or OURS not in servers:
                continue
            compared = (
                [("warm", "times ours"), ("cold", "times ours, empty cache")] if state == "warm" else [("cold", "times ours")]
            )
            for own_state, label in compared:
                ratios = [r["ms"] / times[OURS, z, own_state]["ms"] for r, z in zip(found, zooms, strict=True)]
                lines.append([f"  {label}", *(f"{ratio:.0f}" for ratio in ratios), ""])
        text += show(f"\n{store}: median ms a tile, {state}", ["server", *(f"zoom {z}" for z in zooms), "kB a tile"], lines)
    lines = [
        [r["server"], r["state"], f"{r['requests_per_second']:.1f}", f"{r['p50_ms']:.1f}", f"{r['p99_ms']:.1f}",
         f"{r['p99_ms'] / r['p50_ms']:.1f}", str(r["failed"])]
        for r in own if r.get("p50_ms")
    ]  # fmt: skip
    if lines:
        columns = ["server", "load", "requests/s", "p50 ms", "p99 ms", "p99/p50", "failed"]
        text += show(f"\n{store}: under load, zooms mixed", columns, lines)
    lines = [
        [r["server"], f"{r['start_s']:.1f}", f"{r['start_cpu_s']:.1f}", f"{r['idle_mb']:.0f}", f"{r['loaded_mb']:.0f}"]
        for r in own if r.get("idle_mb")
    ]  # fmt: skip
    return text + show(f"\n{store}: process", ["server", "start s", "of it CPU s", "idle MB", "after load MB"], lines)


def draw(rows: list[Row], zooms: list[int], path: Path) -> None:
    """The picture: ms by zoom, warm, one line a server, on a logarithmic axis; ours with an empty cache as well."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), dpi=100)
    lines = [(s, "warm") for s in dict.fromkeys(r["server"] for r in rows)] + [(OURS, "cold")]
    for server, state in lines:
        found = [next(r["ms"] for r in rows if (r["server"], r["zoom"], r["state"]) == (server, z, state)) for z in zooms]
        label = f"{server}, empty chunk cache" if state == "cold" else server
        axes.plot(zooms, found, marker="o", label=label, linestyle=":" if state == "cold" else "-",
                  color="black" if server == OURS else None)  # fmt: skip
    axes.set(
        yscale="log", xlabel="zoom (Web Mercator)", ylabel="ms a tile (median)", title="One tile of a Zarr cube in EPSG:3035"
    )
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8, loc="center right")
    figure.tight_layout()
    figure.savefig(path)
