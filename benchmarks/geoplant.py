"""GeoPlant's published protocol: train on its surveys, score its tests, our row under the published table.

    python -m benchmarks.geoplant --data /data/geoplant --out geoplant-out              # the real download
    python -m benchmarks.geoplant --data DIR/glc24 --out out --baselines frequency,gradient_boosting
    python -m benchmarks.geoplant --data DIR --baselines multimodal --cells 25 --device cuda   # with the published ensemble
    python -m benchmarks.geoplant --data DIR --size geoplant --modalities landsat,climate   # a part of it

DIR is a folder into which GeoPlant or a GeoLifeCLEF of 2023 to 2026 was unpacked, whole or in part; what is missing is
missing. Predictors are sampled into files in --scratch (a folder in --out), so memory does not grow with
them. Written to --out: tables as text, CSV and JSON, pictures, `submission.csv` for Kaggle.
The published rows are of presence-absence training alone, as are ours.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.command import parser_of
from inference.network.sizes import SIZES


def arguments() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder into which GeoPlant was unpacked")
    parser.add_argument("--out", type=Path, default=Path("geoplant-out"), help="folder of the results")
    parser.add_argument("--scratch", type=Path, help="folder of sampled predictors; default: OUT/scratch")
    parser.add_argument("--block-km", type=float, default=50.0)
    parser.add_argument(
        "--baselines",
        default="frequency",
        help="of frequency, random_forest, gradient_boosting, multimodal (the published ensemble; needs a GPU); '': none",
    )
    parser.add_argument("--ensemble-epochs", type=int, default=20, help="at most, of each phase of the baseline multimodal")
    parser.add_argument(
        "--weights", type=Path, help="folder of a Swin-v2-T of ImageNet that the ensemble's image network begins as"
    )
    parser.add_argument("--modalities", help="of satellite, landsat, climate, table_50m, table_1km; default: all that are there")
    parser.add_argument("--cells", type=int, default=9, help="side of what the network sees of an image, in 50 m cells")
    parser.add_argument("--min-records", type=int, default=1, help="presences in training that make a species a column")
    parser.add_argument("--members", type=int, default=5, help="networks in the ensemble, each without one fold of the blocks")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--least-steps", type=int, default=400)
    parser.add_argument("--size", choices=list(SIZES), default="small", help="of the network; what it sees is --cells")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="of the baselines, side by side")
    return parser.parse_args()


def run(options: argparse.Namespace) -> None:
    from cube.config.learning import TrainOptions
    from inference.evaluation.baselines.multimodal import EnsembleOptions
    from inference.evaluation.benchmark import Plan, run_benchmark, submit
    from inference.evaluation.geoplant import read_benchmark
    from inference.evaluation.tables import write_tables

    start = time.perf_counter()
    scratch = options.scratch or options.out / "scratch"
    modalities = options.modalities.split(",") if options.modalities else None
    bench = read_benchmark(options.data, scratch, options.cells, modalities, options.min_records)
    for report in bench.reports:
        if report.totals or report.remarks:
            print("\n".join(report.lines()))
    plan = Plan(
        options.block_km,
        options.seed,
        tuple(b for b in options.baselines.split(",") if b),
        {key: value for key, value in SIZES[options.size].items() if key != "dilations"},
        TrainOptions(
            members=options.members,
            epochs=options.epochs,
            least_steps=options.least_steps,
            seed=options.seed,
            device=options.device,
        ),
        options.threads,
        EnsembleOptions(epochs=options.ensemble_epochs, seed=options.seed, device=options.device, weights=options.weights),
    )
    outcome = run_benchmark(bench, plan, scratch, lambda text: print(f"\r{text[:100]:100}", end="", file=sys.stderr))
    print(file=sys.stderr)
    tables: list[Any] = [outcome.against_published(next(iter(outcome.reports)))]
    for name, report in outcome.reports.items():
        tables += report.tables
        report.pictures(options.out, f"geoplant_{name.replace(' ', '_')}")
    write_tables(options.out, "geoplant", tables)
    submission = submit(bench, outcome.ensemble, options.out / "submission.csv", scratch)
    print("\n" + "\n\n".join(table.text() for table in tables))
    print("\n" + "\n".join(f"NOTE {remark}" for remark in outcome.remarks))
    print(
        f"Modalities: {', '.join(bench.recipe.modalities)}; {time.perf_counter() - start:.0f} s; written to {options.out}"
        + (f", for Kaggle {submission}" if submission else "")
    )
    if options.json:
        write_tables(options.json.parent, options.json.stem, tables)


def main() -> None:
    from cube.errors import FloracubeError

    try:
        run(arguments())
    except FloracubeError as error:
        sys.exit(f"geoplant: {error}")


if __name__ == "__main__":
    main()
