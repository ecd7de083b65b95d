"""Names match exactly after what is documented, synonyms as the user gives them, spellings only when asked."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cube.config import Config, load_config
from cube.errors import TableError
from cube.records import traits
from cube.records.names import Synonyms
from cube.records.scientific import match_key
from cube.records.traits import read_traits

EMPTY = Synonyms()


def config_of(folder: Path, species: dict[str, object], **tables: str) -> Config:
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    document = {
        "title": "t",
        "cube": "c.zarr",
        "region": {"west_km": 4450, "east_km": 4460, "south_km": 2650, "north_km": 2660},
        "unit_km": 10,
        "sources": [{"layer": "elevation", "raster": "dem.tif"}],
        "species": species,
    }
    (folder / "c.yaml").write_text(yaml.safe_dump(document))
    return load_config(folder / "c.yaml")


SYNONYMS = {"table": "synonyms.csv", "name": "synonym", "accepted": "accepted"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Salix x fragilis", "Salix ×fragilis"),
        ("Salix  X fragilis", "Salix × fragilis"),
        ("carex ALBA", "Carex alba"),
        ("Festuca ovina ssp. ovina", "Festuca ovina subsp. ovina"),
        ("Carex ho\u0308stii", "Carex h\u00f6stii"),
    ],
)
def test_the_same_name_written_otherwise_is_one(one: str, other: str) -> None:
    assert match_key(one) == match_key(other)


@pytest.mark.parametrize(("one", "other"), [("Fagus silvatica", "Fagus sylvatica"), ("Carex alba", "Carex alba agg.")])
def test_other_letters_are_another_name(one: str, other: str) -> None:
    assert match_key(one) != match_key(other)


@given(st.text(st.characters(codec="utf-8"), max_size=20))
def test_a_key_is_its_own_key(name: str) -> None:
    assert match_key(match_key(name)) == match_key(name)


def test_every_documented_column_is_read_and_an_annex_protects(tmp_path: Path) -> None:
    red = """taxon,cat,annex,form,L
