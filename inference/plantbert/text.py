"""How a plant name becomes a two-word binomial, and an assemblage a sentence.

The sentence is the one of Pl@ntBERT (Leblanc et al.): binomials in lower case, by descending cover or
probability, joined by ", ".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Final

from cube.records.scientific import transcribe

SEPARATOR: Final = ", "

_LAYER = re.compile(r"_\d+$")
_BRACKETS = re.compile(r"\([^)]*\)|\[[^]]*\]|\"[^\"]*\"")
_GENUS = re.compile(r"[a-z][a-z-]+")
_EPITHET = re.compile(r"[a-z][a-z-]+")
_DOUBT = frozenset({"cf.", "cf", "aff.", "aff", "?"})
_SECTION = frozenset({"sect.", "sect", "ser.", "ser", "subg.", "subgen.", "subsect."})
_NO_EPITHET = frozenset({"sp", "spp", "species", "agg", "indet", "spec", "subsp", "ssp", "var"})
_NO_GENUS = frozenset({"unknown", "unidentified", "indet", "undetermined"})


def binomial(name: str) -> str:
    """Return the lower-case two-word binomial of a plant name, or "" where the name holds none.

    Rules, in this order:

    1. letters are transcribed as the Code says (`ö` is `oe`), other accents and case are dropped, a layer suffix (`_6`,
       `_7`) and anything in brackets or quotes too;
    2. a hybrid sign before the genus or before the epithet is dropped (`Populus × canadensis`);
    3. a section, series or subgenus is read as an epithet (`Taraxacum sect. Palustria`), signs of
       doubt (`cf.`, `aff.`) are skipped;
    4. the first two words stay: aggregates (`agg.`), breadths (`s.lat.`, `s. str.`), subspecies,
       varieties and authors fall off;
    5. a genus alone (`Cymbella species`, `Carex sp.`), an unknown plant and a hybrid formula
       (`Primula elatior x veris`, two parents) name no species: "".
    """
    plain = unicodedata.normalize("NFKD", transcribe(name).replace("×", " x "))
    plain = "".join(c for c in plain if not unicodedata.combining(c)).lower().strip()
    plain = _BRACKETS.sub(" ", _LAYER.sub("", plain)).replace("_", " ").replace(",", " ")
    words = [w for w in plain.split() if w not in _DOUBT]
    if words and words[0] == "x":
        words = words[1:]
    if len(words) < 2 or not _GENUS.fullmatch(words[0]) or words[0] in _NO_GENUS:
        return ""
    genus, epithets = words[0], words[1:]
    if epithets[0] in _SECTION or epithets[0] == "x":
        epithets = epithets[1:]
    if not epithets or not _EPITHET.fullmatch(epithets[0]) or epithets[0] in _NO_EPITHET:
        return ""
    return "" if "x" in epithets[1:] else f"{genus} {epithets[0]}"


def sentence(weight: Mapping[str, float]) -> str:
    """Write the binomials with weight > 0 by descending weight, ties by name, joined by ", "."""
    present = [(name, w) for name, w in weight.items() if w > 0]
    return SEPARATOR.join(name for name, _ in sorted(present, key=lambda pair: (-pair[1], pair[0])))
