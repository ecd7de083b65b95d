"""From the vegetation plots that a configuration names to a habitat reader in a model folder, with its skill and its scheme."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from cube.config import Config, HabitatConfig
from cube.errors import ConfigError, ModelError
from cube.records.tables import read_table
from cube.storage.store import open_cube
from inference.cascade.habitats import READING, SCHEME, TAUGHT
from inference.plantbert.curation import Columns, make_plots
from inference.plantbert.plots import Plots
from inference.plantbert.scheme import Scheme, flat_scheme, make_scheme, read_scheme
from inference.training.predicted import predicted_plots

if TYPE_CHECKING:  # transformers takes seconds to import: a model without habitats does without it
    from inference.plantbert.training import ReaderSpec

Progress = Callable[[int, int, str], None]
BESIDE: Final = ("folds", "predicted", "reading")
"""Keys of habitats.options that are not of the reader's own training; see `train_habitats`."""


def load_plots(config: Config) -> tuple[Plots, pd.DataFrame, dict[str, Any]]:
    """Curated plots, their rows in the table of plots (by plot id), and a report; what `exclude_surveys` names is left out.

    Raises `TableError` or `ConfigError` for what the configuration names wrongly.
    """
    habitats = _required(config)
    c = habitats.plots.columns
    if c.species is None or c.cover is None or c.habitat is None or habitats.plots.occurrences is None:
        raise ConfigError(f"{config.path}: habitats.plots: needs 'occurrences' and the columns species, cover and habitat.")
    path, species_path = config.source_path(habitats.plots.table), config.source_path(habitats.plots.occurrences)
    placed = [column for column in (c.longitude, c.latitude) if column is not None]
    table = read_table(path, [c.survey, c.habitat, *placed, *habitats.exclude_surveys])
    covers = read_table(species_path, [c.survey, c.species, c.cover])
    left_out = pd.Series(False, index=table.index)
    for column, values in habitats.exclude_surveys.items():
        left_out |= table[column].astype(str).isin(values)
    table = table[~left_out]
    covers = covers[covers[c.survey].isin(table[c.survey])]
    plots, report = make_plots(
        table, covers, Columns(c.survey, c.species, c.cover, c.habitat),
        min_records=10, min_plots=habitats.min_plots, names=(path, species_path),
    )  # fmt: skip
    kept = {"plots": len(plots), "records": int(plots.size.sum()), "species": len(plots.species),
            "habitats": len(plots.habitats)}  # fmt: skip
    report = {"title": "vegetation plots", "kept": kept, "remarks": _remarks(report, int(left_out.sum()))}
    return plots, table.set_index(table[c.survey].astype(str)), report


def _remarks(report: dict[str, Any], withheld: int) -> dict[str, Any]:
    """Counts of the plots' own report in the form that all tables share."""
    told = {"plots", "plots_read", "species", "records_read"}  # among what is kept
    counts = {str(k).replace("_", " "): v for k, v in report.items() if isinstance(v, int) and v and k not in told}
    if withheld:
        counts["plots withheld by exclude_surveys"] = withheld
    return {k: {"count": n, "first": []} for k, n in counts.items()}


def _required(config: Config) -> HabitatConfig:
    if config.habitats is None:
        raise ConfigError(f"{config.path}: habitats is missing; it names the vegetation plots to learn from.")
    return config.habitats


def reader_spec(config: Config) -> ReaderSpec:
    """`habitats.options` as the reader's size and schedule. Raises `ConfigError` for a wrong key."""
    from inference.plantbert.training import ReaderSpec

    options = {k: v for k, v in _required(config).options.items() if k not in BESIDE}
    known = {f.name for f in dataclasses.fields(ReaderSpec)} - {"augmentation"}
    for key in options:
        if key not in known:
            names = ", ".join(sorted(known | set(BESIDE)))
            raise ConfigError(f"{config.path}: habitats.options.{key}: is not a key that is known here; known are {names}.")
    spec = ReaderSpec(**options)
    return dataclasses.replace(spec, base=Path(config.own_path(str(spec.base)))) if spec.base else spec


