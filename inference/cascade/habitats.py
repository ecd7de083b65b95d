"""A trained habitat reader in the cascade: ranked species of cells in, rows of the habitat table out, level by level."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.errors import ModelError
from inference.network.checksums import verify_checksums
from inference.plantbert.scheme import Scheme, read_scheme, roll_up

if TYPE_CHECKING:  # transformers takes seconds to import: a model without habitats does without it
    import torch

    from inference.plantbert.classify import HabitatReader
    from inference.plantbert.linear import LinearReader
    from inference.plantbert.places import PlaceReader

SCHEME: Final = "habitats.csv"
WEIGHTS: Final = "model.safetensors"


@dataclass(frozen=True)
class HabitatMapper:
    """A trained reader and the table whose rows its maps store."""

    reader: HabitatReader | LinearReader
    scheme: Scheme
    tokens: NDArray[np.int64]  # of the deep-SDM's species
    unknown: int  # of them the reader has never seen
    hash: str
    places: PlaceReader | None = None

    @classmethod
    def load(cls, folder: Path, species: Sequence[str], length: int = 0, networks: str = "") -> HabitatMapper:
        """Load from a model folder, for species named as the deep-SDM names them.

        `length` of the joint embedding of its networks, and their fingerprint: a reader of places asks for these.
        """
        from inference.plantbert import linear, places

        verify_checksums(folder, (linear.CARD, WEIGHTS, places.CARD))
        reader: HabitatReader | LinearReader
        if (folder / linear.CARD).is_file() and not (folder / WEIGHTS).is_file():
            reader = linear.LinearReader.load(folder)
        else:
            from inference.plantbert.classify import HabitatReader

            reader = HabitatReader.load(folder)
        scheme = read_scheme(folder / SCHEME)
        if scheme.codes() != reader.habitats:
            raise ModelError(f"{folder}: {SCHEME} has other classes than the model; run `floracube habitats train`.")
        tokens, unknown = reader.tokens_of(species)
        of_places = None
        if (folder / places.CARD).is_file():
            of_places = places.PlaceReader.load(folder, reader.habitats, length, networks)
        files = (WEIGHTS, linear.TENSORS, linear.CARD, SCHEME, places.TENSORS, places.CARD)
        content = b"".join((folder / name).read_bytes() for name in files if (folder / name).is_file())
        return cls(reader, scheme, tokens, unknown, hashlib.sha256(content).hexdigest()[:16], of_places)

    def to(self, device: torch.device) -> None:
        """Read on a device; a linear reader stays on the processor."""
        self.reader.to(device)

    @property
    def levels(self) -> tuple[str, ...]:
        """Names of the levels, finest first."""
        return self.scheme.levels

    @property
    def table(self) -> dict[str, NDArray[Any]]:
        """Columns of the habitat table: code, name, level, parent, colour; all classes, finest level first."""
        every = [h for level in self.levels for h in self.scheme.classes[level]]
        return {k: np.asarray([getattr(h, k) for h in every], object) for k in ("code", "name", "level", "parent", "colour")}

    def offset(self, level: str) -> int:
        """Row of the first class of a level in the table."""
        finer_levels = self.levels[: self.levels.index(level)]
        return sum(len(self.scheme.classes[x]) for x in finer_levels)

    @property
    def rows(self) -> NDArray[np.int64]:
        """(C,) table row of each class of the finest level."""
        return np.arange(len(self.scheme.codes()))

    def flags(self) -> dict[str, tuple[tuple[int, str, str], ...]]:
        """CF flags of each level's map: (table row, code and name, colour)."""
        return {
            level: tuple(
                (self.offset(level) + i, f"{h.code} {h.name}" if h.name != h.code else h.code, h.colour)
                for i, h in enumerate(self.scheme.classes[level])
            )
            for level in self.levels
        }

    def classify(
        self,
        ranked_species: NDArray[np.int32],
        size: NDArray[np.integer[Any]],
        of_place: NDArray[np.float32] | None = None,
        threads: Executor | None = None,
    ) -> NDArray[np.float32]:
        """(n, C) probabilities of the finest classes from ranked species (n, K) and how many belong to each cell.

        of_place (n, C): what `places` says of the cells, where there is such a reader.
        """
        p = self.reader.classify(ranked_species, size, self.tokens, threads=threads)
        return p if self.places is None or of_place is None else self.places.mixed(p, of_place)

    def level_maps(self, probability: NDArray[Any]) -> dict[str, NDArray[np.int64]]:
        """(n,) table row of the most probable class at each level; coarser levels sum the finest."""
        of_level = roll_up(probability, self.scheme)
        return {level: self.offset(level) + p.argmax(axis=1) for level, p in of_level.items()}
