"""Names and sentences: what every rule promises."""

import pytest

from inference.plantbert.text import binomial, sentence


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Fagus sylvatica", "fagus sylvatica"),
        ("Fagus sylvatica L.", "fagus sylvatica"),
        ("Festuca ovina (L.) Hack.", "festuca ovina"),
        ("Carex praecox agg.", "carex praecox"),
        ("Festuca ovina s. lat.", "festuca ovina"),
        ("Alchemilla vulgaris s.lat.", "alchemilla vulgaris"),
        ("Galium album s.str.", "galium album"),
        ("Viola lutea subsp. sudetica", "viola lutea"),
        ("Cannabis sativa var. spontanea", "cannabis sativa"),
        ("Taraxacum sect. Palustria", "taraxacum palustria"),
        ("Taraxacum sect. Taraxacum", "taraxacum taraxacum"),
        ("Picea abies_6", "picea abies"),
        ("Picea_abies_7", "picea abies"),
        ("Populus x canadensis", "populus canadensis"),
        ("Populus ×canadensis", "populus canadensis"),
        ("× Festulolium loliaceum", "festulolium loliaceum"),
        ("Primula elatior x veris", ""),
        ("Dryopteris filix-mas agg.", "dryopteris filix-mas"),
        ("Isoëtes lacustris", "isoetes lacustris"),
        ("Carex cf. flava", "carex flava"),
        ("Cymbella species", ""),
        ("Carex sp.", ""),
        ("Unknown species", ""),
        ("Fagus", ""),
        ("", ""),
        ("nan", ""),
    ],
)
def test_names_become_binomials_by_documented_rules(name: str, expected: str) -> None:
    assert binomial(name) == expected
    assert binomial(expected) == expected


def test_sentence_descends_by_cover_and_breaks_ties_by_name() -> None:
    weight = {"poa annua": 1.0, "abies alba": 1.0, "fagus sylvatica": 50.0, "carex flava": 0.0}
    assert sentence(weight) == "fagus sylvatica, abies alba, poa annua"
    assert sentence(dict(reversed(weight.items()))) == sentence(weight)


def test_letters_are_transcribed_as_in_the_tables_of_species() -> None:
    assert binomial("Carex höstii") == binomial("Carex ho\u0308stii") == binomial("Carex hoestii") == "carex hoestii"