def train_habitats(config: Config, folder: Path, progress: Progress) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train the reader on all plots of the configuration into `folder`; returns (metrics, report of the plots).

    A killed training goes on where it was. Three keys of habitats.options stand beside those of `ReaderSpec`: `folds` (0 by
    default) measures skill on that many folds of blocks of 0.1 degree first, for the metrics and the card; `predicted`
    (true by default) lets the reader learn from predicted lists too, where the plots have coordinates and a deep-SDM stands
    beside `folder`; `reading` is how maps are read: "float32" (the whole model), "int8" or "student" (approximations, see
    `plantbert.quick`).
    """
    from inference.plantbert.quick import READINGS
    from inference.plantbert.training import train_reader

    habitats, spec = _required(config), reader_spec(config)
    reading = str(habitats.options.get("reading", READINGS[0]))
    if reading not in READINGS:
        raise ConfigError(f"{config.path}: habitats.options.reading: is '{reading}'; it may be {', '.join(READINGS)}.")
    wanted = habitats.options.get("predicted", True)
    if not isinstance(wanted, bool):
        raise ConfigError(f"{config.path}: habitats.options.predicted: is {wanted!r}; it may be true or false.")
    plots, table, report = load_plots(config)
    scheme = _scheme(config, plots)
    skill = _held_out(config, spec, plots, table, scheme, progress)
    predicted = _predicted(config, folder.parent, plots, table, spec.seed, progress) if wanted else None
    model, tokenizer, metrics = train_reader(
        plots, folder, spec, lambda stage, step, total: progress(step, total, f"Pl@ntBERT {stage}"),
        run=config.model_path.with_name(f"{config.model_path.name}.run") / "habitats", skill=skill.values(), predicted=predicted,
    )  # fmt: skip
    metrics |= {f"held_out_{name}": line for name, line in skill.items()}
    if reading == "student":
        metrics["student_agreement"] = _teach(plots, model, tokenizer, folder, spec.seed)
    (folder / READING).write_text(reading + "\n", encoding="utf-8")
    rows = [dataclasses.asdict(h) for level in scheme.levels for h in scheme.classes[level]]
    pd.DataFrame(rows).to_csv(folder / SCHEME, index=False)
    return metrics, report


def _predicted(config: Config, model: Path, plots: Plots, table: pd.DataFrame, seed: int, progress: Progress) -> Plots | None:
    """The lists that the deep-SDM of the folder `model` tells for the labelled plots; None without one or without places.

    None too where it learned from files beside its surveys: the cube need not hold what it reads.
    """
    columns = _required(config).plots.columns
    from_files = config.surveys is not None and config.surveys.predictors == "files"
    if columns.longitude is None or columns.latitude is None or from_files or not (model / "sdm").is_dir():
        return None
    progress(0, 1, "Pl@ntBERT predicted lists")
    cube = open_cube(config.cube_url)
    placed = table.loc[list(plots.plot_id)]
    made = predicted_plots(
        cube, model, plots, placed[columns.longitude], placed[columns.latitude],
        config.predict.year, config.predict.area_m2, seed,
    )  # fmt: skip
    progress(1, 1, "Pl@ntBERT predicted lists")
    return made if len(made) else None


def _held_out(
    config: Config, spec: ReaderSpec, plots: Plots, table: pd.DataFrame, scheme: Scheme, progress: Progress
) -> dict[str, str]:
    """A line of skill by method on held-out blocks, where the options ask for folds."""
    from inference.plantbert.evaluation import evaluate_reader, spatial_folds

    habitats = _required(config)
    folds, columns = int(habitats.options.get("folds", 0)), habitats.plots.columns
    if not folds:
        return {}
    if columns.longitude is None or columns.latitude is None:
        raise ConfigError(f"{config.path}: habitats.options.folds: needs the columns longitude and latitude of the plots.")
    placed = table.loc[list(plots.plot_id)]
    lon, lat = placed[columns.longitude].to_numpy(float), placed[columns.latitude].to_numpy(float)
    fold = spatial_folds(lon, lat, 0.1, folds)
    done = iter(range(1, folds * 2 + 1))
    skills, _ = evaluate_reader(plots, fold, spec, scheme=scheme,
                                progress=lambda _: progress(next(done), folds * 2, "Pl@ntBERT on held-out blocks"))  # fmt: skip
    return {skill.method: skill.line() for skill in skills}


def _teach(plots: Plots, model: Any, tokenizer: Any, folder: Path, seed: int) -> float:
    """Teach a student on varied plots of nine tenths, save it, and return its agreement with the reader on the last tenth."""
    from inference.plantbert.batches import Augmentation, augment
    from inference.plantbert.classify import HabitatReader
    from inference.plantbert.quick import agreement, teach

    reader = HabitatReader(model, tokenizer)
    tokens, _ = reader.tokens_of(plots.species)
    draw = np.random.default_rng(seed)
    kept = draw.random(len(plots)) < 0.9
    rows = np.repeat(np.flatnonzero(kept), max(1, min(20, 40_000 // max(1, int(kept.sum())))))
    order, size = augment(plots.order[rows], plots.size[rows], Augmentation(), draw)
    said = reader.classify(order, size, tokens, deduplicate=True)
    student = teach(order, size, said, len(plots.species), reader.habitats, seed=seed)
    student.save(folder)
    (folder / TAUGHT).write_text("\n".join(plots.species), encoding="utf-8")
    asked = plots.take(~kept)
    return agreement(reader.classify(asked.order, asked.size, tokens), student.classify(asked.order, asked.size))


def _scheme(config: Config, plots: Plots) -> Scheme:
    """The scheme of the configuration with the plots' habitats alone; told before any training where they do not fit."""
    habitats = _required(config)
    if habitats.scheme is None:
        return flat_scheme(plots.habitats, habitats.names, habitats.level)
    scheme = restricted(read_scheme(Path(config.source_path(habitats.scheme))), plots.habitats)
    if scheme.levels[0] != habitats.level:
        raise ConfigError(
            f"{config.path}: habitats.level is '{habitats.level}', the finest level of the scheme is '{scheme.levels[0]}'."
        )
    return scheme


def restricted(scheme: Scheme, codes: Sequence[str]) -> Scheme:
    """The scheme with the finest classes `codes` and their parents alone. Raises `ModelError` for an unknown code."""
    by_code = {h.code: h for level in scheme.levels for h in scheme.classes[level]}
    kept: dict[str, dict[str, Any]] = {}
    for code in codes:
        if code not in scheme.codes():
            raise ModelError(
                f"the plots have the habitat '{code}', which level {scheme.levels[0]} of the scheme does not know;"
                " add it to the scheme's table."
            )
        while code and code not in kept:
            kept[code] = dataclasses.asdict(by_code[code])
            code = by_code[code].parent
    return make_scheme(list(kept.values()))
