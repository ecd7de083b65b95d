"""Results as pictures: a table, reliability curves and skill by how common a species is.

How every figure begins and is saved is here too: matplotlib without a display, imported with the first figure.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cube.storage.local_files import write_file
from inference.evaluation.reliability import Curve
from inference.evaluation.tables import Record, Table

# Okabe and Ito (2008): told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def new_figure(width: float, height: float) -> Any:
    """An empty figure, inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Any, path: Path, dpi: int = 150) -> Path:
    """Write a figure as the kind of file that the name of `path` says, whole or not at all; returns the path."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=dpi, format=path.suffix[1:], metadata={"Software": None} if path.suffix == ".png" else None)
    write_file(path, buffer.getvalue())
    return path


def table_picture(path: Path, tables: Sequence[Table]) -> Path:
    """Tables one below the other as a PNG or SVG, first column to the left, numbers to the right."""
    shapes = [(len(t.rows) + 1, len(t.columns)) for t in tables]
    widest = max(sum(max(len(row[i]) for row in t.cells()) + 2 for i in range(len(t.columns))) for t in tables)
    figure = new_figure(max(6.0, 0.085 * widest), sum(0.24 * rows + 0.5 for rows, _ in shapes))
    axes = figure.subplots(len(tables), 1, squeeze=False, height_ratios=[rows + 2 for rows, _ in shapes])[:, 0]
    for axis, table in zip(axes, tables, strict=True):
        axis.axis("off")
        axis.set_title(table.title, loc="left", fontsize=9, wrap=True)
        header, *rows = table.cells()
        text_table = axis.table(rows, colLabels=header, loc="upper left", cellLoc="right", edges="horizontal")
        text_table.auto_set_font_size(False)
        text_table.set_fontsize(8)
        text_table.auto_set_column_width(list(range(len(header))))
        for (_, column), cell in text_table.get_celld().items():
            cell.set_linewidth(0.3)
            if column == 0:
                cell.set_text_props(ha="left")
    return save_figure(figure, path)


def reliability_picture(path: Path, curves: Mapping[str, Curve], title: str = "") -> Path:
    """Observed frequency against predicted probability, both on logarithmic axes, for every method; below, pairs a bin."""
    figure = new_figure(6.0, 7.0)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    for colour, (name, curve) in zip(COLOURS * 9, curves.items(), strict=False):
        plotted = (curve.predicted > 0) & (curve.observed > 0)
        upper.plot(curve.predicted[plotted], curve.observed[plotted], "o-", color=colour, ms=4, lw=1.2, label=name)
        lower.plot(curve.predicted[plotted], curve.pairs[plotted], "o-", color=colour, ms=3, lw=1)
    upper.plot([1e-4, 1], [1e-4, 1], color="0.5", lw=0.8, ls="--", label="perfect")
    upper.set(xscale="log", yscale="log", ylabel="observed frequency", title=title, xlim=(1e-4, 1.1), ylim=(1e-4, 1.1))
    lower.set(yscale="log", xlabel="predicted probability", ylabel="pairs")
    upper.legend(fontsize=8)
    return save_figure(figure, path)


def classes_picture(path: Path, rows: Sequence[Record], title: str = "") -> Path:
    """AUC by class of prevalence, a line for every method; rows have `method`, `class`, `auc`."""
    figure = new_figure(6.0, 4.0)
    axis = figure.subplots()
    labels = list(dict.fromkeys(row["class"] for row in rows))
    for colour, method in zip(COLOURS * 9, dict.fromkeys(row["method"] for row in rows), strict=False):
        of_method = {row["class"]: row["auc"] for row in rows if row["method"] == method}
        axis.plot(range(len(labels)), [of_method.get(c) or float("nan") for c in labels], "o-", color=colour, label=method)
    axis.set(xticks=range(len(labels)), xticklabels=labels, xlabel="presences in training", ylabel="mean AUC", title=title)
    axis.axhline(0.5, color="0.5", lw=0.8, ls="--")
    axis.legend(fontsize=8)
    return save_figure(figure, path)
