"""The soak of `benchmarks/tiles_soak.py`, in seconds instead of minutes: load, a publish, a rollback, a store that fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rasterio.io import MemoryFile

from benchmarks.tile_load import Answer
from benchmarks.tiles_soak import Judge, difference
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


def test_a_wrong_tile_is_told_by_its_pixels() -> None:
    def png(alpha: np.ndarray) -> bytes:
        with MemoryFile() as memory:
            with memory.open(driver="PNG", height=4, width=4, count=4, dtype="uint8") as file:
                file.write(np.stack([np.full((4, 4), 9), np.full((4, 4), 8), np.full((4, 4), 7), alpha]).astype(np.uint8))
            return bytes(memory.read())

    full, hole = np.full((4, 4), 255), np.full((4, 4), 255)
    hole[0, :3] = 0
    hole[1, 0] = 100
    assert difference(png(hole), png(full)) == "4 pixels, of which 3 are clear, are not those of"
    assert difference(png(full), b"") == "16 pixels, of which 0 are clear, are not those of"
    judge = Judge({"/a": {"r12": png(full), "r11": b""}}, 1)
    judge.note(Answer("/a", 200, 0.1, 1.0, {"etag": "1"}, png(full) + b"more"))
    (told,) = judge.wrong
    assert (
        f"0 pixels, of which 0 are clear, are not those of r12 ({len(png(full))} bytes, the first {len(png(full))} are the same)"
        in told
    )
