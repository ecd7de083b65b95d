"""Leaf groups: whole after a kill at any write, untouched where they are whole, refused where labels changed underneath."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr.storage

from cube.errors import CubeError
from cube.grid import Region
from cube.layers import occurrence
from cube.layers.inputs import INPUTS
from cube.storage.leaves import ensure_column
from cube.storage.store import create_cube

REGION = Region(4460, 2660, 4470, 2680, 10)
NAMES = np.asarray(["Planta a", "Planta b", "Planta c"], object)


class KilledError(Exception):
    """Where a process ends, so that nothing behind it happens (a real signal would end the thread that Zarr runs in)."""


@contextmanager
def writes(monkeypatch: pytest.MonkeyPatch, killed_at: int | None = None) -> Iterator[list[str]]:
    """The keys that are written; the write number `killed_at` and whatever follows never happens."""
    seen: list[str] = []
    put = zarr.storage.LocalStore.set

    async def set_(self: Any, key: str, value: Any) -> None:
        if len(seen) == killed_at:
            raise KilledError
        seen.append(key)
        await put(self, key, value)

    with monkeypatch.context() as patch:
        patch.setattr(zarr.storage.LocalStore, "set", set_)
        yield seen


def make(folder: Path) -> None:
    cube = create_cube(str(folder), REGION, "t", {"license": "CC0"})
    cube.ensure_group("inputs/1km", [INPUTS["bioclim"]], 1000)
    group = cube.ensure_group("products/species/v1/0", [occurrence("", 100)], labels={"species": NAMES})
    if ensure_column(group, "scale", np.asarray([0.5, 0.25, 1], np.float32), "species", {"units": "1"}):
        cube.ensure_group("products/species/v1/0", [])


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.slow
def test_a_kill_at_any_write_leaves_what_the_next_run_makes_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with writes(monkeypatch) as keys:
        make(tmp_path / "whole")
    truth = content(tmp_path / "whole")
    assert len(keys) > 20
    for number in range(len(keys)):
        folder = tmp_path / str(number)
        with writes(monkeypatch, killed_at=number), pytest.raises((KilledError, CubeError)):
            make(folder)
        make(folder)
        assert content(folder) == truth, keys[number]


def test_a_group_that_is_whole_is_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path)
    with writes(monkeypatch) as keys:
        make(tmp_path)
    assert keys == []


def test_the_root_is_written_again_only_for_what_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path)
    with writes(monkeypatch) as keys:
        create_cube(str(tmp_path), REGION, "t", {"license": "CC0", "note": None})
    assert keys == []
    with writes(monkeypatch) as keys:
        cube = create_cube(str(tmp_path), REGION, "t", {"license": "CC BY 4.0"})
    assert keys == ["zarr.json"]
    assert cube.root.attrs["license"] == "CC BY 4.0"


def test_a_layer_that_is_added_later_is_consolidated_too(tmp_path: Path) -> None:
    make(tmp_path)
    cube = create_cube(str(tmp_path), REGION, "t")
    cube.ensure_group("inputs/1km", [INPUTS["climate"]], 1000)
    assert {"bioclim", "climate"} <= set(xr.open_zarr(tmp_path / "inputs/1km", consolidated=True).data_vars)


@pytest.mark.parametrize("last_first", [False, True])
def test_other_labels_under_the_same_layer_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last_first: bool) -> None:
    make(tmp_path)
    arrays = zarr.Group.arrays  # a folder lists its members in any order
    monkeypatch.setattr(zarr.Group, "arrays", lambda self: sorted(arrays(self), key=lambda member: member[0], reverse=last_first))
    cube = create_cube(str(tmp_path), REGION, "t")
    with pytest.raises(CubeError, match="'occurrence' was made for other values of 'species'"):
        cube.ensure_group("products/species/v1/0", [occurrence("", 100)], labels={"species": NAMES[::-1]})


def test_another_zarr_store_is_not_taken_for_a_cube_to_be(tmp_path: Path) -> None:
    zarr.open_group(str(tmp_path), mode="w").attrs["mine"] = 1
    with pytest.raises(CubeError, match="another Zarr store"):
        create_cube(str(tmp_path), REGION, "t")
