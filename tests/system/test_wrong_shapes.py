"""Documents of a cube that are JSON of another shape: every reader of them says one sentence that names the file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import floracube
from cube.check import check
from cube.check.info import describe
from cube.errors import CubeError
from cube.grid import Region
from cube.storage import lock
from cube.storage.store import CubeStore, open_cube
from inference.cascade.predict import predict
from server.main import create_app
from server.operating.settings import Settings
from tests.support import tiny_run
from tests.support.good_cube import copy_of

Change = Callable[[Any], Any]
WHOLE: dict[str, Any] = {"a list": [1, 2], "a number": 7, "a text": "first", "true": True}


def instead(value: Any) -> Change:
    return lambda _: value


def without(key: str) -> Change:
    return lambda document: {name: value for name, value in document.items() if name != key}


def replaced(key: str, value: Any) -> Change:
    return lambda document: {**document, key: value}


def of_content(change: Change) -> Change:
    return lambda document: {**document, "content": change(document["content"])}


POINTERS: dict[str, Change] = {
    **{name: instead(value) for name, value in WHOLE.items()},
    "a release that is a number": replaced("release", 7),
    "a release that is a list": replaced("release", ["first"]),
    "content that is a list": replaced("content", [1]),
    "content that is a text": replaced("content", "first"),
    "content without products": of_content(without("products")),
    "content without a name": of_content(without("name")),
    "products that are a list": of_content(replaced("products", ["species"])),
    "a version that is a number": of_content(replaced("products", {"species": 1})),
    "a region of three edges": of_content(replaced("region_km", [1, 2, 3])),
    "verified stages that are a list": replaced("verified", [1]),
}
RELEASES: dict[str, Change] = {
    **{name: instead(value) for name, value in WHOLE.items()},
    "no products": without("products"),
    "no name": without("name"),
    "products that are a list": replaced("products", ["species"]),
    "a version that is a number": replaced("products", {"species": 1}),
    "a region of texts": replaced("region_km", ["a", "b", "c", "d"]),
}
ROOTS: dict[str, Change] = {
    "a region that is a number": replaced("region_km", 7),
    "no region": without("region_km"),
    "no format": without("format"),
    "a format that is a text": replaced("format", "two"),
    "a unit that is no unit": replaced("unit_km", 7),
    "a CRS that is a number": replaced("crs", 3035),
    "an unknown CRS": replaced("crs", "EPSG:99999999"),
}


def damage(cube: CubeStore, path: str, change: Change) -> None:
    cube.write_json(path, change(cube.read_json(path)))


def in_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What `floracube ARGUMENTS` says as it ends with 2."""
    monkeypatch.setattr(sys, "argv", ["floracube", *arguments])
    with pytest.raises(SystemExit) as end:
        floracube.main()
    assert end.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("floracube: ") == 1
    return said


