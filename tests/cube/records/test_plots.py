"""Tables of surveys as strangers write them: ids, absences, wide tables and covers, each with the value worked out by hand."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cube.config import load_config
from cube.errors import ConfigError, TableError
from cube.records.covers import SCALES, parse_covers
from cube.records.numbers import parse_presence
from cube.records.plots import read_plots
from cube.records.report import Report
from cube.records.surveys import SurveyTable, read_surveys

COLUMNS = {"survey": "id", "longitude": "lon", "latitude": "lat", "species": "name"}


def read(folder: Path, plots: str, rows: str | None = None, columns: dict[str, Any] | None = None, **keys: Any) -> SurveyTable:
    (folder / "plots.csv").write_text(plots, encoding="utf-8")
    surveys: dict[str, Any] = {"table": "plots.csv", "columns": {**COLUMNS, **(columns or {})}, **keys}
    surveys["columns"] = {k: v for k, v in surveys["columns"].items() if v is not None}
    if rows is not None:
        (folder / "rows.csv").write_text(rows, encoding="utf-8")
        surveys["occurrences"] = "rows.csv"
    document = {
        "title": "t",
        "cube": "c.zarr",
        "region": {"west_km": 4700, "south_km": 2850, "east_km": 4900, "north_km": 2950},
        "unit_km": 10,
        "sources": [],
        "surveys": surveys,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(document))
    config = load_config(folder / "config.yaml")
    assert config.surveys is not None
    return read_surveys(config, config.surveys, None, config.whole_region(), "surveys", "surveys")


def found(table: SurveyTable) -> set[tuple[str, str]]:
    ids = table.surveys["survey"].to_numpy()
    return {(ids[r.survey], r.name) for r in table.occurrences.itertuples(index=False)}


def covers(table: SurveyTable) -> dict[tuple[str, str], float]:
    ids = table.surveys["survey"].to_numpy()
    return {(ids[r.survey], r.name): r.cover for r in table.occurrences.itertuples(index=False)}


def plots_of(*ids: str) -> str:
    return "id,lon,lat\n" + "".join(f"{i},16.6,49.2\n" for i in ids)


def rows_of(*rows: str, header: str = "id,name") -> str:
    return f"{header}\n" + "".join(f"{r}\n" for r in rows)


def test_reading_a_table_takes_less_than_three_times_what_it_gives(tmp_path: Path) -> None:
    """Rows were there four times over: as read, by their new names, with a text that counted them, and without it."""
    rows = "".join(f"p{i // 20},Planta {i % 997},{i % 89}\n" for i in range(60_000))
    (tmp_path / "rows.csv").write_text(f"id,name,cover\n{rows}")
    (tmp_path / "plots.csv").write_text(plots_of(*(f"p{i}" for i in range(3000))))
    document = {
        "title": "t",
        "cube": "c.zarr",
        "region": {"west_km": 4700, "south_km": 2850, "east_km": 4900, "north_km": 2950},
        "unit_km": 10,
        "sources": [],
        "surveys": {"table": "plots.csv", "occurrences": "rows.csv", "columns": {**COLUMNS, "cover": "cover"}},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(document))
    config = load_config(tmp_path / "config.yaml")
    assert config.surveys is not None
    tracemalloc.start()
    raw = read_plots(config, config.surveys, "surveys", Report("surveys"))
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(raw.occurrences) == 60_000
    assert peak < 3 * kept


def test_ids_are_text_and_blank_ones_are_counted(tmp_path: Path) -> None:
    ids = ("001", "A1", "1E1", "10E0", "9007199254740993", "9007199254740992", "")
    table = read(tmp_path, plots_of(*ids), rows_of(*(f" {i} ,Abies alba" for i in ids)))
    assert list(table.surveys["survey"]) == list(ids[:-1])
    assert found(table) == {(i, "Abies alba") for i in ids[:-1]}
    document = table.report.document()["rows"]
    assert document["rows of plots.csv"] == {"read": 7, "used": 6, "left_out": {"rows without a survey id": 1}}
    assert document["rows of occurrences"]["left_out"] == {"rows of occurrences without a survey id": 1}
    assert table.report.remarks["rows without a survey id, skipped"] == (1, ["row 7"])


def test_ids_saved_as_decimals_are_those_of_the_other_table(tmp_path: Path) -> None:
    table = read(tmp_path, plots_of("1", "2"), rows_of("1.0,Abies alba", "2.0,Abies alba", ",Abies alba"))
    assert found(table) == {("1", "Abies alba"), ("2", "Abies alba")}
    assert any("saved as decimals" in remark for remark in table.report.remarks)


@pytest.mark.parametrize(
    ("ids", "others", "words"),
    [
        (("1", "2"), ("001", "002"), "2 of 2 occurrences match no survey .* differ in leading zeros"),
        (("a1", "a2"), ("A1", "A2"), "differ in capitals"),
        (("1", "2", "A3"), ("1.0", "2.0", "A3"), "some were saved as decimals"),
        (("1", "2"), ("x", "y"), r"such as 'x', where surveys are such as '1'\): check the column .*surveys\.max_unmatched"),
    ],
)
def test_occurrences_that_match_no_survey_are_refused(
    tmp_path: Path, ids: tuple[str, ...], others: tuple[str, ...], words: str
) -> None:
    with pytest.raises(TableError, match=words):
        read(tmp_path, plots_of(*ids), rows_of(*(f"{i},Abies alba" for i in others)))


def test_a_few_unmatched_occurrences_are_counted(tmp_path: Path) -> None:
    rows = rows_of(*["1,Abies alba"] * 19, "7,Abies alba")
    table = read(tmp_path, plots_of("1"), rows)
    assert table.report.tallies["rows of occurrences"].left_out == {"occurrences that match no survey": 1}
    assert found(read(tmp_path, plots_of("1"), rows_of("1,Abies alba", "7,Abies alba"), max_unmatched=0.5))


@pytest.mark.parametrize(
    ("name", "yes", "no"),
    [
        ("presence", "1", "0"),
        ("pa", "TRUE", "FALSE"),
        ("occurrenceStatus", "PRESENT", "absent"),
        ("abundance", "12", "0"),
        ("x", "yes", "no"),
    ],
)
@pytest.mark.parametrize("apart", [True, False])
def test_absences_of_a_long_table_are_no_presences(tmp_path: Path, name: str, yes: str, no: str, apart: bool) -> None:
    cells = {("1", "Abies alba"): yes, ("1", "Fagus sylvatica"): no, ("2", "Abies alba"): no, ("2", "Fagus sylvatica"): yes}
    if apart:
        plots, rows = plots_of("1", "2"), rows_of(*(f"{a},{b},{c}" for (a, b), c in cells.items()), header=f"id,name,{name}")
    else:
        plots, rows = "id,lon,lat,name," + name + "\n" + "".join(f"{a},16.6,49.2,{b},{c}\n" for (a, b), c in cells.items()), None
    with pytest.raises(TableError, match=rf"presence: {name}"):
        read(tmp_path, plots, rows)
    table = read(tmp_path, plots, rows, {"presence": name})
    assert found(table) == {("1", "Abies alba"), ("2", "Fagus sylvatica")}
    assert table.report.tallies["rows of occurrences"].left_out == {"absences": 2}
    table.report.check()


def test_a_presence_that_is_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="column 'pa': 'maybe' is neither presence nor absence"):
        read(tmp_path, plots_of("1"), rows_of("1,Abies alba,maybe", header="id,name,pa"), {"presence": "pa"})


WIDE = "id,lon,lat,slope,Abies.alba,Carex_nigra,Festuca.ovina.subsp..ovina\n1,16.6,49.2,12,1,0,\n2,16.7,49.3,3,NA,1,1\n"


@pytest.mark.parametrize(
    "keys",
    [
        {"species_columns": "Abies.alba:Festuca.ovina.subsp..ovina"},
        {"species_columns": "Abies.alba:"},
        {"species_columns": ["Abies.alba", "Carex_nigra", "Festuca.ovina.subsp..ovina"]},
        {"not_species": ["slope"]},
    ],
)
def test_wide_tables_are_read_by_range_list_or_exclusion(tmp_path: Path, keys: dict[str, Any]) -> None:
    table = read(tmp_path, WIDE, None, {"species": None}, layout="wide", **keys)
    assert found(table) == {("1", "Abies alba"), ("2", "Carex nigra"), ("2", "Festuca ovina subsp. ovina")}
    assert table.report.document()["rows"]["cells of surveys and species"] == {
        "read": 6,
        "used": 3,
        "left_out": {"absences (0 or empty)": 3},
    }


def test_wide_tables_of_r_have_row_names_and_a_table_of_plots(tmp_path: Path) -> None:
    wide = '"","Abies.alba","Abies.alba.1","Picea.abies"\n"001",1,0,0\n"A1",0,1,0\n'
    table = read(
        tmp_path,
        plots_of("001", "A1").replace("id,", "row.names,"),
        wide,
        {"survey": "row.names", "species": None},
        layout="wide",
    )
    assert found(table) == {("001", "Abies alba"), ("A1", "Abies alba")}


def test_wide_tables_with_other_columns_or_cells_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        TableError, match=r"column 'slope' is no name of a species; exclude it \(surveys\.not_species: \[slope\]\)"
    ):
        read(tmp_path, WIDE, None, {"species": None}, layout="wide")
    with pytest.raises(TableError, match=r"there is no column 'nope', which surveys names"):
        read(tmp_path, WIDE, None, {"species": None}, layout="wide", not_species=["nope"])
    text = WIDE.replace(",1,0,", ",2a,0,")
    with pytest.raises(TableError, match=r"hold '2a', more than presence and absence; say what the cells are \(surveys\.cells"):
        read(tmp_path, text, None, {"species": None}, layout="wide", not_species=["slope"])
    table = read(tmp_path, text, None, {"species": None}, layout="wide", not_species=["slope"], cover_scale="braun-blanquet")
    assert covers(table) == {("1", "Abies alba"): 10.0, ("2", "Carex nigra"): 2.5, ("2", "Festuca ovina subsp. ovina"): 2.5}
    with pytest.raises(ConfigError, match="'cells' belongs to 'layout: wide'"):
        read(tmp_path, WIDE, cells="cover")


def test_wide_covers_and_counts(tmp_path: Path) -> None:
    text = "id;lon;lat;Abies alba;Picea abies\n1;16,6;49,2;40,5;\n2;16,7;49,3;0;<1\n"
    with pytest.raises(TableError, match="more than presence and absence"):
        read(tmp_path, text, None, {"species": None}, layout="wide")
    table = read(tmp_path, text, None, {"species": None}, layout="wide", cells="cover")
    assert covers(table) == {("1", "Abies alba"): 40.5, ("2", "Picea abies"): 0.5}
    assert list(table.surveys["longitude"]) == [16.6, 16.7]
    counts = read(
        tmp_path,
        "id,lon,lat,Abies alba\n1,16.6,49.2,17\n2,16.6,49.2,0\n",
        None,
        {"species": None},
        layout="wide",
        cells="presence",
    )
    assert found(counts) == {("1", "Abies alba")}


@pytest.mark.parametrize(
    ("scale", "cells"),
    [
        ("braun-blanquet", {"r": 0.1, "+": 0.5, "1": 2.5, "2m": 4, "2A": 10, "2b": 20, "3": 37.5, "5": 87.5, ".": 0}),
        ("domin", {"+": 0.1, "4": 7, "10": 95.5}),
        ("londo", {".1": 0.5, "0.2": 2, ",4": 4, "1-": 7.5, "1+": 12.5, "p4": 4, "r.1": 0.5, "10": 97.5}),
        ("van-der-maarel", {"9": 87.5, "1": 0.1}),
        (None, {"40,5": 40.5, "12 %": 12, "<1": 0.5, "0.1": 0.1, "100": 100, "-": 0, "": np.nan}),
        ("percent", {"5": 5}),
    ],
)
def test_covers_are_the_middle_of_their_class(scale: str | None, cells: dict[str, float]) -> None:
    values = parse_covers(pd.Series(list(cells), dtype="string"), scale, "a", Report("t"))
    np.testing.assert_allclose(values, list(cells.values()))


@pytest.mark.parametrize(
    ("scale", "cells", "words"),
    [
        (None, ["+", "1", "5"], r"holds codes such as '\+', no percents; name their scale \(cover_scale: braun-blanquet\)"),
        (None, ["r", "40"], "'r' of the scale braun-blanquet beside '40'"),
        (None, ["much"], "'much' is no cover in percent"),
        (None, ["1", "5"] * 60, "holds whole numbers up to 5 only, as the codes of Braun-Blanquet do"),
        ("braun-blanquet", ["5", "40"], "'40' is no code of the scale braun-blanquet"),
        ("domin", ["11"], "'11' is no code of the scale domin"),
    ],
)
def test_covers_of_two_readings_are_refused(scale: str | None, cells: list[str], words: str) -> None:
    with pytest.raises(TableError, match=words):
        parse_covers(pd.Series(cells, dtype="string"), scale, "a", Report("t"))


def test_every_class_lies_within_percents_and_grows() -> None:
    for name, codes in SCALES.items():
        values = [v for code, v in codes.items() if code not in ("2",) or name != "braun-blanquet"]
        assert values == sorted(values), name
        assert min(values) > 0
        assert max(values) < 100


@pytest.mark.parametrize("cell", ["1", "1.0", "TRUE", "True", " yes", "Present", "+", "12", "0.5", "x"])
def test_presences(cell: str) -> None:
    assert parse_presence(pd.Series([cell]))[0] == 1


@pytest.mark.parametrize("cell", ["0", "0.0", "FALSE", "absent", "no", "-", "."])
def test_absences(cell: str) -> None:
    assert parse_presence(pd.Series([cell]))[0] == 0


def test_names_of_no_species_are_counted_and_spellings_are_one(tmp_path: Path) -> None:
    names = ["Carex nigra (L.) Reichard", "carex nigra", "Carex sp.", "Quercus robur × petraea", "Quercus robur"]
    table = read(tmp_path, plots_of("1"), rows_of(*(f"1,{n}" for n in names)))
    assert found(table) == {("1", "Carex nigra"), ("1", "Quercus robur"), ("1", "Quercus petraea × Quercus robur")}
    tally = table.report.tallies["rows of occurrences"]
    assert (tally.read, tally.used, tally.left_out) == (5, 4, {"occurrences without the name of a species": 1})
    assert next(v for k, v in table.report.remarks.items() if "of no species" in k) == (1, ["Carex sp."])


def test_projected_and_swapped_positions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="seem swapped"):
        read(tmp_path, "id,lon,lat,name\n1,49.2,16.6,Abies alba\n")
    with pytest.raises(TableError, match=r"EPSG:32633 \(WGS 84 / UTM zone 33N\)"):
        read(tmp_path, "id,lon,lat,name\n1,616556,5450921,Abies alba\n")
    table = read(tmp_path, "id,lon,lat,name\n1,616556.553,5450921.33,Abies alba\n", columns={"crs": "EPSG:32633"})
    np.testing.assert_allclose(table.surveys[["longitude", "latitude"]].to_numpy(), [[16.6, 49.2]], atol=1e-6)


def test_implausible_years_and_several_positions_are_said(tmp_path: Path) -> None:
    plots = "id,lon,lat,year\n1,16.6,49.2,15\n2,16.6,49.2,1990\n2,16.7,49.2,1990\n"
    table = read(tmp_path, plots, rows_of("1,Abies alba", "2,Abies alba"), {"year": "year"})
    np.testing.assert_array_equal(table.surveys["year"], [np.nan, 1990])
    assert next(v for k, v in table.report.remarks.items() if k.startswith("years outside 1700 to ")) == (1, ["1"])
    assert table.report.remarks["surveys given at several positions, first kept"] == (1, ["2"])


def test_surveys_whose_rows_disagree_on_year_or_area_are_said(tmp_path: Path) -> None:
    rows = (
        "1,16.6,49.2,1990,25,Abies alba",
        "1,16.6,49.2,1991,25,Picea abies",
        "2,16.6,49.2,1990,,Abies alba",
        "2,16.6,49.2,1990,400,Picea abies",
        "3,16.6,49.2,1990,25,Abies alba",
        "3,16.6,49.2,1990,25,Picea abies",
    )
    plots = "\n".join(("id,lon,lat,date,size,name", *rows, ""))
    table = read(tmp_path, plots, columns={"year": "date", "area_m2": "size"})
    assert table.report.remarks["surveys with several values of 'date', first kept"] == (1, ["1"])
    assert table.report.remarks["surveys with several values of 'size', first kept"] == (1, ["2"])
    with pytest.raises(TableError, match="no survey is left: the table has no rows"):
        read(tmp_path, "id,lon,lat,name\n")


def test_areas_of_two_readings_are_refused_and_decimal_commas_read(tmp_path: Path) -> None:
    plots = "id;lon;lat;name;area\n1;16,6;49,2;Abies alba;{}\n2;16,6;49,2;Abies alba;{}\n"
    with pytest.raises(TableError, match=r"column 'area': '1,000' could be .* write 1000 or 1\."):
        read(tmp_path, plots.format("1,000", "100"), columns={"area_m2": "area"})
    table = read(tmp_path, plots.format("1.000,5", "10,5"), columns={"area_m2": "area"})
    assert list(table.surveys["area_m2"]) == [1000.5, 10.5]


def test_points_of_a_geopackage_need_no_columns_of_coordinates(tmp_path: Path) -> None:
    pyogrio, shapely = pytest.importorskip("pyogrio"), pytest.importorskip("shapely")
    import pyarrow

    wkb = [shapely.to_wkb(shapely.Point(616556.553, 5450921.33))]
    plots = pyarrow.table({"id": ["001"], "name": ["Abies alba"], "geometry": pyarrow.array(wkb, pyarrow.binary())})
    pyogrio.write_arrow(plots, tmp_path / "plots.fgb", geometry_name="geometry", geometry_type="Point", crs="EPSG:32633")
    table = read(tmp_path, "", None, {"longitude": None, "latitude": None}, table="plots.fgb")
    assert found(table) == {("001", "Abies alba")}
    np.testing.assert_allclose(table.surveys[["longitude", "latitude"]].to_numpy(), [[16.6, 49.2]], atol=1e-6)


IDS = st.sampled_from(["1", "001", "A1", "1E1", "", "9", "1.5"])
NAMES = st.sampled_from(["Abies alba", "Picea abies L.", "Carex sp.", "", "Quercus x rosacea"])


@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(IDS, NAMES, st.sampled_from(["5", "0", "40,5", ""])), min_size=1, max_size=12))
def test_any_table_adds_up_and_says_what_a_loop_says(tmp_path: Path, rows: list[tuple[str, str, str]]) -> None:
    plots = plots_of("1", "001", "A1", "1E1")
    text = "id;name;cover\n" + "".join(f"{';'.join(row)}\n" for row in rows)
    table = read(tmp_path, plots, text, {"cover": "cover"}, max_unmatched=1)
    spelled = {"Abies alba": "Abies alba", "Picea abies L.": "Picea abies", "Quercus x rosacea": "Quercus × rosacea"}
    expected: dict[tuple[str, str], float] = {}
    for survey, name, cover in rows:
        value = float(cover.replace(",", ".")) if cover else np.nan
        if survey in ("1", "001", "A1", "1E1") and name in spelled and not value <= 0:
            pair = (survey, spelled[name])
            expected[pair] = np.nansum([expected.get(pair, np.nan), value]) if cover or pair in expected else np.nan
    got = covers(table)
    assert set(got) == set(expected)
    for pair, value in got.items():
        np.testing.assert_allclose(np.nan_to_num(value), np.nan_to_num(expected[pair]))
    table.report.check()
    assert table.report.tallies["rows of occurrences"].read == len(rows)
