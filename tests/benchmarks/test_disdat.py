"""The NCEAS benchmark is read as it is published, several groups a region and unseen levels included."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import disdat, disdat_model
from benchmarks.disdat_data import read_region
from benchmarks.disdat_model import FOLDS, cross_validated, folds_of, static_columns
from cube.errors import TableError

GROUPS = {"db": ("nsw01", "nsw02"), "ot": ("nsw03",)}
PREDICTORS = ["rainann", "vegsys", "tempann"]


def sites(rng: np.random.Generator, n: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "siteid": np.arange(n) + 1000,
            "x": rng.uniform(151, 153, n),
            "y": rng.uniform(-32, -29, n),
            "rainann": rng.uniform(500, 2500, n).round(),
            "vegsys": rng.integers(1, 5, n),
            "tempann": rng.uniform(80, 190, n),
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NSW in miniature: two groups with surveys of their own; species live where it rains, or in vegetation system 2."""
    base = tmp_path_factory.mktemp("disdat")
    rng = np.random.default_rng(0)
    truth = {
        "nsw01": lambda t: t["rainann"] > 1800,
        "nsw02": lambda t: t["rainann"] < 1000,
        "nsw03": lambda t: t["vegsys"] == 2,
    }
    po = []
    for group, species in GROUPS.items():
        env = sites(rng, 300)
        env.insert(0, "group", group)
        pa = env[["group", "siteid", "x", "y"]].copy()
        for name in species:
            pa[name] = truth[name](env).astype(int)
            own = sites(rng, 400)
            own = own[truth[name](own)].head(40)
            po.append(own.assign(spid=name, occ=1, group=group))
        if group == "ot":
            env.loc[0, "vegsys"] = 9  # a level that nobody learned
        env.to_csv(base / f"NSWtest_env_{group}.csv", index=False)
        pa.to_csv(base / f"NSWtest_pa_{group}.csv.gz", index=False)
        (base / "tgb" / "NSW" / group).mkdir(parents=True)
        sample = sites(rng, 200).assign(spid="background", occ=0, group=group)
        # published in another order of columns than the test sites
        sample[["siteid", "spid", "x", "y", "occ", "group", *reversed(PREDICTORS)]].to_csv(
            base / "tgb" / "NSW" / group / "tgbsample.csv", index=False
        )
    pd.concat(po).to_csv(base / "NSWtrain_po.csv.gz", index=False)
    sites(rng, 500).assign(spid="pseudo1", occ=0, group=np.nan).to_csv(base / "NSWtrain_bg.csv", index=False)
    return base


def test_groups_are_tested_on_their_own_surveys_against_their_own_background(folder: Path):
    bird, tree = read_region(folder, "NSW", "tgb")
    assert (bird.name, bird.species, tree.name, tree.species) == ("db", GROUPS["db"], "ot", GROUPS["ot"])
    assert bird.predictors == tuple(PREDICTORS)
    assert bird.categorical == (1,)
    assert bird.presence.shape == (300, 2)
    np.testing.assert_array_equal(bird.presence[:, 0], bird.test[:, 0] > 1800)
    published = pd.read_csv(folder / "tgb/NSW/ot/tgbsample.csv")
    np.testing.assert_allclose(tree.background, published[PREDICTORS].to_numpy())
    assert (tree.records[:, 1] == 2).all()
    assert (bird.records[bird.record_species == 1, 0] < 1000).all()


def test_random_background_is_shared_by_the_groups(folder: Path):
    bird, tree = read_region(folder, "NSW", "random")
    assert len(bird.background) == 500
    np.testing.assert_array_equal(bird.background, tree.background)


def test_a_level_never_learned_is_missing_to_the_network(folder: Path):
    tree = read_region(folder, "NSW", "tgb")[1]
    records, background, test = static_columns(tree)
    levels = slice(-4, None)  # vegetation systems 1 to 4
    assert np.isnan(test[0, levels]).all()
    np.testing.assert_array_equal(test[1:, levels].sum(1), 1)
    np.testing.assert_array_equal(records[:, levels].argmax(1), 1)
    assert np.isfinite(background).all()


@pytest.mark.slow
def test_every_method_finds_the_niches_and_the_table_is_written(folder: Path, tmp_path: Path):
    methods = ("maxent", "random_forest", "gradient_boosting")
    args = Namespace(
        data=folder,
        regions="NSW",
        methods=",".join(methods),
        seeds=1,
        keep=tmp_path / "kept",
        validate=False,
        buffer_km=10,
    )
    rows = disdat.measure(args, "group").rows
    assert [(row["region"], row["method"], row["species"]) for row in rows] == [("NSW", name, 3) for name in methods]
    auc = {row["method"]: row["AUC"] for row in rows}
    assert min(auc.values()) > 0.9
    assert disdat.measure(args, "group").rows == rows, "kept scores give the same table"