@pytest.mark.parametrize("change", POINTERS.values(), ids=POINTERS.keys())
def test_a_pointer_of_another_shape_is_named(
    good_cube: CubeStore, tmp_path: Path, change: Change, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cube = copy_of(good_cube, tmp_path)
    damage(cube, "current.json", change)
    for command in (["info"], ["publish", "first"], ["publish", "--rollback"]):
        said = in_one_sentence(monkeypatch, capsys, command[0], cube.url, *command[1:])
        assert "current.json" in said
        assert "expected" in said
    with pytest.raises(CubeError, match=r"current\.json.*expected"):
        floracube.open(cube.url)
    with pytest.raises(CubeError, match=r"current\.json.*expected"):
        create_app([cube.url], Settings())


def test_a_check_names_a_pointer_of_another_shape(good_cube: CubeStore, tmp_path: Path) -> None:
    cube = copy_of(good_cube, tmp_path)
    cube.write_json("current.json", [1, 2])
    broken = [row for row in check(cube.url)["promises"] if row["kept"] is False]
    assert all(f"{cube.url}/current.json: expected a JSON object" in row["findings"][0]["found"] for row in broken)
    assert "releases_and_current" in {row["name"] for row in broken}


@pytest.mark.parametrize("change", RELEASES.values(), ids=RELEASES.keys())
def test_a_release_of_another_shape_is_named(
    good_cube: CubeStore, tmp_path: Path, change: Change, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cube = copy_of(good_cube, tmp_path)
    cube.write_json("releases/second.json", {**(cube.read_json("releases/first.json") or {}), "name": "second"})
    damage(cube, "releases/second.json", change)
    for command in (["info"], ["publish", "second"], ["gc", "--dry-run"], ["gc", "--forget", "second", "--dry-run"]):
        said = in_one_sentence(monkeypatch, capsys, command[0], cube.url, *command[1:])
        assert "releases/second.json" in said
    with pytest.raises(CubeError, match=r"releases/second\.json.*expected"):
        floracube.open(cube.url, "second")


def test_a_server_answers_503_on_a_release_of_another_shape(
    good_cube: CubeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cube = copy_of(good_cube, tmp_path)
    client = TestClient(create_app([cube.url], Settings()), raise_server_exceptions=False)
    for number, change in enumerate(RELEASES.values()):
        cube.write_json(f"releases/r{number}.json", change(cube.read_json("releases/first.json")))
        assert client.get("/layers", params={"release": f"r{number}"}).status_code == 503
    monkeypatch.setattr("server.reading.snapshot.POLL_SECONDS", 0.0)
    pointer = cube.read_json("current.json")
    for change in POINTERS.values():  # the release that was read before is served
        cube.write_json("current.json", change(pointer))
        assert client.get("/layers").status_code == 200


@pytest.mark.parametrize("change", ROOTS.values(), ids=ROOTS.keys())
@pytest.mark.parametrize("path", ["zarr.json", "current.json"])
def test_a_root_of_another_shape_is_named(good_cube: CubeStore, tmp_path: Path, path: str, change: Change) -> None:
    cube = copy_of(good_cube, tmp_path)
    document: Any = cube.read_json(path)
    if path == "zarr.json":
        document["attributes"]["floracube"] = change(document["attributes"]["floracube"])
        cube.remove_json("current.json")
    else:
        document["cube"] = change(document["cube"])
    cube.write_json(path, document)
    with pytest.raises(CubeError) as raised:
        floracube.open(cube.url)
    assert str(raised.value).startswith(f"{cube.url}/{path}")


@pytest.mark.parametrize("path", ["10kmE480N289", "overviews/20kmE480N288"])
def test_a_receipt_of_another_shape_is_no_receipt(good_cube: CubeStore, tmp_path: Path, path: str) -> None:
    cube = copy_of(good_cube, tmp_path)
    parts = ({"inputs": 1}, {"inputs": "x", "checksums": 7}, {"inputs": "x", "checksums": {}, "counts": [1]})
    for value in (*WHOLE.values(), *parts):
        cube.write_json(f"ledger/predict/v1/{path}.json", value)
        now = describe(cube.url)["products"]["species"]["v1"]
        assert now["units_done"] == 2 - ("/" not in path)
        assert not now["overviews_complete"]
    rows = {row["name"]: row for row in check(cube.url)["promises"]}
    findings = rows["overviews" if "/" in path else "receipts"]["findings"]
    assert [finding["path"] for finding in findings][:1] == [f"ledger/predict/v1/{path}.json"]


@pytest.mark.parametrize("value", [*WHOLE.values(), {"20kmE480N288": [1]}, {"20kmE480N288": {"version": "1", "value": {}}}])
def test_a_memo_of_another_shape_is_no_memo(good_cube: CubeStore, tmp_path: Path, value: Any) -> None:
    cube = copy_of(good_cube, tmp_path)
    cube.write_json("ledger/predict/v1/overviews/memo/receipts.json", value)
    assert describe(cube.url)["products"] == describe(good_cube.url)["products"]


@pytest.mark.parametrize("path", ["card.json", "species/0.json"])
def test_a_sheet_on_damaged_documents_of_a_model_is_503(good_cube: CubeStore, tmp_path: Path, path: str) -> None:
    cube = copy_of(good_cube, tmp_path)
    client = TestClient(create_app([cube.url], Settings()), raise_server_exceptions=False)
    for value in (*WHOLE.values(), {"format": 1}, {"format": 1, "first": 0, "species": "four"}):
        cube.write_json(f"products/species/v1/model/{path}", value)
        assert client.get("/species/fagus-sylvatica").status_code == 503


@pytest.mark.parametrize("value", [*WHOLE.values(), {"host": "here"}, {"host": "here", "pid": "12", "beat": 1.0}])
def test_a_lock_of_another_shape_is_named(good_cube: CubeStore, tmp_path: Path, value: Any) -> None:
    cube = copy_of(good_cube, tmp_path)
    cube.write_json("locks/predict/v1.json", value)
    with pytest.raises(CubeError, match=r"locks/predict/v1\.json.*expected"):
        lock.holder(cube, "predict/v1")
    with pytest.raises(CubeError, match=r"locks/predict/v1\.json.*expected"), lock.hold(cube, "predict/v1"):
        pass


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tiny_run.make(tmp_path_factory.mktemp("tiny"), Region(4700, 2850, 4710, 2860, 10), species=4)


@pytest.mark.slow
@pytest.mark.parametrize("path", ["current.json", "releases/v1.json"])
def test_a_prediction_names_a_document_of_another_shape(tiny: Any, path: str) -> None:
    cube = open_cube(tiny.cube_url, writable=True)
    for value in WHOLE.values():
        cube.write_json(path, value)
        with pytest.raises(CubeError, match=path.replace(".", r"\.")):
            predict(tiny)
    cube.remove_json(path)
