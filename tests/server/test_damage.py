"""A damaged cube: what can be read is served, what cannot is a 503 with a sentence, never a traceback or a wrong value."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from cube.errors import CubeError
from cube.storage.store import CubeStore
from server.main import create_app
from server.operating.settings import Settings

RICHNESS = "/layers/indicators.richness/tiles/WebMercatorQuad/11/1119/702.png"
GROUP = "products/indicators/v1/0"


@pytest.fixture
def damaged(cube: CubeStore, tmp_path: Path) -> Path:
    return Path(shutil.copytree(cube.url, tmp_path / "cube.zarr"))


def client(folder: Path) -> TestClient:
    return TestClient(create_app([str(folder)], Settings()), raise_server_exceptions=False)


@pytest.mark.parametrize("damage", ["half", "empty", "type"])
def test_unreadable_metadata_of_an_array_are_read_from_those_of_its_group(damaged: Path, damage: str) -> None:
    truth = client(damaged).get(RICHNESS)
    for file in (damaged / "products/indicators").glob("*/*/richness/zarr.json"):
        text = file.read_text()
        file.write_text({"half": text[: len(text) // 2], "empty": "", "type": text.replace('"uint16"', '"uint17"')}[damage])
    answer = client(damaged).get(RICHNESS)
    assert truth.status_code == 200
    assert (answer.status_code, answer.content) == (200, truth.content)


def test_a_flipped_byte_of_a_chunk_is_503(damaged: Path) -> None:
    for file in (damaged / "products/indicators").glob("*/*/richness/c/0/*/*"):
        data = bytearray(file.read_bytes())
        data[len(data) // 3] ^= 1
        file.write_bytes(data)
    answers = {client(damaged).get(RICHNESS.replace("11/1119/702", tile)).status_code for tile in ("11/1119/702", "12/2239/1405")}
    assert 503 in answers


@pytest.mark.parametrize("path", [f"{GROUP}/zarr.json", "products/species/v1/table/scientific_name/c/0"])
def test_a_server_does_not_start_on_what_it_cannot_read_and_says_why(damaged: Path, path: str) -> None:
    file = damaged / path
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(CubeError, match=r"; restore"):
        client(damaged)
