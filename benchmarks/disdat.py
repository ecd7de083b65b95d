"""Presence-only skill on the NCEAS benchmark (Elith et al. 2020): trained on records, tested on independent surveys.

    python -m benchmarks.disdat --data DIR --regions SWI,NZ --seeds 1 --json disdat.json
    python -m benchmarks.disdat --data DIR --regions NSW --tables group --methods floracube,random_forest

DIR holds tables named as in the R package disdat (see `disdat_data.py`). Within a table every method reads the same predictors,
records and sites that records are set against:

random  a random background
group   the places of all records of the group (its published target-group background)
buffer  a random background; records and background within --buffer-km of a test site are left out of the training

Nothing is chosen by region, and nothing was chosen by the surveys (see `disdat_model.py`). `floracube_mixed` is what `floracube
train` does: half of its sites are places of records of the group, which its peers in the table `random` do not see, so it is no
peer. Gains are of `floracube`, with the 95 % interval of a paired bootstrap over species. Peers do not depend on --seeds.
--keep FOLDER keeps scores, so that a stopped run resumes.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.command import parser_of
from benchmarks.disdat_data import Group, farther_than, read_region
from benchmarks.disdat_model import MIXED_SITES, cross_validated, floracube_scores
from inference.evaluation.baselines.boosting import Boosting
from inference.evaluation.baselines.forest import DownSampledForest
from inference.evaluation.baselines.maxent import Maxent, solver
from inference.evaluation.baselines.scores import Fit, record_scores
from inference.evaluation.folds import remembered
from inference.evaluation.metrics import mean_of as mean
from inference.evaluation.metrics import species_auc
from inference.evaluation.tables import Record, Table, write_tables

Scores = NDArray[np.float32]
Auc = NDArray[np.float64]
RARE: Final = 50  # records below which a species counts as rare
DRAWS: Final = 2000  # of the bootstrap
FLORACUBE: Final = "floracube"
TABLES: Final = {
    "random": ("random", "random background for all"),
    "group": ("tgb", "records of the group as sites for all"),
    "buffer": ("random", "random background for all, training points near test sites left out"),
}


def _fitted(group: Group, seed: int, model: Callable[..., Fit]) -> Scores:
    fit = model(categorical=group.categorical)
    return record_scores(fit, group.records, group.record_species, group.background, group.test, len(group.species), seed=seed)


METHODS: dict[str, Callable[[Group, int], Scores]] = {
    FLORACUBE: floracube_scores,
    "floracube_mixed": partial(floracube_scores, options=MIXED_SITES),
    "maxent": partial(_fitted, model=Maxent),
    "random_forest": partial(_fitted, model=DownSampledForest),
    "gradient_boosting": partial(_fitted, model=partial(Boosting, balanced=True)),
}


def region_auc(groups: Sequence[Group], method: str, table: str, seed: int, keep: Path | None, validate: bool) -> Auc:
    """(S,) AUC of every species of a region, group after group; NaN for a species without a record.

    `validate`: of held-out records against held-out background, surveys untouched.
    """
    parts = []
    for group in groups:
        if validate:
            parts.append(cross_validated(group, METHODS[method], seed))
            continue
        data = hashlib.sha256(group.records.tobytes() + group.background.tobytes() + group.test.tobytes()).hexdigest()[:8]
        name = f"{group.region}-{group.name}-{table}-{method}-{seed}-{data}"
        score = remembered(keep, name, lambda group=group: METHODS[method](group, seed))
        parts.append(np.where(counts_of(group) > 0, species_auc(score, group.presence, fewest=1), np.nan))
    return np.concatenate(parts)


def counts_of(group: Group) -> NDArray[np.int64]:
    """(species,) records of each species of a group."""
    return np.bincount(group.record_species, minlength=len(group.species))


def measure(args: argparse.Namespace, table: str) -> Table:
    """AUC of every method by region and over regions, for all species and for rare ones, and our gain over each."""
    background, title = TABLES[table]
    methods = args.methods.split(",")
    auc: dict[str, dict[str, Auc]] = {}
    rare: dict[str, NDArray[np.bool_]] = {}
    rows: list[Record] = []
    for region in args.regions.split(","):
        groups = read_region(args.data, region, background)
        if table == "buffer":
            groups = [farther_than(group, args.buffer_km) for group in groups]
        groups = [group for group in groups if len(group.records) and len(group.background)]
        if not groups:
            rows.append({"region": region, "method": "(no record is left)"})
            continue
        rare[region] = np.concatenate([counts_of(group) < RARE for group in groups])
        auc[region] = {}
        for method in methods:
            start = time.perf_counter()
            seeds = range(args.seeds if method.startswith(FLORACUBE) else 1)
            auc[region][method] = np.mean([region_auc(groups, method, table, s, args.keep, args.validate) for s in seeds], 0)
            summary = f"{table} {region} {method}: {np.nanmean(auc[region][method]):.4f}"
            print(f"{summary}, {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
        rows += _rows(region, {region: auc[region]}, rare)
    if len(auc) > 1:
        rows += _rows("mean of regions", auc, rare)
    return Table(
        f"{title}{f' ({args.buffer_km:g} km)' if table == 'buffer' else ''}; AUC on independent surveys, mean over species", rows
    )


def _rows(name: str, auc: dict[str, dict[str, Auc]], rare: dict[str, NDArray[np.bool_]]) -> list[Record]:
    """A row a method: the mean over `auc`'s regions of the mean over species, and our gain over the method."""
    rows: list[Record] = []
    for method in next(iter(auc.values())):
        values = [auc_by_method[method] for auc_by_method in auc.values()]
        rare_aucs = [auc_by_method[method][rare[region]] for region, auc_by_method in auc.items()]
        row: Record = {
            "region": name,
            "method": method,
            "AUC": mean_of(values),
            "species": sum(int(np.isfinite(v).sum()) for v in values),
            f"AUC, under {RARE} records": mean_of(rare_aucs),
            "rare species": sum(int(np.isfinite(v).sum()) for v in rare_aucs),
        }
        if method != FLORACUBE and FLORACUBE in next(iter(auc.values())):
            gains = [auc_by_method[FLORACUBE] - auc_by_method[method] for auc_by_method in auc.values()]
            row["gain of ours"] = mean_of(gains)
            row["lower"], row["upper"] = paired_interval(gains)
        rows.append(row)
    return rows


