"""Two trainings at once: the files of two never mix in one model folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from cube.errors import ModelError
from inference.training.learn import learn, learn_habitats
from tests.inference.training.test_habitats import configured

HOLDER = """
import sys
from pathlib import Path
from inference.training.learn import _sole_training

with _sole_training(Path(sys.argv[1])):
    print("has it", flush=True)
    sys.stdin.read()
"""


def test_a_second_training_is_refused_and_touches_no_file_of_the_first(tmp_path: Path) -> None:
    config = configured(tmp_path, reader="linear")
    half_written = tmp_path / ".model.partial" / "metrics.json"
    half_written.parent.mkdir()
    half_written.write_text("{}")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(config.model_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "has it\n"
        for train in (learn, learn_habitats):
            with pytest.raises(ModelError, match="another training writes this model just now"):
                train(config)
        assert half_written.read_text() == "{}"
        first.communicate()
    learn_habitats(config)  # its lock ended with the process that held it
    assert any((config.model_path / "habitats").iterdir())
    assert not list(tmp_path.glob("*.lock"))
