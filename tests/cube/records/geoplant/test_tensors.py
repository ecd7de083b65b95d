"""Plain tensors are read as torch reads them; everything else in a .pt file is refused and nothing of it is run."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cube.errors import SourceError
from cube.records.geoplant.tensors import read_tensor


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.float16, torch.int64, torch.int16, torch.uint8, torch.bool]
)
def test_a_tensor_of_any_plain_type_is_read_as_torch_reads_it(tmp_path: Path, dtype: torch.dtype) -> None:
    tensor = (torch.arange(24).reshape(2, 3, 4) % 3).to(dtype)
    torch.save(tensor, tmp_path / "t.pt")
    read = read_tensor(tmp_path / "t.pt")
    assert read.dtype == tensor.numpy().dtype
    np.testing.assert_array_equal(read, torch.load(tmp_path / "t.pt", weights_only=True).numpy())


@settings(max_examples=25, deadline=None)
@given(order=st.permutations([0, 1, 2]), start=st.integers(0, 2), step=st.integers(1, 2))
def test_strides_and_offsets_of_a_view_are_followed(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], start: int, step: int
) -> None:
    path = tmp_path_factory.mktemp("view") / "v.pt"
    view = torch.arange(120, dtype=torch.float32).reshape(4, 5, 6)[:, start::step].permute(order)
    torch.save(view, path)
    read = read_tensor(path)
    np.testing.assert_array_equal(read, view.numpy())
    assert read.flags.c_contiguous


class Payload:
    """A pickle that writes a file when it is loaded the careless way."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.write_text, (self.path, "run"))


def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save(Payload(tmp_path / "trace"), tmp_path / "evil.pt")
    with pytest.raises(SourceError, match=r"evil\.pt: is not a plain tensor .* refused"):
        read_tensor(tmp_path / "evil.pt")
    assert not (tmp_path / "trace").exists()
    torch.load(tmp_path / "evil.pt", weights_only=False)
    assert (tmp_path / "trace").exists()  # the trap was a real one


@pytest.mark.parametrize("value", [{"a": torch.zeros(3)}, [torch.zeros(3)], torch.nn.Linear(2, 2), 7])
def test_anything_but_one_tensor_is_refused(tmp_path: Path, value: Any) -> None:
    torch.save(value, tmp_path / "o.pt")
    with pytest.raises(SourceError, match="not a plain tensor"):
        read_tensor(tmp_path / "o.pt")


@pytest.mark.parametrize("size", [0, 10, 300, 900])
def test_a_truncated_file_is_one_sentence(tmp_path: Path, size: int) -> None:
    torch.save(torch.zeros(6, 4, 21), tmp_path / "t.pt")
    data = (tmp_path / "t.pt").read_bytes()
    (tmp_path / "t.pt").write_bytes(data[:size])
    with pytest.raises(SourceError, match=r"t\.pt: is truncated or not a file that torch saved"):
        read_tensor(tmp_path / "t.pt")


def test_a_bare_pickle_and_a_link_unpacked_as_text_say_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Payload(tmp_path / "trace")))
    with pytest.raises(SourceError, match=r"bare\.pt: is truncated or not"):
        read_tensor(tmp_path / "bare.pt")
    assert not (tmp_path / "trace").exists()
    (tmp_path / "link.pt").write_text("../other/real_cube.pt")
    with pytest.raises(SourceError, match=r"'\.\./other/real_cube\.pt': a symbolic link that was unpacked as a file"):
        read_tensor(tmp_path / "link.pt")
    with pytest.raises(SourceError, match="no such file"):
        read_tensor(tmp_path / "none.pt")
