"""Skill of a configuration's model: spatial folds beside a random forest, or held-out blocks, and the truth where it is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cube.config import Config
from cube.errors import ConfigError, TableError
from cube.grid import CELL
from cube.layers import INPUTS
from cube.store import CubeStore, open_cube
from inference.baselines import forest_probability, table_of
from inference.batches import predict_surveys
from inference.dataset import Dataset, load_dataset, split_network_options
from inference.evaluation import EvaluateOptions, evaluate
from inference.learn import options_of, roles_of
from inference.likelihood import cloglog_probability
from inference.metrics import species_auc, species_correlation
from inference.model import Model, load_model
from inference.samples import Predictors, Surveys
from inference.sampling import sample

Progress = Callable[[int, int, str], None]
TRUTH_CELLS = 4_000  # of the landscape that are compared with the truth
LEAF = 5


@dataclass(frozen=True)
class Assessment:
    """Tables with a title each: rows are flat records."""

    tables: list[tuple[str, list[dict[str, Any]]]]

    def document(self) -> list[dict[str, Any]]:
        """All rows as flat records, each with its table's title."""
        return [{"table": title, **row} for title, rows in self.tables for row in rows]

    def text(self) -> str:
        """The tables for a person."""
        lines = []
        for title, rows in self.tables:
            columns = list(dict.fromkeys(key for row in rows for key in row))
            cells = [[_show(row.get(c)) for c in columns] for row in rows]
            widths = [max(len(c), *(len(r[i]) for r in cells)) for i, c in enumerate(columns)]
            lines += ["", title, "  ".join(c.ljust(w) for c, w in zip(columns, widths, strict=True))]
            lines += ["  ".join(v.ljust(w) for v, w in zip(r, widths, strict=True)) for r in cells]
        return "\n".join(lines)