Festuca tenuifolia,VU,,grass,7
Adonis vernalis,EN,"II, IV",herb,NA
Festuca filiformis,,,graminoid,8
"""
    config = config_of(
        tmp_path,
        {
            "synonyms": SYNONYMS,
            "traits": [
                {
                    "table": "red.csv",
                    "name": "taxon",
                    "columns": {"iucn": "cat", "habitats_directive": "annex", "growth_form": "form", "ellenberg_light": "L"},
                }
            ],
        },
        red=red,
        synonyms="synonym,accepted\nFestuca tenuifolia,Festuca  filiformis\n",
    )
    names = ["Adonis vernalis", "Festuca filiformis", "Carex alba"]
    columns, report = read_traits(config, config.species.traits, names)
    assert list(columns["iucn"]) == ["EN", "", ""]  # the row of the very name comes before that of a synonym
    assert list(columns["growth_form"]) == ["herb", "graminoid", ""]
    assert list(columns["protected"]) == [True, False, False]
    assert list(columns["habitats_directive"]) == ["II, IV", "", ""]
    np.testing.assert_array_equal(columns["ellenberg_light"], [np.nan, 8, np.nan])
    assert report.lists["species that red.csv does not know"] == ["Carex alba"]


def test_a_synonym_is_matched_and_told_and_a_later_table_keeps_what_it_does_not_know(tmp_path: Path) -> None:
    config = config_of(
        tmp_path,
        {
            "synonyms": SYNONYMS,
            "traits": [
                {"table": "a.csv", "name": "n", "columns": {"iucn": "cat"}},
                {"table": "b.csv", "name": "n", "columns": {"iucn": "cat"}},
            ],
        },
        a="n,cat\nFestuca tenuifolia,VU\nCarex alba,LC\n",
        b="n,cat\nFestuca filiformis,NA\nCarex alba,NT\n",
        synonyms="synonym,accepted\nFestuca tenuifolia,Festuca capillata\nFestuca capillata,Festuca filiformis\n",
    )
    columns, report = read_traits(config, config.species.traits, ["Festuca filiformis", "Carex alba"])
    assert list(columns["iucn"]) == ["VU", "NT"]
    count, first = report.remarks["names of a.csv matched by a synonym"]
    assert (count, first) == (1, ["Festuca tenuifolia = Festuca filiformis"])


def test_a_near_spelling_matches_only_when_asked(tmp_path: Path) -> None:
    table = {"table": "a.csv", "name": "n", "columns": {"iucn": "cat"}}
    text = "n,cat\nFagus silvatica,LC\nCarex albida,VU\nCarex alba,NT\n"
    asked = config_of(tmp_path, {"traits": [{**table, "close": True}]}, a=text)
    names = ["Fagus sylvatica", "Carex alba"]
    columns, report = read_traits(asked, asked.species.traits, names)
    assert list(columns["iucn"]) == ["LC", "NT"]
    assert ["Fagus silvatica = Fagus sylvatica"] in [first for _, first in report.remarks.values()]
    plain = config_of(tmp_path, {"traits": [table]}, a=text)
    assert list(read_traits(plain, plain.species.traits, names)[0]["iucn"]) == ["", "NT"]


def test_categories_are_read_as_lists_write_them_and_what_is_none_is_noted(tmp_path: Path) -> None:
    cells = ["CR(PE)", "Critically Endangered", "vu", "LR/nt", "Least Concern (LC)", "EN B1ab(iii)", "C1t", "Extinct in the wild"]
    names = [f"Carex species{'abcdefgh'[i]}" for i in range(len(cells))]
    text = "n,cat\n" + "".join(f"{name},{cell}\n" for name, cell in zip(names, cells, strict=True))
    config = config_of(tmp_path, {"traits": [{"table": "a.csv", "name": "n", "columns": {"iucn": "cat"}}]}, a=text)
    columns, report = read_traits(config, config.species.traits, names)
    assert list(columns["iucn"]) == ["CR", "CR", "VU", "NT", "LC", "EN", "", ""]
    noted = next(rows for reason, rows in report.remarks.items() if "none of the categories" in reason)
    assert noted == (2, ["Carex speciesg: C1t", "Carex speciesh: Extinct in the wild"])


def test_the_first_row_that_says_something_counts_and_others_are_noted(tmp_path: Path) -> None:
    text = "n,cat,wild,L\nAbies alba,,maybe,x\nAbies alba,VU,yes,3\nAbies alba,LC,no,5\n"
    columns = {"iucn": "cat", "invasive": "wild", "ellenberg_light": "L"}
    config = config_of(tmp_path, {"traits": [{"table": "a.csv", "name": "n", "columns": columns}]}, a=text)
    found, report = read_traits(config, config.species.traits, ["Abies alba"])
    assert (found["iucn"][0], found["invasive"][0], found["ellenberg_light"][0]) == ("VU", True, 3)
    assert report.remarks["species with several values of iucn in a.csv, first used"] == (1, ["Abies alba"])
    assert report.remarks["values of invasive that are neither yes nor no, taken as unknown"] == (1, ["Abies alba: maybe"])
    assert report.remarks["values of ellenberg_light that are no number, taken as unknown"] == (1, ["Abies alba: x"])
    assert report.totals["in a.csv"] == 1


@pytest.mark.parametrize("cell", ["coarse", "0.5", "-1"])
def test_a_size_that_would_not_protect_a_sensitive_species_is_refused(tmp_path: Path, cell: str) -> None:
    text = f"n,km\nAbies alba,{cell}\n"
    config = config_of(tmp_path, {"traits": [{"table": "a.csv", "name": "n", "columns": {"sensitive_km": "km"}}]}, a=text)
    with pytest.raises(TableError, match=rf"column 'km': '{cell}' is no size of squares \(sensitive_km\); write 1 or 10"):
        read_traits(config, config.species.traits, ["Abies alba"])


def test_where_of_traits_compares_as_records_do_and_is_refused_where_nothing_fits(tmp_path: Path) -> None:
    trait = {"table": "a.csv", "name": "n", "where": {"land": "cz"}, "columns": {"iucn": "cat"}}
    config = config_of(tmp_path, {"traits": [trait]}, a="n,cat,land\nAbies alba,VU,CZ\nAbies alba,LC,DE\n")
    columns, report = read_traits(config, config.species.traits, ["Abies alba"])
    assert list(columns["iucn"]) == ["VU"]
    assert report.tallies["rows of a.csv"].line() == "2 read = 1 used + 1 records where land is not cz"
    config = config_of(tmp_path, {"traits": [trait]}, a="n,cat,land\nAbies alba,LC,DE\n")
    with pytest.raises(TableError, match=r"none of its 1 rows has what species.traits\[0\].where asks for"):
        read_traits(config, config.species.traits, ["Abies alba"])


@pytest.mark.parametrize(
    ("rows", "words"),
    [("A a,B b\nA a,C c\n", "'A a' is a synonym of both 'B b' and 'C c'"), ("A a,B b\nB b,A a\n", "a synonym of itself")],
)
def test_synonyms_that_contradict_one_another_are_told(tmp_path: Path, rows: str, words: str) -> None:
    config = config_of(tmp_path, {"synonyms": SYNONYMS}, synonyms=f"synonym,accepted\n{rows}")
    with pytest.raises(TableError, match=words):
        Synonyms.read(config)


def test_the_real_lists_of_policy_know_czech_plants(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLORACUBE_DATA", str(real_data))
    config = load_config(Path(__file__).parents[3] / "examples" / "moravia.yaml")
    names = ["Adenophora lilifolia", "Heracleum mantegazzianum", "Abies alba", "Acer campestre"]
    columns, _ = read_traits(config, config.species.traits, names)
    assert list(columns["protected"]) == [True, False, False, False]
    assert list(columns["invasive"]) == [False, True, False, False]
    assert columns["iucn"][2] == "LC"
    assert columns["ellenberg_light"][2] == 3


@pytest.mark.parametrize("close", [False, True])
def test_the_work_for_a_table_grows_with_it_and_not_with_its_square(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, close: bool
) -> None:
    """Elements put into sets and pairs of spellings compared, of 400 and of 1600 species that a table does not have."""

    def work(count: int) -> int:
        done = 0

        def counting_set(values: Iterable[Any] = ()) -> set[Any]:
            nonlocal done
            made = set(values)
            done += len(made)
            return made

        def close_matches(word: str, possibilities: list[str], *rest: Any) -> list[str]:
            nonlocal done
            done += len(possibilities)
            return []

        monkeypatch.setattr(traits, "set", counting_set, raising=False)
        monkeypatch.setattr(traits.difflib, "get_close_matches", close_matches)
        letters = "abcdefghijklmnopqrst"
        epithet = ["".join(letters[n // 20**k % 20] for k in range(3)) for n in range(2 * count)]
        names = [f"{letters[n % 20].upper()}lanta {e}us" for n, e in enumerate(epithet)]
        rows = "".join(f"{name},LC\n" for name in names[count:])
        table = {"table": "t.csv", "name": "name", "columns": {"iucn": "cat"}, "close": close}
        config = config_of(tmp_path, {"traits": [table]}, t=f"name,cat\n{rows}")
        columns, _ = read_traits(config, config.species.traits, names[: count + 1])
        assert [i for i, value in enumerate(columns["iucn"]) if value] == [count]
        return done

    # Without spellings each name counts a few times; with them a name meets those of its letter that are as long.
    assert work(1600) <= (20 * 1600 if not close else 1600 * 1600 / 15)
    assert close or work(1600) <= 5 * work(400) + 100
