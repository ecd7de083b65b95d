"""The event loop waits for nobody: no route reads the store or parses megabytes on it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from cube.storage.documents import Documents
from cube.storage.store import CubeStore
from server.main import create_app
from server.reading import chunk_batches

LAYER = "indicators.richness"
SQUARE = [[16.7, 48.95], [16.8, 48.95], [16.8, 49.0], [16.7, 49.0], [16.7, 48.95]]


def on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Whether each read of the store and each parsing of a body was on an event loop."""
    seen: list[bool] = []

    def watched(function: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            seen.append(on_a_loop())
            return function(*arguments, **named)

        return call

    monkeypatch.setattr(chunk_batches, "fetch", watched(chunk_batches.fetch))
    monkeypatch.setattr(Documents, "_read", watched(Documents._read))
    monkeypatch.setattr(CubeStore, "array", watched(CubeStore.array))
    monkeypatch.setattr("server.queries.area._document", watched(json.loads))
    return seen


@pytest.mark.parametrize(
    "path",
    [
        f"/layers/{LAYER}/tiles/WebMercatorQuad/11/1119/702.png",
        f"/layers/{LAYER}/cog?style=picture&bbox=16.7,48.95,16.8,49",
        f"/layers/{LAYER}/cog?bbox=16.7,48.95,16.8,49",
        f"/layers/{LAYER}/legend.json",
        f"/layers/{LAYER}/legend.png",
        "/layers?limit=20",
        "/point/16.77,49.0",
        f"/layers/{LAYER}/cell/16.77,49.0",
        f"/layers/{LAYER}/point/16.77,49.0",
        f"/layers/{LAYER}/statistics",
        f"/layers/{LAYER}/preview.png",
        "/species/Fagus sylvatica",
        "/habitats/T17",
        "/cube/zarr.json",
        "/stac",
        "/area",
    ],
)
def test_nothing_is_read_or_parsed_on_the_event_loop(cube: CubeStore, reads: list[bool], path: str) -> None:
    client = TestClient(create_app([cube.url]))
    reads.clear()
    if path == "/area":
        answer = client.post(path, content=json.dumps({"type": "Polygon", "coordinates": [SQUARE]}))
    else:
        answer = client.get(path)
    assert answer.status_code in (200, 204)
    assert not any(reads)
    if any(part in path for part in ("/tiles/", "/cog", "/point/", "/cell/", "/area")):
        assert reads  # or this test could not fail


def test_the_document_of_all_routes_is_not_made_on_the_event_loop(cube: CubeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    links = {"components": {"schemas": {"Link": {"properties": {"href": {"format": "uri"}}}}}}
    monkeypatch.setattr("server.front.get_openapi", lambda **_: {"seen": seen.append(on_a_loop()), **links})
    assert TestClient(create_app([cube.url])).get("/openapi.json").status_code == 200
    assert seen == [False]
