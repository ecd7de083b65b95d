"""Habitat schemes: sums over children, colours, and mistakes told."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cube.errors import ModelError, TableError
from inference.plantbert.scheme import (
    entropy,
    flat_scheme,
    make_scheme,
    read_scheme,
    roll_up,
    top3,
)
from tests.support.eunis import eunis_scheme

CODES = ["R1A", "R1B", "R21", "T17", "MA221", "MA224"]


def test_eunis_levels_are_codes_of_growing_length_also_for_marine_codes() -> None:
    scheme = eunis_scheme(CODES)
    assert scheme.levels == ("level3", "level2", "level1")
    assert scheme.codes("level2") == ("MA22", "R1", "R2", "T1")
    assert scheme.codes("level1") == ("MA2", "R", "T")


def test_coarse_probabilities_are_sums_of_fine_ones() -> None:
    scheme = eunis_scheme(CODES)
    fine = np.random.default_rng(0).dirichlet(np.ones(6), 50).astype(np.float32)
    fine[7] = np.nan
    rolled = roll_up(fine, scheme)
    codes = scheme.codes()
    for level, cut in (("level2", 1), ("level1", 2)):
        for j, parent in enumerate(scheme.codes(level)):
            children = [i for i, c in enumerate(codes) if c[:-cut] == parent]
            np.testing.assert_allclose(rolled[level][:, j], fine[:, children].sum(1), atol=1e-6)
    np.testing.assert_allclose(rolled["level3"], fine, atol=1e-6)
    assert np.isnan(rolled["level1"][7]).all()


def test_wrong_number_of_classes_is_told() -> None:
    with pytest.raises(ModelError, match="6 classes but"):
        roll_up(np.ones((2, 6)), flat_scheme(["A", "B"]))


def test_flat_scheme_has_one_level_and_distinct_colours() -> None:
    scheme = flat_scheme(["TH", "TD_wet", "R", "TD_mesic", "M", "TE", "TFG", "A", "X"])
    assert scheme.levels == ("formation",)
    colours = [h.colour for h in scheme.classes["formation"]]
    assert len(set(colours)) == 9
    assert scheme == flat_scheme(list(reversed(scheme.codes())))


def test_eunis_colours_are_distinct_at_every_level() -> None:
    scheme = eunis_scheme([f"{g}{i}{j}" for g in "NQRSTUV" for i in "12345" for j in "1234567"])
    for level in scheme.levels:
        colours = [h.colour for h in scheme.classes[level]]
        assert len(set(colours)) == len(colours)


def test_table_gives_names_parents_and_colours(tmp_path: Path) -> None:
    path = tmp_path / "habitats.csv"
    path.write_text("code,name,level,parent,colour\nR,Grass,1,,#00AA00\nR1,Dry,2,R,\nR2,Wet,2,R,#112233\n")
    scheme = read_scheme(path)
    assert scheme.levels == ("level2", "level1")
    assert scheme.classes["level2"][1].colour == "#112233"
    assert scheme.classes["level1"][0].name == "Grass"


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8-sig", "utf-16"])
def test_a_table_is_read_in_the_encodings_and_separators_of_other_tables(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "habitats.csv"
    path.write_bytes('code;name\n1.10;"Wälder; ""nass"""\n01;Moor\n'.encode(encoding))
    assert {h.code: h.name for h in read_scheme(path).classes["formation"]} == {"01": "Moor", "1.10": 'Wälder; "nass"'}


def test_a_comma_at_the_end_of_each_row_moves_no_column(tmp_path: Path) -> None:
    path = tmp_path / "habitats.csv"
    path.write_text("code,name\nR,Grass,\nT,Forest,\n")
    assert {h.code: h.name for h in read_scheme(path).classes["formation"]} == {"R": "Grass", "T": "Forest"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("code,code\nR,T\n", "stands twice"),
        ("Code,name\nR,Grass\n", "did you mean 'Code'"),
    ],
)
def test_a_table_that_is_no_scheme_is_told_by_its_name(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "habitats.csv"
    path.write_text(text)
    with pytest.raises(TableError, match=f"habitats.csv: .*{message}"):
        read_scheme(path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"code": "R1", "level": "2", "parent": "R"}], "parent 'R' of 'R1' has no row"),
        ([{"code": "R"}, {"code": "R"}], "unique"),
        ([{"code": "R", "colour": "green"}], "#rrggbb"),
        ([{"code": ""}], "no code"),
        ([{"code": "R", "level": "1"}, {"code": "R1", "level": "2"}], "chain"),
    ],
)
def test_bad_schemes_are_told(rows: list[dict[str, str]], message: str) -> None:
    with pytest.raises(TableError, match=message):
        make_scheme(rows)


def test_entropy_and_top3_agree_with_their_definition() -> None:
    p = np.array([[0.25] * 4, [1, 0, 0, 0], [np.nan] * 4, [0.1, 0.4, 0.2, 0.3]], dtype=np.float32)
    np.testing.assert_allclose(entropy(p)[:2], [1.0, 0.0], atol=1e-6)
    assert np.isnan(entropy(p)[2])
    best, value = top3(p)
    assert best[3].tolist() == [1, 3, 2]
    np.testing.assert_allclose(value[3], [0.4, 0.3, 0.2])
    assert best[2].tolist() == [-1, -1, -1]
    assert top3(p[3:, :2])[0].tolist() == [[1, 0, -1]]


def test_the_published_table_of_eunis_is_a_scheme_of_three_levels(real_data: Path) -> None:
    scheme = read_scheme(real_data / "eunis" / "eunis_habitats.csv.gz")
    assert scheme.levels == ("level3", "level2", "level1")
    name = {h.code: h.name for level in scheme.levels for h in scheme.classes[level]}
    assert name["T17"] == "Fagus forest on non-acid soils"
    assert name["MA221"] == "Atlantic saltmarsh driftlines"
    assert all(name[code] != code for code in name)
    assert set(scheme.codes("level1")) == {"MA2", "N", "Q", "R", "S", "T", "U"}  # the table has no man-made habitats
    assert len(scheme.codes()) == 257
    used = pd.read_csv(real_data / "czechia" / "eunis_labelled_plots.csv")["eunis"]
    assert set(used) <= set(scheme.codes())
