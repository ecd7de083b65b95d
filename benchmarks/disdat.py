"""Presence-only skill on the NCEAS benchmark (Elith et al. 2020): trained on records, tested on independent surveys.

    python benchmarks/disdat.py --data DIR --regions SWI,NZ --background random,tgb --seeds 5 --json disdat.json
    python benchmarks/disdat.py --data DIR --regions NSW --background tgb --seeds 1 --methods floracube,random_forest

DIR holds tables named as in the R package disdat (see `disdat_data.py`). Every method reads the same predictors, records
and background; nothing is chosen by region, and nothing was chosen by the surveys (see `disdat_model.py`). `maxent` and
`gradient_boosting` do not depend on a seed and are fitted once; so is `random_forest` unless --forest-seeds asks for
more, since 1,000 trees hardly differ between seeds. --keep FOLDER keeps scores, so that a stopped run goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.disdat_data import BACKGROUNDS, Group, read_region
from benchmarks.disdat_folds import cross_validated
from benchmarks.disdat_model import floracube_scores
from inference.evaluation.baselines.boosting import Boosting
from inference.evaluation.baselines.forest import DownSampledForest
from inference.evaluation.baselines.frequency import Frequency
from inference.evaluation.baselines.maxent import Maxent, solver
from inference.evaluation.baselines.scores import record_scores
from inference.evaluation.folds import remembered
from inference.evaluation.metrics import species_auc

Scores = NDArray[np.float32]
BLOCKS = 8  # a side of the region, for the frequency by spatial block


def _maxent(group: Group, seed: int) -> Scores:
    fit = Maxent(categorical=group.categorical)
    return record_scores(fit, group.records, group.record_species, group.background, group.test, len(group.species), seed=seed)


def _forest(group: Group, seed: int) -> Scores:
    fit = DownSampledForest(categorical=group.categorical)
    return record_scores(fit, group.records, group.record_species, group.background, group.test, len(group.species), seed=seed)


def _boosting(group: Group, seed: int) -> Scores:
    fit = Boosting(balanced=True, categorical=group.categorical)
    return record_scores(fit, group.records, group.record_species, group.background, group.test, len(group.species), seed=seed)


def _frequency(group: Group, seed: int) -> Scores:
    """Share of records among records and background of the same spatial block, whatever the predictors say."""
    west_south = np.min([group.record_places.min(0), group.background_places.min(0)], 0)
    span = np.max([group.record_places.max(0), group.background_places.max(0)], 0) - west_south

    def block(places: NDArray[np.float64]) -> NDArray[np.float64]:
        cell = np.clip(np.floor((places - west_south) / span * BLOCKS), 0, BLOCKS - 1)
        return cell @ np.array([[BLOCKS], [1.0]])

    return record_scores(
        Frequency(), block(group.record_places), group.record_species, block(group.background_places),
        block(group.test_places), len(group.species), seed=seed,
    )  # fmt: skip


METHODS: dict[str, Callable[[Group, int], Scores]] = {
    "floracube": floracube_scores,
    "maxent": _maxent,
    "random_forest": _forest,
    "gradient_boosting": _boosting,
    "frequency": _frequency,
}


def region_auc(
    groups: list[Group], method: str, background: str, seed: int, keep: Path | None, validate: bool = False
) -> NDArray[np.float64]:
    """AUC of every species of a region, group after group; `validate`: on held-out records, surveys untouched."""
    parts = []
    for group in groups:
        if validate:
            parts.append(cross_validated(group, METHODS[method], seed))
            continue
        data = hashlib.sha256(group.records.tobytes() + group.background.tobytes() + group.test.tobytes()).hexdigest()[:8]
        name = f"{group.region}-{group.name}-{background}-{method}-{seed}-{data}"
        score = remembered(keep, name, lambda group=group: METHODS[method](group, seed))
        parts.append(species_auc(score, group.presence, fewest=1))
    return np.concatenate(parts)


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """A flat record per region, background and method, and `mean` over regions and backgrounds."""
    rows = []
    for region in args.regions.split(","):
        for background in args.background.split(","):
            groups = read_region(args.data, region, background)
            for method in args.methods.split(","):
                seeds = {"floracube": args.seeds, "random_forest": args.forest_seeds}.get(method, 1)
                start = time.perf_counter()
                auc = np.stack([region_auc(groups, method, background, seed, args.keep, args.validate) for seed in range(seeds)])
                by_seed = np.nanmean(auc, 1)
                row = {
                    "region": region, "background": background, "method": method, "auc": float(by_seed.mean()),
                    "spread": float(by_seed.std(ddof=1)) if seeds > 1 else None, "seeds": seeds,
                    "species": int(np.isfinite(auc).any(0).sum()), "seconds": round(time.perf_counter() - start, 1),
                }  # fmt: skip
                names = [name for group in groups for name in group.species]
                if args.species:
                    row["by_species"] = dict(zip(names, np.round(auc.mean(0), 4).tolist(), strict=True))
                rows.append(row)
                print(line(row), flush=True)
    for method in args.methods.split(","):
        own = [row for row in rows if row["method"] == method]
        rows.append({
            "region": "mean", "background": args.background, "method": method,
            "auc": float(np.mean([row["auc"] for row in own])), "spread": None, "seeds": own[0]["seeds"],
            "species": sum(row["species"] for row in own), "seconds": round(sum(row["seconds"] for row in own), 1),
        })  # fmt: skip
        print(line(rows[-1]))
    return rows


HEAD = f"{'region':8} {'background':11} {'method':18} {'AUC':>7} {'sd seeds':>9} {'seeds':>6} {'species':>8} {'seconds':>8}"


def line(row: dict[str, Any]) -> str:
    """A record as a line of the table."""
    spread = "" if row["spread"] is None else f"{row['spread']:.4f}"
    return (
        f"{row['region']:8} {row['background']:11} {row['method']:18} {row['auc']:7.4f} {spread:>9} {row['seeds']:6d}"
        f" {row['species']:8d} {row['seconds']:8.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the benchmark's tables")
    parser.add_argument("--regions", default="SWI,NZ", help="any of AWT, CAN, NSW, NZ, SA, SWI, by commas")
    parser.add_argument("--background", default="random,tgb", help=f"any of {', '.join(BACKGROUNDS)}, by commas")
    parser.add_argument("--seeds", type=int, default=5, help="of our model; each trains all members anew")
    parser.add_argument("--forest-seeds", type=int, default=1)
    parser.add_argument("--methods", default=",".join(METHODS), help=f"any of {', '.join(METHODS)}, by commas")
    parser.add_argument("--species", action="store_true", help="AUC of every species in the JSON")
    parser.add_argument("--keep", type=Path, help="folder for scores; delete it after a change of a method")
    parser.add_argument("--validate", action="store_true", help="AUC of records held out in spatial blocks instead of surveys")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    for method in args.methods.split(","):
        if method not in METHODS:
            parser.error(f"--methods {method}: expected any of {', '.join(METHODS)}.")
    print(HEAD)
    rows = measure(args)
    if "maxent" in args.methods.split(","):
        print(f"maxent: elapid, solved by {solver()}")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
