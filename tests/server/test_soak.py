"""The soak of `benchmarks/tiles_soak.py`, in seconds instead of minutes: load, a publish, a store that fails and comes back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_no_answer_mixes_versions_and_a_failing_store_is_got_over(tmp_path: Path) -> None:
    command = [
        sys.executable, str(ROOT / "benchmarks/tiles_soak.py"), "--minutes", "0.3", "--down", "4", "--connections", "4",
        "--side-km", "80", "--patience", "4", "--json", str(tmp_path / "soak.json"),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    row = json.loads((tmp_path / "soak.json").read_text(encoding="utf-8"))[0]
    assert row["errors_while_down"] > 0
    assert row["broken"] == []
    assert set(row["statuses"]) == {"200", "503"}
