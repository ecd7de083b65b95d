"""Every source is opened, and what it needs is asked for, before any work starts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cube.errors import ConfigError
from cube.sources.open import open_sources
from tests.support.builds import REGION, write_config


@pytest.mark.parametrize("layer", ["sentinel2", "landsat"])
def test_scenes_without_stackstac_name_the_key_and_the_extra_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layer: str
) -> None:
    monkeypatch.setitem(sys.modules, "stackstac", None)
    stac = {"catalog": "catalog.json", "start": "2021-01-01", "end": "2021-12-31"}
    config = write_config(tmp_path, sources=[{"layer": layer, "stac": stac}])
    with pytest.raises(ConfigError, match=r"sources\[0\]\.stac: scenes need stackstac, .* install floracube\[build\]"):
        open_sources(config, REGION)
