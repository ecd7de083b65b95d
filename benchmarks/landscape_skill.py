"""Skill where the truth is known: generated landscapes, few surveys, many biased records.

Case `surveys`: 1,000 surveys; our network on the layers of the cube, a forest per species on the same layers, and an oracle,
the better of network and forest on the drivers that plants really answer to. Case `records`: 300 surveys and 20,000
records whose effort falls with elevation and is half hidden, of species that are reported at very different rates; the
joint likelihood compared with either kind of data alone, all with one network. What records are worth, the gain of the joint
likelihood over surveys alone, is printed where its own assumptions hold and under each way of observing of `demo.observation`
that breaks one of them, with a bootstrap over species.

    python -m benchmarks.landscape_skill --case records --seeds 1,2
    python -m benchmarks.landscape_skill --case records --seeds 1 --observations assumed,experts,all
    python -m benchmarks.landscape_skill --case surveys,records --seeds 201,202,203,204,205 --observations every --json skill.json

Seeds 1 to 40 are for development, 201 to 205 for the printed figures. A seed takes about 10 minutes of one core for
`records` and 4 for `surveys`, and 2 to make the landscape; a finished row of `--json` is not computed again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from benchmarks.command import parser_of, write_rows
from benchmarks.landscape_data import CACHE, LandscapeData, landscape_data
from cube.config.learning import TrainOptions
from demo.observation import ASSUMED, OBSERVATIONS
from inference.data.blocks import make_folds
from inference.data.samples import Predictors, Surveys
from inference.evaluation.baselines.methods import LEAVES, scores_without
from inference.evaluation.baselines.table import table_of
from inference.evaluation.metrics import species_correlation
from inference.evaluation.tables import Table
from inference.network.batches import predict_surveys
from inference.training.fit import TrainedModel, spec_for, train

BLOCK_KM: Final = 2.5  # of 20 km: 64 blocks, as the demo takes
FIELD: Final = 5  # cells of 50 m seen of the satellite image: 250 m
MIN_PRESENCES: Final = 5  # presences and records of a species that is scored
SURVEYS: Final = {"surveys": 1_000, "records": 300}
WAYS: Final = ("joint", "surveys_only", "records_only")
FIGURES: Final = ["correlation", "correlation_known", "prevalence_factor", "richness_bias", "richness_error"]
BOOTSTRAPS: Final = 2_000  # of species
Row = dict[str, Any]


def cropped(places: Predictors, cells: int) -> Predictors:
    """Patches of `cells` cells, and without the climate series: the bioclimatic layers say the same of this landscape."""
    assert "satellite" in places.values
    side, skip = 5 * cells, (places.values["satellite"].shape[-1] - 5 * cells) // 2
    image = np.ascontiguousarray(places.values["satellite"][..., skip : skip + side, skip : skip + side])
    return places.with_values({"satellite": image}).without("climate")


def _table_predictors(columns: NDArray[np.float32]) -> Predictors:
    return Predictors({"table_50m": columns}, table_50m_names=tuple(f"driver {i}" for i in range(columns.shape[1])))


def probability(trained_model: TrainedModel, places: Predictors, cells: Surveys) -> NDArray[np.float64]:
    eta = predict_surveys(trained_model.ensemble, places, cells.year, cells.area_m2)
    return np.asarray(-np.expm1(-np.exp(np.clip(eta.astype(np.float64), -25, 4))))


def scores(
    p: NDArray[np.floating], truth: NDArray[np.float32], scored_species: NDArray[np.bool_], is_surveyed: NDArray[np.bool_]
) -> Row:
    """Skill of probabilities (cells, S) against the truth.

    `correlation` over cells, mean of the `scored_species`, `correlation_known` of those that surveys alone know too;
    `prevalence_factor` by which the median species' mean probability is off; `richness_bias`, predicted over true minus 1;
    `richness_error`, mean absolute error of a cell's richness over mean richness.
    """
    r = species_correlation(p, truth)
    ratio = np.maximum(p.mean(0), 1e-9) / truth.mean(0)
    rich, true = p.sum(1), truth.sum(1)
    return {
        "correlation": float(np.nanmean(r[scored_species])),
        "correlation_known": float(np.nanmean(r[is_surveyed])),
        "prevalence_factor": float(np.exp(np.median(np.abs(np.log(ratio[scored_species]))))),
        "richness_bias": float(rich.mean() / true.mean() - 1),
        "richness_error": float(np.abs(rich - true).mean() / true.mean()),
        "species": int(scored_species.sum()),
        "by_species": [None if not ok or np.isnan(v) else float(v) for v, ok in zip(r, scored_species, strict=True)],
    }


def of_records(
    data: LandscapeData, members: int, epochs: int, ways: Sequence[str], report_row: Callable[[Row], None], observation: str
) -> None:
    """300 surveys and all records, one row a way to use them."""
    surveys = data.surveys.subset(np.arange(SURVEYS["records"]))
    places = cropped(data.predictors.subset(np.arange(len(surveys))), FIELD)
    of_record, cells, cell_surveys = cropped(data.record_predictors, FIELD), cropped(data.cells, FIELD), data.cell_surveys()
    presences, record_counts = surveys.presence.sum(0), data.records.counts(len(surveys.species))
    for way in ways:
        start = time.perf_counter()
        options = TrainOptions(members=members, epochs=epochs, batch=64, likelihood=way, threads=1, device="cpu")  # type: ignore[arg-type]
        extra = {} if way == "surveys_only" else {"records": data.records, "record_predictors": of_record}
        surveys_to_learn = surveys.subset(np.zeros(0, np.int64)) if way == "records_only" else surveys
        spec = spec_for(places, surveys_to_learn)
        trained_model = train(places, surveys, spec, options, make_folds(surveys, BLOCK_KM, members), family=data.family, **extra)
        row = scores(
            probability(trained_model, cells, cell_surveys),
            data.truth,
            presences + record_counts >= MIN_PRESENCES,
            presences >= MIN_PRESENCES,
        )
        if trained_model.reporting is not None:
            row["rates_correlation"] = float(np.corrcoef(trained_model.reporting, np.log(data.rates))[0, 1])
        minutes = (time.perf_counter() - start) / 60
        report_row({"case": "records", "seed": data.seed, "method": way, "observation": observation, **row, "minutes": minutes})


def of_surveys(data: LandscapeData, members: int, report_row: Callable[[Row], None]) -> None:
    """1,000 surveys alone: the network, forests, and both on the true drivers."""
    surveys = data.surveys.subset(np.arange(SURVEYS["surveys"]))
    cell_surveys = data.cell_surveys()
    places, cells = cropped(data.predictors.subset(np.arange(len(surveys))), FIELD), cropped(data.cells, FIELD)
    folds = make_folds(surveys, BLOCK_KM, members)
    scored_species = surveys.presence.sum(0) >= MIN_PRESENCES
    options = TrainOptions(members=members, batch=64, threads=1, device="cpu")
    drivers, cell_drivers = _table_predictors(data.drivers[: len(surveys)]), _table_predictors(data.cell_drivers)
    for name, at, to in (("floracube", places, cells), ("oracle network", drivers, cell_drivers)):
        start = time.perf_counter()
        row = scores(
            probability(train(at, surveys, options=options, folds=folds), to, cell_surveys),
            data.truth,
            scored_species,
            scored_species,
        )
        report_row({"case": "surveys", "seed": data.seed, "method": name, **row, "minutes": (time.perf_counter() - start) / 60})
    for name, at, to in (("forest", places, cells), ("oracle forest", drivers, cell_drivers)):
        for leaf in LEAVES:
            start = time.perf_counter()
            table = np.concatenate([table_of(at, surveys, False), table_of(to, cell_surveys, False)])
            surveys_to_learn = np.arange(len(table)) < len(surveys)
            presence = np.concatenate([surveys.presence, cell_surveys.presence])
            p = scores_without("random_forest", table, presence, surveys_to_learn, ~surveys_to_learn, leaf)
            row = scores(p, data.truth, scored_species, scored_species)
            minutes = (time.perf_counter() - start) / 60
            report_row({"case": "surveys", "seed": data.seed, "method": f"{name} (leaf {leaf})", **row, "minutes": minutes})


def gains(rows: Sequence[Row]) -> Table:
    """What is gained in correlation, species by species: by records beside surveys, and over a forest of the same surveys."""
    skill_by_key = {(r["case"], r.get("observation", ""), r["method"], r["seed"]): np.array(r["by_species"], float) for r in rows}
    lines = []
    for case, observation, method in dict.fromkeys(key[:3] for key in skill_by_key):
        our_method = "floracube" if case == "surveys" else "joint"
        if method == our_method or method.startswith("oracle"):
            continue
        pairs = [
            (skill_by_key.get((case, observation, our_method, key[3])), value)
            for key, value in skill_by_key.items()
            if key[:3] == (case, observation, method)
        ]
        gain = [our_skill - peer_skill for our_skill, peer_skill in pairs if our_skill is not None]
        if not gain:  # one way was asked for alone
            continue
        gain = [g[np.isfinite(g)] for g in gain]
        draw = np.random.default_rng(0)
        draw_means = [np.mean([g[draw.integers(0, len(g), len(g))].mean() for g in gain]) for _ in range(BOOTSTRAPS)]
        low, high = np.quantile(draw_means, (0.025, 0.975))
        means = [g.mean() for g in gain]
        lines.append(
            {
                "case": case,
                "observation": observation,
                "over": method,
                "seeds": len(gain),
                "gain": np.mean(means),
                "lower": low,
                "upper": high,
                "worst seed": min(means),
            }
        )
    return Table("gain in correlation with the truth (95 % of draws of species)", lines)


def table(rows: Sequence[Row], case: str) -> Table:
    """Means over seeds of each method, with the spread of its correlation over seeds."""
    frame = pd.DataFrame([row for row in rows if row["case"] == case]).drop(columns="by_species")
    by = ["observation", "method"] if case == "records" else ["method"]
    means = frame.groupby(by, sort=False)[FIGURES].mean()
    means.insert(1, "spread", frame.groupby(by, sort=False)["correlation"].std())
    seeds = ", ".join(str(seed) for seed in sorted(frame["seed"].unique()))
    return Table(f"{case}: {SURVEYS[case]:,} surveys, means over seeds {seeds}", means.reset_index().to_dict("records"))


def main() -> None:
    """Print the tables of the cases asked for."""
    parser = parser_of(__doc__)
    parser.add_argument("--case", default="surveys,records")
    parser.add_argument("--seeds", default="1", help="comma-separated seeds of landscapes")
    parser.add_argument("--ways", default=",".join(WAYS), help="of the case `records`")
    parser.add_argument(
        "--observations", default=ASSUMED, help=f"of the case `records`: any of {', '.join(OBSERVATIONS)}; or every"
    )
    parser.add_argument("--members", type=int, default=3, help="networks in an ensemble, each without one fold of the blocks")
    parser.add_argument("--epochs", type=int, default=5, help="passes over the records")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of generated landscapes")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[Row] = json.loads(args.json.read_text()) if args.json and args.json.is_file() else []

    def report_row(row: Row) -> None:
        rows.append(row)
        label = f"{row['case']} {row.get('observation', '')} {row['seed']} {row['method']:18}"
        print(f"  {label} correlation {row['correlation']:.3f}", flush=True)
        write_rows(args.json, rows)

    cases = args.case.split(",")
    observations = list(OBSERVATIONS) if args.observations == "every" else args.observations.split(",")
    if set(observations) - set(OBSERVATIONS):
        parser.error(f"--observations {args.observations}: expected any of {', '.join(OBSERVATIONS)}, or every")
    for seed in (int(s) for s in args.seeds.split(",")):
        finished_rows = {(r["case"], r.get("observation", ASSUMED), r["method"]) for r in rows if r["seed"] == seed}
        for observation in observations if "records" in cases else []:
            ways = [w for w in args.ways.split(",") if ("records", observation, w) not in finished_rows]
            if ways:
                data = landscape_data(seed, args.cache, observation=observation)
                of_records(data, args.members, args.epochs, ways, report_row, observation)
        if "surveys" in cases and ("surveys", ASSUMED, "oracle forest (leaf 20)") not in finished_rows:
            rows[:] = [r for r in rows if (r["case"], r["seed"]) != ("surveys", seed)]
            of_surveys(landscape_data(seed, args.cache), args.members, report_row)
    tables = [table(rows, case) for case in cases] + [gains(rows)]
    print("\n" + "\n\n".join(result_table.text() for result_table in tables))


if __name__ == "__main__":
    main()
