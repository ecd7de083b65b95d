"""One rule for ids of layers: unique, stable when species are added, and the same wherever a layer is named."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from cube.layers.ids import input_id, slug, species_ids

NAMES = ["Salix fragilis", "Salix × fragilis", "Fagus sylvatica L.", "Fagus sylvatica-L", "Fagus sylvatica l 2", "×Fagus"]


def test_hybrids_have_ids_of_their_own_and_clashes_a_number() -> None:
    assert species_ids(NAMES) == [
        "species.salix_fragilis",
        "species.salix_x_fragilis",
        "species.fagus_sylvatica_l",
        "species.fagus_sylvatica_l_2",
        "species.fagus_sylvatica_l_2_2",
        "species.x_fagus",
    ]


@given(st.lists(st.text(st.sampled_from("aB ×-._2"), max_size=6), unique=True))
def test_ids_are_unique_and_species_that_come_later_change_none(names: list[str]) -> None:
    ids = species_ids(names)
    assert len(set(ids)) == len(names)
    assert all(re.fullmatch(r"species\.[a-z0-9_]*", one) for one in ids)
    assert all(species_ids(names[:n]) == ids[:n] for n in range(len(names)))


@given(st.text(max_size=20))
def test_a_slug_is_its_own_slug(text: str) -> None:
    assert slug(slug(text)) == slug(text)


def test_an_input_is_named_by_its_labels() -> None:
    assert input_id("landsat", ("red", "2018Q3")) == "inputs.landsat.red.2018q3"
    assert input_id("terrain", ("standard_deviation",)) == "inputs.terrain.standard-deviation"
    assert input_id("slope") == "inputs.slope"
