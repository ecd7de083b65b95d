"""Progress tells steps and time left only where it knows them."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from cube import console
from cube.console import Pace


def test_time_left_is_that_of_the_finished_steps_and_runs_down() -> None:
    pace = Pace()
    assert pace.note(0, 10, 0.0)
    assert pace.text(5.0) == ""
    assert not pace.note(2, 10, 20.0)
    assert pace.seconds_left(20.0) == pytest.approx(80)
    assert pace.seconds_left(50.0) == pytest.approx(50)  # the third step takes its time
    assert pace.text(20.0) == "0:01:20 left"


def test_an_overdue_estimate_and_the_last_step_say_nothing_instead_of_zero() -> None:
    pace = Pace()
    pace.note(0, 10, 0.0)
    pace.note(9, 10, 9.0)
    assert [pace.text(now) for now in (9.0, 9.6, 10.0, 300.0)] == ["0:00:01 left", "", "", ""]
    pace.note(10, 10, 301.0)
    assert pace.text(400.0) == ""
    assert pace.steps() == "10/10 steps"


def test_another_sum_or_a_smaller_step_is_another_stage() -> None:
    pace = Pace()
    pace.note(5, 10, 0.0)
    pace.note(9, 10, 40.0)
    assert pace.note(5, 100, 50.0)
    assert pace.seconds_left(60.0) is None
    pace.note(50, 100, 95.0)  # 45 of the 95 steps that were left when the stage began, in 45 seconds
    assert pace.seconds_left(95.0) == pytest.approx(50)
    assert pace.note(0, 100, 96.0)
    assert pace.seconds_left(97.0) is None


def test_steps_of_an_unknown_sum_are_counted_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(console, "say", Console(file=out, soft_wrap=True))
    with console.bar("evaluate") as move:
        for done, total, what in ((0, 0, "reading"), (5, 0, "fold 5"), (0, 4, "units"), (1, 4, "a"), (4, 4, "b")):
            move(done, total, what)
    assert out.getvalue().splitlines() == [
        "evaluate: reading",
        "evaluate: 5 steps, fold 5",
        "evaluate: 0/4 steps, units",
        "evaluate: 1/4 steps, a",
        "evaluate: 4/4 steps, b",
    ]


def test_a_bar_of_a_terminal_shows_no_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(console, "say", Console(file=out, force_terminal=True, width=120))
    with console.bar("evaluate") as move:
        move(5, 0, "fold 5")
        move(3, 3, "the end")
    shown = out.getvalue()
    assert "5/0" not in shown
    assert "0:00:00 left" not in shown
    assert "the end" in shown
