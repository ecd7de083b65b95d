"""Whatever happens to a file of a model folder is noticed before a value is predicted, and the message names the file."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.cascade_case import make_cube, make_model
from cube.errors import ModelError
from cube.grid import Region
from inference.calibration.applicability import CARD, TENSORS, Applicability, save_applicability
from inference.calibration.dissimilarity import Space
from inference.cascade.model import load_model
from inference.network.checksums import FILE, verify_checksums, write_checksums
from inference.training.resume import Checkpoint

SPECIES = 5


def _model(folder: Path, cube, seed: int) -> Path:
    make_model(folder, cube, SPECIES, {"d": 4, "hidden": 4}, seed=seed)
    rng = np.random.default_rng(seed)
    points = rng.random((30, 3)).astype(np.float32)
    space = {1: Space(points, 1.0, 2.0)}
    ones = np.ones(3, np.float32)
    axes = np.eye(4, 2, dtype=np.float32)
    save_applicability(folder, Applicability(("table_50m",), ("table_50m",) * 3, ones, ones, axes, space, space))
    (folder / "explanation").mkdir()
    (folder / "explanation" / "importance.csv").write_text(f"modality,channel\nstatic,{seed}\n")
    (folder / "habitats").mkdir()  # replaced alone by `habitats train`: it has a list of its own
    (folder / "habitats" / "model.safetensors").write_bytes(bytes([seed] * 100))
    write_checksums(folder / "habitats")
    write_checksums(folder)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("models")
    cube = make_cube(str(folder / "cube.zarr"), Region(4800, 2890, 4810, 2900, 10), ("surface", "elevation"))
    return _model(folder / "one", cube, 1), _model(folder / "two", cube, 2)


@pytest.fixture
def model(models: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(models[0], tmp_path / "model"))


FILES = ["sdm/model.safetensors", "sdm/card.json", "species.csv", "predict.json", TENSORS, CARD, "explanation/importance.csv"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty", "missing", "other model"])
def test_a_damaged_file_is_refused_by_name(model: Path, models: tuple[Path, Path], name: str, damage: str) -> None:
    file = model / name
    data = bytearray(file.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    elif damage == "missing":
        file.unlink()
    elif damage == "other model":
        other = (models[1] / name).read_bytes()
        if other == data:
            pytest.skip("both models have the same file")
        file.write_bytes(other)
    else:
        file.write_bytes(data[: len(data) // 2] if damage == "truncated" else b"")
    with pytest.raises(ModelError) as told:
        load_model(model)
    assert str(told.value).startswith(f"{file}: ")
    assert "; copy the whole model folder again or train again." in str(told.value)


def test_a_whole_model_is_loaded_and_files_beside_it_do_not_matter(model: Path) -> None:
    shutil.rmtree(model / "habitats")
    write_checksums(model)
    (model / "notes.txt").write_text("of the user")
    (model / ".hidden").write_text("of the system")
    assert load_model(model).applicability is not None


def test_a_file_of_another_model_is_not_read_where_this_one_has_none(model: Path, models: tuple[Path, Path]) -> None:
    for name in (TENSORS, CARD):
        (model / name).unlink()
    write_checksums(model)
    shutil.copy(models[1] / CARD, model / CARD)
    with pytest.raises(ModelError, match=r"applicability\.json: is not a file of this model"):
        load_model(model)


@pytest.mark.parametrize("place", [0.1, 0.5, 0.95])
def test_a_damaged_list_is_refused_itself(model: Path, place: float) -> None:
    data = bytearray((model / FILE).read_bytes())
    data[int(len(data) * place)] ^= 1
    (model / FILE).write_bytes(data)
    with pytest.raises(ModelError, match=r"checksums\.json: is damaged"):
        verify_checksums(model)


def test_the_reader_of_habitats_has_a_list_of_its_own(model: Path) -> None:
    (model / "habitats" / "model.safetensors").write_bytes(b"new")
    verify_checksums(model)
    with pytest.raises(ModelError, match=r"habitats/model\.safetensors: has 3 bytes, and checksums\.json of the model says 100"):
        verify_checksums(model / "habitats")


def test_a_model_of_an_earlier_version_without_a_list_is_read(model: Path) -> None:
    (model / FILE).unlink()
    shutil.rmtree(model / "habitats")
    assert len(load_model(model).ensemble.species) == SPECIES


def test_a_flipped_byte_in_the_state_of_a_training_is_refused(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "member0-phase0.safetensors", 0.0)
    checkpoint.save({"weights": torch.arange(100.0), "step": torch.tensor(3)}, {"step": 3})
    assert checkpoint.read() is not None
    data = bytearray(checkpoint.path.read_bytes())
    data[-40] ^= 1
    checkpoint.path.write_bytes(data)
    with pytest.raises(ModelError, match=r"member0-phase0\.safetensors is truncated or altered .*; remove it and run again"):
        checkpoint.read()
