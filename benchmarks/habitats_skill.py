"""Skill of the reader on plots of held-out blocks: the nine Czech formations, and EUNIS classes of a generated landscape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cube.grid import EUROPE
from demo.habitats import LEVEL3, PARENTS
from demo.landscape import LandscapeSpec, make_landscape
from demo.surveys import vegetation_plots
from inference.plantbert.curation import Columns, make_plots, read_plots
from inference.plantbert.evaluation import Skill, evaluate_reader, gain, skill_of, spatial_folds
from inference.plantbert.plots import Plots
from inference.plantbert.scheme import Scheme, make_scheme
from inference.plantbert.training import ReaderSpec
from inference.training.habitats import restricted

WITHHELD = "CZ_0019_042"  # labelled with EUNIS classes elsewhere: kept for testing, never trained on
BLOCK_DEGREES = 0.1  # as published
BLOCK_M = 2500.0  # of a landscape of 20 km
Say = Callable[[str], None]


def formations(data: Path, seeds: Sequence[int], spec: ReaderSpec, baselines: Sequence[str], say: Say) -> list[dict[str, Any]]:
    """Nine formations of Czech surveys: scored on the first survey of each place, in folds of 0.1 degree, a seed a draw."""
    path = data / "czechia" / "plots.csv"
    plots, _ = read_plots(path, data / "czechia" / "plot_species.csv")
    table = pd.read_csv(path, low_memory=False)
    table = table.set_index(table["PlotObservationID"].astype(str)).loc[plots.plot_id]
    placed = (table["Latitude"] < 52).to_numpy()  # one stands at 58.14
    first = np.zeros(len(table), bool)
    by_year = np.argsort(table["year"].to_numpy(), kind="stable")
    first[by_year[np.unique(table["RS_CODE_PLOT"].to_numpy()[by_year], return_index=True)[1]]] = True
    withheld = (table["RS_CODE"] == WITHHELD).to_numpy() | ~placed
    lon, lat = table["Longitude"].to_numpy(), table["Latitude"].to_numpy()
    counted = f"{len(plots):,} surveys, {int((first & placed).sum()):,} first ones scored"
    say(f"\nformations: {counted}, project {WITHHELD} never trained on")
    block = np.unique(np.floor(np.stack([lon, lat]) / BLOCK_DEGREES), axis=1, return_inverse=True)[1].reshape(-1)
    return compare("formations", plots, lambda seed: spatial_folds(lon, lat, BLOCK_DEGREES, 5, seed), block, seeds, spec,
                   baselines, say, score=first & placed, withheld=withheld)  # fmt: skip


def landscape_plots(count: int, seed: int) -> tuple[Plots, NDArray[np.float64], NDArray[np.float64], Scheme]:
    """Vegetation plots of a generated landscape of 20 km and 100 species, x and y (m) of each, and their EUNIS classes."""
    made = make_landscape(LandscapeSpec(n_plots=count, seed=seed))
    table, covers = vegetation_plots(made)
    plots, _ = make_plots(table, covers, Columns("PlotObservationID", "Species", "Cover", "Habitat"))
    plot_table = table.set_index(table["PlotObservationID"].astype(str)).loc[plots.plot_id]
    x, y = EUROPE.project(plot_table["Longitude"].to_numpy(), plot_table["Latitude"].to_numpy())
    return plots, np.asarray(x), np.asarray(y), scheme_of(plots.habitats)


def scheme_of(codes: Sequence[str]) -> Scheme:
    """The landscape's scheme with the level 3 classes `codes` and their parents alone."""
    rows = [{"code": c, "name": n, "level": "level3", "parent": c[:2], "colour": colour} for c, n, colour in LEVEL3]
    rows += [{"code": c, "name": n, "level": f"level{len(c)}", "parent": p, "colour": colour} for c, n, p, colour in PARENTS]
    return restricted(make_scheme(rows, "landscape"), codes)


def landscape(count: int, seeds: Sequence[int], spec: ReaderSpec, baselines: Sequence[str], say: Say) -> list[dict[str, Any]]:
    """EUNIS level 3 of a landscape's plots: a fifth of the blocks of 2.5 km is scored, the others train."""
    plots, x, y, scheme = landscape_plots(count, seed=31)
    say(f"\nlandscape: {len(plots):,} plots, {len(plots.species)} species, {len(plots.habitats)} habitats")
    block = np.unique(np.stack([x, y]) // BLOCK_M, axis=1, return_inverse=True)[1].reshape(-1)

    def fifth(seed: int) -> NDArray[np.int64]:
        return np.minimum(spatial_folds(x, y, BLOCK_M, 5, seed), 1)

    scored = np.ones(len(plots), bool)
    return compare("landscape", plots, fifth, block, seeds, spec, baselines, say, score=scored, scheme=scheme, only=0)


def compare(case: str, plots: Plots, folds: Callable[[int], NDArray[np.int64]], block: NDArray[np.integer[Any]],
            seeds: Sequence[int], spec: ReaderSpec, baselines: Sequence[str], say: Say, *, score: NDArray[np.bool_],
            withheld: NDArray[np.bool_] | None = None, scheme: Scheme | None = None, only: int | None = None,
            ) -> list[dict[str, Any]]:  # fmt: skip
    """Every method on the same folds, a draw of them for each seed; returns flat records, the gain's among them."""
    records: list[dict[str, Any]] = []
    right: dict[str, list[NDArray[np.bool_]]] = {m: [] for m in ("plantbert", *baselines)}
    where: list[NDArray[np.integer[Any]]] = []
    for seed in seeds:
        fold = folds(seed)
        counted = score & (fold == only) if only is not None else score
        skills, probabilities = evaluate_reader(plots, fold, replace(spec, seed=seed), score=counted, withheld=withheld,
                                       baselines=baselines, scheme=scheme)  # fmt: skip
        counted = counted & (plots.label >= 0)
        for method, p in probabilities.items():
            right[method].append(p[counted].argmax(axis=1) == plots.label[counted])
        where.append(block[counted])
        for skill in skills:
            say(f"  seed {seed}: {skill.line()}")
            records.append(record(case, skill, seed))
    best = max(baselines, key=lambda m: np.concatenate(right[m]).mean())
    blocks = np.concatenate(where)
    middle, low, high = gain(np.concatenate(right["plantbert"]), np.concatenate(right[best]), blocks)
    means = {m: float(np.concatenate(r).mean()) for m, r in right.items()}
    f1 = {m: float(np.mean([r["macro_f1"] for r in records if r["method"] == m])) for m in means}
    say("  mean of the seeds, accuracy (macro F1): " + ", ".join(f"{m} {v:.3f} ({f1[m]:.3f})" for m, v in means.items()))
    say(f"  plantbert over {best}, the better baseline: {middle:+.3f}, 95 % of block draws {low:+.3f} to {high:+.3f}")
    records.append({"case": case, "method": f"plantbert - {best}", "accuracy": middle, "low": low, "high": high})
    return records


def record(case: str, skill: Skill, seed: int) -> dict[str, Any]:
    """A flat record of one method and seed."""
    flat = asdict(skill)
    levels = {f"accuracy_{level}": value for level, value in flat.pop("levels")}
    return {"case": case, "seed": seed, **flat, **levels}


def scored(case: str, method: str, probability: NDArray[np.float32], label: NDArray[np.integer[Any]], scheme: Scheme | None,
           say: Say) -> dict[str, Any]:  # fmt: skip
    """Print and return the skill of probabilities (n, C) against labels (n)."""
    skill = skill_of(method, probability, label, scheme)
    say(f"  {skill.line()}")
    return record(case, skill, 0)
