"""A cube of six units and a model of random weights: everything that a prediction needs, in seconds, and no skill at all.

What tests and `benchmarks/kills.py` disturb is the run; its values only have to be many and to depend on every cell.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from cube.config import Config, load_config
from cube.engine.build import build
from cube.grid import Region
from cube.records.traits import FLAG_TRAITS, NUMBER_TRAITS, TEXT_TRAITS
from cube.storage import releases
from cube.storage.store import CubeStore, open_cube
from inference.cascade.model import save_settings, save_traits
from inference.data.recipe import recipe
from inference.network import checkpoint
from inference.network.deep_sdm import ModelSpec
from inference.network.ensemble import Ensemble
from tests.support.builds import write_raster

REGION = Region(4700, 2850, 4730, 2870, 10)  # 3 x 2 units, two levels of overviews
SPECIES = 150  # two shards


def make(folder: Path, region: Region = REGION, species: int = SPECIES, seed: int = 1) -> Config:
    """Write rasters, build their cube and save a model in `folder`; the configuration of it all."""
    write_raster(folder / "bio.tif", 19, 1000, region)
    write_raster(folder / "elevation.tif", 1, 50, region)
    window = {"west_km": region.west_km, "south_km": region.south_km, "east_km": region.east_km, "north_km": region.north_km}
    document = {
        "title": "Tiny",
        "license": "CC0-1.0",
        "attribution": "Nobody",
        "note": "Random weights.",
        "cube": "cube.zarr",
        "region": window,
        "unit_km": region.unit_km,
        "sources": [
            {"layer": "bioclim", "raster": "bio.tif"},
            {"layer": "elevation", "raster": "elevation.tif", "derive": ["slope"]},
        ],
        "predict": {"year": 2020, "block": 192},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(document))
    config = load_config(path)
    assert build(config) == []
    _save_model(open_cube(config.cube_url), config.model_path, species, seed)
    return config


def _save_model(cube: CubeStore, folder: Path, count: int, seed: int) -> None:
    what = recipe(cube)
    torch.manual_seed(seed)
    names = tuple(f"Planta numero-{i}" for i in range(count))
    spec = ModelSpec(what.modalities, count, what.table_50m_names, what.table_1km_names, d=16, hidden=32, inputs=what.encoded)
    ensemble = Ensemble(spec, 1, names)
    checkpoint.save(folder / "sdm", ensemble)
    save_settings(folder, what, {"quantiles": {"richness": 1.5, "shannon": 1.5}})
    traits: dict[str, Any] = {name: np.full(count, "", object) for name in TEXT_TRAITS}
    traits |= {name: np.zeros(count, bool) for name in FLAG_TRAITS}
    traits |= {name: np.zeros(count, np.float32) for name in NUMBER_TRAITS}
    traits["sensitive_km"][3] = 1.0
    save_traits(folder, names, traits)


def copy(config: Config, folder: Path, cluster: dict[str, Any] | None = None, parent: str = "") -> Config:
    """A run of its own in `folder` (or `parent`, where that is served) on the same inputs and model, from nothing predicted."""
    folder.mkdir(parents=True)
    shutil.copytree(config.cube_url, folder / "cube.zarr")
    document = yaml.safe_load(config.path.read_text()) | {"model": str(config.model_path)}
    document |= {"cluster": cluster} if cluster else {}
    document["cube"] = f"{parent}cube.zarr"
    (folder / "config.yaml").write_text(yaml.safe_dump(document))
    return load_config(folder / "config.yaml")


def digests(cube: CubeStore, version: str) -> dict[str, str]:
    """A hash of the decoded values of every array of a version, and of what each receipt says but its times and sizes.

    Bytes of shards differ between codecs, which a store chooses.
    """
    out: dict[str, str] = {}
    for product in releases.PRODUCTS:
        base = f"products/{product}/{version}"
        if not cube.has(base):
            continue
        for name, node in cube.group(base).members(max_depth=None):
            if hasattr(node, "shape"):
                values = np.asarray(node[...])
                data = json.dumps(values.tolist()).encode() if values.dtype.kind in "OUT" else values.tobytes()
                out[f"{product}/{name}"] = hashlib.sha256(data).hexdigest()[:16]
    for folder in (f"ledger/predict/{version}", f"ledger/predict/{version}/overviews"):
        for name, receipt in cube.read_folder(folder):
            receipt_values = {key: value for key, value in receipt.items() if key not in ("seconds", "steps", "sizes")}
            out[f"{folder}/{name}"] = hashlib.sha256(json.dumps(receipt_values, sort_keys=True).encode()).hexdigest()[:16]
    return out
