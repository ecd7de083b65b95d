"""Documents of a model that never was, with curves of a known form: what sheets show is compared with these."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cube.storage import model_card
from cube.storage.store import CubeStore, open_cube
from tests.support.good_cube import copy_of

GRID = [float(v) for v in range(2, 17)]  # degrees
METRICS = {"auc_test": 0.71, "held_out_surveys": 280, "held_out_blocks": 3, "learned_surveys": 1900, "calibration_slope": 0.97}
IMPORTANCE = [
    ("table_1km", "", "Climate and others at 1 km", 0.021),
    ("table_50m", "", "Terrain, soil and land cover at 50 m", 0.008),
    ("table_1km", "bioclim.bio1", "Annual mean temperature", 0.012),
]


def bell(species: int) -> list[list[float]]:
    """Mean, lower and upper of a bell over `GRID` whose top moves with the species."""
    mean = [round(0.5 * math.exp(-(((t - 4 - 2 * species) / 3) ** 2)), 6) for t in GRID]
    return [mean, [round(0.6 * p, 6) for p in mean], [round(1.3 * p, 6) for p in mean]]


def card(names: Sequence[str]) -> dict[str, Any]:
    """The card of a model of these species."""
    return {
        "model": "feedc0de",
        "statement": "probability",
        "members": 2,
        "species": len(names),
        "metrics": METRICS,
        "modalities": [{"name": "table_1km", "title": "Climate and others at 1 km"}],
        "habitats": {"accuracy": 0.8},
        "importance": [
            {
                "modality": m,
                "channel": c,
                "title": t,
                "more_log_loss": v,
                "more_log_loss_sd": 0.001,
                "less_auc": v,
                "log_loss": 0.3,
                "auc": 0.7,
            }
            for m, c, t, v in IMPORTANCE
        ],
        "responses": [
            {
                "modality": "table_1km",
                "input": "bioclim.bio1",
                "title": "Annual mean temperature",
                "units": "degC",
                "values": GRID,
                "at_surveys": [5.5, 6.0, 6.2, 9.0],
            }
        ],
    }


def entries(names: Sequence[str]) -> list[dict[str, Any]]:
    """One entry a species; the last was never seen on held-out surveys."""
    curves = [
        {"present": 20 + s, "expected": 22.5, "auc": 0.8, "auc_se": 0.05, "log_loss": 0.2, "log_loss_of_prevalence": 0.25}
        for s in range(len(names))
    ]
    curves[-1] |= {"present": 0, "auc": None, "auc_se": None}
    return [
        {"name": name, "surveys": 100 - s, "records": 7 * s, "held_out": curves[s], "responses": [bell(s)]}
        for s, name in enumerate(names)
    ]


def copy_with_model(cube: CubeStore, folder: Path, names: Sequence[str]) -> CubeStore:
    """A copy of a cube whose species version v1 says what model made it."""
    copy_of(cube, folder)
    copy = open_cube(str(folder / "copy.zarr"), writable=True)
    model_card.write_model(copy, "v1", card(names), entries(names))
    return copy
