"""From the vegetation plots that a configuration names to a habitat reader in a model folder, with its skill and its scheme."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cube.config import Config, HabitatConfig
from cube.errors import ConfigError, TableError
from cube.records.coordinates import positions
from cube.records.plots import read_occurrences, survey_ids
from cube.records.report import Report
from cube.records.tables import read_table
from cube.storage.store import open_cube
from inference.cascade.habitats import SCHEME
from inference.cascade.model import load_settings
from inference.evaluation.out_of_fold import CARD as OUT_OF_FOLD
from inference.evaluation.out_of_fold import load_out_of_fold
from inference.network.checksums import write_checksums
from inference.plantbert.baselines import ALWAYS
from inference.plantbert.card import linear_card
from inference.plantbert.curation import Columns, make_plots
from inference.plantbert.evaluation import (
    Skill,
    best_transformer_share,
    better_baselines,
    evaluate_reader,
    reader_folds,
    skill_of,
)
from inference.plantbert.linear import TRANSFORMER_SHARE, LinearReader
from inference.plantbert.places import CARD as PLACES
from inference.plantbert.places import TENSORS as PLACE_TENSORS
from inference.plantbert.plots import Plots
from inference.plantbert.scheme import Scheme, flat_scheme, make_scheme, read_scheme
from inference.training.places import place_reader
from inference.training.predicted_lists import PredictedPlots, predicted_plots

if TYPE_CHECKING:  # transformers takes seconds to import: a model without habitats does without it
    from inference.plantbert.training import ReaderSpec

Progress = Callable[[int, int, str], None]
OTHER_OPTIONS: Final = ("folds", "predicted")
"""Keys of habitats.options that are not of the reader's own training; see `train_habitats`."""
PARTS: Final = ("transformer", "linear")  # of Pl@ntBERT as it ships
FOLDS: Final = 5  # parts into which plots are dealt
SKILL: Final = "skill.json"  # a record for each method, beside the reader


def load_plots(config: Config) -> tuple[Plots, pd.DataFrame, dict[str, Any]]:
    """Curated plots, their rows in the table of plots (by plot id; positions in degrees), and a report.

    What `exclude_surveys` names is left out. Raises `TableError` or `ConfigError` for what the configuration names wrongly.
    """
    habitats = _required(config)
    c = habitats.plots.columns
    assert c.habitat is not None
    path = config.source_path(habitats.plots.table)
    species_path = config.source_path(habitats.plots.occurrences or habitats.plots.table)
    place_columns = (c.longitude, c.latitude) if c.longitude is not None and c.latitude is not None else ()
    plot_columns = [c.survey, c.habitat, *place_columns, *c.predictors, *habitats.exclude_surveys]
    rows = Report("vegetation plots")
    table = read_table(path, plot_columns, encoding=habitats.plots.encoding, report=rows, account="rows of plots")
    if place_columns:
        degrees = pd.DataFrame({"longitude": table[place_columns[0]], "latitude": table[place_columns[1]]})
        table[list(place_columns)] = positions(degrees, path, rows, c.crs, None, place_columns).to_numpy()
    covers = read_occurrences(config, habitats.plots, plot_columns, "habitats.plots", rows)
    if "cover" not in covers:
        raise ConfigError(f"{config.path}: habitats.plots.cells: say 'cover'; presences do not teach habitats.")
    table[c.survey] = survey_ids(table[c.survey])
    has_id = table[c.survey].notna()
    rows.leave_out("rows of plots", "rows without a survey id", [f"row {i + 1}" for i in table.index[~has_id]])
    left_out = pd.Series(False, index=table.index)
    for column, values in habitats.exclude_surveys.items():
        left_out |= table[column].astype(str).isin(values)
    rows.leave_out("rows of plots", "plots withheld by exclude_surveys", [], int((left_out & has_id).sum()))
    table = table[has_id & ~left_out]
    rows.use("rows of plots", len(table))
    of_plots = covers["survey"].isin(table[c.survey])
    rows.leave_out("rows of occurrences", "occurrences of no plot, or of one withheld", [], int((~of_plots).sum()))
    rows.use("rows of occurrences", int(of_plots.sum()))
    rows.check()
    plots, report = make_plots(
        table,
        covers[of_plots].rename(columns={"survey": c.survey}),
        Columns(c.survey, "name", "cover", c.habitat),
        min_records=10,
        min_plots=habitats.min_plots,
        names=(path, species_path),
    )
    counts = {
        "plots": len(plots),
        "records": int(plots.size.sum()),
        "species": len(plots.species),
        "habitats": len(plots.habitats),
    }
    remarks = {**rows.document()["remarks"], **_remarks(report)}
    report = {"title": "vegetation plots", "kept": counts, "rows": rows.document()["rows"], "remarks": remarks}
    return plots, table.set_index(table[c.survey].astype(str)), report


