"""Keys of the configuration that size, train and read models are typed where the file is read, and agree with the code."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from cube.config import load_config
from cube.config.learning import EvaluateDetails, NetworkConfig, ReaderOptions, TrainOptions
from cube.errors import ConfigError
from inference.evaluation.baselines.methods import NAMES
from inference.network.sizes import FIELDS, SIZES
from inference.plantbert.training import ReaderSpec
from inference.training.habitats import OTHER_OPTIONS

SMALLEST = {
    "title": "t",
    "cube": "c.zarr",
    "unit_km": 10,
    "sources": [],
    "region": {"west_km": 4000, "south_km": 3000, "east_km": 4040, "north_km": 3060},
}
HABITATS = {"plots": {"table": "plots.csv", "columns": {"survey": "id"}}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train": {"epochss": 3}}, ["train.epochss: is not a key", "did you mean epochs?"]),
        ({"train": {"epochs": "many"}}, ["train.epochs", "many"]),
        ({"train": {"members": 0}}, ["train.members: Input should be greater than or equal to 1", "0"]),
        ({"train": {"members": 1}}, ["train.members is 1: each member is judged", "set it to 2 or more"]),
        ({"train": {"likelihood": "naive"}}, ["train.likelihood", "'joint'"]),
        ({"train": 3}, ["train"]),
        ({"network": {"size": "huge"}}, ["network.size", "'geoplant'"]),
        ({"network": {"layers": 3}}, ["network.layers: is not a key", "dilations"]),
        ({"network": {"d": True}}, ["network.d", "True"]),
        ({"network": {"dilations": []}}, ["network.dilations"]),
        ({"network": {"dilations": [1, "2"]}}, ["network.dilations"]),
        ({"network": {"dropout": 1.0}}, ["network.dropout", "1"]),
        ({"evaluate": {"options": {"tree": 3}}}, ["evaluate.options.tree: is not a key", "did you mean trees?"]),
        ({"evaluate": {"options": {"baselines": ["maxent"]}}}, ["evaluate.options.baselines[0]", "'random_forest'"]),
        ({"evaluate": {"min_records": 0}}, ["evaluate.min_records", "1"]),
        ({"evaluate": {"block_km": 100}}, ["evaluate.block_km is 100", "shorter side of 40 km", "set it to 5 or leave it out"]),
        ({"habitats": HABITATS | {"options": {"epoch": 3}}}, ["habitats.options.epoch", "did you mean epochs?"]),
        ({"habitats": HABITATS | {"options": {"reading": "int8"}}}, ["habitats.options.reading: is not a key"]),
        ({"predict": {"area_m2": 0}}, ["predict.area_m2"]),
    ],
)
def test_a_wrong_key_or_value_is_refused_when_the_file_is_read(tmp_path: Path, changes: dict[str, Any], words: list[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(SMALLEST | changes))
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    for word in words:
        assert word in message


def test_keys_and_defaults_are_those_of_the_code_that_reads_them() -> None:
    spec = {f.name: f.default for f in dataclasses.fields(ReaderSpec) if f.name != "augmentation"}
    reader = {name: field.default for name, field in ReaderOptions.model_fields.items()}
    assert {name: value for name, value in reader.items() if name not in OTHER_OPTIONS} == spec
    assert set(OTHER_OPTIONS) <= set(reader)
    assert set(NetworkConfig.model_fields) == {"size", "modalities", *FIELDS}
    size = NetworkConfig.model_fields["size"].annotation
    assert tuple(name for part in get_args(size) for name in get_args(part)) == tuple(SIZES)
    baselines = EvaluateDetails(baselines=NAMES).baselines
    assert baselines == NAMES


def test_what_is_given_is_what_training_gets(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(SMALLEST | {"train": {"members": 2}, "network": {"dilations": [1, 2]}}))
    config = load_config(path)
    assert config.train == TrainOptions(members=2)
    assert config.network.dilations == (1, 2)


def test_reading_a_configuration_imports_no_torch() -> None:
    code = "import sys, cube.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
