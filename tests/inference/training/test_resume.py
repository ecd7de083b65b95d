"""An interrupted training resumes to the weights of an undisturbed one, and refuses what is not its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cube.config.learning import TrainOptions
from cube.errors import ModelError
from inference.data.blocks import make_folds
from inference.training import objective
from inference.training.fit import train
from inference.training.resume import Checkpoint, fingerprint
from tests.inference.training.test_fit import landscape

OPTIONS = TrainOptions(
    members=2,
    epochs=1,
    least_steps=40,
    batch=32,
    learning_rate=0.02,
    seed=3,
    threads=1,
    checkpoint_seconds=0,
    device="cpu",
)


def run_of(folder: Path | None, options: TrainOptions = OPTIONS, progress=lambda *told: None, **more):
    predictors, surveys, _ = landscape(200)
    predictors = predictors.without("satellite")
    folds = make_folds(surveys, 5, options.members)
    return train(predictors, surveys, options=options, folds=folds, run=folder, progress=progress, **more)


def same(one, other) -> bool:
    a, b = one.ensemble.state_dict(), other.ensemble.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class Stopped(Exception):  # noqa: N818  it is no error
    """What ends a training in the middle."""


def stopped_after(times: int):
    told = []

    def progress(*row) -> None:
        told.append(row)
        if len(told) == times:
            raise Stopped

    return progress


@pytest.fixture(scope="module")
def undisturbed():
    return run_of(None)


@pytest.mark.slow
@pytest.mark.parametrize("kill_at", [4, 24])
def test_killed_training_equals_an_undisturbed_one(tmp_path, undisturbed, kill_at):
    """SIGKILL after some evaluations, in the first or the second member, whatever the process is at."""
    program = (
        "from pathlib import Path; import sys, time; from tests.inference.training.test_resume import run_of;"
        "run_of(Path(sys.argv[1]), progress=lambda *told: (print('on', flush=True), time.sleep(0.02)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        for _ in range(kill_at):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL  # it was not over
    again = run_of(tmp_path)
    assert same(again, undisturbed)
    assert again.history == undisturbed.history


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        replace(OPTIONS, loaders=2),
        replace(OPTIONS, precision="bfloat16"),
    ],
)
def test_every_precision_and_loader_resumes_bit_for_bit(tmp_path, options):
    options = replace(options, least_steps=20)
    whole = run_of(None, options)
    for times in (3, 8):
        with pytest.raises(Stopped):
            run_of(tmp_path, options, stopped_after(times))
    assert same(run_of(tmp_path, options), whole)


@pytest.mark.slow
def test_finished_members_are_taken_as_they_are(tmp_path, undisturbed):
    run_of(tmp_path)
    told = []
    assert same(run_of(tmp_path, progress=lambda *row: told.append(row)), undisturbed)
    assert not told


def test_run_of_other_options_species_or_data_is_refused_and_kept(tmp_path):
    options = replace(OPTIONS, least_steps=20)
    with pytest.raises(Stopped):
        run_of(tmp_path, options, stopped_after(5))
    files = {path: path.read_bytes() for path in tmp_path.glob("*.*")}
    with pytest.raises(ModelError, match=r"train\.batch: 32 there, 16 now.*remove the folder"):
        run_of(tmp_path, replace(options, batch=16))
    predictors, surveys, _ = landscape(200)
    predictors = predictors.without("satellite")
    folds = make_folds(surveys, 5, 2)
    renamed = replace(surveys, species=("another", *surveys.species[1:]))
    with pytest.raises(ModelError, match="species table"):
        train(predictors, renamed, options=options, folds=folds, run=tmp_path)
    with pytest.raises(ModelError, match=r"\(data: "):
        train(predictors, replace(surveys, year=surveys.year + 1), options=options, folds=folds, run=tmp_path)
    assert files == {path: path.read_bytes() for path in tmp_path.glob("*.*")}
    run_of(tmp_path, replace(options, loaders=1, checkpoint_seconds=60, threads=None))  # these change no number


@pytest.mark.slow
@pytest.mark.parametrize("stop", [3, 40])
def test_a_run_that_was_begun_with_another_number_of_steps_is_refused(tmp_path, monkeypatch, stop):
    few = replace(OPTIONS, least_steps=10_000, epochs=1)
    monkeypatch.setattr(objective, "PASSES", 10)
    with pytest.raises(Stopped):
        run_of(tmp_path, few, stopped_after(stop))
    monkeypatch.setattr(objective, "PASSES", 5)
    with pytest.raises(ModelError, match=r"was begun with \d+ steps, and a member makes \d+ now; remove"):
        run_of(tmp_path, few)


def test_truncated_checkpoint_is_told_and_the_other_members_are_kept(tmp_path, undisturbed):
    run_of(tmp_path)
    path = tmp_path / "member1.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"member1\.safetensors is truncated"):
        run_of(tmp_path)
    path.unlink()
    assert same(run_of(tmp_path), undisturbed)


def test_a_kill_while_writing_leaves_the_state_before(tmp_path, monkeypatch):
    checkpoint = Checkpoint(tmp_path / "member.safetensors", 0)
    checkpoint.save({"a": torch.arange(5)}, {"step": 1})
    monkeypatch.setattr("inference.training.resume.os.fsync", lambda file: (_ for _ in ()).throw(Stopped))
    with pytest.raises(Stopped):
        checkpoint.save({"a": torch.zeros(5)}, {"step": 2})
    tensors, progress = checkpoint.read()
    assert progress["step"] == 1
    assert torch.equal(tensors["a"], torch.arange(5))


def test_fingerprint_tells_values_shapes_and_names_apart():
    a = np.arange(12.0).reshape(3, 4)
    assert fingerprint(a=a) == fingerprint(a=a.copy(), b=None)
    assert len({fingerprint(a=a), fingerprint(b=a), fingerprint(a=a.reshape(4, 3)), fingerprint(a=a + 1)}) == 4


@pytest.mark.slow
def test_loss_curves_are_a_picture_and_tensorboard_events_without_gaps(tmp_path):
    from PIL import Image
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with pytest.raises(Stopped):
        run_of(tmp_path, OPTIONS, stopped_after(12))
    time.sleep(1.1)  # event files are named by the second
    trained = run_of(tmp_path)
    assert Image.open(tmp_path / "curves.png").size[0] > 400
    events = EventAccumulator(str(tmp_path / "events" / "member0")).Reload()
    for name in ("loss", "rate"):
        found = [(event.step, event.value) for event in events.Scalars(name)]
        expected = [(row["step"], row[name]) for row in trained.history if row["seed"] == 3000]
        np.testing.assert_allclose(found, expected, rtol=1e-6)