def _remarks(report: dict[str, Any]) -> dict[str, Any]:
    """Counts of the plots' own report in the form that all tables share."""
    count_names = {"plots", "plots_read", "species", "records_read"}  # among what is kept
    counts = {str(k).replace("_", " "): v for k, v in report.items() if isinstance(v, int) and v and k not in count_names}
    remarks: dict[str, Any] = {k: {"count": n, "first": []} for k, n in counts.items()}
    rare: dict[str, int] = report.get("habitats_too_rare", {})
    if rare:
        texts = [f"{habitat} with {plots} plots" for habitat, plots in sorted(rare.items(), key=lambda item: -item[1])]
        remarks["habitats with fewer than habitats.min_plots, not learned"] = {"count": len(rare), "first": texts[:5]}
    return remarks


def _required(config: Config) -> HabitatConfig:
    if config.habitats is None:
        raise ConfigError(f"{config.path}: habitats is missing; it names the vegetation plots to learn from.")
    return config.habitats


def reader_spec(config: Config) -> ReaderSpec:
    """`habitats.options` as the reader's size and schedule."""
    from inference.plantbert.training import ReaderSpec

    spec = ReaderSpec(**_required(config).options.model_dump(exclude_unset=True, exclude=set(OTHER_OPTIONS)))
    return dataclasses.replace(spec, base=Path(config.own_path(str(spec.base)))) if spec.base else spec


