"""Plain tensors are read as torch reads them; everything else in a .pt file is refused and nothing of it is run."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cube.errors import SourceError
from cube.records.geoplant.tensors import read_tensor

torch = pytest.importorskip("torch", reason="torch writes the files")


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


def test_a_tensor_that_follows_a_gradient_is_read_for_its_numbers(tmp_path: Path) -> None:
    torch.save(torch.arange(3.0).requires_grad_(), tmp_path / "g.pt")
    assert read_tensor(tmp_path / "g.pt").tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "make", [lambda: torch.zeros(3, dtype=torch.bfloat16), lambda: torch.zeros(3, dtype=torch.cfloat).conj()]
)
def test_a_tensor_of_a_type_that_numpy_lacks_is_refused(tmp_path: Path, make: Any) -> None:
    torch.save(make(), tmp_path / "b.pt")
    with pytest.raises(SourceError, match=r"b\.pt: is not a plain tensor"):
        read_tensor(tmp_path / "b.pt")


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


def published_pickle(path: Path) -> tuple[bytes, bytes]:
    """(pickle, numbers) of a tensor (2, 3) that torch saved."""
    torch.save(torch.arange(6, dtype=torch.float32).reshape(2, 3), path)
    with zipfile.ZipFile(path) as archive:
        root = next(n for n in archive.namelist() if n.endswith("data.pkl")).removesuffix("data.pkl")
        return archive.read(f"{root}data.pkl"), archive.read(f"{root}data/0")


def crafted(path: Path, pickled: bytes, numbers: bytes, entry: str = "data/0") -> Path:
    """A file as torch writes it, with a pickle and numbers of somebody's own."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("t/data.pkl", pickled)
        archive.writestr("t/version", "3\n")
        archive.writestr(f"t/{entry}", numbers)
    return path


SHAPE = b"K\x02K\x03\x86"  # (2, 3)
STRIDES = b"K\x03K\x01\x86"  # (3, 1)
END = b"Rq\x0b."
STATE = b"}(X\x07\x00\x00\x00stridesJ\x00\x00\x00\x7fJ\x00\x00\x00\x7f\x86X\x06\x00\x00\x00offsetJ\x00\x00\x00\xffub."

CRAFTED = {
    "a stride beyond the numbers": (STRIDES, b"J\xff\xff\xff\x00K\x01\x86"),
    "a stride that wraps around 64 bits": (STRIDES, b"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x20K\x01\x86"),
    "a negative stride": (STRIDES, b"J\xfd\xff\xff\xffK\x01\x86"),
    "a negative size": (SHAPE, b"J\xfe\xff\xff\xffK\x03\x86"),
    "a size that wraps around 64 bits": (SHAPE, b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01K\x03\x86"),
    "more numbers than there are": (SHAPE, b"K\x02K\x04\x86"),
    "more numbers than memory": (SHAPE, b"J\xff\xff\xff\x03J\xff\xff\xff\x03\x86"),
    "more strides than sizes": (STRIDES, b"K\x03K\x01K\x01\x87"),
    "a size that is a text": (SHAPE, b"X\x01\x00\x00\x00aK\x03\x86"),
    "a size that is a yes": (SHAPE, b"\x88K\x03\x86"),
    "a state over what was checked": (END, END[:-1] + STATE),
    "a state of a function": (b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch._utils\n_rebuild_tensor_v2\n}b"),
    "another function": (b"ctorch._utils\n_rebuild_tensor_v2\n", b"cbuiltins\neval\n"),
    "a name that is taken from a module's own": (b"ctorch\nFloatStorage\n", b"ctorch\nload\n"),
    "a tensor of no storage": (b"Q", b"0N"),
    "a memo that is empty": (SHAPE, SHAPE + b"h\xff0"),
    "a stack that is empty": (SHAPE, b"0" * 50 + SHAPE),
    "no end": (END, END[:-1]),
    "tuples inside tuples": (SHAPE, SHAPE + b"\x85" * 60_000),
}


@pytest.mark.parametrize("trick", CRAFTED)
def test_a_crafted_tensor_is_refused_with_one_sentence(tmp_path: Path, trick: str) -> None:
    pickled, numbers = published_pickle(tmp_path / "t.pt")
    assert read_tensor(crafted(tmp_path / "same.pt", pickled, numbers)).tolist() == [[0, 1, 2], [3, 4, 5]]
    honest, dishonest = CRAFTED[trick]
    assert pickled.count(honest) == 1, pickled
    path = crafted(tmp_path / "x.pt", pickled.replace(honest, dishonest), numbers)
    with pytest.raises(SourceError) as error:
        read_tensor(path)
    assert str(error.value).startswith(f"{path}: is ")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_fewer_numbers_than_the_pickle_says_and_a_key_that_climbs_are_refused(tmp_path: Path) -> None:
    pickled, numbers = published_pickle(tmp_path / "t.pt")
    with pytest.raises(SourceError, match="does not match expected size"):
        read_tensor(crafted(tmp_path / "x.pt", pickled, numbers[:-4]))
    climbing = pickled.replace(b"X\x01\x00\x00\x000", b"X\x09\x00\x00\x00../../etc")
    assert climbing != pickled
    with pytest.raises(SourceError, match="not a plain tensor"):
        read_tensor(crafted(tmp_path / "y.pt", climbing, numbers))
    with pytest.raises(SourceError, match=r"not a plain tensor \(67,1.* bytes\)"):
        read_tensor(crafted(tmp_path / "z.pt", pickled, bytes((1 << 26) + 4)))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_flipped_byte_of_the_pickle_gives_numbers_of_the_file_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("flipped")
    pickled, numbers = published_pickle(folder / "t.pt")
    at = data.draw(st.integers(0, len(pickled) - 1))
    changed = bytearray(pickled)
    changed[at] = data.draw(st.integers(0, 255))
    try:
        read = read_tensor(crafted(folder / "x.pt", bytes(changed), numbers))
    except SourceError:
        return
    held = np.frombuffer(numbers, read.dtype)
    assert read.size == 0 or np.isin(read, held).all()
