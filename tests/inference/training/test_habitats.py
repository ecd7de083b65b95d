"""Plots of a configuration become a reader in a model folder: its skill in the card, its approximation where one is asked for."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from cube.config import Config, load_config
from cube.errors import ConfigError, ModelError
from inference.cascade.habitats import READING, HabitatMapper
from inference.training.habitats import train_habitats
from tests.support.plots import SPECIES, landscape

CODES = {"A": "R21", "B": "R22", "C": "T17"}
TINY = {"hidden": 16, "mask_epochs": 1, "epochs": 8, "least_steps": 0, "batch": 16, "learning_rate": 1e-2}


def configured(folder: Path, **options: Any) -> Config:
    plots = landscape(160)
    draw = np.random.default_rng(0)
    label = [CODES[plots.habitats[i]] if i >= 0 else "~" for i in plots.label]
    lon, lat = draw.uniform(14, 16, 160), draw.uniform(48, 50, 160)
    pd.DataFrame({"plot": plots.plot_id, "habitat": label, "lon": lon, "lat": lat}).to_csv(folder / "plots.csv", index=False)
    rows = [(plots.plot_id[i], SPECIES[s], 50 - rank) for i in range(160)
            for rank, s in enumerate(plots.order[i, : plots.size[i]])]  # fmt: skip
    pd.DataFrame(rows, columns=["plot", "species", "cover"]).to_csv(folder / "covers.csv", index=False)
    classes = [(c, "3", c[:2]) for c in CODES.values()] + [("R2", "2", "R"), ("T1", "2", "T"), ("R", "1", ""), ("T", "1", "")]
    pd.DataFrame(classes, columns=["code", "level", "parent"]).to_csv(folder / "scheme.csv", index=False)
    document = {
        "title": "Plots", "cube": "cube.zarr", "region": {"west_km": 4700, "south_km": 2850, "east_km": 4710, "north_km": 2860},
        "unit_km": 10, "sources": [{"layer": "bioclim", "raster": "bio.tif"}],
        "habitats": {
            "scheme": "scheme.csv", "options": TINY | options,
            "plots": {"table": "plots.csv", "occurrences": "covers.csv",
                      "columns": {"survey": "plot", "habitat": "habitat", "longitude": "lon", "latitude": "lat",
                                  "species": "species", "cover": "cover"}},
        },
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(document))
    return load_config(folder / "config.yaml")


def test_skill_on_held_out_blocks_stands_in_metrics_and_card_and_a_student_reads_where_asked(tmp_path: Path) -> None:
    config, out = configured(tmp_path, folds=2, reading="student"), tmp_path / "habitats"
    metrics, report = train_habitats(config, out, lambda *_: None)
    assert report["kept"]["plots"] == 160
    assert metrics["lists_predicted"] == 0  # no deep-SDM stands beside it
    line = metrics["held_out_plantbert"]
    assert float(line.split("accuracy ")[1].split(",")[0]) > 0.5
    assert "level1" in line
    assert line in (out / "README.md").read_text()
    assert metrics["held_out_naive_bayes"] in (out / "README.md").read_text()
    assert metrics["student_agreement"] > 0.6
    mapper = HabitatMapper.load(out, [*SPECIES, "Homo sapiens"])
    assert mapper.unknown == 1
    plots = landscape(100, seed=8)
    by_student = mapper.classify(plots.order, plots.size)
    (out / READING).write_text("float32\n")
    exact = HabitatMapper.load(out, [*SPECIES, "Homo sapiens"])
    assert exact.hash != mapper.hash
    whole = exact.classify(plots.order, plots.size)
    assert not np.array_equal(by_student, whole)
    assert (by_student.argmax(axis=1) == whole.argmax(axis=1)).mean() > 0.6
    labelled = plots.label >= 0
    assert (whole.argmax(axis=1) == plots.label)[labelled].mean() > 0.6
    level = exact.level_maps(whole)
    np.testing.assert_array_equal(level["level1"] - exact.offset("level1"), whole[:, 2] > whole[:, :2].sum(axis=1))
    (out / READING).write_text("guess\n")
    with pytest.raises(ModelError, match="'guess' is not known"):
        HabitatMapper.load(out, SPECIES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reading": "fast"}, "habitats.options.reading: is 'fast'; it may be float32, int8, student"),
        ({"predicted": "yes"}, "habitats.options.predicted: is 'yes'; it may be true or false"),
        ({"epoch": 3}, "habitats.options.epoch: is not a key"),
    ],
)
def test_wrong_options_are_told_before_any_training(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train_habitats(configured(tmp_path, **options), tmp_path / "habitats", lambda *_: None)


def test_a_table_of_other_classes_than_the_model_and_a_plot_of_an_unknown_class_are_told(tmp_path: Path) -> None:
    config = configured(tmp_path)
    table = pd.read_csv(tmp_path / "scheme.csv")
    table[table["code"] != "T17"].to_csv(tmp_path / "scheme.csv", index=False)
    with pytest.raises(ModelError, match="'T17', which level level3 of the scheme does not know"):
        train_habitats(config, tmp_path / "habitats", lambda *_: None)
