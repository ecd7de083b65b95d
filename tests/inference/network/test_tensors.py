"""Files of a model may be read by whoever the umask lets read any other file, and hold what was written."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from inference.calibration.applicability import Applicability, save_applicability
from inference.calibration.dissimilarity import Space
from inference.cascade.reference import Reference, save_reference
from inference.network import checkpoint
from inference.network.deep_sdm import ModelSpec
from inference.network.ensemble import Ensemble
from inference.network.tensors import write_tensors


@pytest.fixture(params=[0o022, 0o027, 0o002])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_all_files_of_a_model_have_the_mode_of_the_umask(tmp_path, umask):
    checkpoint.save(tmp_path / "sdm", Ensemble(ModelSpec(("table_50m",), 1, ("slope",), d=4), 1, ("Poa annua",)))
    save_reference(tmp_path, Reference(np.ones(1, np.float32), 0.5))
    one = np.zeros(1, np.float32)
    space = Space(np.zeros((2, 1), np.float32), 1.0, 1.0)
    save_applicability(
        tmp_path, Applicability(("table_50m",), ("table_50m",), one, one, np.ones((4, 1), np.float32), {1: space}, {1: space})
    )
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len([path for path in files if path.suffix == ".safetensors"]) == 3
    assert {path.name: path.stat().st_mode & 0o777 for path in files} == {path.name: 0o666 & ~umask for path in files}


def test_a_file_that_only_its_owner_could_read_is_replaced(tmp_path, umask):
    path = tmp_path / "a.safetensors"
    path.touch(0o600)
    write_tensors(path, {"a": torch.arange(4)}, {"about": "four"})
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    np.testing.assert_array_equal(load_file(path)["a"], np.arange(4))
