"""Tables of strangers are read as their writers meant them, compared with what was written; or refused with the fix."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cube.errors import TableError
from cube.records.report import Report
from cube.records.tables import header, read_table, stream_table

ROWS = [("001", "Carex höstii", "16.5"), ("A1", "Čelakovský 1880", "17"), ("1E1", "Salix ×fragilis", "18")]


def text_of(rows: list[tuple[str, ...]], separator: str = ",", names: str = "id,name,lon") -> str:
    lines = [names.replace(",", separator), *(separator.join(row) for row in rows)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("encoding", "given_encoding"),
    [
        ("utf-8", None),
        ("utf-8-sig", None),
        ("utf-16", None),
        ("utf-16-le", None),
        ("utf-16-be", None),
        ("cp1250", "cp1250"),
        ("iso8859-2", "iso8859-2"),
    ],
)
def test_letters_are_those_that_were_written(tmp_path: Path, encoding: str, given_encoding: str | None) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(text_of(ROWS).encode(encoding))
    table = read_table(str(path), ["id", "name", "lon"], ["lon"], encoding=given_encoding)
    assert list(table["id"]) == [r[0] for r in ROWS]
    assert list(table["name"]) == [r[1] for r in ROWS]
    assert list(table["lon"]) == [16.5, 17, 18]


@pytest.mark.parametrize(
    ("text", "encoding", "words"),
    [
        ("Čelakovský", "cp1250", r"line 3: is not UTF-8, and could be 'Èelakovský' in cp1252, 'Čelakovský' in cp1250"),
        ("rivière", "cp1252", r"'rivière' in cp1252, 'rivičre' in cp1250.*encoding: cp1252 or cp1250"),
        ("Камыш", "cp1251", r"'Камыш' in cp1251"),
        ("Köln, Münster", "cp850", r"no usual encoding.*'Köln' in cp850.*encoding: cp850"),
        ("LinnŽ", "cp1252", r"no usual encoding.*'Linné' in mac_roman"),
    ],
)
def test_bytes_with_two_readings_are_refused_with_both(tmp_path: Path, text: str, encoding: str, words: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(f"id;name\n1;Abies\n2;{text}\n".encode(encoding))
    with pytest.raises(TableError, match=words):
        read_table(str(path), ["id", "name"])


@pytest.mark.parametrize(
    ("text", "encoding"),
    [("Carex höstii", "latin-1"), ("Łódź", "cp1250"), ("Linné’s “Abies”", "cp1252"), ("žluťoučký kůň ďábelské", "cp1250")],
)
def test_bytes_with_one_reading_are_read_and_said(tmp_path: Path, text: str, encoding: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(f"id;name\n1;{text}\n".encode(encoding))
    report = Report("t")
    try:
        table = read_table(str(path), ["name"], report=report)
    except TableError as error:
        assert text.split(" ")[-1] in str(error)  # noqa: PT017
        return
    assert list(table["name"]) == [text]
    assert "table read as" in report.remarks["remarks on the form of a table"][1][0]


def test_bytes_that_are_not_in_the_given_encoding_are_refused_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("id,name\n1,Abies\n2,höstii\n".encode("latin-1"))
    with pytest.raises(TableError, match=r"a\.csv: line 3: is not in utf-8"):
        read_table(str(tmp_path / "a.csv"), encoding="utf-8")


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\nid;name\n1;Abies, Mill.\n",
        '"sep=;"\r\nid;name\r\n1;Abies, Mill.\r\n',
        "# made by R\n# on a day, with commas, many,,\n\nid;name\n1;Abies, Mill.\n",
        "#id;name\n1;Abies, Mill.\n",
        ' id ;"name"\n1;"Abies, Mill."\n',
        "id\tname\n1\tAbies, Mill.\n",
        "id|name\n1|Abies, Mill.\n",
        "id;name\n1;Abies, Mill.;\n1;Abies, Mill.;\n1;Abies, Mill.;\n",
        'name;id\nrow1;Abies, Mill.;1\n"row2";Abies, Mill.;1\n3;Abies, Mill.;1\n',
        "id;name\r1;Abies, Mill.\r",
    ],
)
def test_lines_before_the_header_and_separators(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_bytes(text.encode())
    table = read_table(str(tmp_path / "a.csv"), ["id", "name"])
    assert table.drop_duplicates().to_numpy().tolist() == [["1", "Abies, Mill."]]


def test_ids_are_text_in_every_format(tmp_path: Path) -> None:
    ids = ["9007199254740993", None, "12"]
    (tmp_path / "a.csv").write_text("id,n\n9007199254740993,1\n,2\n12,3\n")
    whole = pd.DataFrame({"id": pd.array([9007199254740993, None, 12], "Int64"), "n": [1.0, 2.0, 3.0]})
    whole.to_parquet(tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        table = read_table(str(tmp_path / name), ["id", "n"])
        assert [None if pd.isna(i) else i for i in table["id"]] == ids
        assert list(table["n"]) == ["1", "2", "3"]
    pd.DataFrame({"id": [2.0**53 + 2]}).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(TableError, match=r"column 'id': holds numbers above 2\^53 stored as decimals"):
        read_table(str(tmp_path / "b.parquet"), ["id"])


def test_quotes_that_do_not_enclose_cells_are_letters_where_lines_are_rows(tmp_path: Path) -> None:
    rows = [[str(i), name] for i, name in enumerate(['"Abies', 'alba"', '5" tall', "Picea", '"Pinus" nigra', '"'])]
    path = tmp_path / "a.csv"
    path.write_text("id\tname\n" + "".join("\t".join(r) + "\n" for r in rows))
    report = Report("t")
    assert read_table(str(path), ["id", "name"], report=report).to_numpy().tolist() == rows
    assert "quotation marks read as letters" in report.remarks["remarks on the form of a table"][1][0]
    path.write_text('id,name\n1,"Abies, Mill.\n2,Picea\n3,5" tall, and more\n')
    with pytest.raises(TableError, match="line 4: holds a quotation mark"):
        read_table(str(path))


def test_rows_with_other_cells_are_counted_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("# c\nid,name\n1,Abies\n2,Picea,abies\n3\n4,Pinus\n")
    report = Report("t")
    table = read_table(str(path), ["id"], report=report)
    assert list(table["id"]) == ["1", "4"]
    report.use("rows of a.csv", 2)
    report.check()
    assert report.remarks["rows with 3 cells where the header has 2, skipped"] == (1, ["row 2 of a.csv"])
    assert report.remarks["rows with 1 cells where the header has 2, skipped"] == (1, ["row 3 of a.csv"])
    with pytest.raises(TableError, match="cannot be read as a table"):
        read_table(str(path))


def test_a_column_that_stands_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,name,name\n1,a,b\n")
    assert header(str(tmp_path / "a.csv")) == ["id", "name", "name.1"]
    with pytest.raises(TableError, match="column 'name' stands twice"):
        read_table(str(tmp_path / "a.csv"), ["name"])


POINTS = [(500_000.0, 5_500_000.0), (510_000.0, 5_510_000.0)]  # EPSG:32633


@pytest.mark.parametrize("name", ["p.gpkg", "p.fgb", "p.parquet"])
def test_points_of_other_formats_have_positions_in_degrees(tmp_path: Path, name: str) -> None:
    pyogrio = pytest.importorskip("pyogrio")
    shapely = pytest.importorskip("shapely")
    from pyproj import CRS, Transformer

    wkb = [shapely.to_wkb(shapely.Point(*p)) for p in POINTS]
    table = pyarrow.table({"id": ["001", "A1"], "geometry": pyarrow.array(wkb, pyarrow.binary())})
    path = tmp_path / name
    if name.endswith("parquet"):
        import json

        geo = {
            "version": "1.0.0",
            "primary_column": "geometry",
            "columns": {"geometry": {"encoding": "WKB", "geometry_types": ["Point"], "crs": CRS.from_epsg(32633).to_json_dict()}},
        }
        pyarrow.parquet.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    else:
        pyogrio.write_arrow(table, path, geometry_name="geometry", geometry_type="Point", crs="EPSG:32633")
    lonlat = Transformer.from_crs(32633, 4326, always_xy=True).transform(*np.array(POINTS).T)
    read = read_table(str(path), ["id", "geometry.longitude", "geometry.latitude"], ["geometry.longitude", "geometry.latitude"])
    assert sorted(read["id"]) == ["001", "A1"]
    read = read.sort_values("id")
    np.testing.assert_allclose(read[["geometry.longitude", "geometry.latitude"]].to_numpy().T, lonlat, atol=1e-9)


def test_layers_of_a_geopackage_are_named(tmp_path: Path) -> None:
    pyogrio = pytest.importorskip("pyogrio")
    path = str(tmp_path / "p.gpkg")
    for layer in ("plots", "species"):
        pyogrio.write_arrow(pyarrow.table({"id": ["001"], "of": [layer]}), path, layer=layer, geometry_type=None)
    with pytest.raises(TableError, match=r"several layers \(plots, species\); name one, such as .*p\.gpkg\|layername=plots"):
        read_table(path)
    assert list(read_table(f"{path}|layername=species", ["of"])["of"]) == ["species"]
    with pytest.raises(TableError, match=r"has no layer 'x'"):
        read_table(f"{path}|layername=x")


def test_workbooks_are_read_by_pandas_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p.xlsx").write_bytes(b"PK")
    sheet = pd.DataFrame({"id": [1, 2.0, "001", None], "name": ["a", "b", True, pd.Timestamp(2020, 5, 1)]}, dtype=object)
    monkeypatch.setattr(pd, "read_excel", lambda *_, **__: sheet)
    table = read_table(str(tmp_path / "p.xlsx"))
    assert [None if pd.isna(i) else i for i in table["id"]] == ["1", "2", "001", None]
    assert list(table["name"]) == ["a", "b", "TRUE", "2020-05-01T00:00:00"]


def test_a_workbook_without_its_package_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p.xlsx").write_bytes(b"PK")

    def missing(*_: object, **__: object) -> None:
        raise ImportError("`Import openpyxl` failed. Use pip or conda to install the openpyxl package.")

    monkeypatch.setattr(pd, "read_excel", missing)
    with pytest.raises(TableError, match=r"p\.xlsx: reading it needs the package openpyxl .*or save the sheet as CSV"):
        read_table(str(tmp_path / "p.xlsx"))


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.gpkg", b"SQLite format 3\0", "cannot be read by GDAL"),
        ("a.xlsx", b"PK no more", "cannot be read as a workbook"),
        ("a.csv", bytes(range(256)), "is no text table"),
        ("a.csv", b"", "is empty"),
        ("a.csv.gz", b"\x1f\x8b\x08\0", "cannot be read"),
        ("a.parquet", b"PAR1", "cannot be read as a table"),
    ],
)
def test_damaged_files_are_one_sentence(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(TableError, match=words) as caught:
        read_table(str(tmp_path / name))
    assert "\n" not in str(caught.value)


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00\ufeff", exclude_categories=("Cs", "Cc")), max_size=8)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=8),
    separator=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    damage=st.none() | st.integers(0, 7),
)
def test_any_written_table_is_read_as_written_or_counted(
    tmp_path: Path, rows: list[tuple[str, str, str]], separator: str, encoding: str, damage: int | None
) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=separator, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(["id", "name", "more"])
    writer.writerows(rows)
    lines = buffer.getvalue().split("\n")
    broken = damage is not None and damage < len(rows) > 2
    if broken:
        lines[1 + damage] += f'{separator}"x"'  # type: ignore[operator]
    path = tmp_path / "a.csv"
    path.write_bytes("\n".join(lines).encode(encoding))
    report = Report("t")
    table = pd.concat(
        [pd.DataFrame(columns=["id", "name", "more"]), *stream_table(str(path), ["id", "name", "more"], report=report)]
    )
    expected = [r for i, r in enumerate(rows) if not (broken and i == damage)]
    missing = {"NA", "N/A", "", "nan", "NaN", "null"}
    assert table.fillna("").to_numpy().tolist() == [["" if c in missing else c for c in row] for row in expected]
    report.use("rows of a.csv", len(table))
    report.check()
    assert report.tallies["rows of a.csv"].read == len(rows)


def test_a_table_of_r_with_blanks_between_quoted_names_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text('"lon" "lat" "taxon name"\n"p 1" 16.6 49.2 "Abies alba"\n"p2" 16.7 49.2 "Fagus sylvatica"\n')
    table = read_table(str(tmp_path / "a.txt"))
    assert table.to_dict("list") == {
        "row.names": ["p 1", "p2"],
        "lon": ["16.6", "16.7"],
        "lat": ["49.2", "49.2"],
        "taxon name": ["Abies alba", "Fagus sylvatica"],
    }
