"""A tile that was drawn before is answered from memory: by its ETag, within a share of the memory, and never another one's."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from cube.storage.store import CubeStore, open_cube
from server import tileroute
from server.main import create_app
from server.operating.settings import Settings

TILE = "/layers/indicators.richness/tiles/WebMercatorQuad/11/1119/{y}.png"
AT = TILE.format(y=702)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the layers that are drawn, one by one."""
    layers: list[str] = []
    draw = tileroute.tiles.draw

    def noted(layer: Any, *rest: Any) -> bytes | None:
        layers.append(layer.id)
        return draw(layer, *rest)

    monkeypatch.setattr(tileroute.tiles, "draw", noted)
    return layers


def test_the_same_tile_is_drawn_once(cube: CubeStore, drawn: list[str]) -> None:
    client = TestClient(create_app([cube.url]))
    answers = [client.get(path) for path in (AT, AT, f"{AT}?", AT.replace(".png", ""))]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len({answer.content for answer in answers}) == 1
    assert {answer.headers["content-type"] for answer in answers} == {"image/png"}
    assert len(drawn) == 2  # an address without its ending is another address, and has its own ETag


def test_another_style_size_format_or_layer_is_another_tile(cube: CubeStore, drawn: list[str]) -> None:
    client = TestClient(create_app([cube.url]))
    paths = [
        AT,
        f"{AT}?rescale=0,3",
        f"{AT}?colormap_name=magma",
        f"{AT}?tilesize=512",
        AT.replace(".png", ".webp"),
        AT.replace("indicators.richness", "species.fagus_sylvatica"),
    ]
    first = [client.get(path).content for path in paths]
    assert len(set(first)) == len(drawn) == len(paths)
    assert [client.get(path).content for path in paths] == first
    assert len(drawn) == len(paths)


def test_tiles_take_their_share_of_the_memory_and_no_more(cube: CubeStore, drawn: list[str]) -> None:
    app = create_app([cube.url], Settings(cache_mb=1))
    client, (served,) = TestClient(app), app.state.cubes.values()
    sizes = [len(client.get(TILE.format(y=y)).content) for y in range(690, 712) for _ in range(2)]
    sizes += [len(client.get(f"{AT}?rescale=0,{high}").content) for high in range(1, 12)]
    assert sum(sizes) > 2**20 // 16  # or nothing would have had to go
    assert 0 < served.tiles.currsize <= 2**20 // 16
    assert sum(map(len, served.tiles.values())) == served.tiles.currsize


def test_a_tile_larger_than_the_share_is_answered_all_the_same(cube: CubeStore) -> None:
    app = create_app([cube.url])
    client, (served,) = TestClient(app), app.state.cubes.values()
    served.tiles = type(served.tiles)(10, getsizeof=len)
    assert client.get(AT).content == client.get(AT).content
    assert not served.tiles


def test_two_cubes_of_one_token_keep_their_own_values(cube: CubeStore, tmp_path: Path) -> None:
    """A corrected copy beside its original: the release, and so the token, is the same, the values are not."""
    copy = tmp_path / "copy.zarr"
    shutil.copytree(cube.url, copy)
    for level in ("0", "1", "2"):
        array = open_cube(str(copy), writable=True).array(f"products/indicators/v1/{level}/richness")
        values = np.asarray(array[:])
        array[:] = np.where(values == array.fill_value, values, values[..., ::-1, ::-1])
    alone = [TestClient(create_app([url])).get(AT).content for url in (cube.url, str(copy))]
    assert alone[0] != alone[1]
    app = create_app([cube.url, str(copy)])
    assert len({served.last_snapshot.token for served in app.state.cubes.values()}) == 1
    client = TestClient(app)
    assert [client.get(f"/cubes/{name}{AT}").content for name in app.state.cubes] == alone


def test_all_cubes_of_a_server_share_one_memory_of_tiles(cube: CubeStore, tmp_path: Path) -> None:
    copy = tmp_path / "copy.zarr"
    shutil.copytree(cube.url, copy)
    app = create_app([cube.url, str(copy)], Settings(cache_mb=1))
    client = TestClient(app)
    sizes = [len(client.get(f"/cubes/{name}{AT}?rescale=0,{high}").content) for high in range(1, 14) for name in app.state.cubes]
    memories = {id(served.tiles): served.tiles for served in app.state.cubes.values()}
    (tiles,) = memories.values()
    assert sum(sizes) > 2**20 // 16
    assert 0 < tiles.currsize <= 2**20 // 16
