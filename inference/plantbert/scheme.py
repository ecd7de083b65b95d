"""A habitat scheme: classes with codes, names, levels, parents and colours, and what follows from the parents.

Probabilities are given at the finest level; coarser levels are sums over children.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.errors import ModelError, TableError
from cube.records.tables import header, read_table, require_columns
from inference.plantbert import eunis
from inference.plantbert.colours import family, top_colours

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")

SPREAD: Final = {1: 30.0, 2: 26.0}
"""Range of L* over which siblings are spread, by how many levels they stand below the top; deeper ones as the last."""


@dataclass(frozen=True)
class Habitat:
    """One class: `level` is the name of its level, `parent` the code one level up ("" at the top)."""

    code: str
    name: str
    level: str
    parent: str
    colour: str


@dataclass(frozen=True)
class Scheme:
    """Levels from fine to coarse, and the classes of each level in the order of their indices."""

    levels: tuple[str, ...]
    classes: Mapping[str, tuple[Habitat, ...]]

    def codes(self, level: str | None = None) -> tuple[str, ...]:
        """Return the codes of a level (the finest by default), in index order."""
        return tuple(h.code for h in self.classes[level or self.levels[0]])

    def parents(self, level: str) -> NDArray[np.int64]:
        """Return the index of each class of the finest level at `level`, (C)."""
        code = list(self.codes())
        for fine, coarse in zip(self.levels, self.levels[1:], strict=False):
            if fine == level:
                break
            up = {h.code: h.parent for h in self.classes[fine]}
            code = [up[c] for c in code]
            if coarse == level:
                break
        position = {c: i for i, c in enumerate(self.codes(level))}
        return np.array([position[c] for c in code], dtype=np.int64)


def make_scheme(habitats: Sequence[Mapping[str, Any]], source: str = "habitats", flat_level: str = "formation") -> Scheme:
    """Check rows of code, name, level, parent, colour and complete their colours.

    Rows without a level belong to one flat level. Levels are ordered from fine to coarse by their
    parents. Raises TableError for a repeated code, a parent that is absent, a chain that skips, or a
    colour that is not `#rrggbb`.
    """
    rows = [{k: _text(r.get(k)) for k in ("code", "name", "level", "parent", "colour")} for r in habitats]
    for r in rows:
        r["level"] = _level_name(r["level"]) or flat_level
        r["name"] = r["name"] or r["code"]
        if not r["code"]:
            raise TableError(f"{source}: a row has no code; every habitat needs one.")
        if r["colour"] and not _COLOUR.fullmatch(r["colour"]):
            raise TableError(f"{source}: colour {r['colour']!r} of {r['code']!r} must be #rrggbb.")
    by_code = {r["code"]: r for r in rows}
    if len(by_code) < len(rows) or not rows:
        raise TableError(f"{source}: codes must be unique and at least one habitat is needed.")
    up: dict[str, str] = {}
    for r in rows:
        if not r["parent"]:
            continue
        if r["parent"] not in by_code:
            raise TableError(f"{source}: parent {r['parent']!r} of {r['code']!r} has no row; add it or leave the parent empty.")
        coarse = by_code[r["parent"]]["level"]
        if up.setdefault(r["level"], coarse) != coarse or coarse == r["level"]:
            raise TableError(f"{source}: parents of level {r['level']!r} must all stand one level up; {r['code']!r} differs.")
    levels = _chain({r["level"] for r in rows}, up, source)
    for r in rows:
        if r["level"] in up and not r["parent"]:
            raise TableError(f"{source}: {r['code']!r} of level {r['level']!r} has no parent; name one.")
    _colour(rows, levels)
    classes = {
        level: tuple(
            Habitat(r["code"], r["name"], level, r["parent"], r["colour"])
            for r in sorted(rows, key=lambda r: r["code"])
            if r["level"] == level
        )
        for level in levels
    }
    return Scheme(levels, classes)


def read_scheme(path: Path) -> Scheme:
    """Read a table with the column code and, if wanted, name, level, parent, colour; or EUNIS's own table of all versions.

    Formats are those of `cube.records.tables`. Raises: TableError for a table that is absent, damaged or of no scheme.
    """
    if not path.is_file():
        raise TableError(f"{path}: this table does not exist; fix the path.")
    columns = header(str(path))
    require_columns(str(path), columns, ["code"])
    table = read_table(str(path), columns).fillna("")
    if eunis.is_published(table):
        return make_scheme(eunis.published_rows(table), str(path))
    rows = [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]
    return make_scheme(rows, str(path))


def flat_scheme(codes: Sequence[str], names: Mapping[str, str] | None = None, level: str = "formation") -> Scheme:
    """Make a scheme of one level from codes, such as the nine Czech formations."""
    rows = [{"code": c, "name": (names or {}).get(c, c), "level": level} for c in codes]
    return make_scheme(rows, flat_level=level)


def roll_up(probability: NDArray[Any], scheme: Scheme) -> dict[str, NDArray[np.float32]]:
    """Sum probabilities (n, C) of the finest level into every level: {level: (n, C_level)}; NaN stays NaN."""
    check_labels(scheme, probability.shape[1])
    result: dict[str, NDArray[np.float32]] = {}
    for level in scheme.levels:
        member = np.zeros((probability.shape[1], len(scheme.classes[level])), dtype=np.float64)
        member[np.arange(len(member)), scheme.parents(level)] = 1.0
        result[level] = (probability.astype(np.float64) @ member).astype(np.float32)
    return result


def check_labels(scheme: Scheme, classes: int) -> None:
    """Raise ModelError unless the finest level has `classes` classes."""
    if len(scheme.codes()) != classes:
        raise ModelError(
            f"the habitat model has {classes} classes but level {scheme.levels[0]!r} of the scheme "
            f"has {len(scheme.codes())}; use the scheme that the model was trained with."
        )


def entropy(probability: NDArray[Any]) -> NDArray[np.float32]:
    """Return the Shannon entropy of each row of (n, C) divided by log C, 0 (certain) to 1; NaN stays NaN."""
    p = probability.astype(np.float64)
    terms = np.where(p > 0, -p * np.log(np.where(p > 0, p, 1.0)), 0.0)
    total = np.where(np.isnan(p).any(axis=1), np.nan, terms.sum(axis=1))
    scaled = total / max(float(np.log(p.shape[1])), 1e-12)
    return np.asarray(scaled, dtype=np.float32)


def top3(probability: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the three best classes and their probabilities, both (n, 3), best first, ties to the lower index.

    Rows of NaN, and ranks beyond C, have class -1 and probability NaN.
    """
    n, count = probability.shape
    best = np.argsort(-probability, axis=1, kind="stable")[:, :3]
    value = np.take_along_axis(probability, best, axis=1)
    classes = np.full((n, 3), -1, dtype=np.int64)
    values = np.full((n, 3), np.nan, dtype=np.float32)
    width = min(3, count)
    classes[:, :width] = np.where(np.isnan(value), -1, best)
    values[:, :width] = value
    return classes, values


