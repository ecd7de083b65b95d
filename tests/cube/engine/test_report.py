"""Reports: the log tells what happened so far whatever comes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cube.engine.report import Journal, Report
from cube.engine.workers import Outcome, store_named
from cube.errors import WorkersError
from cube.grid import Region

UNITS = tuple(Region(4700, 2850, 4730, 2870, 10).units())


def _work(report: Report) -> None:
    report.expect("v1", UNITS, {UNITS[0].name})
    report.begin()
    report.add_steps({"head": 1.0})
    report.unit("v1", UNITS[1], Outcome(UNITS[1], {}), 2.5, 40_000, {"head": 2.0, "write": 0.5})
    report.unit("v1", UNITS[2], Outcome(UNITS[2], None, "<script>alert(1)</script> cannot be read", 3, "Traceback <x>"))
    raise KeyboardInterrupt


def _run(folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Report(folder, "A & B", "cube.zarr", "predict-v1") as report:
        _work(report)


def test_an_interrupted_run_has_told_everything(tmp_path: Path) -> None:
    _run(tmp_path)
    events = [json.loads(line) for line in (tmp_path / "predict-v1.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events] == ["begin", "unit", "unit", "end"]
    assert (events[0]["units"], events[0]["ready"], events[3]["ended"], events[3]["failed"]) == (6, 1, "interrupted", 1)
    assert events[1]["steps"] == {"head": 2.0, "write": 0.5}
    document = json.loads((tmp_path / "predict-v1.json").read_text())
    assert document["units"] == {"all": 6, "ready": 1, "built": 1, "failed": 1}
    rows = {"units": 6, "ready": 1, "built": 1, "failed": 1, "seconds": 2.5, "squares_waiting": 0}
    assert document["layers"] == {"v1": rows}
    assert document["steps"] == {"head": 3.0, "write": 0.5}


def test_a_line_that_a_kill_cut_off_spoils_no_other(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "log.jsonl")
    journal.write("begin", title="t")
    with journal.path.open("a") as file:
        file.write('{"event": "un')
    journal.write("end", ended="complete")
    first, broken, last = journal.path.read_text().splitlines()
    assert (json.loads(first)["event"], json.loads(last)["ended"]) == ("begin", "complete")
    assert broken == '{"event": "un'


def test_a_store_that_fails_outside_of_tasks_is_one_sentence() -> None:
    with (
        pytest.raises(WorkersError, match=r"s3://b/c: the store failed \(OSError: gone\); check it.*finished units are kept"),
        store_named("s3://b/c"),
    ):
        raise OSError("gone")
