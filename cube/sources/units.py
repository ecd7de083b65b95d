"""Whether the units that a file states are those of its layer; of spellings that are not listed nothing is concluded."""

from __future__ import annotations

from typing import Final

from cube.yaml_tables import yaml_table

_TABLE: Final = yaml_table(__file__, "units.yaml")
_BY_NAME: Final[dict[str, tuple[str, float, float]]] = {
    spelling: (kind, unit.get("scale", 1.0), unit.get("offset", 0.0))
    for kind, units in _TABLE.items()
    for unit in units
    for spelling in unit["spellings"]
}


def differ(one: str, other: str) -> bool:
    """Whether both are known units, and not the same one."""
    units_of_both = [_BY_NAME.get(units.strip().lower()) for units in (one, other)]
    return None not in units_of_both and units_of_both[0] != units_of_both[1]


def conversion(one: str, other: str) -> str:
    """The `scale` and `offset` that turn numbers in the units `one` into `other`, as a configuration would have them."""
    (kind, scale, offset), (of_kind, per, above) = (_BY_NAME[units.strip().lower()] for units in (one, other))
    if kind != of_kind:
        return f"a file in {other}"
    keys = [f"`scale: {scale / per:.10g}`"] if scale != per else []
    offset_in_units = (offset - above) / per
    return " and ".join(keys + ([f"`offset: {offset_in_units:.10g}`"] if abs(offset_in_units) > 1e-9 else []))
