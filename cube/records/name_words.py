"""Words of scientific names that are no epithets: ranks, groups, signs of doubt, authors, stand-ins for a missing name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

RANKS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("subsp", "ssp", "subspec", "subspecies"), "subsp."),
    **dict.fromkeys(("var", "variety", "varietas"), "var."),
    **dict.fromkeys(("f", "fo", "fa", "fm", "fma", "form", "forma"), "f."),
    **dict.fromkeys(("nothosubsp", "nothossp", "nsubsp", "nssp"), "nothosubsp."),
    **dict.fromkeys(("nothovar", "nvar"), "nothovar."),
    **{
        rank: f"{rank}."
        for rank in ("subvar", "subf", "convar", "nothof", "prol", "morph", "agamosp", "agamossp", "agamovar", "race")
    },
}
GROUPS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("sect", "section", "sectio"), "sect."),
    **dict.fromkeys(("subg", "subgen", "subgenus"), "subg."),
    **{rank: f"{rank}." for rank in ("subsect", "ser", "subser", "nothosect", "nothoser")},
}
AGGREGATES: Final = {
    "agg": "agg.",
    "aggr": "agg.",
    "aggregate": "agg.",
    "coll": "agg.",
    "group": "agg.",
    "gr": "agg.",
    "complex": "agg.",
}
OPEN: Final = frozenset({"cf", "aff", "nr", "?", "prox", "conf", "confer"})  # a guess, not a name; `affinis` is an epithet, too
SPECIES_WORDS: Final = frozenset(
    {"sp", "spp", "spec", "species", "indet", "indeterminate", "undet", "undetermined", "unidentified", "unknown", "ssp", "nov"}
)
NO_NAMES: Final = frozenset(
    {
        "indet",
        "unknown",
        "unidentified",
        "undetermined",
        "undet",
        "unbekannt",
        "none",
        "unnamed",
        "incertae",
        "inconnu",
        "unspecified",
        "not",
        "no",
        "unamed",
        "bare",  # bare ground, bare soil
        "litter",
    }
)
AUTHOR_WORDS: Final = frozenset(
    {
        *(
            "van",
            "von",
            "vom",
            "der",
            "den",
            "de",
            "du",
            "des",
            "del",
            "della",
            "degli",
            "di",
            "da",
            "dal",
            "dos",
            "do",
            "la",
            "le",
        ),
        *("las", "los", "el", "ten", "ter", "zu", "zur", "af", "of", "ex", "et", "in", "and", "und", "non", "nec", "not", "nom"),
        *("auct", "auctt", "emend", "em", "sensu", "sec", "pro", "hort", "fil", "filius", "al", "apud", "comb", "stat", "nud"),
        *("illeg", "inval", "ined", "orth", "var", "cv", "vel", "or", "bis", "ap", "st", "sl", "ss", "the", "y", "oder"),
        *("delle", "mihi", "anon", "serovar", "serotype", "strain", "str", "ht", "ab"),
    }
)
NO_EPITHETS: Final = AUTHOR_WORDS | SPECIES_WORDS
