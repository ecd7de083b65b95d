"""Samples on disk: predictors of more places than memory holds, cut once and read a batch at a time.

One file of rows a modality, in the layer's own storage type (reflectance two bytes, Landsat one); images that a source has as
compressed files stay compressed, one behind the other in one file. Which layers there are and where they are read from is
`sampling.py`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from cube.errors import ModelError
from cube.layers import Layer
from inference.data.samples import Floats, Predictors

PIECE: Final = 1 << 28  # bytes of float32 cut at a time
IMAGES: Final = 10_000  # packed at a time: some 80 MB
Index = NDArray[np.int64]


@dataclass(frozen=True)
class OnDisk:
    """A file of n rows that reads like an array (n, ...) of float32: `rows[index]` gives the values of some places."""

    path: Path
    count: int
    row: tuple[int, ...]  # shape of one row

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, ...) as of an array."""
        return (self.count, *self.row)

    @property
    def ndim(self) -> int:
        """Axes, places included."""
        return 1 + len(self.row)

    def __len__(self) -> int:
        return self.count


@dataclass(frozen=True)
class Rows(OnDisk):
    """Rows of equal size, in one type.

    Rows are read by position, not mapped: the memory of a training is then its batches, and reading holds no lock of the
    interpreter.
    """

    layer: Layer | None = None  # whose encoding the file holds; None: numbers of `kind`
    kind: str = "float32"

    @property
    def stored_dtype(self) -> np.dtype[Any]:
        """Type on disk."""
        return np.dtype(self.kind if self.layer is None else self.layer.dtype)

    @property
    def nbytes(self) -> int:
        """Bytes on disk."""
        return self.count * self.row_bytes

    @property
    def row_bytes(self) -> int:
        """Bytes of one row on disk."""
        return int(np.prod(self.row)) * self.stored_dtype.itemsize

    def __getitem__(self, index: Any) -> Floats:
        """Values of the places `index` (positions, a mask or a slice), decoded. Raises: ModelError for a truncated file."""
        at = _positions(index, self.count)
        out = np.empty((at.size, *self.row), self.stored_dtype)
        lines = out.reshape(at.size, int(np.prod(self.row))).view(np.uint8)
        size = self.row_bytes
        file = os.open(self.path, os.O_RDONLY)
        try:
            for line, position in zip(lines, at.ravel().tolist(), strict=True):
                if os.preadv(file, [line.data], (position % self.count) * size) != size:
                    raise ModelError(f"{self.path} ends before row {position}; remove {self.path.parent} and train again.")
        finally:
            os.close(file)
        values = out if self.layer is None else self.layer.decode(out)
        return values.reshape(*at.shape, *self.row)


@dataclass(frozen=True)
class PackedImages(OnDisk):
    """Images packed one behind the other; `unpack(bytes, position)` decodes one."""

    unpack: Callable[[bytes, int], Floats]

    @property
    def nbytes(self) -> int:
        """Bytes on disk."""
        return self.path.stat().st_size + self.spans.nbytes

    @cached_property
    def spans(self) -> Index:
        """(n, 2) first byte and number of bytes of each image."""
        return np.fromfile(self.path.with_suffix(".spans"), np.int64).reshape(self.count, 2)

    def __getitem__(self, index: Any) -> Floats:
        """Images of the places `index`, as `Rows`."""
        at = _positions(index, self.count)
        out = np.empty((at.size, *self.row), np.float32)
        file = os.open(self.path, os.O_RDONLY)
        try:
            for image, position in zip(out, at.ravel().tolist(), strict=True):
                start, length = self.spans[position].tolist()
                content = os.pread(file, length, start)
                if len(content) != length:
                    raise ModelError(f"{self.path} ends before row {position}; remove {self.path.parent} and train again.")
                image[:] = self.unpack(content, position % self.count)
        finally:
            os.close(file)
        return out.reshape(*at.shape, *self.row)


def _positions(index: Any, count: int) -> NDArray[Any]:
    """Positions that an index (a slice, a mask, positions) chooses."""
    return np.arange(count)[index] if isinstance(index, slice) or np.asarray(index).dtype == bool else np.asarray(index)


def is_on_disk(predictors: Predictors) -> bool:
    """Whether some modality is read from files."""
    return any(isinstance(values, OnDisk) for values in predictors.values.values())


