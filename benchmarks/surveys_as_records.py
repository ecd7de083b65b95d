"""What single records are worth beside surveys, on real surveys: half of the places become records of one species a survey.

    floracube build examples/denmark.yaml
    python -m benchmarks.surveys_as_records examples/denmark.yaml --json out.json

The other half stays surveys and is judged: out of fold, on open blocks, by networks of `train` of the configuration that read the
surveys alone, the surveys and the records (`floracube`), and both halves as surveys, which bounds what records can add. A record
is a species drawn from those that its survey lists. Records in blocks that a member leaves out are withheld from it.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.command import parser_of
from cube.config import load_config
from cube.storage.store import open_cube
from inference.data.dataset import load_dataset, split_network_options
from inference.data.holdout import plan_folds, shown_km
from inference.data.records import Records
from inference.data.samples import Surveys
from inference.evaluation.folds import FLORACUBE, skill_report
from inference.evaluation.tables import write_tables
from inference.training.fit import spec_for, train


def as_records(surveys: Surveys, rows: NDArray[np.int64], seed: int) -> Records:
    """One record for each of the surveys `rows` that lists a species, without background; `row` counts all surveys."""
    rng = np.random.default_rng(seed)
    rows = rows[surveys.presence[rows].any(1)]
    species = np.array([rng.choice(np.flatnonzero(surveys.presence[row])) for row in rows], np.int32)
    return Records(species, rows, surveys.x[rows], surveys.y[rows], surveys.year[rows])


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--draw", type=int, default=0, help="of the half of places and of the species noted")
    parser.add_argument("--members", type=int, help="networks, each without a fold; as the configuration says")
    args = parser.parse_args()
    config = load_config(args.config)
    data = load_dataset(config, open_cube(config.cube_url))
    surveys, (_, shape) = data.surveys, split_network_options(config)
    spec = spec_for(data.predictors, surveys, **shape)
    options = replace(config.train, members=args.members or config.train.members)
    plan = plan_folds(config.model_copy(update={"train": options}), surveys, spec.reach_m, data.groups)
    half = np.random.default_rng(args.draw).random(surveys.place.max() + 1) < 0.5
    survey_rows = np.flatnonzero(half[surveys.place])
    records = as_records(surveys, np.flatnonzero(~half[surveys.place]), args.draw)
    folds, test_surveys = plan.folds.subset(survey_rows), surveys.subset(survey_rows)
    cases = {
        FLORACUBE: (survey_rows, records),
        "surveys alone": (survey_rows, None),
        "both halves as surveys": (np.arange(len(surveys)), None),
    }
    eta = {}
    for name, (rows, records_of_case) in cases.items():
        start = time.process_time()
        trained_model = train(
            data.predictors.subset(rows),
            surveys.subset(rows),
            spec,
            options,
            plan.folds.subset(rows),
            records=records_of_case,
            record_predictors=None if records_of_case is None else data.predictors,
            family=data.traits["family"],
        )
        assert trained_model.out_of_fold is not None
        eta[name] = trained_model.out_of_fold[np.isin(rows, survey_rows)]
        print(f"{name}: {time.process_time() - start:.0f} s of processor", file=sys.stderr, flush=True)
    open_rows = ~folds.locked
    what = (
        f"{int(open_rows.sum()):,} of {len(survey_rows):,} surveys, open blocks of {shown_km(folds.block_km)} km, "
        f"{options.members} members; {FLORACUBE} learned from {len(records):,} records beside them"
    )
    tables = skill_report(eta, test_surveys, folds, plan.min_records, open_rows, what, config.evaluate.options.bootstraps).tables
    print("\n\n".join(table.text() for table in tables))
    if args.json:
        write_tables(args.json.parent, args.json.stem, tables)


if __name__ == "__main__":
    main()
