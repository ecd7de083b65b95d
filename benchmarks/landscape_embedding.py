"""What an embedding is worth compared with the satellites, on generated landscapes where the truth is known.

The embedding is made of what plants really answer to (drivers that the satellites see in part) through a random network:
64 signed bytes of a vector of length 1, as AlphaEarth's. One network each learns from 1,000 surveys with the embedding alone,
with Sentinel-2 and Landsat alone, and with both. Cells a second are of prediction, passes taking turns, as a ratio to the
satellites; bytes are those of a cell of 50 m before compression.

    python -m benchmarks.landscape_embedding --seeds 1,2,3
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from benchmarks.command import parser_of, write_rows
from benchmarks.landscape_data import CACHE, LandscapeData, landscape_data
from benchmarks.landscape_skill import BLOCK_KM, FIELD, MIN_PRESENCES, cropped, probability, scores
from cube.config.learning import TrainOptions
from cube.grid import CELL
from cube.layers import Layer
from cube.layers.inputs import INPUTS
from cube.storage.store import resolution_of
from inference.data.blocks import make_folds
from inference.data.samples import Predictors
from inference.evaluation.tables import Table
from inference.training.fit import TrainedModel, train

BANDS: Final = 64
HIDDEN: Final = 96
SURVEYS: Final = 1_000
PASSES: Final = 5

Floats = NDArray[np.float32]


def unit_vectors(drivers: Floats, reference: Floats, seed: int, bands: int = BANDS) -> NDArray[np.float64]:
    """(n, bands) vectors of length 1: a random network of `drivers` (n, V), scaled as `reference` (m, V) is."""
    rng = np.random.default_rng([seed, bands])
    x = (drivers - np.nanmean(reference, 0)) / (np.nanstd(reference, 0) + 1e-6)
    hidden = np.tanh(np.nan_to_num(x) @ rng.normal(size=(x.shape[1], HIDDEN)) / np.sqrt(x.shape[1]) + rng.normal(size=HIDDEN))
    out = hidden @ rng.normal(size=(HIDDEN, bands))
    return np.asarray(out / np.linalg.norm(out, axis=1, keepdims=True))


def stored_bytes(vectors: NDArray[np.float64]) -> NDArray[np.int8]:
    """Components of vectors as AlphaEarth stores them."""
    return np.clip(np.rint(np.sign(vectors) * np.sqrt(np.abs(vectors)) * 127.5), -127, 127).astype(np.int8)


def embedding(drivers: Floats, reference: Floats, seed: int) -> Floats:
    """(n, 64) vectors as they are read from signed bytes; see `unit_vectors`."""
    stored_values = stored_bytes(unit_vectors(drivers, reference, seed))
    return np.asarray(np.sign(stored_values) * (stored_values / np.float32(127.5)) ** 2, np.float32)


def bytes_of(layer: Layer) -> int:
    """Bytes of a cell of 50 m of a layer, uncompressed."""
    count = int(np.prod([len(layer.labels[dim]) for dim in layer.dims]))
    return int(count * np.dtype(layer.dtype).itemsize * (CELL / resolution_of(layer)) ** 2)


def compared(data: LandscapeData, members: int) -> list[dict[str, Any]]:
    """One row a way to see the landscape."""
    surveys, cell_surveys = data.surveys.subset(np.arange(SURVEYS)), data.cell_surveys()
    names = tuple(f"A{i:02d}" for i in range(BANDS))
    at_surveys, at_cells = (embedding(d, data.cell_drivers, data.seed) for d in (data.drivers[:SURVEYS], data.cell_drivers))
    satellites = [
        replace(
            cropped(p, FIELD).without("table_50m", "table_1km"), table_50m_names=(), table_1km_names=(), corner=None, weight=None
        )
        for p in (data.predictors.subset(np.arange(SURVEYS)), data.cells)
    ]
    predictors = {
        "embedding": tuple(Predictors({"table_50m": values}, table_50m_names=names) for values in (at_surveys, at_cells)),
        "Sentinel-2 and Landsat": (satellites[0], satellites[1]),
        "both": (satellites[0].with_columns(at_surveys, names), satellites[1].with_columns(at_cells, names)),
    }
    sizes = {"embedding": BANDS, "Sentinel-2 and Landsat": bytes_of(INPUTS["sentinel2"]) + bytes_of(INPUTS["landsat"])}
    sizes["both"] = sum(sizes.values())
    folds, scored_species = make_folds(surveys, BLOCK_KM, members), surveys.presence.sum(0) >= MIN_PRESENCES
    options = TrainOptions(members=members, batch=64, threads=1, device="cpu")
    model_of: dict[str, TrainedModel] = {}
    rows = []
    for method, (at, to) in predictors.items():
        model_of[method] = train(at, surveys, options=options, folds=folds)
        row = scores(probability(model_of[method], to, cell_surveys), data.truth, scored_species, scored_species)
        rows.append({"seed": data.seed, "method": method, **row, "bytes a cell": sizes[method]})
        print(f"  {data.seed} {method}: correlation {row['correlation']:.3f}", flush=True)
    seconds: dict[str, list[float]] = {method: [] for method in predictors}
    for _ in range(PASSES):
        for method, (_, to) in predictors.items():
            start = time.perf_counter()
            probability(model_of[method], to, cell_surveys)
            seconds[method].append(time.perf_counter() - start)
    base = np.array(seconds["Sentinel-2 and Landsat"])
    for row in rows:
        row["cells a second, ratio"] = float(np.median(base / np.array(seconds[row["method"]])))
    return rows


def main() -> None:
    """Print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--seeds", default="1", help="comma-separated seeds of landscapes")
    parser.add_argument("--members", type=int, default=3, help="networks in an ensemble, each without one fold of the blocks")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of generated landscapes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds = [int(seed) for seed in options.seeds.split(",")]
    rows = [row for seed in seeds for row in compared(landscape_data(seed, options.cache), options.members)]
    write_rows(options.json, [{k: v for k, v in row.items() if k != "by_species"} for row in rows])
    frame = pd.DataFrame(rows).drop(columns=["by_species", "species", "correlation_known"])
    means = frame.groupby("method", sort=False).mean(numeric_only=True).drop(columns="seed")
    means.insert(1, "spread", frame.groupby("method", sort=False)["correlation"].std())
    title = f"{SURVEYS:,} surveys, means over seeds {', '.join(map(str, seeds))}"
    print("\n" + Table(title, means.reset_index().to_dict("records")).text())


if __name__ == "__main__":
    main()
