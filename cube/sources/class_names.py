"""Names and colours of the classes of a raster, from a table that somebody brings with it or from the file itself."""

from __future__ import annotations

import colorsys
import csv
import io
import math
import re
from collections.abc import Iterator
from typing import Final
from xml.etree import ElementTree

import fsspec
import rasterio.shutil
from rasterio.io import DatasetReader, MemoryFile

from cube.errors import ConfigError

COLOUR: Final = re.compile(r"#[0-9a-fA-F]{6}")


def read_names(path: str, where: str) -> dict[int, tuple[str, str]]:
    """(name, colour; empty: none) by number of a table of classes with the columns value, name and colour.

    `where` is its key in the configuration. Raises `ConfigError` for a table that cannot be read, lacks a column, or has a
    number that is not whole or stands twice, or a colour that is not `#rrggbb`.
    """
    try:
        with fsspec.open(path, "rt", encoding="utf-8-sig", newline="") as file:
            text = file.read().replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        raise ConfigError(f"{where}: {path} cannot be read ({error}); check the path.") from None
    except UnicodeError:
        raise ConfigError(f"{where}: {path} is not UTF-8; save it in this encoding.") from None
    first = next((line for line in text.splitlines() if line.strip()), "")
    blank_lines = text.count("\n", 0, text.find(first))  # blank lines above the header
    delimiter = max(",;\t", key=first.count)
    rows = csv.DictReader(io.StringIO(text.lstrip()), delimiter=delimiter, strict=True)
    try:
        columns = {column.strip().lower(): column for column in rows.fieldnames or () if column}
    except csv.Error as error:
        raise ConfigError(f"{where}: {path} has no line of column names ({error}); check its quotation marks.") from None
    if not {"value", "name"} <= set(columns):
        raise ConfigError(f"{where}: {path} needs the columns value and name; it has {', '.join(columns) or 'none'}.")
    out: dict[int, tuple[str, str]] = {}
    for number, row in _numbered(rows, blank_lines, path, where):
        try:
            value = float(row[columns["value"]])
        except (TypeError, ValueError):
            value = math.nan
        if not value.is_integer():
            raise ConfigError(f"{where}: line {number} of {path} has no whole number in the column value; write one.")
        if value in out:
            raise ConfigError(f"{where}: {path} has the value {value:.0f} twice, again in line {number}; keep one.")
        colour = (row.get(columns.get("colour", columns.get("color", ""))) or "").strip()
        if colour and not COLOUR.fullmatch(colour):
            raise ConfigError(
                f"{where}: line {number} of {path} has the colour '{colour}'; write it as #rrggbb, or leave it empty."
            )
        out[int(value)] = (row[columns["name"]] or "", colour)
    return out


def _numbered(rows: csv.DictReader[str], lines_above: int, path: str, where: str) -> Iterator[tuple[int, dict[str, str]]]:
    """(number of its last line, cells by column) of each row. Raises `ConfigError` for what is no row."""
    while True:
        first = lines_above + rows.line_num + 1
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise ConfigError(
                f"{where}: line {first} of {path} is no row of a table ({error}); check its quotation marks."
            ) from None
        yield lines_above + rows.line_num, row


def names_in_file(dataset: DatasetReader, band: int) -> dict[int, tuple[str, str]]:
    """(name, colour; empty: none) by number of the classes that a file names: its attribute table, else its category names.

    GDAL reads both from the file or its `.aux.xml`; rasterio has no call for them, a virtual copy of the file shows them. Rows of
    no one whole number (a range of numbers) and names that are blank are left out.
    """
    with MemoryFile(ext=".vrt") as copy:
        rasterio.shutil.copy(dataset, copy.name, driver="VRT")
        root = ElementTree.fromstring(_text(copy.read()))  # nosec B314: GDAL has just written it
    element = root.find(f"VRTRasterBand[@band='{band}']")
    if element is None:
        return {}
    table = element.find("GDALRasterAttributeTable")
    rows = {} if table is None else _rows_of_attributes(table)
    if not rows:
        rows = {i: (category.text or "", "") for i, category in enumerate(element.iterfind("CategoryNames/Category"))}
    return {value: (name, colour) for value, (name, colour) in rows.items() if name.strip()}


def _text(content: bytes) -> str:
    """GDAL's XML: names stand in it byte by byte as in the file, which may be older than UTF-8."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _rows_of_attributes(table: ElementTree.Element) -> dict[int, tuple[str, str]]:
    """(name, colour) by number of GDAL's attribute table, whose columns say by `Usage` and name what they are."""
    fields = [
        (field.findtext("Name", "").strip().lower(), field.findtext("Type"), field.findtext("Usage"))
        for field in table.iterfind("FieldDefn")
    ]

    # Usages of GDAL (GDALRATFieldUsage): 2 name, 5 the number, 6 to 8 red, green and blue. Type 2 is a text.
    numbers = [i for i, (name, _, usage) in enumerate(fields) if usage == "5" or name == "value"]
    texts = [i for i, (_, kind, _) in enumerate(fields) if kind == "2"]
    titles = [i for i in texts if fields[i][2] == "2"] or texts
    colour_columns = [i for code in ("6", "7", "8") for i, field in enumerate(fields) if field[1:] == ("0", code)]  # 0 to 255
    rows: dict[int, tuple[str, str]] = {}
    if not numbers or not titles:
        return rows
    for row in table.iterfind("Row"):
        cells = [cell.text or "" for cell in row.iterfind("F")]
        try:
            value = float(cells[numbers[0]])
            levels = [int(float(cells[i])) for i in colour_columns]
        except (ValueError, IndexError):
            continue
        if value.is_integer():
            is_colour = len(levels) == 3 and all(0 <= level <= 255 for level in levels)
            rows.setdefault(int(value), (cells[titles[0]], "#" + bytes(levels).hex() if is_colour else ""))
    return rows


def class_colour(number: int) -> str:
    """A colour for the class of a running number: hues a golden angle apart, so that neighbours differ."""
    r, g, b = colorsys.hls_to_rgb(number * 0.61803 % 1, 0.45 + 0.15 * (number % 3 - 1), 0.5)
    return f"#{round(r * 255):02x}{round(g * 255):02x}{round(b * 255):02x}"
