"""The site builds without a warning, asks nobody for anything, and its reference is that of the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

from cube.config import Config
from docs.make import site as site_builder
from tests.docs.pages import ROOT

pytestmark = pytest.mark.slow

FETCHED = re.compile(r"url\(\s*['\"]?((?:https?:)?//[^)'\"]+)|@import\s+['\"]?((?:https?:)?//[^'\";]+)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    run = subprocess.run(
        [sys.executable, "-m", "docs.make.site", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=3000,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "No issues found" in run.stdout + run.stderr, run.stdout + run.stderr
    return out


def is_address(url: str) -> bool:
    return re.match(r"[a-z]+:|//", url) is not None


def path_of(url: str) -> str:
    return unquote(re.split("[?#]", url)[0])


class _Loaded(HTMLParser):
    """Addresses that a browser fetches by itself, which a link to click is not."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video", "audio", "embed"):
            self.found.append(given.get("src") or "")
        if tag == "link" and given.get("rel") != "canonical":
            self.found.append(given.get("href") or "")


def test_what_pages_load_is_there_and_from_nowhere_else(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 25
    for page in pages:
        loaded = _Loaded()
        loaded.feed(page.read_text(encoding="utf-8"))
        outside = [url for url in loaded.found if re.match(r"(https?:)?//", url)]
        assert not outside, f"{page.relative_to(site)}: {outside}"
        missing = [url for url in loaded.found if url and not is_address(url) and not (page.parent / path_of(url)).exists()]
        assert not missing or page.name == "404.html", f"{page.relative_to(site)}: {missing}"
    for sheet in site.rglob("*.css"):
        fetched = FETCHED.findall(sheet.read_text("utf-8"))
        assert not fetched, f"{sheet.name}: {fetched}"


def test_every_page_of_the_navigation_is_built(site: Path) -> None:
    named = re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert len(named) > 25
    for name in named:
        assert (site / name.replace(".md", ".html")).is_file(), name


def test_the_reference_is_that_of_the_code(site: Path) -> None:
    keys = (site / "reference/configuration.html").read_text(encoding="utf-8")
    for name in Config.model_fields:
        assert f"<code>{name}</code>" in keys
    http = (site / "reference/http.html").read_text(encoding="utf-8")
    for path in ("/layers", "/area", "/point/{lon},{lat}", "/stac", "/cube/{name}"):
        assert f"GET {path}" in http
    python = (site / "reference/python.html").read_text(encoding="utf-8")
    for name in ("floracube.open", "cube.reader.Cube.at", "cube.engine.external_indicators.write_indicators", "cube.grid.Region"):
        assert f'id="{name}"' in python
    results = (site / "reference/results.html").read_text(encoding="utf-8")
    printed = (ROOT / "benchmarks/results/moravia.txt").read_text(encoding="utf-8").splitlines()[2]
    assert printed in results


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_links_and_files_of_the_pages_at_the_top_are_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (ROOT / target).exists(), target
    for target in re.findall(r"`((?:cube|inference|server|demo|tests|docs|benchmarks|deploy)/[\w/.]*)`", text):
        assert (ROOT / target).exists() or "/x/" in target, target


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 80


@pytest.mark.parametrize("link", ["[there](nowhere.md)", "[there](index.md#nowhere)"])
def test_a_link_that_leads_nowhere_ends_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: str) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text(f"# Home\n\n{link}\n", encoding="utf-8")
    settings = {"site_name": "t", "theme": {"name": "material"}, "plugins": [{"mkdocstrings": {"handlers": {"python": {}}}}]}
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    monkeypatch.setattr(site_builder, "ROOT", tmp_path)
    monkeypatch.setattr(site_builder, "PAGES", {})
    monkeypatch.setattr(site_builder.notebooks, "pages", dict)
    assert site_builder.build(tmp_path / "site") != 0
    assert not (tmp_path / "site").exists()


def test_the_site_asks_no_other_host() -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert settings["theme"]["font"] is False
    assert "repo_url" not in settings, "material asks the host of a repository for stars and versions"