@dataclass(frozen=True)
class SampleStore:
    """A folder for samples that do not fit `memory_bytes`."""

    folder: Path
    memory_bytes: float

    def under(self, name: str) -> SampleStore:
        """A folder of its own for another set of places."""
        return SampleStore(self.folder / name, self.memory_bytes)

    def spills(self, rows: Mapping[str, tuple[int, ...]], count: int) -> bool:
        """Whether `count` places with rows of these shapes are to lie on disk."""
        return 4 * count * sum(int(np.prod(shape)) for shape in rows.values()) > self.memory_bytes

    def cut(
        self,
        name: str,
        rows: Mapping[str, tuple[int, ...]],
        layers: Mapping[str, Layer | None],
        order: Index,
        read_samples: Callable[[Index], Mapping[str, Floats]],
        identity: str,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, Floats]:
        """Fill one file per key of `rows` with the samples of all places, piece by piece in `order`, and give them as `Rows`.

        `read(index)` gives the values of some places, (k, ...) each. A kill loses the piece at hand; what was cut for another
        `identity` is cut anew. Returned as arrays, since they read like such.
        """
        folder = self.folder / name
        rows_by_key = {key: Rows(folder / f"{key}.rows", len(order), shape, layers[key]) for key, shape in rows.items()}
        rows_done = _prepare(folder, identity, rows_by_key)
        piece = max(1, PIECE // (4 * sum(int(np.prod(shape)) for shape in rows.values())))
        while rows_done < len(order):
            index = order[rows_done : rows_done + piece]
            for key, values in read_samples(index).items():
                _write(rows_by_key[key], index, values)
            rows_done += len(index)
            _note(folder, identity, rows_done)
            if progress:
                progress(rows_done, len(order))
        return cast(dict[str, Floats], rows_by_key)

    def pack(
        self,
        name: str,
        row: tuple[int, ...],
        order: Index,
        read_images: Callable[[Index], Sequence[bytes]],
        unpack: Callable[[bytes, int], Floats],
        identity: str,
    ) -> Floats:
        """As `cut`, of images of the shape `row` that `read(index)` gives as bytes and `unpack` decodes."""
        folder = self.folder / name
        images = PackedImages(folder / "images.packed", len(order), row, unpack)
        spans = Rows(images.path.with_suffix(".spans"), len(order), (2,), None, "int64")
        rows_done = _prepare(folder, identity, {"spans": spans})
        end = int(spans[order[:rows_done]].sum(1).max(initial=0))
        with images.path.open("r+b" if rows_done else "wb") as file:
            file.truncate(end)  # what a kill left behind the last piece
            file.seek(end)
            while rows_done < len(order):
                index = order[rows_done : rows_done + IMAGES]
                contents = read_images(index)
                lengths = np.array([len(content) for content in contents], np.int64)
                starts = end + np.cumsum(lengths) - lengths
                file.write(b"".join(contents))
                file.flush()
                os.fsync(file.fileno())
                _write(spans, index, np.stack([starts, lengths], 1))
                end, rows_done = end + int(lengths.sum()), rows_done + len(index)
                _note(folder, identity, rows_done)
        return cast(Floats, images)


def _prepare(folder: Path, identity: str, rows_by_key: Mapping[str, Rows]) -> int:
    """Places that lie there already; files of full length are made where there are none."""
    note = folder / "samples.json"
    try:
        saved_note = json.loads(note.read_text(encoding="utf-8"))
        complete = all(rows.path.stat().st_size == rows.nbytes for rows in rows_by_key.values())
        if saved_note["identity"] == identity and complete:
            return int(saved_note["done"])
    except (OSError, ValueError, KeyError):
        pass
    folder.mkdir(parents=True, exist_ok=True)
    note.unlink(missing_ok=True)
    for rows in rows_by_key.values():
        with rows.path.open("wb") as file:
            file.truncate(rows.nbytes)
    return 0


def _write(rows: Rows, index: Index, values: NDArray[Any]) -> None:
    stored_values = values.astype(rows.stored_dtype) if rows.layer is None else rows.layer.encode(values)
    lines = np.ascontiguousarray(stored_values).reshape(len(index), -1).view(np.uint8)
    file = os.open(rows.path, os.O_WRONLY)
    try:
        for line, position in zip(lines, index.tolist(), strict=True):
            os.pwrite(file, line.data, position * rows.row_bytes)
        os.fsync(file)
    finally:
        os.close(file)


def _note(folder: Path, identity: str, rows_done: int) -> None:
    partial = folder / "samples.partial"
    partial.write_text(json.dumps({"identity": identity, "done": rows_done}) + "\n", encoding="utf-8")
    partial.replace(folder / "samples.json")
