"""Names and colours of the classes of a raster, from a table that somebody brings with it."""

from __future__ import annotations

import colorsys
import csv
import io
import math
import re
from typing import Final

import fsspec

from cube.errors import ConfigError

COLOUR: Final = re.compile(r"#[0-9a-fA-F]{6}")


def read_names(path: str, where: str) -> dict[int, tuple[str, str]]:
    """(name, colour; empty: none) by number of a table of classes with the columns value, name and colour.

    `where` is its key in the configuration. Raises `ConfigError` for a table that cannot be read, lacks a column, or has a
    number that is not whole or stands twice.
    """
    try:
        with fsspec.open(path, "rt", encoding="utf-8-sig", newline="") as file:
            text = file.read()
    except OSError as error:
        raise ConfigError(f"{where}: {path} cannot be read ({error}); check the path.") from None
    except UnicodeError:
        raise ConfigError(f"{where}: {path} is not UTF-8; save it in this encoding.") from None
    first = next((line for line in text.splitlines() if line.strip()), "")
    blank_lines = text.count("\n", 0, text.find(first))  # blank lines above the header
    delimiter = max(",;\t", key=first.count)
    rows = csv.DictReader(io.StringIO(text.lstrip()), delimiter=delimiter)
    columns = {column.strip().lower(): column for column in rows.fieldnames or () if column}
    if not {"value", "name"} <= set(columns):
        raise ConfigError(f"{where}: {path} needs the columns value and name; it has {', '.join(columns) or 'none'}.")
    out: dict[int, tuple[str, str]] = {}
    for row in rows:
        number = blank_lines + rows.line_num
        try:
            value = float(row[columns["value"]])
        except (TypeError, ValueError):
            value = math.nan
        if not value.is_integer():
            raise ConfigError(f"{where}: line {number} of {path} has no whole number in the column value; write one.")
        if value in out:
            raise ConfigError(f"{where}: {path} has the value {value:.0f} twice, again in line {number}; keep one.")
        colour = (row.get(columns.get("colour", columns.get("color", ""))) or "").strip()
        out[int(value)] = (row[columns["name"]] or "", colour if COLOUR.fullmatch(colour) else "")
    return out


def class_colour(number: int) -> str:
    """A colour for the class of a running number: hues a golden angle apart, so that neighbours differ."""
    r, g, b = colorsys.hls_to_rgb(number * 0.61803 % 1, 0.45 + 0.15 * (number % 3 - 1), 0.5)
    return f"#{round(r * 255):02x}{round(g * 255):02x}{round(b * 255):02x}"