def train_habitats(config: Config, folder: Path, progress: Progress) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train the reader on all plots of the configuration into `folder`; returns (metrics, report of the plots).

    `habitats.reader` says which: `plantbert` (an interrupted training resumes) or `linear`. Its skill on held-out
    plots is compared with that of naive Bayes and logistic regression on the same ones, in the metrics, the card and
    `skill.json`. Two keys of habitats.options stand beside those of `ReaderSpec`: `folds` (1 by default for `plantbert`: a
    fifth of the plots is held out once; 5 for `linear`; 0: only the baselines are measured); `predicted` (true by default)
    lets the reader learn from predicted lists too, where the plots have coordinates and a deep-SDM stands beside `folder`.
    """
    habitats = _required(config)
    options = habitats.options
    folds = options.folds if options.folds is not None else 1 if habitats.reader == "plantbert" else FOLDS
    spec = reader_spec(config) if habitats.reader == "plantbert" else None
    plots, table, report = load_plots(config)
    if len(plots.habitats) < 2:
        raise TableError(
            f"{config.source_path(habitats.plots.table)}: fewer than two habitats have {habitats.min_plots} plots; lower"
            " habitats.min_plots or give more labelled plots."
        )
    scheme = _scheme(config, plots)
    of_places = _predicted(config, folder.parent, plots, table, options.seed, progress) if options.predicted else None
    without_place = 0 if of_places is None else int((plots.label >= 0).sum()) - len(of_places)
    if without_place:
        reason = "labelled plots without a predicted list (outside the region, on water, without coordinates)"
        report["remarks"][reason] = {"count": without_place, "first": []}
    of_places = of_places if of_places is not None and len(of_places) else None
    predicted = None if of_places is None else of_places.plots
    skills, how, fold, share = _held_out(config, spec, plots, predicted, table, scheme, folds, options.seed, progress)
    lines = [f"On held-out {how}:", *(skill.line() for skill in skills)]
    places, map_skills = (None, []) if of_places is None else place_reader(plots, of_places, scheme)
    if map_skills:
        lines += ["", "On the places of the same plots, from what the deep-SDM says of them without their block:"]
        lines += [skill.line() for skill in map_skills]
    if spec is None:
        metrics = _train_linear(plots, fold, folder, predicted, lines)
    else:
        metrics = _train_plantbert(config, plots, fold, folder, spec, predicted, lines, progress, share)
    metrics |= {"held_out": how} | {f"held_out_{skill.method}": skill.figures() for skill in skills}
    metrics |= {skill.method: skill.figures() for skill in map_skills}
    for name in (PLACES, PLACE_TENSORS):  # of an earlier training
        (folder / name).unlink(missing_ok=True)
    if places is not None:
        places.save(folder, plots.habitats)
    warning = better_baselines(skills, habitats.reader)
    if warning:
        advice = (
            "`habitats.reader: linear` maps with logistic regression and a hidden layer"
            if habitats.reader == "plantbert"
            else ("`habitats.reader: plantbert` may do better where plots are many")
        )
        metrics["warning"] = f"{warning}; {advice}."
    (folder / SKILL).write_text(
        json.dumps([dataclasses.asdict(s) for s in (*skills, *map_skills)], indent=1) + "\n", encoding="utf-8"
    )
    rows = [dataclasses.asdict(h) for level in scheme.levels for h in scheme.classes[level]]
    pd.DataFrame(rows).to_csv(folder / SCHEME, index=False)
    write_checksums(folder)
    return metrics, report


def _train_linear(
    plots: Plots, fold: NDArray[np.int64], folder: Path, predicted: Plots | None, skill: Sequence[str]
) -> dict[str, Any]:
    """Fit a linear reader and save it with its card; returns its figures."""
    labelled_plots = plots.take(plots.label >= 0)
    start = time.monotonic()
    reader = LinearReader.fit(plots, predicted, fold)
    report = {
        "plots": len(plots),
        "plots_labelled": len(labelled_plots),
        "lists_predicted": 0 if predicted is None else len(predicted),
        "parameters": sum(values.size for values in vars(reader.weights).values()),
        "seconds": round(time.monotonic() - start, 1),
    }
    reader.save(folder)
    (folder / "README.md").write_text(linear_card(plots, report, skill), encoding="utf-8")
    return report


def _train_plantbert(
    config: Config,
    plots: Plots,
    fold: NDArray[np.int64],
    folder: Path,
    spec: ReaderSpec,
    predicted: Plots | None,
    skill: Sequence[str],
    progress: Progress,
    share: float,
) -> dict[str, Any]:
    """Train Pl@ntBERT, with its `share` in the log odds, and the linear path beside it into a folder; returns its figures."""
    from inference.plantbert.training import train_reader

    figures = train_reader(
        plots,
        folder,
        spec,
        lambda stage, step, total: progress(step, total, f"Pl@ntBERT {stage}"),
        run=config.model_path.with_name(f"{config.model_path.name}.run") / "habitats",
        skill=skill,
        predicted=predicted,
    )[2]
    path = LinearReader.fit(plots, predicted, fold)
    path.transformer_share = share
    path.save(folder)
    return figures | {"transformer_share": share}


def _predicted(
    config: Config, model: Path, plots: Plots, table: pd.DataFrame, seed: int, progress: Progress
) -> PredictedPlots | None:
    """The lists that the deep-SDM of the folder `model` tells for the labelled plots; None without one or without places.

    None too where it learned from files beside its surveys or from their table: the cube need not hold what it reads; and where
    it has no scores out of fold, or whole groups in place of blocks were its folds: its lists would be of places that it knows.
    """
    columns = _required(config).plots.columns
    from_files = config.surveys is not None and config.surveys.predictors == "files"
    if columns.longitude is None or columns.latitude is None or from_files or not (model / "sdm").is_dir() or not config.cube:
        return None
    if load_settings(model)[0].table_columns:
        return None
    if not (model / OUT_OF_FOLD).is_file() or not load_out_of_fold(model).folds.of_block:
        return None
    progress(0, 1, "Pl@ntBERT predicted lists")
    cube = open_cube(config.cube_url)
    plot_rows = table.loc[list(plots.plot_id)]
    lists = predicted_plots(
        cube,
        model,
        plots,
        plot_rows[columns.longitude],
        plot_rows[columns.latitude],
        config.predict.year,
        config.predict.area_m2,
        seed,
    )
    progress(1, 1, "Pl@ntBERT predicted lists")
    return lists


def _held_out(
    config: Config,
    spec: ReaderSpec | None,
    plots: Plots,
    predicted: Plots | None,
    table: pd.DataFrame,
    scheme: Scheme,
    folds: int,
    seed: int,
    progress: Progress,
) -> tuple[list[Skill], str, NDArray[np.int64], float]:
    """(skill by method on the same held-out plots, which plots these are, fold of each plot, share of the transformer).

    No reader's skill where `folds` is 0, and the usual share. Else that of `plantbert` is the best of six shares on these plots.
    """
    columns = _required(config).plots.columns
    place: dict[str, NDArray[np.float64] | None] = {"lon": None, "lat": None}
    if columns.longitude is not None and columns.latitude is not None:
        plot_rows = table.loc[list(plots.plot_id)]
        for name, column in (("lon", columns.longitude), ("lat", columns.latitude)):
            place[name] = pd.to_numeric(plot_rows[column], errors="coerce").to_numpy(float)
    parts = folds if folds > 1 else FOLDS
    fold, how = reader_folds(plots, place["lon"], place["lat"], parts, seed)
    score = (fold >= 0) & (plots.label >= 0)
    if folds == 1:
        counts = np.bincount(fold[score], minlength=parts)
        smallest_fold = int(np.abs(counts - counts.sum() / parts).argmin())
        score, how = score & (fold == smallest_fold), f"{how}, one part of {parts}"
    else:
        how = f"{how}, {parts} parts in turn"
    readers = (PARTS if spec is not None else ("linear",)) if folds else ()
    steps_done, total = iter(range(1, 10**6)), (1 if folds == 1 else parts) * (len(readers) + len(ALWAYS))
    progress(0, total, "habitats on held-out plots")
    skills, p = evaluate_reader(
        plots,
        fold,
        spec,
        score=score,
        baselines=ALWAYS,
        scheme=scheme,
        readers=readers,
        predicted=predicted,
        progress=lambda _: progress(next(steps_done), total, "habitats on held-out plots"),
    )
    if readers != PARTS:
        return skills, how, fold, TRANSFORMER_SHARE
    label, (transformer, path) = plots.label[score], (p[name][score] for name in PARTS)
    share, both = best_transformer_share(transformer, path, label)
    return [skill_of("plantbert", both, label, scheme), *skills], how, fold, share


def _scheme(config: Config, plots: Plots) -> Scheme:
    """The scheme of the configuration with the plots' habitats alone; told before any training where they do not fit."""
    habitats = _required(config)
    if habitats.scheme is None:
        return flat_scheme(plots.habitats, habitats.names, habitats.level)
    path = Path(config.source_path(habitats.scheme))
    scheme = read_scheme(path)
    if scheme.levels[0] != habitats.level:
        raise ConfigError(
            f"{config.path}: habitats.level is '{habitats.level}', the finest level of the scheme is '{scheme.levels[0]}';"
            " set habitats.level to that."
        )
    missing_codes = [code for code in plots.habitats if code not in scheme.codes()]
    if missing_codes:
        raise TableError(
            f"{path}: {habitats.level} has no {', '.join(missing_codes[:5])}{', ...' if len(missing_codes) > 5 else ''},"
            f" which the plots in {config.source_path(habitats.plots.table)} have; add a row for each code or correct the plots."
        )
    return restricted(scheme, plots.habitats)


def restricted(scheme: Scheme, codes: Sequence[str]) -> Scheme:
    """The scheme with the finest classes `codes`, all of which it has, and their parents alone."""
    by_code = {h.code: h for level in scheme.levels for h in scheme.classes[level]}
    best_by_place: dict[str, dict[str, Any]] = {}
    for code in codes:
        while code and code not in best_by_place:
            best_by_place[code] = dataclasses.asdict(by_code[code])
            code = by_code[code].parent
    return make_scheme(list(best_by_place.values()))
