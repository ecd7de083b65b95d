"""Surveys and records of a configuration joined to the predictors of its cube: what `train` and `evaluate` both begin with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cube.config import Config
from cube.errors import ConfigError, TableError
from cube.grid import CELL
from cube.layers.inputs import SURFACE
from cube.records.geoplant.dataset import GeoPlant
from cube.records.geoplant.layout import find_layout
from cube.records.geoplant.metadata import COLUMNS, metadata_tables
from cube.records.geoplant.source import FileSource
from cube.records.places import places_of
from cube.records.plots import survey_ids
from cube.records.report import Report
from cube.records.surveys import SurveyTable, predictors_of, read_surveys, species_list
from cube.records.tables import header, read_table
from cube.records.traits import read_traits
from cube.storage.progress import require_complete
from cube.storage.store import CubeStore
from inference.data.recipe import Recipe, recipe
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
from inference.data.sampling import sample, sample_source
from inference.data.shards import SampleStore
from inference.network.deep_sdm import ModelSpec
from inference.network.sizes import shape_of

SURVEYS = ("survey", "longitude", "latitude", "x", "y", "year", "area_m2", "place", "habitat")
OCCURRENCES = ("survey", "name", "cover")
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
    groups: NDArray[np.str_] | None = None  # (n,) values of the column `evaluate.groups` of the surveys


def split_network_options(config: Config) -> tuple[tuple[str, ...] | None, dict[str, Any]]:
    """(modalities wanted, other fields of the model's spec) of the key `network`, tuples where lists were given."""
    fields = config.network.model_dump(exclude_none=True)
    return config.network.modalities, shape_of(fields)


def load_dataset(
    config: Config, cube: CubeStore, progress: Callable[[int, int], None] | None = None, sample_store: SampleStore | None = None
) -> Dataset:
    """Read, check and sample everything that training needs; samples that `sample_store` has no memory for lie there.

    A configuration with records and no surveys gives a dataset whose surveys have no rows.

    Raises `TableError` where no survey or no species is left, `ConfigError` for wrong keys, `SourceError` where an input is not
    complete in a unit with surveys.
    """
    _require_sources(config)
    region = config.whole_region()
    table = SurveyTable(pd.DataFrame(columns=list(SURVEYS)), pd.DataFrame(columns=list(OCCURRENCES)), Report("surveys"))
    if config.surveys is not None:
        table = read_surveys(config, config.surveys, config.species.table, region, "surveys", "surveys")
        table = _on_land(cube, table)
    files = _files(config)
    named_records = _named_records(config, cube, files)
    names = _species(table, named_records, config.species.min_records)
    if not names:
        raise _no_species(config, table, named_records)
    table.report.totals[f"species with {config.species.min_records} records or more"] = len(names)
    traits, traits_report = read_traits(config, config.species.traits, names)
    modalities, options = split_network_options(config)
    from_table = tuple(predictors_of(table.surveys))
    what = recipe(cube, modalities, files.layers if files is not None else None, from_table)
    field = 1
    if any(layer.resolution == "10m" for layer in what.inputs):
        field = 1 + 2 * sum(options.get("dilations", DEFAULT_DILATIONS))
    s = table.surveys
    x, y = s["x"].to_numpy(float), s["y"].to_numpy(float)
    reports = [table.report, traits_report, *([] if files is None else [files.report])]
    survey_store, sample_store = (
        (None, None) if sample_store is None else (sample_store.under("surveys"), sample_store.under("records"))
    )
    if files is None:
        predictors = _of_cube(cube, table, what, field, progress, survey_store)
    else:
        predictors = sample_source(files, what, places_of(s, "PA"), field, progress, survey_store)
    records, record_predictors = None, None
    if named_records is not None:
        records, record_predictors = _records(config, cube, named_records, names, what, field, files, sample_store, progress)
        reports.insert(1, named_records.report)
    presence = _presence(table, names)
    year = s["year"].fillna(s["year"].median() if s["year"].notna().any() else config.predict.year)
    _note_extremes(table, presence, names)
    surveys = Surveys(
        presence=presence,
        area_m2=s["area_m2"].to_numpy(np.float32),
        year=year.to_numpy(np.float32),
        place=pd.factorize(s["place"])[0].astype(np.int64),
        x=x,
        y=y,
        species=tuple(names),
    )
    return Dataset(what, predictors, surveys, table, traits, reports, records, record_predictors, _groups(config, table))


def _require_sources(config: Config) -> None:
    """Raise `ConfigError` where there is nothing to learn from, or records lack what surveys are learned by."""
    columns = None if config.surveys is None else config.surveys.columns
    if columns is not None and columns.predictors and uses_records(config):
        raise ConfigError(
            f"{config.path}: surveys.columns.predictors names columns that records do not have; set train.likelihood to"
            " surveys_only, or leave out the predictors or the records."
        )
    if config.surveys is None and not uses_records(config):
        raise ConfigError(f"{config.path}: there are neither surveys nor records to learn from; name `surveys` or `records`.")


def _of_cube(
    cube: CubeStore,
    table: SurveyTable,
    what: Recipe,
    field: int,
    progress: Callable[[int, int], None] | None,
    sample_store: SampleStore | None,
) -> Predictors:
    """What the layers of the cube and the columns of the survey table say at surveys."""
    s = table.surveys
    x, y = s["x"].to_numpy(float), s["y"].to_numpy(float)
    require_complete(cube, what.layers, cube.region.units_at(x, y))
    side, of_layers = _side_m(table), what.of_layers
    predictors = sample(cube, of_layers, x, y, field, progress, sample_store, side) if of_layers.modalities else None
    if what.table_columns:
        values = s[list(what.table_columns)].to_numpy(np.float32)
        predictors = (predictors or Predictors({"table_50m": values[:, :0]})).with_columns(values, what.table_columns)
    assert predictors is not None
    return predictors


def _presence(table: SurveyTable, names: Sequence[str]) -> NDArray[np.bool_]:
    """(n, S) which species each survey found."""
    presence = np.zeros((len(table.surveys), len(names)), bool)
    position = {name: i for i, name in enumerate(names)}
    rows = table.occurrences[table.occurrences["name"].isin(names)]
    presence[rows["survey"].to_numpy(np.int64), rows["name"].map(position).to_numpy(np.int64)] = True
    return presence


def _groups(config: Config, table: SurveyTable) -> NDArray[np.str_] | None:
    """(n,) values of the column `evaluate.groups` of the surveys, '' where there is none; None where no column is named."""
    column, source = config.evaluate.groups, config.surveys
    if column is None or source is None:
        return None
    plots = source.plots
    if plots is not None:
        assert plots.columns.survey is not None
        group_tables = [(config.source_path(plots.table), plots.columns.survey, plots.encoding)]
    elif source.geoplant is not None:
        tables = metadata_tables(find_layout(config.source_path(source.geoplant)), "PA", source.splits)
        names = [(str(t.path), next((c for c in COLUMNS["survey"] if c in header(str(t.path))), "surveyId")) for t in tables]
        group_tables = [(path, name, None) for path, name in names]
    else:
        raise ConfigError(f"{config.path}: evaluate.groups names a column of surveys.table; Darwin Core has no such table.")
    values: dict[str, str] = {}
    for path, survey, encoding in group_tables:
        rows = read_table(path, [survey, column], encoding=encoding)
        keys = survey_ids(rows[survey])
        keys = keys if plots is not None else keys.str.removesuffix(".0")
        values |= dict(zip(keys, rows[column].fillna("").astype(str), strict=True))
    return np.array([values.get(str(key), "") for key in table.surveys["survey"]], str)


def _side_m(table: SurveyTable) -> NDArray[np.float64]:
    """(n,) side of each survey's plot as a square, metres, NaN where its area is unknown; plots above a cell are reported."""
    side = np.sqrt(table.surveys["area_m2"].to_numpy(np.float64))
    large = side > CELL
    table.report.note(
        "surveys larger than a cell of 50 m: their predictors are the mean of their square",
        list(table.surveys.loc[large, "survey"]),
    )
    return side


def _no_species(config: Config, table: SurveyTable, named_records: NamedRecords | None) -> TableError:
    """No species is left to model: the sentence says how many records the commonest has."""
    counts = table.occurrences.groupby("name")["survey"].nunique().to_dict()
    for name, count in (named_records.counts() if named_records is not None else {}).items():
        counts[name] = counts.get(name, 0) + count
    min_records = config.species.min_records
    if not counts:
        return TableError(
            f"{config.path}: surveys: no species was found at the {len(table.surveys):,} surveys of the region; the ids of"
            f" surveys in the two tables may differ, such as '{table.surveys['survey'].iloc[0]}' written otherwise."
        )
    commonest = max(counts, key=lambda name: counts[name])
    return TableError(
        f"{config.path}: no species has {min_records} records within the region, the commonest ({commonest}) has"
        f" {counts[commonest]}; set species.min_records to {counts[commonest]} or less, or give more surveys."
    )


def _note_extremes(table: SurveyTable, presence: NDArray[np.bool_], names: list[str]) -> None:
    """Report by name what teaches little: species in every survey, and surveys without a species that is modelled."""
    report, has_species = table.report, table.surveys.index.isin(table.occurrences["survey"])
    if len(presence):
        constant = np.flatnonzero(presence.all(0))
        report.note(
            "species in every survey: where they are absent is not learned, their maps are near 1",
            [names[i] for i in constant],
        )
    empty = ~presence.any(1)
    report.note("surveys without any species: they count as absences of all", list(table.surveys.loc[~has_species, "survey"]))
    report.note(
        "surveys whose species are all too rare to be modelled: they count as absences of the others",
        list(table.surveys.loc[empty & has_species, "survey"]),
    )


def uses_records(config: Config) -> bool:
    """Whether training reads the records that the configuration names: unless it says `likelihood: surveys_only`."""
    return config.records is not None and config.train.likelihood != "surveys_only"


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


def _species(table: SurveyTable, named_records: NamedRecords | None, min_records: int) -> list[str]:
    if named_records is None:
        return species_list(table.occurrences, min_records)
    survey_counts = table.occurrences.groupby("name")["survey"].nunique()
    return model_species({str(name): int(n) for name, n in survey_counts.items()}, named_records.counts(), min_records)


def _records(
    config: Config,
    cube: CubeStore,
    named_records: NamedRecords,
    names: list[str],
    what: Recipe,
    field: int,
    files: FileSource | None,
    sample_store: SampleStore | None,
    progress: Callable[[int, int], None] | None,
) -> tuple[Records, Predictors]:
    """Records of the modelled species and the predictors of their distinct cells and of the background."""
    if files is None:
        records, cells, _ = place_records(named_records, names, uniform_cells(cube, BACKGROUND), cube.region)
        x, y = cell_centres(cube.region, cells)
        require_complete(cube, what.layers, cube.region.units_at(x, y))
        return records, sample(cube, what, x, y, field, progress, sample_store)
    # GeoPlant has files at its records alone: there a quadrature would have nothing to read.
    records, cells, first = place_records(named_records, names, np.zeros(0, np.int64), cube.region)
    assert named_records.ids is not None
    rows = named_records.ids.iloc[first].assign(x=named_records.x[first], y=named_records.y[first])
    return records, sample_source(files, what, places_of(rows, "PO"), field, progress, sample_store)


def _files(config: Config) -> FileSource | None:
    """The files that GeoPlant gives beside its surveys, where the configuration learns from them."""
    s = config.surveys
    if s is None or s.geoplant is None or s.predictors != "files":
        return None
    return FileSource(GeoPlant(config.source_path(s.geoplant)))


def _on_land(cube: CubeStore, table: SurveyTable) -> SurveyTable:
    """Leave out surveys on cells that the surface layer calls water, counted and named."""
    s = table.surveys
    row, col = cube.region.index(s["x"].to_numpy(float), s["y"].to_numpy(float))
    surface = cube.array(SURFACE)
    values = np.asarray(surface.vindex[row, col]) if len(s) else np.zeros(0, np.uint8)
    # A square of an atlas whose centre lies in a lake has land all the same.
    wet = (values == 1) & ~(s["area_m2"].to_numpy(float) > CELL**2)
    if not wet.any():
        return table
    table.report.withdraw("surveys", "surveys on permanent water", list(s.loc[wet, "survey"]))
    table.report.totals["surveys"] = int((~wet).sum())
    if wet.all():
        raise TableError(
            f"surveys: no survey is left: {'; '.join(table.report.reasons())}; check that longitude and latitude are not rounded,"
            " and the source of the layer surface."
        )
    return subset_of(table, np.flatnonzero(~wet))


def subset_of(table: SurveyTable, rows: NDArray[np.int64]) -> SurveyTable:
    """Some surveys of a table, numbered anew, with what they list."""
    position = np.full(len(table.surveys), -1, np.int64)
    position[rows] = np.arange(len(rows))
    at = position[table.occurrences["survey"].to_numpy(np.int64)]
    occurrences = table.occurrences[at >= 0].assign(survey=at[at >= 0])
    return SurveyTable(table.surveys.iloc[rows].reset_index(drop=True), occurrences.reset_index(drop=True), table.report)
