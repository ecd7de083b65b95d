"""Which files of the page are given, and how: by a list, bundles for ever, what is not ours with its hash."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from server.operating.page import FOLDER, add_files, index_of

PACKAGES = FOLDER / "node_modules"


def page_in(folder: Path) -> TestClient:
    """A page of a few files, one of which is on no list."""
    for name in (
        "js/app.js",
        "js/notes.txt",
        "css/base.css",
        "dist/app-AB12.js",
        "dist/index.html",
        "package.json",
        "docs.html",
        "node_modules/maplibre-gl/dist/maplibre-gl.mjs",
        "node_modules/maplibre-gl/package.json",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "index.html").write_text("modules")
    app = FastAPI()
    add_files(app, folder)
    return TestClient(app)


def test_only_listed_files_of_the_page_are_given(tmp_path: Path) -> None:
    (tmp_path / "secret.js").write_text("secret")
    client = page_in(tmp_path / "page")
    for name in ("js/app.js", "css/base.css", "node_modules/maplibre-gl/dist/maplibre-gl.mjs"):
        assert client.get(f"/page/{name}").text == name
    for name in (
        "package.json",
        "js/notes.txt",
        "node_modules/maplibre-gl/package.json",
        "index.html",
        "dist/index.html",
        "../secret.js",
        "js/..%2f..%2fsecret.js",
        "",
        "js",
    ):
        assert client.get(f"/page/{name}").status_code == 404, name


def test_the_real_page_gives_nothing_of_its_build(client: TestClient) -> None:
    for name in ("package.json", "package-lock.json", ".npmrc", "build.mjs", "node_modules/.package-lock.json"):
        assert client.get(f"/page/{name}").status_code == 404, name
    module = client.get("/page/js/app.js")
    assert (module.status_code, module.headers["cache-control"]) == (200, "no-cache")


def test_a_bundle_is_kept_for_ever_and_taken_only_while_no_source_is_newer(tmp_path: Path) -> None:
    client = page_in(tmp_path)
    assert "immutable" in client.get("/page/dist/app-AB12.js").headers["cache-control"]
    for seconds, file in enumerate(("js/app.js", "css/base.css", "index.html", "dist/index.html")):
        os.utime(tmp_path / file, (1000 + seconds, 1000 + seconds))
    assert index_of(tmp_path) == tmp_path / "dist/index.html"
    os.utime(tmp_path / "js/app.js", (2000, 2000))
    assert index_of(tmp_path) == tmp_path / "index.html"


@pytest.mark.skipif(not (PACKAGES / "maplibre-gl").is_dir(), reason="run `npm ci` in server/page first")
def test_hashes_of_the_map_library_are_those_of_the_installed_one() -> None:
    script = (FOLDER / "js/library.js").read_text(encoding="utf-8")
    hashes = dict(re.findall(r'"(maplibre-gl[^"]*)": "(sha384-[^"]+)"', script))
    assert set(hashes) == {"maplibre-gl.mjs", "maplibre-gl-worker.mjs", "maplibre-gl.css"}
    for name, text in hashes.items():
        digest = hashlib.sha384((PACKAGES / "maplibre-gl/dist" / name).read_bytes()).digest()
        assert text == f"sha384-{base64.b64encode(digest).decode()}", name
    locked = json.loads((FOLDER / "package.json").read_text(encoding="utf-8"))["dependencies"]["maplibre-gl"]
    assert f'VERSION = "{locked}"' in script


def test_nothing_of_a_public_network_is_loaded_without_its_hash() -> None:
    """`library.js` alone names one, and every use of it stands beside a hash."""
    for file in (*FOLDER.glob("*.html"), *FOLDER.glob("js/*.js"), *FOLDER.glob("css/*.css")):
        text = file.read_text(encoding="utf-8")
        if file.name != "library.js":
            assert not re.search(r"(src|href|import|url)\W{1,4}https://(cdn|unpkg)|cdn\.|unpkg|jsdelivr", text), file
        for line in text.splitlines():
            if "PUBLIC +" in line:
                assert "integrity: HASHES" in line
    assert "cdn" not in TestClient(app_of_docs()).get("/docs").text


def app_of_docs() -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None)
    add_files(app)
    return app
