"""Skill of the reader on plots of held-out blocks: the nine Czech formations, and EUNIS classes of a generated landscape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cube.grid import EUROPE
from cube.records.tables import read_table
from demo.habitats import SCHEME
from demo.landscape import LandscapeSpec, make_landscape
from demo.surveys import vegetation_plots
from inference.data.blocks import Folds
from inference.plantbert.curation import Columns, make_plots
from inference.plantbert.evaluation import Skill, evaluate_reader, gain, skill_of, spatial_folds
from inference.plantbert.plots import Plots
from inference.plantbert.scheme import Scheme, make_scheme
from inference.plantbert.training import ReaderSpec
from inference.training.habitats import restricted

TEST_PROJECT = "CZ_0019_042"  # labelled with EUNIS classes elsewhere: kept for testing, never trained on
BLOCK_DEGREES = 0.1  # as published
LANDSCAPE_PLOTS = 12_000
BLOCK_M = 2500.0  # of a landscape of 20 km
DANISH_M = 20_000.0
WOODS = {9998: "91D0", 9999: "91E0"}  # codes of Annex I that the Danish table writes as numbers
FIGURES = ("accuracy", "macro_f1")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Methods:
    """What is trained and compared: names of `trained_readers` and of `BASELINES`."""

    readers: tuple[str, ...]
    baselines: tuple[str, ...]


def formations(data: Path, seeds: Sequence[int], methods: Methods, say: Say) -> list[dict[str, Any]]:
    """Nine formations of Czech surveys: scored on the first survey of each place, in folds of 0.1 degree, a seed a draw."""
    path = data / "czechia" / "plots.csv"
    plots, _ = make_plots(read_table(str(path)), read_table(str(data / "czechia" / "plot_species.csv")))
    table = pd.read_csv(path, low_memory=False)
    table = table.set_index(table["PlotObservationID"].astype(str)).loc[plots.plot_id]
    has_plausible_place = (table["Latitude"] < 52).to_numpy()  # one stands at 58.14
    first = np.zeros(len(table), bool)
    by_year = np.argsort(table["year"].to_numpy(), kind="stable")
    first[by_year[np.unique(table["RS_CODE_PLOT"].to_numpy()[by_year], return_index=True)[1]]] = True
    never_trained = (table["RS_CODE"] == TEST_PROJECT).to_numpy() | ~has_plausible_place
    lon, lat = table["Longitude"].to_numpy(), table["Latitude"].to_numpy()
    summary = f"{len(plots):,} surveys, {int((first & has_plausible_place).sum()):,} first ones scored"
    say(f"\nformations: {summary}, project {TEST_PROJECT} never trained on")
    block = np.unique(np.floor(np.stack([lon, lat]) / BLOCK_DEGREES), axis=1, return_inverse=True)[1].reshape(-1)
    return compare(
        "formations",
        plots,
        lambda seed: spatial_folds(lon, lat, BLOCK_DEGREES, 5, seed),
        block,
        seeds,
        methods,
        say,
        score=first & has_plausible_place,
        never_trained=never_trained,
    )


def scheme_of(codes: Sequence[str]) -> Scheme:
    """The landscape's scheme with the level 3 classes `codes` and their parents alone."""
    rows = [row | {"level": f"level{row['level']}"} for row in SCHEME.to_dict("records")]
    return restricted(make_scheme(rows, "landscape"), codes)


