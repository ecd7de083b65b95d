"""A prediction meets what a month of running meets; whatever it was, the command given again ends in the undisturbed cube."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
from typer.testing import CliRunner

import floracube as front
from benchmarks import kills
from cube.check.garbage import collect
from cube.config import Config, load_config
from cube.errors import ConfigError, CubeError, SourceError, WorkersError
from cube.grid import Region
from cube.storage import lock, model_card, progress, releases
from cube.storage.leaves import set_attributes
from cube.storage.store import CubeStore, open_cube
from inference.cascade import versions, worker
from inference.cascade.model import load_model
from inference.cascade.predict import predict
from tests.support import tiny_run
from tests.support.s3 import FaultyS3

pytestmark = pytest.mark.slow

REGION = Region(4700, 2850, 4720, 2860, 10)  # 2 units, one level of overviews


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return tiny_run.make(tmp_path_factory.mktemp("tiny"), REGION)


@pytest.fixture(scope="module")
def calm(tiny: Config) -> Config:
    config = tiny_run.copy(tiny, tiny.path.parent / "calm")
    assert predict(config).failures == []
    return config


@pytest.fixture(scope="module")
def truth(calm: Config) -> dict[str, str]:
    return tiny_run.digests(open_cube(calm.cube_url), "v1")


def same(config: Config, truth: dict[str, str]) -> None:
    found = tiny_run.digests(open_cube(config.cube_url), "v1")
    assert [name for name in truth.keys() | found.keys() if truth.get(name) != found.get(name)] == []
    left = [path for path in Path(config.cube_url).rglob("*") if path.name.endswith((".partial", ".claim"))]
    assert left == []


def log_of(config: Config) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (config.report_path / "predict-v1.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("delay", [None, 0.005], ids=["on a disk", "in a bucket"])
def test_two_runs_with_a_kill_each_end_in_the_undisturbed_products(tiny: Config, tmp_path: Path, delay: float | None) -> None:
    seed = int(os.environ.get("FLORACUBE_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
    print(f"FLORACUBE_SEED={seed}")  # pytest shows it where the test fails
    roles = tuple(random.Random(seed).sample(kills.ROLES, 2))
    rows, wrong = kills.kills(tiny, tmp_path, 2, seed, roles, delay)
    assert wrong == []
    assert all(row["same"] and row["torn"] == 0 and row["looks"] > 0 for row in rows), rows


def test_what_is_known_of_the_model_travels_with_its_version_and_leaves_with_it(calm: Config, tmp_path: Path) -> None:
    cube = open_cube(tiny_run.copy(calm, tmp_path / "left").cube_url, writable=True)
    card = model_card.read_card(cube, "v1")
    assert card is not None
    assert (card["model"], card["species"]) == (load_model(calm.model_path).hash, tiny_run.SPECIES)
    for index in (0, model_card.BLOCK, tiny_run.SPECIES - 1):
        one = model_card.read_species(cube, "v1", index)
        assert one is not None
        assert one["name"] == f"Planta numero-{index}"
        assert one["held_out"] is None  # weights that nobody trained were judged by nobody
    cube.remove_json("releases/v1.json")
    cube.remove_json("current.json")
    collect(cube)
    assert model_card.read_card(cube, "v1") is None


def test_two_workers_give_the_values_of_one_process(tiny: Config, truth: dict[str, str], tmp_path: Path) -> None:
    config = tiny_run.copy(tiny, tmp_path / "two", {"workers": 2})
    told: list[str] = []
    assert predict(config, tell=told.append).failures == []
    assert any("dashboard: http" in text for text in told)
    same(config, truth)


def test_inputs_that_are_built_anew_during_a_run_make_no_release(tiny: Config, tmp_path: Path) -> None:
    config = tiny_run.copy(tiny, tmp_path / "run")

    def rebuild(done: int, total: int, what: str) -> None:
        if what.startswith("units"):
            bioclim = open_cube(config.cube_url, writable=True).array("inputs/1km/bioclim")
            set_attributes(bioclim, {progress.MADE_FROM: "another"})

    with pytest.raises(SourceError, match="the input bioclim lacks"):
        predict(config, progress=rebuild)
    cube = open_cube(config.cube_url)
    assert cube.list_json("releases") == []
    assert cube.read_json("current.json") is None
    with pytest.raises(SourceError, match=r"the input bioclim lacks 2 of 2 units \(.*; run `floracube build`"):
        predict(config)


def test_ctrl_c_ends_the_unit_in_flight_and_the_next_run_goes_on(tiny: Config, truth: dict[str, str], tmp_path: Path) -> None:
    config = tiny_run.copy(tiny, tmp_path / "run")

    ran: list[str] = []

    def count(done: int, total: int, what: str) -> None:
        ran.append(what)
        if len(ran) == 3:  # the steps of the species, "units", then the first unit
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        predict(config, progress=count)
    cube = open_cube(config.cube_url)
    assert len(cube.list_json("ledger/predict/v1")) == 1
    assert cube.read_json("current.json") is None
    report = json.loads((config.report_path / "predict-v1.json").read_text())
    assert (report["ended"], report["units"]["built"]) == ("interrupted", 1)
    assert predict(config).units == 1
    same(config, truth)
    events = log_of(config)
    assert [e["event"] for e in events if e["event"] != "square"] == ["begin", "unit", "end", "begin", "unit", "end"]
    assert (events[-1]["ended"], events[-1]["release"]) == ("complete", "v1")
    assert sum(e.get("cells", 0) for e in events if e["event"] == "unit") == 80_000


def _cut_off(config: Config) -> Callable[[], None]:
    """Truncate the elevation of the eastern unit; returns what fixes it."""
    (shard,) = Path(config.cube_url).glob("inputs/50m/elevation/c/0/1")
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    return lambda: shard.write_bytes(whole) and None


def test_a_poisoned_unit_is_named_and_skipped_and_the_exit_code_says_so(
    tiny: Config, truth: dict[str, str], tmp_path: Path
) -> None:
    config = tiny_run.copy(tiny, tmp_path / "run")
    fix = _cut_off(config)
    run = CliRunner().invoke(front.app, ["predict", str(config.path)])
    assert run.exit_code == 1, run.output
    cube = open_cube(config.cube_url)
    assert cube.list_json("ledger/predict/v1") == ["10kmE470N285"]
    assert cube.list_json("releases") == []
    report = json.loads((config.report_path / "predict-v1.json").read_text())
    assert [row["unit"] for row in report["failures"]] == ["10kmE471N285"]
    assert report["ended"] == "with failures"
    fix()
    assert CliRunner().invoke(front.app, ["predict", str(config.path)]).exit_code == 0
    same(config, truth)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path | None]:
    """A small disk of its own, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = (
        shutil.which("mount")
        and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(folder)], capture_output=True).returncode == 0
    )
    yield folder if mounted else None
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_ends_the_run_with_one_sentence_and_room_lets_it_go_on(
    tiny: Config, truth: dict[str, str], disk: Path | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_run.copy(tiny, (disk or tmp_path) / "run")
    if disk is not None:
        room = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        (disk / "others").write_bytes(bytes(room - 2**17))  # one unit takes more than what is left
    else:

        def full(*_: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path))

        monkeypatch.setattr(worker, "run_unit", full)
    with pytest.raises(WorkersError, match="the disk is full; make room, then run the same command again"):
        predict(config)
    assert open_cube(config.cube_url).read_json("current.json") is None
    monkeypatch.undo()
    if disk is not None:
        (disk / "others").unlink()
    assert predict(config).failures == []
    same(config, truth)


