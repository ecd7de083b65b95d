"""GeoPlant as a benchmark: surveys of the published splits, their species as numbers, and predictors kept on disk.

Nothing is tuned or trained here. Memory holds the surveys' heads and presences; predictors are sampled piece by piece
into files whose rows are read when they are used, as those of a large training are.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cube.config import Config
from cube.config.records import SurveyConfig
from cube.errors import TableError
from cube.layers.inputs import INPUTS
from cube.records.geoplant.dataset import GeoPlant
from cube.records.geoplant.source import FileSource
from cube.records.places import Places, places_of
from cube.records.report import Report
from cube.records.surveys import SurveyTable, read_surveys
from inference.data.dataset import subset_of
from inference.data.recipe import Recipe
from inference.data.recipe import recipe_of as recipe_of_layers
from inference.data.samples import Predictors, Surveys
from inference.data.sampling import sample_source
from inference.data.shards import SampleStore

SPLITS: Final = ("train", "val", "test_iid", "test_ood", "test_glc25", "test")  # the last one: what no other holds
TESTS: Final = SPLITS[2:]
SPECIES: Final = 11_255  # label space of the benchmark: ids are 0 to 11,254
# All of the benchmark's area, and nothing of it is built: reading surveys asks for a configuration.
COMPLETE_DATA: Final = {
    "title": "GeoPlant",
    "cube": "none",
    "unit_km": 40,
    "sources": [],
    "region": {"west_km": 900, "south_km": 860, "east_km": 7460, "north_km": 5500},
}


@dataclass(frozen=True)
class Benchmark:
    """Surveys of all splits, row for row with their predictors; columns are the species seen in training.

    `split` (n,) as published, `survey_ids` (n,) GeoPlant's numbers, `species_ids` (S,) GeoPlant's number of each column,
    `other_species` (n,) species found that no column stands for, `labelled` (n,) whether the species of a survey are told.
    """

    surveys: Surveys
    predictors: Predictors
    split: NDArray[np.str_]
    survey_ids: NDArray[np.int64]
    species_ids: NDArray[np.int64]
    other_species: NDArray[np.int64]
    labelled: NDArray[np.bool_]
    recipe: Recipe
    reports: list[Report]


def read_benchmark(
    folder: Path,
    scratch: Path,
    cells: int,
    modalities: Sequence[str] | None = None,
    min_records: int = 1,
) -> Benchmark:
    """Everything of the PA surveys in `folder`, of whatever year it was published.

    `scratch`: folder for the sampled predictors; `cells`: side of the satellite patch in 50 m cells; `modalities` keeps some of
    the network's; `min_records`: presences in training that make a species a column. Raises `TableError` for a folder without
    surveys or species.
    """
    source = FileSource(GeoPlant(folder))
    tables = _tables(folder)
    heads = pd.concat([t.surveys.assign(split=name) for name, t in tables.items()], ignore_index=True)
    split = heads["split"].to_numpy(dtype="<U10")
    survey, species = _lists(list(tables.values()))
    labelled = np.isin(np.arange(len(heads)), survey)
    ids, counts = np.unique(species[np.isin(split[survey], ("train", "val"))], return_counts=True)
    ids = ids[counts >= min_records]
    if not len(ids):
        raise TableError(
            f"{folder}: no species has {min_records} presences in the surveys for training; lower --min-records or fetch"
            " the table of training surveys."
        )
    column = pd.Index(ids).get_indexer(pd.Index(species))
    presence = np.zeros((len(heads), len(ids)), bool)
    presence[survey[column >= 0], column[column >= 0]] = True
    other_species = np.bincount(survey[column < 0], minlength=len(heads))
    species_report = Report("species")
    species_report.note(
        f"species ids beyond the label space of {SPECIES:,}, in no published figure",
        [str(i) for i in np.unique(species) if not 0 <= i < SPECIES],
    )
    years = heads["year"].fillna(heads["year"].median() if heads["year"].notna().any() else 2020)
    surveys = Surveys(
        presence,
        heads["area_m2"].to_numpy(np.float32),
        years.to_numpy(np.float32),
        pd.factorize(heads["place"])[0].astype(np.int64),
        heads["x"].to_numpy(float),
        heads["y"].to_numpy(float),
        tuple(f"species {i}" for i in ids),
    )
    what = recipe_of(source, modalities)
    places = places_of(heads, "PA")
    predictors = _on_disk(source, what, places, cells, scratch)
    reports = [*(t.report for t in tables.values()), species_report, source.report]
    return Benchmark(surveys, predictors, split, places.survey, ids.astype(np.int64), other_species, labelled, what, reports)


def _tables(folder: Path) -> dict[str, SurveyTable]:
    """The surveys of every split that the folder has, none twice."""
    config = Config.model_validate(COMPLETE_DATA)
    tables: dict[str, SurveyTable] = {}
    errors: list[TableError] = []
    names: set[str] = set()
    for name in SPLITS:
        try:
            table = read_surveys(
                config, SurveyConfig(geoplant=str(folder.resolve()), splits=(name,)), None, None, f"surveys of {name}", "surveys"
            )
        except TableError as error:
            errors.append(error)
            continue
        fresh = ~table.surveys["survey"].isin(names).to_numpy()
        names |= set(table.surveys["survey"])
        rows = np.flatnonzero(fresh)
        if len(rows):
            tables[name] = subset_of(table, rows)
    if not tables:
        raise errors[0]
    return tables


def _lists(tables: Sequence[SurveyTable]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(number of the survey among those of all tables, species id) of every species of every list, none twice."""
    first = np.cumsum([0, *(len(table.surveys) for table in tables)])
    parts = [table.occurrences.assign(survey=table.occurrences["survey"] + at) for at, table in zip(first, tables, strict=False)]
    rows = pd.concat(parts)[["survey", "name"]].drop_duplicates()
    species = rows["name"].str.removeprefix("species ").astype(np.int64)
    return np.asarray(rows["survey"], np.int64), np.asarray(species, np.int64)


def recipe_of(source: FileSource, modalities: Sequence[str] | None = None) -> Recipe:
    """What the files of a folder offer the network; `modalities` keeps some. Raises `TableError` if nothing is left."""
    layers = [INPUTS[name] for name in source.layers]
    recipe = recipe_of_layers(layers, modalities)
    if not recipe.modalities:
        raise TableError(
            f"{source.geoplant.layout.folder}: has no predictors for {', '.join(modalities or ('any modality',))}"
            f" (it has {', '.join(recipe_of_layers(layers).modalities) or 'none'}); fetch patches, series or tables of values."
        )
    return recipe


def _on_disk(source: FileSource, what: Recipe, places: Places, cells: int, scratch: Path) -> Predictors:
    """Predictors of places as rows of files below `scratch`, made anew."""
    folder = scratch / "samples"
    shutil.rmtree(folder, ignore_errors=True)
    return sample_source(source, what, places, cells, sample_store=SampleStore(folder, 0))


def labelled_tests(benchmark: Benchmark) -> list[str]:
    """The published tests whose surveys tell their species, in the order of `TESTS`."""
    return [name for name in TESTS if ((benchmark.split == name) & benchmark.labelled).any()]
