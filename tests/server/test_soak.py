"""The soak of `benchmarks/tiles_soak.py`, in seconds instead of minutes: load, a publish, a rollback, a store that fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.tile_load import Answer
from benchmarks.tiles_soak import Judge
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


def test_a_wrong_tile_is_told_by_the_release_that_it_is_of() -> None:
    judge = Judge({"/a": {"r12": b"new", "r11": b"old"}}, 1)
    judge.note(Answer("/a", 200, 0.1, 1.0, {"etag": "1"}, b"new"))
    assert judge.wrong == []
    judge.note(Answer("/a", 200, 0.1, 1.0, {"etag": "2"}, b"old"))
    judge.note(Answer("/a", 200, 0.1, 1.0, {"etag": "3"}, b"neither"))
    assert "status 200 with 3 bytes of r11, 1.1 s after release r12 was published" in judge.wrong[0]
    assert "status 200 with 7 bytes of no release" in judge.wrong[1]
