"""Skill where data are few: 100 to 1,000 Danish plots, groups of 60 to 700 records of the NCEAS benchmark, against a forest.

    python -m benchmarks.few --data DIR --json few.json

plots    A quarter of the blocks of 20 km is kept for testing (4,000 plots); as many of the other plots as a row says are drawn.
         Species with 10 of them and 20 of the test are scored. The forest learns all species at once.
records  Eight species of a region's group, their records cut to the number of the row; the places of these records are the sites
         of both, the surveys of the region the test (`disdat.py`). The forest is the down-sampled one, a forest a species.

`400 steps` is our network without the limit of passes through few data (`objective.PASSES`, `site_softmax.PASSES`), which was
chosen on these tables. AUC and gains are means over species and draws; the interval is of a bootstrap over species within draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.command import parser_of
from benchmarks.disdat import METHODS, counts_of, mean_of, paired_interval
from benchmarks.disdat_data import Group, read_region
from benchmarks.disdat_model import OPTIONS, floracube_scores
from cube.config.learning import TrainOptions
from inference.data.blocks import make_folds
from inference.data.samples import Predictors, Surveys
from inference.evaluation.baselines.forest import SharedForest
from inference.evaluation.baselines.table import without_gaps
from inference.evaluation.metrics import species_auc
from inference.evaluation.tables import Record, Table, write_tables
from inference.network.batches import predict_surveys
from inference.training.fit import train

TEXTURE: Final = ("aclaynor", "afsandno", "agsandno", "asiltnor")
CLIMATE: Final = ("Temp", "TempSeas", "Prec", "PrecSeas")
PREDICTORS: Final = [
    *CLIMATE,
    *TEXTURE,
    "PhSurface",
    "phDeep",
    "TWI",
    "Slope",
    "Heat_Load_Index",
    "Canopy_Height",
    "Vegetation_density",
]
ABSENT: Final = 32767  # of Canopy_Height
BLOCK_M: Final = 20_000
TESTED: Final = 4_000
SPECIES: Final = 8  # of a group
AREA_M2, YEAR = 78.5, 2010.0  # of Danish plots, circles of 5 m
STEPS: Final = 400
Floats = NDArray[np.float32]
Draw = Callable[[str], NDArray[np.float64]]  # method -> (S,) AUC of each species of a draw


def plot_draws(data: Path, count: int, draws: int) -> Iterator[Draw]:
    """Draws of `count` Danish plots to learn from."""
    plots = pd.read_csv(data / "denmark/plots.csv.gz")
    plots = plots[plots["x"].notna() & plots["y"].notna()].drop_duplicates("plot").reset_index(drop=True)
    table = plots[PREDICTORS].to_numpy(np.float32)
    table[table == ABSENT] = np.nan
    lists = pd.read_csv(data / "denmark/plot_species.csv.gz")
    row = lists["plot"].astype(str).map(pd.Series(plots.index, index=plots["plot"].astype(str)))
    species, names = pd.factorize(lists["species"][row.notna()])
    presence = np.zeros((len(plots), len(names)), bool)
    presence[row[row.notna()].astype(int), species] = True
    x, y = plots["x"].to_numpy(float), plots["y"].to_numpy(float)
    block = np.floor(x / BLOCK_M) * 10_000 + np.floor(y / BLOCK_M)
    rng = np.random.default_rng(77)
    blocks = np.unique(block)
    in_test = np.isin(block, rng.choice(blocks, len(blocks) // 4, replace=False))
    test, rest = rng.choice(np.flatnonzero(in_test), TESTED, replace=False), np.flatnonzero(~in_test)
    for draw in range(draws):
        learn = np.sort(np.random.default_rng([count, draw]).choice(rest, count, replace=False))
        scored_species = np.flatnonzero((presence[learn].sum(0) >= 10) & (presence[test].sum(0) >= 20))
        surveys = Surveys.at(x[learn], y[learn], tuple(map(str, names[scored_species])), AREA_M2, YEAR)
        surveys = replace(surveys, presence=presence[np.ix_(learn, scored_species)])
        yield partial(_plot_auc, surveys, table[learn], table[test], presence[np.ix_(test, scored_species)])


def _plot_auc(surveys: Surveys, table: Floats, query: Floats, truth: NDArray[np.bool_], method: str) -> NDArray[np.float64]:
    if method == "forest":
        filled_table, filled_query = without_gaps(table, query)
        return species_auc(SharedForest()(filled_table, surveys.presence, filled_query, 0), truth, fewest=1)
    options = limited(TrainOptions(threads=1, device="cpu"), method, len(surveys))
    places, test = (Predictors({"static": values}, static_names=tuple(PREDICTORS)) for values in (table, query))
    trained_model = train(places, surveys, None, options, make_folds(surveys, BLOCK_M / 1000, options.members, 0))
    none = np.zeros(len(query))
    return species_auc(predict_surveys(trained_model.ensemble, test, none + YEAR, none + AREA_M2), truth, fewest=1)


def record_draws(data: Path, region: str, count: int, draws: int) -> Iterator[Draw]:
    """Draws of eight species of a region's group with `count` records in all."""
    group = read_region(data / "disdat", region, "tgb")[0]
    for draw in range(draws):
        yield partial(_record_auc, cut(group, count, np.random.default_rng([count, draw, len(region)])))


