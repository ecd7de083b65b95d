"""Whether the units that a file states are those of its layer; of spellings that are not listed nothing is concluded."""

from __future__ import annotations

from typing import Final

# Spellings by unit, lower case, and what one of it is in the unit of its row: value x scale + offset.
_UNITS: Final[tuple[dict[str, tuple[tuple[str, ...], float, float]], ...]] = (
    {
        "m": (("m", "metre", "metres", "meter", "meters"), 1.0, 0.0),
        "km": (("km", "kilometre", "kilometres", "kilometer", "kilometers"), 1000.0, 0.0),
        "dm": (("dm", "decimetre", "decimetres", "decimeter", "decimeters"), 0.1, 0.0),
        "cm": (("cm", "centimetre", "centimetres", "centimeter", "centimeters"), 0.01, 0.0),
        "mm": (("mm", "millimetre", "millimetres", "millimeter", "millimeters"), 0.001, 0.0),
        "ft": (("ft", "foot", "feet", "international foot"), 0.3048, 0.0),
        "US ft": (("us survey foot", "us_survey_foot", "ftus", "us-ft"), 1200 / 3937, 0.0),
    },
    {
        "K": (("k", "kelvin", "degk", "degrees kelvin"), 1.0, 0.0),
        "degC": (("degc", "c", "°c", "celsius", "degree_celsius", "degrees celsius", "deg c", "degree celsius"), 1.0, 273.15),
        "degF": (("degf", "f", "°f", "fahrenheit", "degree_fahrenheit", "degrees fahrenheit"), 5 / 9, 459.67 * 5 / 9),
    },
    {
        "1": (("1", "fraction", "dimensionless", "unitless"), 1.0, 0.0),
        "%": (("%", "percent", "per cent", "pct"), 0.01, 0.0),
    },
    {
        "degree": (("degree", "degrees", "deg", "°"), 1.0, 0.0),
        "rad": (("rad", "radian", "radians"), 57.29577951308232, 0.0),
    },
)
_BY_NAME: Final = {
    spelling: (kind, scale, offset)
    for kind, units in enumerate(_UNITS)
    for spellings, scale, offset in units.values()
    for spelling in spellings
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
