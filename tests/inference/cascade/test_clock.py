"""What the clock says of a GPU: the seconds between two events of a step, whatever the processor did meanwhile."""

from __future__ import annotations

import pytest
import torch

from inference.cascade.clock import Clock


class Event:
    """An event of a GPU whose own clock goes a quarter of a second further with each one."""

    now = 0.0

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing
        self.done = False

    def record(self, stream: str) -> None:
        assert stream == "the stream of cuda:3"
        Event.now += 250.0
        self.at = Event.now

    def synchronize(self) -> None:
        self.done = True

    def elapsed_time(self, other: Event) -> float:
        assert other.done
        return other.at - self.at


def test_a_step_takes_the_time_between_its_events_on_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"the stream of {device}")
    clock = Clock("cuda:3")
    for step in ("head", "rank", "head"):
        with clock(step):
            pass
    assert clock.device_seconds() == {"head": 0.5, "rank": 0.25}
    assert clock.seconds["head"] < 0.25


def test_a_processor_has_no_seconds_of_a_gpu() -> None:
    clock = Clock()
    with clock("head"):
        pass
    assert clock.device_seconds() == {}
    assert list(clock.seconds) == ["head"]
