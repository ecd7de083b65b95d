"""The version is that of `floracube.__version__` wherever a file names it, and the changelog has its notes."""

from __future__ import annotations

import json
import re

import pytest
import yaml

import floracube
from tests.docs.pages import ROOT

VERSION = floracube.__version__


@pytest.mark.parametrize("file", ["compose.yaml", "README.md", ".env.example", "kubernetes/images/kustomization.yaml"])
def test_images_have_the_version_of_the_package(file: str) -> None:
    text = (ROOT / "deploy" / file).read_text(encoding="utf-8")
    versions = re.findall(r"(?:floracube/\w+:|newTag: |FLORACUBE_VERSION[:=]-?)(\d+\.\d+\.\d+)", text)
    assert versions, file
    assert set(versions) == {VERSION}


def test_the_page_and_the_citation_have_the_version_of_the_package() -> None:
    page = ROOT / "server/page"
    lock = json.loads((page / "package-lock.json").read_text(encoding="utf-8"))
    assert json.loads((page / "package.json").read_text(encoding="utf-8"))["version"] == VERSION
    assert (lock["version"], lock["packages"][""]["version"]) == (VERSION, VERSION)
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == VERSION


def test_the_changelog_has_notes_of_the_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[{re.escape(VERSION)}\] - \d{{4}}-\d\d-\d\d$", text, re.MULTILINE)