def _record_auc(group: Group, method: str) -> NDArray[np.float64]:
    if method == "forest":
        score = METHODS["random_forest"](group, 0)
    else:
        score = floracube_scores(group, 0, limited(OPTIONS, method, len(group.records)))
    return np.where(counts_of(group) > 0, species_auc(score, group.presence, fewest=1), np.nan)


def cut(group: Group, count: int, rng: np.random.Generator) -> Group:
    """Eight species of a group that have 15 records, `count` of their records, the places of these as sites."""
    species = np.sort(rng.choice(np.flatnonzero(np.bincount(group.record_species) >= 15), SPECIES, replace=False))
    rows = np.flatnonzero(np.isin(group.record_species, species))
    rows = np.sort(rng.choice(rows, min(count, len(rows)), replace=False))
    test = np.sort(rng.choice(len(group.test), min(TESTED, len(group.test)), replace=False))
    _, first = np.unique(group.record_places[rows], axis=0, return_index=True)
    return replace(
        group,
        species=tuple(group.species[i] for i in species),
        records=group.records[rows],
        record_species=np.searchsorted(species, group.record_species[rows]),
        record_places=group.record_places[rows],
        background=group.records[rows][first],
        background_places=group.record_places[rows][first],
        test=group.test[test],
        test_places=group.test_places[test],
        presence=group.presence[np.ix_(test, species)],
    )


def limited(options: TrainOptions, method: str, rows: int) -> TrainOptions:
    """The options, for `400 steps` with as many passes through four fifths of the `rows` as make so many steps."""
    if method == "floracube":
        return options
    return replace(options, epochs=-(-STEPS // max(1, rows * 4 // 5 // options.batch)))


def measure(title: str, draws: list[Draw]) -> list[Record]:
    """A row a method: AUC, and the gain of `floracube` over it."""
    auc = {method: [draw(method) for draw in draws] for method in ("floracube", "400 steps", "forest")}
    rows: list[Record] = []
    for method, values in auc.items():
        row: Record = {"data": title, "method": method, "AUC": mean_of(values), "draws": len(draws)}
        if method != "floracube":
            gains = [our_auc - peer_auc for our_auc, peer_auc in zip(auc["floracube"], values, strict=True)]
            row["gain of ours"] = mean_of(gains)
            row["lower"], row["upper"] = paired_interval(gains)
        rows.append(row)
    return rows


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with denmark/ and disdat/")
    parser.add_argument("--draws", type=int, default=4)
    args = parser.parse_args()
    rows: list[Record] = []
    for count in (100, 300, 1000):
        rows += measure(f"{count:,} plots", list(plot_draws(args.data, count, args.draws)))
        print(Table("", rows).text(), flush=True)
    for region in ("NZ", "SWI"):
        for count in (60, 120, 250, 700):
            rows += measure(f"{region}, {count} records", list(record_draws(args.data, region, count, args.draws)))
            print(Table("", rows).text(), flush=True)
    table = Table("few data: AUC on places kept for testing, mean over species and draws", rows)
    print(table.text())
    if args.json:
        write_tables(args.json.parent, args.json.stem, [table])


if __name__ == "__main__":
    main()
