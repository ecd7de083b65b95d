"""Plots of a configuration become a reader in a model folder: its skill in the card, its approximation where one is asked for."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from pyproj import Transformer
from typer.testing import CliRunner

import floracube
from cube.config import Config, load_config
from cube.errors import ConfigError, ModelError, TableError
from inference.cascade import maps
from inference.cascade.cells import Cells
from inference.cascade.habitats import HabitatMapper
from inference.plantbert.evaluation import best_transformer_share
from inference.training import habitats
from inference.training.habitats import load_plots, train_habitats
from inference.training.places import place_reader
from inference.training.predicted_lists import PredictedPlots
from tests.support.plots import SPECIES, landscape

CODES = {"A": "R21", "B": "R22", "C": "T17"}
TINY = {"hidden": 16, "mask_epochs": 1, "epochs": 8, "least_steps": 0, "batch": 16, "learning_rate": 1e-2}


def configured(folder: Path, reader: str = "plantbert", **options: Any) -> Config:
    plots = landscape(160)
    draw = np.random.default_rng(0)
    label = [CODES[plots.habitats[i]] if i >= 0 else "~" for i in plots.label]
    lon, lat = draw.uniform(14, 16, 160), draw.uniform(48, 50, 160)
    pd.DataFrame({"plot": plots.plot_id, "habitat": label, "lon": lon, "lat": lat}).to_csv(folder / "plots.csv", index=False)
    rows = [
        (plots.plot_id[i], SPECIES[s], 50 - rank) for i in range(160) for rank, s in enumerate(plots.order[i, : plots.size[i]])
    ]
    pd.DataFrame(rows, columns=["plot", "species", "cover"]).to_csv(folder / "covers.csv", index=False)
    classes = [(c, "3", c[:2]) for c in CODES.values()] + [("R2", "2", "R"), ("T1", "2", "T"), ("R", "1", ""), ("T", "1", "")]
    pd.DataFrame(classes, columns=["code", "level", "parent"]).to_csv(folder / "scheme.csv", index=False)
    document = {
        "title": "Plots",
        "cube": "cube.zarr",
        "region": {"west_km": 4700, "south_km": 2850, "east_km": 4710, "north_km": 2860},
        "unit_km": 10,
        "sources": [{"layer": "bioclim", "raster": "bio.tif"}],
        "habitats": {
            "scheme": "scheme.csv",
            "options": TINY | options,
            "reader": reader,
            "plots": {
                "table": "plots.csv",
                "occurrences": "covers.csv",
                "columns": {
                    "survey": "plot",
                    "habitat": "habitat",
                    "longitude": "lon",
                    "latitude": "lat",
                    "species": "species",
                    "cover": "cover",
                },
            },
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(document))
    return load_config(folder / "config.yaml")


@pytest.mark.parametrize("written", ["decimal commas", "projected"])
def test_positions_of_plots_are_read_as_those_of_surveys(tmp_path: Path, written: str) -> None:
    config = configured(tmp_path)
    table = pd.read_csv(tmp_path / "plots.csv", dtype={"plot": str}).round(3)
    degrees = table.set_index("plot")[["lon", "lat"]]
    if written == "projected":
        table["lon"], table["lat"] = Transformer.from_crs(4326, 25833, always_xy=True).transform(table["lon"], table["lat"])
        document = yaml.safe_load((tmp_path / "config.yaml").read_text())
        document["habitats"]["plots"]["columns"]["crs"] = "EPSG:25833"
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(document))
        config = load_config(tmp_path / "config.yaml")
    table.to_csv(tmp_path / "plots.csv", index=False, sep=";", decimal="," if written == "decimal commas" else ".")
    _, placed, _ = load_plots(config)
    np.testing.assert_allclose(placed[["lon", "lat"]].to_numpy(float), degrees.loc[placed.index].to_numpy(), atol=1e-6)


@pytest.mark.slow
def test_skill_on_held_out_blocks_stands_in_metrics_and_card(tmp_path: Path) -> None:
    config, out = configured(tmp_path, folds=2), tmp_path / "habitats"
    metrics, report = train_habitats(config, out, lambda *_: None)
    assert report["kept"]["plots"] == 160
    assert metrics["lists_predicted"] == 0  # no deep-SDM stands beside it
    line = metrics["held_out_plantbert"]
    assert line.startswith("accuracy ")  # the key names the method
    assert float(line.split("accuracy ")[1].split(",")[0]) > 0.5
    assert "level1" in line
    assert line in (out / "README.md").read_text()
    for method in ("naive_bayes", "transformer", "linear"):
        assert metrics[f"held_out_{method}"] in (out / "README.md").read_text()
    assert json.loads((out / "linear.json").read_text())["transformer_share"] == metrics["transformer_share"]
    assert metrics["held_out"] == "blocks of 0.1 degree, 2 parts in turn"
    for method in ("naive_bayes_cover", "logistic_regression_balanced", "logistic_regression_balanced_cover"):
        assert metrics[f"held_out_{method}"] in (out / "README.md").read_text()
    mapper = HabitatMapper.load(out, [*SPECIES, "Homo sapiens"])
    assert mapper.unknown == 1
    plots = landscape(100, seed=8)
    whole = mapper.classify(plots.order, plots.size)
    labelled = plots.label >= 0
    assert (whole.argmax(axis=1) == plots.label)[labelled].mean() > 0.6
    level = mapper.level_maps(whole)
    np.testing.assert_array_equal(level["level1"] - mapper.offset("level1"), whole[:, 2] > whole[:, :2].sum(axis=1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reading": "int8"}, "habitats.options.reading: is not a key"),
        ({"predicted": "yes"}, r"habitats\.options\.predicted: Input should be a valid boolean \(found 'yes'\)"),
        ({"epoch": 3}, "habitats.options.epoch: is not a key"),
        ({"folds": -1}, "habitats.options.folds: .* greater than or equal to 0"),
    ],
)
def test_wrong_options_are_told_before_any_training(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train_habitats(configured(tmp_path, **options), tmp_path / "habitats", lambda *_: None)


def test_one_habitat_alone_is_refused_before_its_scheme_is_asked(tmp_path: Path) -> None:
    config = configured(tmp_path)
    plots = pd.read_csv(tmp_path / "plots.csv")
    plots["habitat"] = "no such code"
    plots.to_csv(tmp_path / "plots.csv", index=False)
    with pytest.raises(TableError, match=r"plots\.csv: fewer than two habitats have \d+ plots; lower habitats\.min_plots"):
        train_habitats(config, tmp_path / "habitats", lambda *_: None)


def test_a_table_of_other_classes_than_the_model_and_a_plot_of_an_unknown_class_are_told(tmp_path: Path) -> None:
    config = configured(tmp_path)
    table = pd.read_csv(tmp_path / "scheme.csv")
    table[table["code"] != "T17"].to_csv(tmp_path / "scheme.csv", index=False)
    with pytest.raises(TableError, match=r"scheme\.csv: level3 has no T17, which the plots in .*plots\.csv have; add a row"):
        train_habitats(config, tmp_path / "habitats", lambda *_: None)


def test_labelled_plots_without_a_predicted_list_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured(tmp_path, "linear", folds=0)
    plots, _, _ = load_plots(config)
    none = np.zeros(0, np.int64)
    nowhere = PredictedPlots(plots.take(none), np.zeros((0, 4), np.float32), 2, none, "")
    monkeypatch.setattr(habitats, "_predicted", lambda *_: nowhere)
    metrics, report = train_habitats(config, tmp_path / "habitats", lambda *_: None)
    (count,) = (remark["count"] for reason, remark in report["remarks"].items() if "without a predicted list" in reason)
    assert count == metrics["plots_labelled"] > 100


def test_a_linear_reader_gives_the_same_layers_without_region_sources_or_transformers(tmp_path: Path) -> None:
    configured(tmp_path, reader="linear")
    document = yaml.safe_load((tmp_path / "config.yaml").read_text())
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"habitats": document["habitats"]}))
    run = CliRunner().invoke(floracube.app, ["habitats", "train", str(tmp_path / "config.yaml"), "--json"])
    assert run.exit_code == 0, run.output
    metrics = json.loads(run.stdout)["metrics"]["habitats"]
    assert metrics["held_out"] == "blocks of 0.1 degree, 5 parts in turn"
    records = json.loads((tmp_path / "model/habitats/skill.json").read_text())
    assert [record["method"] for record in records] == [
        "linear",
        "naive_bayes",
        "naive_bayes_cover",
        "logistic_regression_balanced",
        "logistic_regression_balanced_cover",
    ]
    assert all(record["plots"] == records[0]["plots"] == metrics["plots_labelled"] for record in records)
    assert records[0]["accuracy"] > 0.7
    mapper = HabitatMapper.load(tmp_path / "model/habitats", [*SPECIES, "Homo sapiens"])
    assert (mapper.unknown, type(mapper.reader).__name__) == (1, "LinearReader")
    plots = landscape(100, seed=8)
    p = mapper.classify(plots.order, plots.size)
    labelled = plots.label >= 0
    assert (p.argmax(axis=1) == plots.label)[labelled].mean() > 0.7
    level = mapper.level_maps(p)
    np.testing.assert_array_equal(level["level1"] - mapper.offset("level1"), p[:, 2] > p[:, :2].sum(axis=1))
    cells = Cells.empty(np.arange(100), 10, np.zeros((0, 100)))
    written: dict[str, Any] = {}
    maps.habitats(cells, maps.RankedSpecies(plots.order, np.zeros(plots.order.shape), plots.size), mapper, written.__setitem__)
    assert sorted(written) == ["entropy", "level1", "level2", "level3", "probability", "top3_class", "top3_probability"]
    np.testing.assert_array_equal(written["level3"].ravel(), p.argmax(axis=1))
    np.testing.assert_array_equal(written["top3_class"][0], written["level3"])
    damaged = bytearray((tmp_path / "model/habitats/linear.safetensors").read_bytes())
    damaged[-5] ^= 1
    (tmp_path / "model/habitats/linear.safetensors").write_bytes(damaged)
    with pytest.raises(ModelError, match=r"linear\.safetensors: is damaged or from another model"):
        HabitatMapper.load(tmp_path / "model/habitats", SPECIES)


def test_a_key_of_the_cube_is_still_asked_for_by_other_commands(tmp_path: Path) -> None:
    configured(tmp_path)
    document = yaml.safe_load((tmp_path / "config.yaml").read_text())
    del document["region"], document["sources"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigError, match="region: is missing"):
        load_config(tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml", habitats_alone=True).habitats is not None
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(document | {"habitats": document["habitats"] | {"reader": "forest"}}))
    with pytest.raises(ConfigError, match=r"habitats\.reader: "):
        load_config(tmp_path / "config.yaml", habitats_alone=True)


@pytest.mark.parametrize("min_plots", [10, 2])
def test_a_class_of_two_plots_is_named_or_learned_and_plots_without_coordinates_are_dealt_at_random(
    tmp_path: Path, min_plots: int
) -> None:
    config = configured(tmp_path, reader="linear")
    plots = pd.read_csv(tmp_path / "plots.csv")
    plots.loc[[7, 11], "habitat"] = "T18"
    plots.drop(columns=["lon", "lat"]).to_csv(tmp_path / "plots.csv", index=False)
    document = yaml.safe_load(config.path.read_text())
    for key in ("longitude", "latitude"):
        del document["habitats"]["plots"]["columns"][key]
    del document["habitats"]["scheme"]  # a flat scheme of the classes that there are
    document["habitats"]["min_plots"] = min_plots
    config.path.write_text(yaml.safe_dump(document))
    metrics, report = train_habitats(load_config(config.path), tmp_path / "habitats", lambda *_: None)
    assert report["kept"]["habitats"] == (3 if min_plots == 10 else 4)
    rare = report["remarks"].get("habitats with fewer than habitats.min_plots, not learned")
    assert rare == ({"count": 1, "first": ["T18 with 2 plots"]} if min_plots == 10 else None)
    assert metrics["held_out"].startswith("random plots")
    mapper = HabitatMapper.load(tmp_path / "habitats", SPECIES)
    assert len(mapper.reader.habitats) == report["kept"]["habitats"]
    assert np.isfinite(mapper.classify(np.array([[0, 1, 2]], np.int32), np.array([3]))).all()


@pytest.mark.parametrize("tells", ["places", "lists"])
def test_maps_read_from_what_tells_habitats_apart_in_blocks_that_nobody_saw(tmp_path: Path, tells: str) -> None:
    """Where lists tell them, embeddings give every label away but those of the fold that a member left out: no proof of skill."""
    plots, rng = landscape(600), np.random.default_rng(0)
    plots = plots.take(plots.label >= 0)
    n, fold = len(plots), np.arange(len(plots)) % 3
    lists = plots if tells == "lists" else replace(plots, order=rng.permuted(plots.order, axis=0))
    z = rng.normal(size=(3, n, 4)).astype(np.float32)
    for member in range(3):
        telling = (fold != member) | (tells == "places")
        z[member, telling, 0] += 5 * plots.label[telling]
    embedding = np.concatenate(list(z), axis=1)
    predicted = PredictedPlots(replace(lists, cover=None), embedding, 3, fold, "networks")
    reader, skills = place_reader(plots, predicted)
    accuracy = {skill.method: skill.accuracy for skill in skills}
    assert list(accuracy) == ["maps_from_lists", "maps_from_places", "maps"]
    assert all(skill.plots == n for skill in skills)
    if tells == "lists":
        assert accuracy["maps_from_places"] < 0.6 < accuracy["maps_from_lists"]
        assert reader is None or reader.mixture.list_weight > reader.mixture.place_weight
    else:
        assert accuracy["maps_from_lists"] < 0.6 < 0.9 < accuracy["maps"]
        assert reader is not None
        assert reader.mixture.place_weight > reader.mixture.list_weight
        assert (reader.weight.shape, reader.networks) == ((12, len(plots.habitats)), "networks")
    assert max(accuracy.values()) - accuracy["maps"] < 0.05


def test_one_fold_or_one_habitat_teaches_no_reader_of_places(tmp_path: Path) -> None:
    plots = landscape(60)
    plots = plots.take(plots.label >= 0)
    z = np.zeros((len(plots), 4), np.float32)
    same = PredictedPlots(plots, z, 1, np.zeros(len(plots), np.int64), "")
    assert place_reader(plots, same) == (None, [])
    first = replace(same, plots=replace(plots, label=np.zeros_like(plots.label)), fold=np.arange(len(plots)) % 2, members=2)
    assert place_reader(first.plots, first) == (None, [])


def test_the_transformer_counts_as_much_as_it_tells() -> None:
    rng = np.random.default_rng(3)
    label = rng.integers(0, 3, 2000)
    noise = rng.dirichlet(np.ones(3), 2000).astype(np.float32)
    parts = np.full((2, 2000, 3), 0.1, np.float32)
    for p in parts:  # each names the right class three times in four, on plots of its own
        p[np.arange(2000), np.where(rng.random(2000) < 0.75, label, rng.integers(0, 3, 2000))] = 0.8
    first, second = parts
    first[7] = np.nan  # a plot without species
    assert best_transformer_share(noise, first, label)[0] == 0
    assert best_transformer_share(first, noise, label)[0] == 1
    share, both = best_transformer_share(first, second, label)
    assert 0 < share < 1
    assert np.isnan(both[7]).all()
    with_species = np.arange(2000) != 7
    accuracy = [(p.argmax(1) == label)[with_species].mean() for p in (both, *parts)]
    assert accuracy[0] == max(accuracy)


def test_a_habitat_of_one_fold_does_not_choose_how_much_lists_and_places_count() -> None:
    """Nobody who left that fold out knows the habitat, so that its loss would ask for maps that know nothing."""
    plots, rng = landscape(600), np.random.default_rng(0)
    plots = plots.take(plots.label >= 0)
    fold = np.where(plots.label == 0, 0, np.arange(len(plots)) % 3)
    z = rng.normal(size=(len(plots), 12)).astype(np.float32)
    reader, skills = place_reader(plots, PredictedPlots(replace(plots, cover=None), z, 3, fold, ""))
    accuracy = {skill.method: skill.accuracy for skill in skills}
    assert all(skill.plots == len(plots) for skill in skills)
    assert accuracy["maps"] == pytest.approx(accuracy["maps_from_lists"], abs=0.02)
    assert reader is None or reader.mixture.list_weight >= 0.75
    apart = PredictedPlots(replace(plots, cover=None), z, 3, plots.label.astype(np.int64), "")
    assert place_reader(plots, apart) == (None, [])  # each habitat in a fold of its own: nothing to choose from


def test_habitats_without_coordinates_stay_in_the_maps() -> None:
    plots, rng = landscape(600), np.random.default_rng(0)
    plots = plots.take(plots.label >= 0)
    rows = np.flatnonzero(plots.label != 2)
    placed = replace(plots.take(rows), order=rng.permuted(plots.order[rows], axis=0), cover=None)
    z = rng.normal(size=(len(rows), 12)).astype(np.float32) + 5 * placed.label[:, None].astype(np.float32)
    reader, _ = place_reader(plots, PredictedPlots(placed, z, 3, np.arange(len(rows)) % 3, ""))
    assert reader is not None
    from_list = np.array([[0.02, 0.03, 0.95]], np.float32)
    of_place = reader.log_probability(torch.from_numpy(z[:1]))
    assert reader.mixed(from_list, of_place)[0, 2] == np.float32(0.95)
