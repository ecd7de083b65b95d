"""Names that look like another one misspelt, and names that only look alike."""

from __future__ import annotations

from cube.records.names import near_misses, species_report


def test_a_letter_apart_is_near_and_the_rarer_one_is_the_miss() -> None:
    counts = {"Poa annua": 90, "Poa anua": 2, "Arrhenaterum elatius": 1, "Arrhenatherum elatius": 70}
    assert near_misses(counts) == [("Arrhenaterum elatius", "Arrhenatherum elatius"), ("Poa anua", "Poa annua")]


def test_species_of_one_genus_or_with_one_epithet_are_apart() -> None:
    names = ("Poa annua", "Poa alpina", "Poa pratensis", "Phleum alpinum", "Trifolium alpinum", "Carex hirta", "Carex hostiana")
    assert near_misses({name: i for i, name in enumerate(names)}) == []


def test_names_of_one_word_and_of_equal_counts_are_left_alone() -> None:
    assert near_misses({"Poa": 3, "Poaa": 1, "Festuca rubra": 4, "Festuca rubre": 4}) == []


def test_counts_of_names_add_up() -> None:
    report = species_report({"Poa annua": 90, "Poa anua": 2, "Carex hirta": 10}, 10)
    assert report.tallies["names of species"].line() == "3 read = 2 used + 1 given less than 10 times"
    assert report.lists["names nearly spelt alike"] == ["Poa anua (2): Poa annua (90)"]