def _show(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def assess(config: Config, progress: Progress) -> Assessment:
    """Evaluate a configuration as its key `evaluate` says.

    `folds` of 2 or more cross-validates by blocks; `folds: 1` scores the trained model on the blocks that its own
    training held out. `truth` adds the correlation with the true probabilities of a generated landscape.
    """
    cube = open_cube(config.cube_url)
    data = load_dataset(config, cube)
    tables: list[tuple[str, list[dict[str, Any]]]] = []
    if config.evaluate.folds > 1:
        tables.append(_folds(config, data, progress))
    else:
        tables.append(_held_out(config, data, load_model(config.model_path), progress))
    if config.evaluate.truth is not None:
        folder = Path(config.source_path(config.evaluate.truth))
        tables.append(_against_truth(config, cube, data, load_model(config.model_path), folder, progress))
    result = Assessment(tables)
    config.report_path.mkdir(parents=True, exist_ok=True)
    (config.report_path / "evaluation.json").write_text(json.dumps(result.document(), indent=1) + "\n", encoding="utf-8")
    return result


def _folds(config: Config, data: Dataset, progress: Progress) -> tuple[str, list[dict[str, Any]]]:
    e = config.evaluate
    known = {f.name for f in fields(EvaluateOptions)}
    for key in e.options:
        if key not in known:
            raise ConfigError(f"{config.path}: evaluate.options.{key}: is not a key that is known here; known are"
                              f" {', '.join(sorted(known))}.")  # fmt: skip
    _, shape = split_network_options(config)
    options = EvaluateOptions(**{
        "draws": tuple(range(e.draws)), "folds": e.folds, "block_km": float(e.block_km),
        "fewest_records": e.min_records, "shape": shape, "train": options_of(config), **e.options,
    })  # fmt: skip
    steps = 0

    def report(text: str) -> None:
        nonlocal steps
        steps += 1
        progress(steps, 0, text)

    outcome = evaluate(data.predictors, data.surveys, options, report, config.report_path / "folds")
    title = (
        f"AUC on held-out blocks of {e.block_km} km ({e.folds} folds, {e.draws} draws, {len(data.surveys):,} surveys,"
        f" species with {e.min_records} records or more); gain with its 95 % block bootstrap interval"
    )
    return title, [row.record() for row in outcome.rows]


def _held_out(config: Config, data: Dataset, model: Model, progress: Progress) -> tuple[str, list[dict[str, Any]]]:
    surveys = data.surveys
    roles = roles_of(config, surveys, model.ensemble.spec, options_of(config).seed)
    test = roles == "test"
    eta = predict_surveys(model.ensemble, data.predictors.subset(test), surveys.year[test], surveys.area_m2[test])
    progress(1, 2, "random forests")
    forest = forest_probability(
        table_of(data.predictors, surveys), surveys.presence, np.isin(roles, ("train", "stop", "calibrate")), test, LEAF,
        threads=2,
    )  # fmt: skip
    rows = []
    for name, score in (("floracube", eta), (f"random_forest (leaf {LEAF})", forest)):
        auc = species_auc(score, surveys.presence[test])
        rows.append({"method": name, "auc": float(np.nanmean(auc)), "species": int(np.isfinite(auc).sum())})
    return f"AUC on {int(test.sum())} surveys of held-out blocks", rows


def _against_truth(
    config: Config, cube: CubeStore, data: Dataset, model: Model, folder: Path, progress: Progress
) -> tuple[str, list[dict[str, Any]]]:
    """Correlation over cells between predicted and true probability, species by species."""
    names, truth, x, y = _true_cells(folder, cube)
    kept = [i for i, name in enumerate(model.ensemble.species) if name in names]
    true = truth[:, [names.index(model.ensemble.species[i]) for i in kept]]
    places = sample(cube, model.recipe, x, y, model.ensemble.spec.receptive_field)
    year = np.full(len(x), config.predict.year, np.float32)
    area = np.full(len(x), 100.0, np.float32)
    ours = predict_surveys(model.ensemble, places, year, area)
    p = cloglog_probability(torch.from_numpy(ours)).numpy()[:, kept]
    progress(1, 2, "random forests on the truth")
    both = _joined(data.predictors, places)
    surveys = data.surveys
    n, m = len(surveys), len(x)
    everywhere = Surveys(
        np.concatenate([surveys.presence, np.zeros((m, surveys.presence.shape[1]), bool)]),
        np.concatenate([surveys.area_m2, area]), np.concatenate([surveys.year, year]),
        np.concatenate([surveys.place, np.arange(m) + surveys.place.max() + 1]),
        np.concatenate([surveys.x, x]), np.concatenate([surveys.y, y]), surveys.species,
    )  # fmt: skip
    roles = roles_of(config, surveys, model.ensemble.spec, options_of(config).seed)
    train = np.r_[np.isin(roles, ("train", "stop", "calibrate")), np.zeros(m, bool)]
    forest = forest_probability(
        table_of(both, everywhere),
        everywhere.presence,
        train,
        np.r_[np.zeros(n, bool), np.ones(m, bool)],
        LEAF,
        threads=2,
    )[:, kept]
    rows = []
    for name, predicted in (("floracube", p), (f"random_forest (leaf {LEAF})", forest)):
        r = species_correlation(predicted, true)
        rows.append(
            {
                "method": name,
                "correlation": float(np.nanmean(r)),
                "median": float(np.nanmedian(r)),
                "richness_ratio": float(predicted.sum(1).mean() / true.sum(1).mean()),
                "richness_correlation": float(np.corrcoef(predicted.sum(1), true.sum(1))[0, 1]),
                "species": int(np.isfinite(r).sum()),
            }
        )
    return f"Correlation of predicted with true probability over {m:,} cells", rows


def _true_cells(folder: Path, cube: CubeStore) -> tuple[list[str], NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """(species, true probability (cells, species), x, y) of a fixed random choice of land cells."""
    try:
        grid = json.loads((folder / "grid.json").read_text(encoding="utf-8"))
        probability = np.load(folder / "probability.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise TableError(f"{folder}: the truth of the landscape cannot be read ({error}).") from None
    region = cube.region
    w, s, e, n = region.bounds
    rng = np.random.default_rng(0)
    x = w + (rng.integers(0, (e - w) // CELL, 3 * TRUTH_CELLS) + 0.5) * CELL
    y = s + (rng.integers(0, (n - s) // CELL, 3 * TRUTH_CELLS) + 0.5) * CELL
    surface = np.asarray(cube.array(INPUTS["surface"].path).vindex[region.index(x, y)])
    x, y = x[surface == 0][:TRUTH_CELLS], y[surface == 0][:TRUTH_CELLS]
    row = np.floor((grid["north"] - y) / CELL).astype(int)
    col = np.floor((x - grid["west"]) / CELL).astype(int)
    return list(grid["species"]), np.asarray(probability[:, row, col], np.float32).T, x, y


def _joined(a: Predictors, b: Predictors) -> Predictors:
    """Places of both, one after the other."""

    def stack(name: str) -> Any:
        first, second = getattr(a, name), getattr(b, name)
        return None if first is None or second is None else np.concatenate([first, second])

    shift = len(a.climate if a.climate is not None else a.coarse) if a.corner is not None else 0  # type: ignore[arg-type]
    corner = None if a.corner is None or b.corner is None else np.concatenate([a.corner, b.corner + shift])
    return Predictors(
        satellite=stack("satellite"), landsat=stack("landsat"), static=stack("static"), climate=stack("climate"),
        coarse=stack("coarse"), corner=corner, weight=stack("weight"), static_names=a.static_names,
        coarse_names=a.coarse_names,
    )  # fmt: skip
