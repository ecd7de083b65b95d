"""Temporary folders: gone after use, and those of a killed process with the next one."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from cube.storage.local_files import temporary_folder

KILLED = """
import os, signal
from cube.storage.local_files import temporary_folder
with temporary_folder() as folder:
    (folder / "shard").write_bytes(b"values")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_goes_with_the_next_one_and_what_is_in_use_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    (tmp_path / "floracube-of-somebody").mkdir()
    with temporary_folder() as folder:
        assert subprocess.run([sys.executable, "-c", KILLED], env={"TMPDIR": str(tmp_path), "PYTHONPATH": "."}).returncode == -9
        assert len(list(tmp_path.glob("floracube-*/shard"))) == 1
        next_process = "from cube.storage.local_files import temporary_folder as t\nwith t(): pass"
        subprocess.run([sys.executable, "-c", next_process], env={"TMPDIR": str(tmp_path), "PYTHONPATH": "."}, check=True)
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            *sorted([folder.name, f"{folder.name}.lock"]),
            "floracube-of-somebody",
        ]
    assert [path.name for path in tmp_path.iterdir()] == ["floracube-of-somebody"]
