"""The promise on the documents of the model that travel with the species maps (`cube.model_card`)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cube import model_card
from cube.check.completeness import PREDICT
from cube.check.house import House
from cube.check.promise import Finding, promise
from cube.storage import releases


@promise
def model_documents(house: House) -> Iterator[Finding]:
    """Where a version of the species says what model made it, it says so of every species of its maps, in their order."""
    for version in house.versions("species"):
        card = model_card.read_card(house.cube, version)
        leaf = house.leaf(releases.group_of("species", version))
        if card is None or leaf is None:
            continue  # made before there were such documents
        names = [str(name) for name in np.asarray(house.cube.array(f"{leaf.path}/species")[:])]
        if card.get("species") != len(names):
            yield Finding(model_card.card_path(version), f"a card of {len(names)} species", f"of {card.get('species')}", PREDICT)
        for first in range(0, len(names), model_card.BLOCK):
            path, wanted = model_card.block_path(version, first), names[first : first + model_card.BLOCK]
            document = house.cube.read_json(path)
            if document is None:
                yield Finding(path, f"the documents of {len(wanted)} species", "nothing", PREDICT)
            elif [entry.get("name") for entry in document.get("species", [])] != wanted:
                yield Finding(path, f"the species of {leaf.path} in their order", "others", PREDICT)