def _text(value: Any) -> str:
    return "" if value is None or (isinstance(value, float) and np.isnan(value)) else str(value).strip()


def _level_name(level: str) -> str:
    """A bare number is EUNIS's way to name a level: 3 -> level3."""
    return f"level{int(float(level))}" if re.fullmatch(r"\d(\.0)?", level) else level


def _chain(names: set[str], up: Mapping[str, str], source: str) -> tuple[str, ...]:
    finest = sorted(names - set(up.values()))
    if len(finest) != 1:
        raise TableError(
            f"{source}: levels must form one chain by their parents, but {', '.join(sorted(names))} do not; "
            "give every habitat below the top its parent."
        )
    levels = [finest[0]]
    while levels[-1] in up and len(levels) <= len(names):
        levels.append(up[levels[-1]])
    if len(levels) != len(names):
        raise TableError(f"{source}: levels must form one chain by their parents, without a circle.")
    return tuple(levels)


def _colour(rows: list[dict[str, str]], levels: Sequence[str]) -> None:
    """Complete the colours: hues for the top classes, shades of the parent's for the others; given ones stay."""
    by_code = {r["code"]: r for r in rows}
    for depth, level in enumerate(reversed(levels)):
        level_rows = sorted((r for r in rows if r["level"] == level), key=lambda r: r["code"])
        level_colours = {r["colour"].upper() for r in level_rows}
        if depth == 0:
            new_colours = dict(zip((r["code"] for r in level_rows), top_colours([r["code"] for r in level_rows]), strict=True))
        else:
            new_colours = {}
            for parent in sorted({r["parent"] for r in level_rows}):
                children = [r["code"] for r in level_rows if r["parent"] == parent]
                shades = family(by_code[parent]["colour"], len(children), SPREAD[min(depth, 2)], 0.5 if depth == 1 else 0.15)
                new_colours |= dict(zip(children, shades, strict=True))
        for r in level_rows:
            r["colour"] = r["colour"] or _free(new_colours[r["code"]], level_colours)


def _free(colour: str, level_colours: set[str]) -> str:
    """Return the colour or the nearest bluer one that no class of the level has, and take it."""
    value = int(colour[1:], 16)
    while f"#{value:06X}" in level_colours:
        value = (value + 8) % 0x1000000
    level_colours.add(f"#{value:06X}")
    return f"#{value:06X}"