def test_a_store_that_is_away_for_a_while_is_waited_for(
    tiny: Config, truth: dict[str, str], s3: FaultyS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # botocore would hide it
    seconds = float(os.environ.get("FLORACUBE_AWAY", "4"))
    config = tiny_run.copy(tiny, tmp_path / "run")
    fsspec.filesystem("s3").put(config.cube_url, f"{s3.bucket}/cube.zarr", recursive=True)
    text = config.path.read_text().replace("cube: cube.zarr", f"cube: {s3.url}/cube.zarr")
    config.path.write_text(text)
    config = load_config(config.path)
    away = []

    def leave(done: int, total: int, what: str) -> None:
        if what.startswith("units"):
            away.append(s3.inject("status", status=503))
            threading.Thread(target=lambda: (time.sleep(seconds), s3.fix())).start()

    assert predict(config, progress=leave, publish=False).failures == []  # a check reads the bucket for long
    assert away[0].struck > 0
    found = tiny_run.digests(open_cube(config.cube_url), "v1")
    assert [name for name in truth.keys() | found.keys() if truth.get(name) != found.get(name)] == []


def test_a_second_coordinator_is_refused_before_it_does_anything(calm: Config, tiny: Config, tmp_path: Path) -> None:
    config = tiny_run.copy(tiny, tmp_path / "run")
    with (
        lock.hold(open_cube(config.cube_url, writable=True), "predict/v1"),
        pytest.raises(WorkersError, match=rf"process {os.getpid()} on .* is writing predict/v1 here"),
    ):
        predict(config)
    assert not (Path(config.cube_url) / "products").exists()


def test_a_product_alone_is_a_new_version_beside_the_others(calm: Config, truth: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(calm.path.parent, folder)
    config = load_config(folder / "config.yaml")
    with pytest.raises(ConfigError, match="--products names 'birds'; known are species, composition, indicators, habitats"):
        predict(config, only=["birds"])
    with pytest.raises(ConfigError, match="the model has no Pl@ntBERT"):
        predict(config, only=["habitats"])
    assert predict(config, only=["indicators"]).release == "v2"
    cube = open_cube(config.cube_url)
    assert releases.current(cube)["products"] == {"species": "v1", "composition": "v1", "indicators": "v2"}
    made_from = releases.current(cube)["made_from"]
    assert made_from["species"]["inputs"] != made_from["indicators"]["inputs"]
    alone = {name: value for name, value in tiny_run.digests(cube, "v2").items() if not name.startswith("ledger")}
    assert alone == {name: value for name, value in truth.items() if name.startswith("indicators")}
    same(config, truth)
    assert predict(config, only=["indicators"]).release == "v3"  # finished is finished: who asks again wants another
    with pytest.raises(CubeError, match="version 'v1' was made from another model, other inputs or of other products"):
        predict(config, only=["species"], version="v1")


def test_a_product_alone_is_refused_beside_others_of_another_year_plot_area_or_model(calm: Config, tmp_path: Path) -> None:
    cube, model = open_cube(calm.cube_url), load_model(calm.model_path)
    bounds = releases.current(cube)["region_km"]
    for field, value, words in (
        ("year", 2031, "predict.year 2020 and this run of 2031"),
        ("area_m2", 25.0, "predict.area_m2 100.0 m2 and this run of 25.0 m2"),
    ):
        config = calm.model_copy(update={"predict": calm.predict.model_copy(update={field: value})})
        with pytest.raises(CubeError, match=rf"release 'v1' is of {words}; .*, or set predict\.{field} as it was"):
            versions.base_release(config, cube, ("habitats",), model, bounds)
    retrained = replace(model, card=replace(model.card, weights_sha256="others"))
    with pytest.raises(CubeError, match=r"species lists of release 'v1' are of another deep-SDM .*together"):
        versions.base_release(calm, cube, ("habitats",), retrained, bounds)
    assert versions.base_release(calm, cube, ("habitats",), model, bounds)["name"] == "v1"
    assert versions.base_release(calm, cube, ("indicators",), retrained, bounds)["name"] == "v1"  # `made_from` names both models


def test_a_worker_refuses_a_model_that_was_changed_meanwhile(tiny: Config, tmp_path: Path) -> None:
    config = tiny_run.copy(tiny, tmp_path / "run")
    own = tmp_path / "model"
    shutil.copytree(config.model_path, own)
    config.path.write_text(config.path.read_text().replace(f"model: {config.model_path}", f"model: {own}"))
    config = load_config(config.path)

    def train_again(done: int, total: int, what: str) -> None:
        document = json.loads((own / "predict.json").read_text())
        document["intervals"]["quantiles"]["richness"] = 9.0
        (own / "predict.json").write_text(json.dumps(document))

    failures = predict(config, progress=train_again).failures
    assert "the model that this worker sees is another one than the run began with" in failures[0]


def test_a_version_that_a_kill_left_without_a_word_is_taken_up_again(tiny: Config, tmp_path: Path) -> None:
    config = tiny_run.copy(tiny, tmp_path / "run")
    cube: CubeStore = open_cube(config.cube_url, writable=True)
    cube.root.require_group("products/species/v1")
    assert predict(config).release == "v1"
