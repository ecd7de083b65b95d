"""Which GPU a worker takes, and what an encoder does where it cannot be compiled."""

from __future__ import annotations

import logging
import os
import time

import pytest
import torch
from torch import nn

from cube.config.cluster import ClusterConfig
from cube.engine.workers import WORKER_NUMBER, Workers, run
from inference.cascade import device
from inference.cascade.device import Device


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)


@pytest.mark.usefixtures("four_gpus")
def test_eight_workers_of_a_machine_with_four_gpus_are_two_on_each(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    for number in range(8):
        monkeypatch.setenv(WORKER_NUMBER, str(number))
        taken.append(Device.by_name("auto").torch.index)
    assert taken == [0, 1, 2, 3, 0, 1, 2, 3]


@pytest.mark.usefixtures("four_gpus")
def test_a_process_that_is_no_worker_of_this_machine_takes_the_first_gpu_that_it_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WORKER_NUMBER, raising=False)
    assert Device.by_name("auto").torch == torch.device("cuda:0")


def number_of(_: int) -> str:
    time.sleep(0.2)  # so that both workers get a task
    return os.environ[WORKER_NUMBER]


def test_workers_of_this_machine_are_numbered_before_they_prepare_themselves() -> None:
    crew = Workers(cluster=ClusterConfig(workers=2), prepare=list)
    with crew:
        numbers = {outcome.result for outcome in run(number_of, range(8), crew)}
    assert numbers == {"0", "1"}


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.convolution(images))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own compiler
def test_an_encoder_that_cannot_be_compiled_computes_the_same_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """torch's own compiler, which ends as it does where there is no C compiler."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("Failed to find C compiler.")

    monkeypatch.setattr(device, "find_spec", lambda name: name)
    monkeypatch.setattr("torch._inductor.compile_fx.compile_fx", fail)
    encoder = Encoder()
    images = torch.randn(2, 3, 8, 8)
    expected = encoder(images)
    device._compile(encoder)
    with caplog.at_level(logging.WARNING, "floracube.device"), torch.no_grad():
        first, second = encoder(images), encoder(images)
    assert torch.equal(first, expected)
    assert torch.equal(second, expected)
    messages = [record.getMessage() for record in caplog.records if record.name == "floracube.device"]
    assert len(messages) == 1
    assert "C compiler" in messages[0]
