"""Memory of a training at the size of GeoPlant: five million records, 11,255 species, the largest network.

Tables, network, optimiser and steps are real: the loop, the joint likelihood and the loaders of `floracube train`. The files
of samples are sparse, so they read as zeros: their bytes are not here, and how fast a disk gives them is not measured.
A network on a GPU has its activations there; here they count too.

    python -m benchmarks.training_memory
    python -m benchmarks.training_memory --records 100000 --surveys 2000 --size small --batch 64 --json memory.json
"""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.command import parser_of, write_rows
from cube.config.learning import TrainOptions
from cube.layers.inputs import INPUTS
from inference.data.records import Records
from inference.data.samples import Predictors, Surveys
from inference.data.shards import Rows
from inference.network.deep_sdm import DeepSDM, ModelSpec
from inference.network.sizes import SIZES, shape_of
from inference.training.assembly import Assembly
from inference.training.loop import fit_member

GB = 1e9
BAR_GB = 24.0
STATIC = 45  # columns: terrain, soil, land cover classes, footprint, bioclim
KILOMETRES = 1_500_000  # distinct 1 km cells with a record: at most those of Europe's land that anybody visits


def resident() -> float:
    """Gigabytes of the process that are in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / GB


def peak() -> float:
    """The most gigabytes that the process ever had in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GB


def sparse(folder: Path, name: str, count: int, row: tuple[int, ...], layer: str | None) -> Rows:
    """A file of rows without contents."""
    rows = Rows(folder / f"{name}.rows", count, row, None if layer is None else INPUTS[layer])
    with rows.path.open("wb") as file:
        file.truncate(rows.nbytes)
    return rows


def predictors_of(folder: Path, name: str, count: int, spec_shape: dict[str, Any], cells: int) -> Predictors:
    """Samples of `count` places on disk, every modality, each place with four 1 km cells in memory."""
    side = 5 * (1 + 2 * sum(spec_shape["dilations"]))
    rng = np.random.default_rng(0)
    return Predictors(
        {
            "satellite": sparse(folder, f"{name}-satellite", count, (4, side, side), "sentinel2"),
            "landsat": sparse(folder, f"{name}-landsat", count, (6, 84), "landsat"),
            "table_50m": sparse(folder, f"{name}-table", count, (STATIC,), None),
            "climate": sparse(folder, f"{name}-climate", cells, (4, 228), "climate"),
        },
        corner=rng.integers(0, cells, (count, 4)),
        weight=np.full((count, 4), 0.25, np.float32),
        table_50m_names=tuple(f"s{i}" for i in range(STATIC)),
    )


def tables(records: int, surveys: int, species: int) -> tuple[Records, Surveys]:
    """Records of a Zipf-like number a species, each at a cell of its own, and surveys of 20 species each."""
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, species + 1)
    species_of_record = rng.choice(species, records, p=share / share.sum()).astype(np.int32)
    x, y = rng.uniform(0, 5e6, (2, records))
    year = rng.integers(1990, 2022, records).astype(np.float32)
    record_table = Records(species_of_record, np.arange(records), x, y, year)
    presence = np.zeros((surveys, species), bool)
    presence[np.arange(surveys)[:, None], rng.integers(0, species, (surveys, 20))] = True
    names = tuple(f"species {i}" for i in range(species))
    at = rng.uniform(0, 5e6, (2, surveys))
    area, when = np.full(surveys, 100, np.float32), np.full(surveys, 2019, np.float32)
    return record_table, Surveys(presence, area, when, np.arange(surveys), at[0], at[1], names)


class Few:
    """An objective whose epochs have no steps, so that a member makes `least_steps` of them."""

    steps_per_epoch = 0

    def __init__(self, objective: Any) -> None:
        """Everything else is that of `objective`."""
        self._objective = objective

    def __getattr__(self, name: str) -> Any:
        """What the loop asks for."""
        return getattr(self._objective, name)


def main() -> None:
    """Print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--records", type=int, default=5_000_000)
    parser.add_argument("--surveys", type=int, default=90_000)
    parser.add_argument("--species", type=int, default=11_255)
    parser.add_argument("--size", choices=list(SIZES), default="geoplant")
    parser.add_argument("--batch", type=int, default=256, help="places of records, and as many surveys, in a step")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--loaders", type=int, default=4)
    args = parser.parse_args()
    shape = shape_of({"size": args.size})
    rows: list[dict[str, Any]] = []

    def row(part: str, expected: float | None) -> None:
        rows.append({"part": part, "expected_gb": expected, "resident_gb": resident(), "peak_gb": peak()})
        expectation = "" if expected is None else f"{expected:12.2f}"
        print(f"{part:44} {expectation:>12} {rows[-1]['resident_gb']:12.2f} {rows[-1]['peak_gb']:9.2f}", flush=True)

    print(f"{args.records:,} records, {args.surveys:,} surveys, {args.species:,} species, size {args.size}, batch {args.batch}")
    print(f"{'part':44} {'expected GB':>12} {'resident GB':>12} {'peak GB':>9}")
    row("python, torch", None)
    with tempfile.TemporaryDirectory() as folder:
        records, surveys = tables(args.records, args.surveys, args.species)
        row("records and surveys", (args.records * 34 + args.surveys * args.species) / GB)
        cells = min(KILOMETRES, args.records)
        record_predictors = predictors_of(Path(folder), "record", args.records, shape, cells)
        survey_predictors = predictors_of(Path(folder), "survey", args.surveys, shape, min(cells, args.surveys))
        row("corners and weights of places", (args.records + args.surveys) * 48 / GB)
        disk = (
            sum(
                getattr(p, m).nbytes
                for p in (record_predictors, survey_predictors)
                for m in ("satellite", "landsat", "table_50m", "climate")
            )
            / GB
        )
        options = TrainOptions(
            members=1, epochs=1, least_steps=args.steps, batch=args.batch, record_batch=args.batch, loaders=args.loaders
        )
        spec = ModelSpec(
            ("satellite", "landsat", "table_50m", "climate", "survey"), args.species, record_predictors.table_50m_names, **shape
        )
        data = Assembly(survey_predictors, surveys, spec, options, None, records, record_predictors)
        torch.manual_seed(0)
        net = DeepSDM(spec)
        gamma = data.begin(net)
        objective = data.objective(gamma, "cpu")
        count = sum(p.numel() for p in net.parameters())
        row(f"network ({count / 1e6:.1f} M parameters), normalisation", count * 4 / GB)
        start = time.perf_counter()
        fit_member(net, Few(objective), options, 0, lambda *expectation: None, on_disk=True)
        row(f"{args.steps} steps, AdamW", count * 4 * 5 / GB)
        seconds = (time.perf_counter() - start) / args.steps
    print(f"samples on disk: {disk:,.0f} GB as pixels (sparse here; GeoPlant's own files stay packed); {seconds:.0f} s a step")
    print(f"peak {peak():.1f} GB, bar {BAR_GB:.0f} GB: {'kept' if peak() < BAR_GB else 'BROKEN'}")
    rows.append({"part": "peak", "expected_gb": BAR_GB, "resident_gb": resident(), "peak_gb": peak()})
    write_rows(args.json, rows)


if __name__ == "__main__":
    main()
