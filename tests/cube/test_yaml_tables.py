"""Tables beside modules are what PyYAML's own safe loader reads of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cube.yaml_tables import yaml_table

ROOT = Path(__file__).parents[2]
TABLES = sorted(path for room in ("cube", "demo", "inference") for path in (ROOT / room).rglob("*.yaml"))


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.name)
def test_a_table_is_what_the_safe_loader_reads(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert expected
    assert yaml_table(str(path.with_name("module.py")), path.name) == expected
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)  # a PyYAML without libyaml
    assert yaml_table(str(path.with_name("module.py")), path.name) == expected