def landscape(seeds: Sequence[int], methods: Methods, say: Say) -> list[dict[str, Any]]:
    """EUNIS level 3 of a landscape's plots (20 km, 100 species): a fifth of the blocks of 2.5 km is scored, the others train."""
    table, covers = vegetation_plots(make_landscape(LandscapeSpec(n_plots=LANDSCAPE_PLOTS, seed=31)))
    plots, _ = make_plots(table, covers, Columns("PlotObservationID", "Species", "Cover", "Habitat"))
    plot_table = table.set_index(table["PlotObservationID"].astype(str)).loc[plots.plot_id]
    x, y = EUROPE.project(plot_table["Longitude"].to_numpy(), plot_table["Latitude"].to_numpy())
    say(f"\nlandscape: {len(plots):,} plots, {len(plots.species)} species, {len(plots.habitats)} habitats")
    block = np.unique(np.stack([x, y]) // BLOCK_M, axis=1, return_inverse=True)[1].reshape(-1)
    return compare(
        "landscape",
        plots,
        lambda seed: spatial_folds(np.asarray(x), np.asarray(y), BLOCK_M, 5, seed),
        block,
        seeds,
        methods,
        say,
        score=np.ones(len(plots), bool),
        scheme=scheme_of(plots.habitats),
        only=0,
    )


def denmark_plots(data: Path) -> tuple[Plots, NDArray[np.float64], NDArray[np.float64]]:
    """Danish plots with the Annex I types of 50 plots and more, presence without covers; x and y (m, EPSG:25832) of each."""
    table = pd.read_csv(data / "denmark" / "plots.csv.gz", low_memory=False).drop_duplicates("plot")
    codes = table["habtype"].map(lambda code: "" if pd.isna(code) else WOODS.get(int(code), str(int(code))))
    lists = pd.read_csv(data / "denmark" / "plot_species.csv.gz").assign(cover=1.0)
    columns = Columns("plot", "species", "cover", "type")
    plots, _ = make_plots(table.assign(type=codes), lists, columns, min_plots=50)
    place = table.set_index(table["plot"].astype(str)).loc[plots.plot_id]
    return replace(plots, cover=None), place["x"].to_numpy(float), place["y"].to_numpy(float)


def denmark(data: Path, seeds: Sequence[int], methods: Methods, say: Say, with_locked: bool = False) -> list[dict[str, Any]]:
    """Annex I types of Danish plots from presence alone: five folds of blocks of 20 km, of which the open ones are scored.

    with_locked: score all blocks, and the locked third again by itself.
    """
    plots, x, y = denmark_plots(data)
    labelled = plots.label >= 0
    summary = f"{int(labelled.sum()):,} plots, {len(plots.species)} species, {len(plots.habitats)} types"
    say(f"\ndenmark: {summary}, presence without covers; {'all' if with_locked else 'open'} blocks scored")
    block = np.unique(np.stack([x, y]) // DANISH_M, axis=1, return_inverse=True)[1].reshape(-1)
    locked = Folds(block, block, labelled, 5, DANISH_M / 1000).locked_at(x, y)
    return compare(
        "denmark",
        plots,
        lambda seed: spatial_folds(x, y, DANISH_M, 5, seed),
        block,
        seeds,
        methods,
        say,
        score=labelled if with_locked else labelled & ~locked,
        locked=locked if with_locked else None,
    )


def compare(
    case: str,
    plots: Plots,
    folds: Callable[[int], NDArray[np.int64]],
    block: NDArray[np.integer[Any]],
    seeds: Sequence[int],
    methods: Methods,
    say: Say,
    *,
    score: NDArray[np.bool_],
    never_trained: NDArray[np.bool_] | None = None,
    scheme: Scheme | None = None,
    only: int | None = None,
    locked: NDArray[np.bool_] | None = None,
) -> list[dict[str, Any]]:
    """Every method on the same folds, a draw of them for each seed; returns flat records, those of the gain among them.

    `only`: the one fold that is scored; `locked` (n): plots that no choice was made on, which are printed again by themselves.
    """
    records: list[dict[str, Any]] = []
    answers: dict[str, list[NDArray[np.int64]]] = {}
    rows: list[NDArray[np.int64]] = []
    for seed in seeds:
        fold = folds(seed)
        test_rows = score & (fold == only) if only is not None else score
        skills, probabilities = evaluate_reader(
            plots,
            fold,
            ReaderSpec(seed=seed),
            score=test_rows,
            never_trained=never_trained,
            baselines=methods.baselines,
            scheme=scheme,
            readers=methods.readers,
        )
        rows.append(np.flatnonzero(test_rows & (plots.label >= 0)))
        for method, p in probabilities.items():
            answers.setdefault(method, []).append(p[rows[-1]].argmax(axis=1))
        for skill in skills:
            say(f"  seed {seed}: {skill.line()}")
            records.append(record(case, skill, seed))
        if locked is not None:
            part = rows[-1][locked[rows[-1]]]
            for method, p in probabilities.items():
                say(f"  locked third: {skill_of(method, p[part], plots.label[part], scheme).line()}")
    means = {m: [float(np.mean([r[key] for r in records if r["method"] == m])) for key in FIGURES] for m in answers}
    say("  mean of the seeds, accuracy (macro F1): " + ", ".join(f"{m} {a:.3f} ({f1:.3f})" for m, (a, f1) in means.items()))
    every = np.concatenate(rows)
    parts = {"": np.ones(len(every), bool)} | ({} if locked is None else {", locked third": locked[every]})
    for (what, part), (i, key), reader in product(parts.items(), enumerate(FIGURES), methods.readers):
        best = max(methods.baselines, key=lambda m: means[m][i])
        answers_of_reader, peer = (np.concatenate(answers[m])[part] for m in (reader, best))
        middle, low, high = gain(plots.label[every[part]], answers_of_reader, peer, block[every[part]])[key]
        interval = f"{middle:+.3f}, 95 % of block draws {low:+.3f} to {high:+.3f}"
        say(f"  {reader} over {best}, {key.replace('_', ' ')}{what}: {interval}")
        records.append({"case": case + what, "method": f"{reader} - {best}", key: middle, "low": low, "high": high})
    return records


def record(case: str, skill: Skill, seed: int) -> dict[str, Any]:
    """A flat record of one method and seed."""
    flat = asdict(skill)
    levels = {f"accuracy_{level}": value for level, value in flat.pop("levels")}
    return {"case": case, "seed": seed, **flat, **levels}


def score_row(
    case: str, method: str, probability: NDArray[np.float32], label: NDArray[np.integer[Any]], scheme: Scheme | None, say: Say
) -> dict[str, Any]:
    """Print and return the skill of probabilities (n, C) against labels (n)."""
    skill = skill_of(method, probability, label, scheme)
    say(f"  {skill.line()}")
    return record(case, skill, 0)