def test_every_method_of_a_table_is_given_the_same_sites(folder: Path, monkeypatch: pytest.MonkeyPatch):
    given = []

    def watched(group, seed):
        given.append(group)
        return np.tile(group.test[:, [0]], (1, len(group.species))).astype(np.float32)

    monkeypatch.setattr(disdat, "METHODS", {"floracube": watched, "random_forest": watched})
    args = Namespace(
        data=folder, regions="NSW", methods="floracube,random_forest", seeds=1, keep=None, validate=False, buffer_km=8
    )
    for table, background in (("random", "random"), ("group", "tgb")):
        given.clear()
        rows = disdat.measure(args, table).rows
        ours, theirs = given[: len(given) // 2], given[len(given) // 2 :]
        for one, other, published in zip(ours, theirs, read_region(folder, "NSW", background), strict=True):
            for values in (one.background, other.background):
                np.testing.assert_array_equal(values, published.background)
        assert (rows[1]["gain of ours"], rows[1]["lower"], rows[1]["upper"]) == (0, 0, 0)
    assert disdat_model.OPTIONS.recorded_sites == 0, "records of the group are no further sites of ours"
    given.clear()
    disdat.measure(args, "buffer")
    for group in given:
        east, north = np.cos(np.radians(group.test_places[:, 1].mean())), 1.0
        scale = 111.32 * np.array([east, north])
        for places in (group.record_places, group.background_places):
            assert 0 < len(places) < 500
            near = np.linalg.norm((places[:, None] - group.test_places[None]) * scale, axis=2)
            assert near.min() > 8


def test_a_gain_has_an_interval_over_species_and_regions_weigh_alike():
    rng = np.random.default_rng(0)
    gains = [np.r_[rng.normal(0.02, 0.01, 40), np.nan], rng.normal(0.04, 0.01, 10)]
    assert disdat.mean_of(gains) == pytest.approx((np.nanmean(gains[0]) + gains[1].mean()) / 2)
    lower, upper = disdat.paired_interval(gains)
    assert 0.02 < lower < disdat.mean_of(gains) < upper < 0.04
    assert np.isnan(disdat.mean_of([np.array([np.nan])]))


def test_validation_holds_out_blocks_and_never_sees_a_survey(folder: Path):
    bird = read_region(folder, "NSW", "tgb")[0]
    fold = folds_of(np.concatenate([bird.record_places, bird.background_places]), FOLDS, seed=0).fold
    of_records, of_background = np.split(fold, [len(bird.records)])
    assert (len(of_records), len(of_background)) == (len(bird.records), len(bird.background))
    counts = np.bincount(np.concatenate([of_records, of_background]), minlength=3)
    assert counts.min() > 0.8 * counts.max()
    seen = []

    def rain(part, seed):
        seen.append(part)
        return np.stack([part.test[:, 0], -part.test[:, 0]], 1).astype(np.float32)

    # a perfect ranking loses half of the background that lies within the niche: 700 and 500 of 2,000 mm
    np.testing.assert_allclose(cross_validated(bird, rain, 0), [1 - 0.35 / 2, 1 - 0.25 / 2], atol=0.06)
    for k, part in enumerate(seen):
        held = bird.records[of_records == k]
        np.testing.assert_array_equal(part.test[: len(held)], held)
        assert len(part.records) == (of_records != k).sum()
        assert len(part.test) == (of_records == k).sum() + (of_background == k).sum()


def test_what_is_absent_is_named(folder: Path, tmp_path: Path):
    with pytest.raises(TableError, match=r"NZtrain_po\.csv"):
        read_region(folder, "NZ", "random")
    for path in folder.glob("NSW*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    table = pd.read_csv(tmp_path / "NSWtrain_bg.csv").drop(columns="tempann")
    table.to_csv(tmp_path / "NSWtrain_bg.csv", index=False)
    with pytest.raises(TableError, match="background lacks the predictor 'tempann'"):
        read_region(tmp_path, "NSW", "random")
    pd.read_csv(tmp_path / "NSWtest_env_db.csv").head(20).to_csv(tmp_path / "NSWtest_env_db.csv", index=False)
    with pytest.raises(TableError, match="do not list the same sites"):
        read_region(tmp_path, "NSW", "random")


def test_published_regions_are_whole(real_data: Path):
    swi, nz = (read_region(real_data / "disdat", region, "tgb")[0] for region in ("SWI", "NZ"))
    assert (len(swi.species), len(swi.records), len(swi.background), len(swi.test)) == (30, 35_105, 11_429, 10_013)
    assert (len(nz.species), len(nz.records), len(nz.background), len(nz.test)) == (52, 3_088, 2_503, 19_120)
    assert [nz.predictors[i] for i in nz.categorical] == ["age", "toxicats"]
