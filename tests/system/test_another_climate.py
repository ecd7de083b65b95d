"""One model predicts on two cubes: the same region in another climate, as docs/how-to/another-climate.md says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from cube.config import Config, load_config
from cube.engine.build import build
from cube.errors import CubeError
from cube.grid import CELL, Region
from cube.layers import PROBABILITY_STEPS
from cube.layers.inputs import INPUTS, plausible_ranges
from cube.storage.store import open_cube
from inference.cascade.model import load_model
from inference.cascade.predict import predict
from inference.data.sampling import sample
from inference.network.batches import predict_surveys
from inference.training.likelihood import cloglog_probability
from tests.support import tiny_run
from tests.support.rasters import names_of, write_bands

REGION = Region(4700, 2850, 4710, 2860, 10)


def other(config: Config, name: str, **changes: object) -> Config:
    """A configuration beside `config` of the cube `name`, with the same model."""
    document = yaml.safe_load(config.path.read_text()) | {"cube": f"{name}.zarr", "reports": name, **changes}
    path = config.path.with_name(f"{name}.yaml")
    path.write_text(yaml.safe_dump(document))
    return load_config(path)


@pytest.mark.slow
def test_one_model_predicts_on_another_climate(tmp_path: Path) -> None:
    config = tiny_run.make(tmp_path, REGION, species=12)
    # A network that was not trained reads inputs without a scale: only small values differ to it.
    least = np.array([max(low, 1) for low, _ in plausible_ranges(INPUTS["bioclim"])], np.float32)
    rows, cols = REGION.shape(1000)
    values = np.broadcast_to(least[:, None, None], (len(least), rows, cols))
    write_bands(tmp_path / "warm.tif", np.ascontiguousarray(values), REGION.transform(1000), names_of("bioclim"), -9999)
    sources = yaml.safe_load(config.path.read_text())["sources"]
    warm = other(config, "warm", sources=[{**sources[0], "raster": "warm.tif"}, *sources[1:]])
    assert build(warm) == []
    maps = []
    for each in (config, warm):
        outcome = predict(each)
        assert outcome.failures == []
        assert max(outcome.clipped_shares.values(), default=0) < 1e-3
        cube, model = open_cube(each.cube_url), load_model(each.model_path)
        # beside the model at single places, out of the same cube
        rng = np.random.default_rng(0)
        row, col = rng.integers(0, 200, (2, 50))
        x, y = 4_700_000 + (col + 0.5) * CELL, 2_860_000 - (row + 0.5) * CELL
        eta = predict_surveys(model.ensemble, sample(cube, model.recipe, x, y, 1), np.full(50, 2020.0), np.full(50, 100.0))
        p = cloglog_probability(torch.from_numpy(eta)).numpy()
        scale = np.asarray(cube.array(f"products/species/{outcome.release}/0/scale")[:])
        stored = np.asarray(cube.array(f"products/species/{outcome.release}/0/occurrence")[:])[:, row, col].T
        plain = np.arange(12) != 3  # that one is spread over its square
        assert (stored <= PROBABILITY_STEPS).all()
        np.testing.assert_allclose((stored * scale)[:, plain], p[:, plain], atol=0.51 * scale.max())
        maps.append(p)
    assert np.abs(maps[0] - maps[1]).max() > 1e-4  # the other climate is read
    bare = other(config, "bare", sources=sources[1:])
    assert build(bare) == []
    with pytest.raises(CubeError, match=r"has no bioclim, from which the model in .* learned; add it to `sources`"):
        predict(bare)
