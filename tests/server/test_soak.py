"""The soak of `benchmarks/tiles_soak.py`, in seconds instead of minutes: load, a publish, a rollback, a store that fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cube.storage.store import CubeStore

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_each_answer_is_what_its_release_says_and_a_failing_store_is_got_over(tmp_path: Path, large_cube: CubeStore) -> None:
    command = [
        sys.executable,
        "-m",
        "benchmarks.tiles_soak",
        "--minutes",
        "0.6",
        "--down",
        "6",
        "--connections",
        "4",
        "--cube",
        large_cube.url,
        "--patience",
        "4",
        "--json",
        str(tmp_path / "soak.json"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    row = json.loads((tmp_path / "soak.json").read_text(encoding="utf-8"))[0]
    assert row["errors_while_down"] > 0
    assert row["broken"] == []
    assert set(row["statuses"]) <= {"200", "204", "503"}
