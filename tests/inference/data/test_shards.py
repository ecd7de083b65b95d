"""Samples on disk are the samples that memory would hold, cut once, whatever happens in between."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cube.errors import ModelError
from cube.layers.inputs import INPUTS
from inference.data import shards
from inference.data.samples import Predictors
from inference.data.shards import Rows, SampleStore, is_on_disk
from inference.training.fit import train
from tests.inference.training.test_fit import QUICK, landscape

SHAPES = {"satellite": (4, 5, 5), "table_50m": (3,)}
LAYERS = {"satellite": INPUTS["sentinel2"], "table_50m": None}


def values(n: int = 40):
    rng = np.random.default_rng(0)
    satellite = (rng.integers(0, 10_000, (n, 4, 5, 5)).astype(np.float32) * np.float32(1e-4)).astype(np.float32)
    satellite[3, :, 2] = np.nan
    return {"satellite": satellite, "table_50m": rng.normal(size=(n, 3)).astype(np.float32)}


def cut(folder, held, identity="a", order=None, read=None, n=40):
    read = read or (lambda index: {name: array[index] for name, array in held.items()})
    order = np.arange(n) if order is None else order
    return SampleStore(folder, 0).cut("places", SHAPES, LAYERS, order, read, identity)


@given(st.lists(st.integers(-40, 39), max_size=30))
def test_rows_read_like_the_array_that_was_cut(tmp_path_factory, index):
    held = values()
    made = cut(tmp_path_factory.mktemp("sample_store"), held, order=np.random.default_rng(1).permutation(40))
    for name, rows in made.items():
        np.testing.assert_array_equal(rows[np.array(index, np.int64)], held[name][np.array(index, np.int64)])
    assert (made["table_50m"][2:9] == held["table_50m"][2:9]).all()
    assert (made["table_50m"][np.arange(40) > 30] == held["table_50m"][31:]).all()


def test_reflectance_takes_two_bytes_and_is_exact(tmp_path):
    made = cut(tmp_path, held := values())
    assert (tmp_path / "places" / "satellite.rows").stat().st_size == held["satellite"].nbytes / 2
    assert made["satellite"].shape == held["satellite"].shape


def test_a_cutting_that_was_stopped_goes_on_and_another_identity_begins_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "PIECE", 4 * 103 * 10)  # ten places a piece
    held, asked = values(), []

    def read(index):
        asked.append(index)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return {name: array[index] for name, array in held.items()}

    with pytest.raises(KeyboardInterrupt):
        cut(tmp_path, held, read=read)
    made = cut(tmp_path, held, read=read)
    assert [int(index[0]) for index in asked] == [0, 10, 20, 20, 30]
    np.testing.assert_array_equal(made["satellite"][np.arange(40)], held["satellite"])
    cut(tmp_path, held, read=read)
    assert len(asked) == 5  # nothing is cut twice
    cut(tmp_path, held, "b", read=read)
    assert len(asked) == 9


def test_a_truncated_file_is_told_while_reading_and_cut_again_by_the_next_run(tmp_path):
    made = cut(tmp_path, held := values())
    path = tmp_path / "places" / "table_50m.rows"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ModelError, match=r"table_50m\.rows ends before row 39"):
        made["table_50m"][np.array([39])]
    np.testing.assert_array_equal(cut(tmp_path, held)["table_50m"][np.arange(40)], held["table_50m"])


@pytest.mark.parametrize("loaders", [0, 3])
def test_training_from_disk_equals_training_from_memory(tmp_path, loaders):
    predictors, surveys, _ = landscape(80)
    held = {"satellite": predictors.values["satellite"], "table_50m": predictors.values["table_50m"]}
    rows = {name: array.shape[1:] for name, array in held.items()}
    made = SampleStore(tmp_path, 0).cut(
        "places", rows, dict.fromkeys(rows), np.arange(80), lambda i: {name: array[i] for name, array in held.items()}, "a"
    )
    on_disk = predictors.with_values(made)
    assert is_on_disk(on_disk)
    assert not is_on_disk(predictors)
    options = replace(QUICK, least_steps=8, loaders=loaders)
    one, other = (train(p, surveys, options=options).ensemble.state_dict() for p in (predictors, on_disk))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_shelf_is_used_where_memory_is_too_small():
    sample_store = SampleStore(None, 1e6)
    assert not sample_store.spills({"satellite": (4, 45, 45)}, 30)
    assert sample_store.spills({"satellite": (4, 45, 45)}, 31)


def test_rows_stand_in_for_arrays_of_predictors(tmp_path):
    made = cut(tmp_path, values())
    predictors = Predictors(made, table_50m_names=("a", "b", "c"))
    assert len(predictors) == 40
    assert predictors.modalities == ("satellite", "table_50m")
    assert isinstance(predictors.values["satellite"], Rows)
    assert predictors.subset(np.array([1, 5])).values["satellite"].shape == (2, 4, 5, 5)
