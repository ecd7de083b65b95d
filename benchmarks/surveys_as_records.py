"""What single records are worth beside surveys, on real surveys: half of the places become records of one species a survey.

    floracube build examples/denmark.yaml
    python -m benchmarks.surveys_as_records examples/denmark.yaml --json out.json

The other half stays surveys and is judged: out of fold, on open blocks, by networks of `train` of the configuration that read the
surveys alone, the surveys and the records (`floracube`), and both halves as surveys, which bounds what records can add. A record
is a species drawn from those that its survey lists. Records in blocks that a member leaves out are withheld from it.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cube.config import load_config
from cube.storage.store import open_cube
from inference.data.dataset import load_dataset, split_network_options
from inference.data.holdout import plan_folds, shown_km
from inference.data.records import Records
from inference.data.samples import Surveys
from inference.evaluation.folds import OURS, skill_report
from inference.evaluation.tables import write_tables
from inference.training.fit import spec_for, train


def as_records(surveys: Surveys, rows: NDArray[np.int64], seed: int) -> Records:
    """One record for each of the surveys `rows` that lists a species, without background; `row` counts all surveys."""
    rng = np.random.default_rng(seed)
    rows = rows[surveys.presence[rows].any(1)]
    species = np.array([rng.choice(np.flatnonzero(surveys.presence[row])) for row in rows], np.int32)
    dataset = np.zeros(len(rows), np.int16)
    return Records(species, rows, surveys.x[rows], surveys.y[rows], surveys.year[rows], dataset)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--draw", type=int, default=0, help="of the half of places and of the species noted")
    parser.add_argument("--members", type=int, help="networks, each without a fold; as the configuration says")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    config = load_config(asked.config)
    data = load_dataset(config, open_cube(config.cube_url))
    surveys, (_, shape) = data.surveys, split_network_options(config)
    spec = spec_for(data.predictors, surveys, **shape)
    options = replace(config.train, members=asked.members or config.train.members)
    plan = plan_folds(config.model_copy(update={"train": options}), surveys, spec.reach_m, data.groups)
    half = np.random.default_rng(asked.draw).random(surveys.place.max() + 1) < 0.5
    kept = np.flatnonzero(half[surveys.place])
    records = as_records(surveys, np.flatnonzero(~half[surveys.place]), asked.draw)
    folds, judged = plan.folds.subset(kept), surveys.subset(kept)
    cases = {OURS: (kept, records), "surveys alone": (kept, None), "both halves as surveys": (np.arange(len(surveys)), None)}
    eta = {}
    for name, (rows, known) in cases.items():
        begun = time.process_time()
        trained = train(
            data.predictors.subset(rows), surveys.subset(rows), spec, options, plan.folds.subset(rows), records=known,
            record_predictors=None if known is None else data.predictors, family=data.traits["family"],
        )  # fmt: skip
        assert trained.out_of_fold is not None
        eta[name] = trained.out_of_fold[np.isin(rows, kept)]
        print(f"{name}: {time.process_time() - begun:.0f} s of processor", file=sys.stderr, flush=True)
    open_rows = ~folds.locked
    what = (
        f"{int(open_rows.sum()):,} of {len(kept):,} surveys, open blocks of {shown_km(folds.block_km)} km, {options.members}"
        f" members; {OURS} learned from {len(records):,} records beside them"
    )
    tables = skill_report(eta, judged, folds, plan.min_records, open_rows, what, config.evaluate.options.bootstraps).tables
    print("\n\n".join(table.text() for table in tables))
    if asked.json:
        write_tables(asked.json.parent, asked.json.stem, tables)


if __name__ == "__main__":
    main()