def mean_of(values: Sequence[Auc]) -> float:
    """Mean over regions of the means over species, NaN left out; NaN where nothing is left."""
    return mean([mean(v) for v in values])


def paired_interval(gains: Sequence[Auc]) -> tuple[float, float]:
    """95 % interval of `mean_of(gains)` when the species of each region are drawn anew with replacement."""
    rng = np.random.default_rng(0)
    draws = []
    for gain in gains:
        finite = gain[np.isfinite(gain)]
        draws.append(finite[rng.integers(0, len(finite), (DRAWS, len(finite)))].mean(1))
    lower, upper = np.quantile(np.mean(draws, 0), [0.025, 0.975])
    return float(lower), float(upper)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the benchmark's tables")
    parser.add_argument("--regions", default="SWI,NZ", help="any of AWT, CAN, NSW, NZ, SA, SWI, by commas")
    parser.add_argument("--tables", default=",".join(TABLES), help=f"any of {', '.join(TABLES)}, by commas")
    parser.add_argument("--buffer-km", type=float, default=10, help="of the table buffer")
    parser.add_argument("--seeds", type=int, default=1, help="of our model; each trains all members anew")
    parser.add_argument("--methods", default=",".join(METHODS), help="by commas")
    parser.add_argument("--keep", type=Path, help="folder for scores; delete it after a change of a method")
    parser.add_argument("--validate", action="store_true", help="AUC of records held out in spatial blocks instead of surveys")
    args = parser.parse_args()
    for name, names, choices in (("methods", args.methods, METHODS), ("tables", args.tables, TABLES)):
        if wrong := [value for value in names.split(",") if value not in choices]:
            parser.error(f"--{name} {wrong[0]}: expected any of {', '.join(choices)}.")
    tables = []
    for table in args.tables.split(","):
        tables.append(measure(args, table))
        print(tables[-1].text() + "\n", flush=True)
    if "maxent" in args.methods.split(","):
        print(f"maxent: elapid, solved by {solver()}")
    if args.json:
        write_tables(args.json.parent, args.json.stem, tables)


if __name__ == "__main__":
    main()
