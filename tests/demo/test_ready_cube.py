"""The finished demo of the cache: made or downloaded once, complete or absent."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

import floracube
from cube.errors import CubeError
from cube.storage.root import FORMAT
from cube.storage.store import CubeStore, open_cube
from demo import journey
from demo.ready_cube import CUBE, cache_folder, cached_demo
from demo.regions import FILE


def never(folder: Path) -> None:
    raise AssertionError("nothing is to be made")


def archive_of(cube: CubeStore, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(Path(cube.url).rglob("*")):
            archive.write(file, Path(CUBE) / file.relative_to(cube.url))
        archive.writestr(FILE, "{}")
    return path


def test_a_demo_is_made_once_and_only_what_is_served_stays(good_cube: CubeStore, tmp_path: Path) -> None:
    def make(folder: Path) -> None:
        shutil.copytree(good_cube.url, folder / CUBE)
        (folder / FILE).write_text("{}")
        (folder / "sources").mkdir()
        (folder / "config.yaml").write_text("title: demo")

    folder = tmp_path / "cache/demo"
    assert cached_demo(folder, None, make, print) == folder
    assert sorted(path.name for path in folder.iterdir()) == [CUBE, FILE]
    assert open_cube(str(folder / CUBE)).region == good_cube.region
    assert cached_demo(folder, None, never, print) == folder


def test_try_names_what_stays_and_nothing_that_is_gone(
    good_cube: CubeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def build(config: Path) -> None:
        shutil.copytree(good_cube.url, config.parent / CUBE)

    def nothing(config: Path) -> None:
        pass

    def write_configuration(out: Path, *_: object) -> Path:
        (out / FILE).write_text("{}")
        return out / "config.yaml"

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(journey, "prepare", write_configuration)
    for name, step in (("build", build), ("train", nothing), ("predict", nothing)):
        monkeypatch.setattr(floracube, name, step)
    floracube.try_demo(url=None, serve=False)
    said = "".join(capsys.readouterr().err.split("once", 1)[1].split())
    assert str(cache_folder(floracube.__version__) / CUBE) in said
    assert ".partial" not in said
    assert "config.yaml" not in said


def test_an_interrupted_demo_is_not_served_and_goes_on_in_its_folder(tmp_path: Path) -> None:
    folder, contents = tmp_path / "demo", []

    def interrupted(place: Path) -> None:
        contents.append(sorted(path.name for path in place.iterdir()))
        (place / "half").mkdir(exist_ok=True)
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            cached_demo(folder, None, interrupted, print)
        assert not folder.exists()
    assert contents == [[], ["half"]]


def test_an_archive_is_downloaded_instead(good_cube: CubeStore, tmp_path: Path) -> None:
    archive = archive_of(good_cube, tmp_path / "demo.zip")
    folder = cached_demo(tmp_path / "demo", str(archive), never, print)
    assert sorted(path.name for path in folder.iterdir()) == [CUBE, FILE]
    assert open_cube(str(folder / CUBE)).region == good_cube.region


@pytest.mark.parametrize("damage", ["absent", "no archive", "cut off", "one byte", "no cube"])
def test_a_damaged_archive_is_one_sentence_and_leaves_nothing(damage: str, good_cube: CubeStore, tmp_path: Path) -> None:
    archive = archive_of(good_cube, tmp_path / "demo.zip")
    data = bytearray(archive.read_bytes())
    if damage == "absent":
        archive.unlink()
    elif damage == "no archive":
        archive.write_bytes(b"<html>not found</html>")
    elif damage == "cut off":
        archive.write_bytes(data[: len(data) // 2])
    elif damage == "one byte":
        data[len(data) // 2] ^= 1
        archive.write_bytes(data)
    else:
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("readme.txt", "nothing here")
    with pytest.raises(CubeError, match=r"demo\.zip: no zip archive with cube\.zarr can be read there .* --url"):
        cached_demo(tmp_path / "cache/demo", str(archive), never, print)
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("1.2.3") == tmp_path / f"floracube/demo-10km-1.2.3-{FORMAT}"
