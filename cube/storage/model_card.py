"""What a version of the species says of the model behind it: small JSON documents that travel in the cube with the maps.

products/species/<version>/model/card.json          the model as a whole: data, metrics, importance, inputs of the curves
products/species/<version>/model/species/<n>.json   128 species each: records, skill on held-out blocks, response curves

Written by `predict`, read by the server's fact sheets, asked for by `check`, removed with their version. What was not
measured is null. A version of before these documents has none, and no sheet invents them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

from cube.storage import shapes
from cube.storage.releases import group_of
from cube.storage.store import CubeStore

FORMAT: Final = 1
BLOCK: Final = 128  # species of one document: a few hundred kilobytes with six curves each
CURVE: Final = ("mean", "lower", "upper")  # of a response, in this order
SKILL: Final = ("present", "expected", "auc", "auc_se", "log_loss", "log_loss_of_prevalence")
_CARD: Final = {"format": shapes.WHOLE_NUMBER, "model": shapes.text(), "species": shapes.Key("a whole number", shapes.is_whole)}
_BLOCK: Final = {
    "first": shapes.WHOLE_NUMBER,
    "species": shapes.Key("a list of objects", shapes.is_list_of_objects, required=True),
}
_FIX: Final = "restore it, or run `floracube predict` with another --version"


def folder_of(version: str) -> str:
    """Where the documents of a version lie."""
    return f"{group_of('species', version, None)}/model"


def card_path(version: str) -> str:
    """Path of the card."""
    return f"{folder_of(version)}/card.json"


def block_path(version: str, species: int) -> str:
    """Path of the document that holds the species with this index."""
    return f"{folder_of(version)}/species/{species // BLOCK}.json"


def write_model(cube: CubeStore, version: str, card: Mapping[str, Any], species: Sequence[Mapping[str, Any]]) -> None:
    """Write the documents of a version, the card last: where it is, all are.

    `species`: one entry each in the order of the maps, `{"name", "surveys", "records", "held_out", "responses"}`, where
    `held_out` has the keys of `SKILL` or is null, and `responses` is null or, per input of the card's `responses`, three lists
    (`CURVE`) of probabilities along its `values`.
    """
    for first in range(0, len(species), BLOCK):
        cube.write_json(
            block_path(version, first), {"first": first, "species": [dict(s) for s in species[first : first + BLOCK]]}
        )
    cube.write_json(card_path(version), {"format": FORMAT, **card})


def read_card(cube: CubeStore, version: str) -> dict[str, Any] | None:
    """The card of a version, None where it has none or it is of another format. Raises `CubeError` for one of another shape."""
    document = cube.read_json(card_path(version))
    if document is None or (isinstance(document, dict) and document.get("format") not in (FORMAT, None)):
        return None
    return shapes.require(f"{cube.url}/{card_path(version)}", document, _CARD, _FIX)


def read_species(cube: CubeStore, version: str, index: int) -> dict[str, Any] | None:
    """What the documents say of the species with this index, None where they say nothing.

    Raises `CubeError` for a document of another shape.
    """
    document = read_block(cube, block_path(version, index))
    if document is None:
        return None
    entries, at = document["species"], index - document["first"]
    return dict(entries[at]) if 0 <= at < len(entries) else None


def reading(cube: CubeStore, version: str) -> AbstractContextManager[None]:
    """Make one `CubeError` of whatever fails while the documents of a version are taken apart."""
    return shapes.reading(f"{cube.url}/{folder_of(version)}", _FIX)


def read_block(cube: CubeStore, path: str) -> dict[str, Any] | None:
    """The document of some species at `path` (`block_path`), None where there is none.

    Raises `CubeError` for one of another shape.
    """
    document = cube.read_json(path)
    return None if document is None else shapes.require(f"{cube.url}/{path}", document, _BLOCK, _FIX)
