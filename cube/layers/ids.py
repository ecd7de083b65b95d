"""Ids of layers, as the server, `export` and links write them: `species.fagus_sylvatica`, `inputs.landsat.red.2018q3`."""

from __future__ import annotations

import re
from collections.abc import Sequence


def slug(text: str) -> str:
    """Lower case, `×` as `x`, everything but letters and digits as one underscore: `Salix × fragilis` is `salix_x_fragilis`."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower().replace("×", " x ")).strip("_")


def species_ids(names: Sequence[str]) -> list[str]:
    """Ids of the species of a version, in their order.

    Of several names with one slug the first gets it and the others `_2`, `_3`, ...; an id never depends on later names.
    """
    ids: set[str] = set()
    out = []
    for name in names:
        key, count = slug(name), 1
        while (candidate := key if count == 1 else f"{key}_{count}") in ids:
            count += 1
        ids.add(candidate)
        out.append(f"species.{candidate}")
    return out


def input_id(name: str, labels: Sequence[str] = ()) -> str:
    """Id of one map of an input: its name, then a label of each axis before (y, x), `-` within them."""
    return ".".join(("inputs", name, *(slug(label).replace("_", "-") for label in labels)))
