"""Surveys and records of a configuration joined to the predictors of its cube: what `train` and `evaluate` both begin with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cube.config import Config
from cube.errors import ConfigError, TableError
from cube.inputs import INPUTS
from cube.records.geoplant.dataset import GeoPlant
from cube.records.geoplant.source import FileSource
from cube.records.places import places_of
from cube.records.surveys import SurveyTable, read_surveys, species_list
from cube.records.tables import Report
from cube.records.traits import read_traits
from cube.storage.store import CubeStore
from inference.data.records import (
    BACKGROUND,
    NamedRecords,
    Records,
    cell_centres,
    model_species,
    place_records,
    read_named_records,
    uniform_cells,
)
from inference.data.samples import Predictors, Surveys
from inference.data.sampling import Recipe, recipe, sample, sample_source
from inference.data.shards import Shelf
from inference.network.deep_sdm import ModelSpec
from inference.network.sizes import shape_of

DEFAULT_DILATIONS = ModelSpec(("satellite",), 1).dilations


@dataclass(frozen=True)
class Dataset:
    """Predictors and surveys row for row, the traits of the modelled species, and what was left out.

    `records`, where the configuration names them and trains with them, read `record_predictors`, a row a distinct cell.
    """

    recipe: Recipe
    predictors: Predictors
    surveys: Surveys
    table: SurveyTable
    traits: dict[str, Any]
    reports: list[Report]
    records: Records | None = None
    record_predictors: Predictors | None = None


def split_network_options(config: Config) -> tuple[tuple[str, ...] | None, dict[str, Any]]:
    """(modalities wanted, other fields of the model's spec) of the key `network`, tuples where lists were given."""
    modalities = config.network.get("modalities")
    wanted = None if modalities is None else tuple(modalities)
    options = shape_of(config.network, f"{config.path}: network")
    return wanted, options


def load_dataset(
    config: Config, cube: CubeStore, progress: Callable[[int, int], None] | None = None, shelf: Shelf | None = None
) -> Dataset:
    """Read, check and sample everything that training needs; samples that `shelf` has no memory for lie there.

    Raises `TableError` where no survey or no species is left, `ConfigError` for wrong keys.
    """
    if config.surveys is None:
        raise ConfigError(f"{config.path}: surveys is missing; training needs presence-absence surveys.")
    region = config.whole_region()
    table = read_surveys(config, config.surveys, config.species.table, region, "surveys", "surveys")
    table = _on_land(cube, table)
    files = _files(config)
    named = _named_records(config, cube, files)
    names = _species(table, named, config.species.min_records)
    if not names:
        raise TableError(
            f"{config.path}: no species has {config.species.min_records} records within the region;"
            " lower species.min_records or give more surveys."
        )
    table.report.kept[f"species with {config.species.min_records} records or more"] = len(names)
    traits, traits_report = read_traits(config, config.species.traits, names)
    wanted, options = split_network_options(config)
    what = recipe(cube, wanted, files.layers if files is not None else None)
    field = 1
    if "satellite" in what.modalities:
        field = 1 + 2 * sum(options.get("dilations", DEFAULT_DILATIONS))
    s = table.surveys
    x, y = s["x"].to_numpy(float), s["y"].to_numpy(float)
    reports = [table.report, traits_report]
    own, shelf = (None, None) if shelf is None else (shelf.under("surveys"), shelf.under("records"))
    if files is None:
        predictors = sample(cube, what, x, y, field, progress, own)
    else:
        predictors = sample_source(files, what, places_of(s, "PA"), field, progress, own)
        reports.append(files.report)
    records, record_predictors = None, None
    if named is not None:
        records, record_predictors = _records(config, cube, named, names, what, field, files, shelf, progress)
        reports.insert(1, named.report)
    presence = np.zeros((len(s), len(names)), bool)
    position = {name: i for i, name in enumerate(names)}
    rows = table.occurrences[table.occurrences["name"].isin(names)]
    presence[rows["survey"].to_numpy(), rows["name"].map(position).to_numpy()] = True
    year = s["year"].fillna(s["year"].median() if s["year"].notna().any() else config.predict.year)
    surveys = Surveys(
        presence=presence,
        area_m2=s["area_m2"].to_numpy(np.float32),
        year=year.to_numpy(np.float32),
        place=pd.factorize(s["place"])[0].astype(np.int64),
        x=x,
        y=y,
        species=tuple(names),
    )
    return Dataset(what, predictors, surveys, table, traits, reports, records, record_predictors)


def uses_records(config: Config) -> bool:
    """Whether training reads the records that the configuration names: unless it says `likelihood: surveys_only`."""
    return config.records is not None and config.train.get("likelihood") != "surveys_only"


def _named_records(config: Config, cube: CubeStore, files: FileSource | None) -> NamedRecords | None:
    if not uses_records(config):
        return None
    assert config.records is not None
    if files is not None and config.records.geoplant is None:
        raise ConfigError(
            f"{config.path}: records: surveys.predictors is 'files', which only GeoPlant gives; name records.geoplant too,"
            " or take the predictors from the cube."
        )
    return read_named_records(config, cube, with_ids=files is not None)


def _species(table: SurveyTable, named: NamedRecords | None, least: int) -> list[str]:
    if named is None:
        return species_list(table.occurrences, least)
    seen = table.occurrences.groupby("name")["survey"].nunique()
    return model_species({str(name): int(n) for name, n in seen.items()}, named.counts(), least)


def _records(config: Config, cube: CubeStore, named: NamedRecords, names: list[str], what: Recipe, field: int,
             files: FileSource | None, shelf: Shelf | None, progress: Callable[[int, int], None] | None
             ) -> tuple[Records, Predictors]:  # fmt: skip
    """Records of the modelled species and the predictors of their distinct cells and of the background."""
    if files is None:
        records, cells, _ = place_records(named, names, uniform_cells(cube, BACKGROUND), cube.region)
        return records, sample(cube, what, *cell_centres(cube.region, cells), field, progress, shelf)
    # GeoPlant has files at its records alone: there a quadrature would have nothing to read.
    records, cells, first = place_records(named, names, np.zeros(0, np.int64), cube.region)
    assert named.ids is not None
    rows = named.ids.iloc[first].assign(x=named.x[first], y=named.y[first])
    return records, sample_source(files, what, places_of(rows, "PO"), field, progress, shelf)


def _files(config: Config) -> FileSource | None:
    """The files that GeoPlant gives beside its surveys, where the configuration learns from them."""
    s = config.surveys
    if s is None or s.geoplant is None or s.predictors != "files":
        return None
    return FileSource(GeoPlant(config.source_path(s.geoplant)))


def _on_land(cube: CubeStore, table: SurveyTable) -> SurveyTable:
    """Leave out surveys on cells that the surface layer calls water or leaves unknown, counted and named."""
    s = table.surveys
    row, col = cube.region.index(s["x"].to_numpy(float), s["y"].to_numpy(float))
    surface = cube.array(INPUTS["surface"].path)
    values = np.asarray(surface.vindex[row, col]) if len(s) else np.zeros(0, np.uint8)
    wet = values == 1
    if not wet.any():
        return table
    table.report.note("surveys on permanent water, skipped", list(s.loc[wet, "survey"]))
    kept = s[~wet]
    new = pd.Series(np.arange(len(kept)), index=kept.index)
    occurrences = table.occurrences[table.occurrences["survey"].isin(kept.index)].copy()
    occurrences["survey"] = occurrences["survey"].map(new)
    table.report.kept["surveys"] = len(kept)
    return SurveyTable(kept.reset_index(drop=True), occurrences.reset_index(drop=True), table.report)
