"""Samples of a landscape come out of their file as they went in."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.landscape_data import _of_predictors, _to_predictors
from inference.data.samples import Predictors


def test_predictors_come_back_from_a_file_that_needs_no_pickle(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image = (rng.integers(0, 10_000, (3, 4, 5, 5)) / np.float32(10_000)).astype(np.float32)
    image[0, 0, 0, 0] = np.nan
    places = Predictors({"satellite": image, "static": rng.random((3, 2), np.float32)}, static_names=("slope", "clay"))
    np.savez(tmp_path / "landscape.npz", **_of_predictors(places))
    with np.load(tmp_path / "landscape.npz", allow_pickle=False) as file:
        back = _to_predictors("p", {f"p_{name}": file[name] for name in file.files})
    np.testing.assert_array_equal(back.values["satellite"], places.values["satellite"])
    np.testing.assert_array_equal(back.values["static"], places.values["static"])
    assert back.static_names == places.static_names
    assert back.inputs == places.inputs
