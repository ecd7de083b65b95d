"""How a scene was processed, as its catalogue says: baseline, what was added to its numbers, which processing is the newest.

Catalogues write the same in many ways: `s2:processing_baseline: "05.09"`, `N0301`, a number, in the product's name only; an
offset as `raster:bands`, `raster:offset`, a flag or the text "false". What none of them says is refused by the scene.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from cube.yaml_tables import yaml_table

BOA_OFFSET: Final = 1000  # added to all reflectances from processing baseline 04.00 on
BOA_SINCE: Final = datetime.datetime(2022, 1, 25, tzinfo=datetime.UTC)  # ESA: the first day of baseline 04.00
REFLECTANCE_STEP: Final = 1e-4  # reflectance of one digital number of Sentinel-2 (QUANTIFICATION_VALUE 10,000)
LARGEST_OFFSET: Final = 20_000
NOT_ESAS: Final = (99, 99)  # what Sen2Cor writes outside of ESA's own processing, whatever picture it was given

CATALOGUE_NAMES: Final[dict[str, Any]] = yaml_table(__file__, "scenes.yaml")
# Major and minor; three parts are the version of a program, not a baseline.
_BASELINE: Final = re.compile(r"^\s*[A-Za-z]*[ _]?(\d{1,2})\.(\d{1,2})(?!\d|\.\d)")
_COMPACT: Final = re.compile(r"^\s*[A-Za-z]*[ _]?(\d{2})(\d{2})(?!\d)")
_IN_NAME: Final = re.compile(r"_N(\d{2})(\d{2})_")
_STAMP: Final = re.compile(r"_(\d{8}T\d{6})(?:\.SAFE)?$")
_TILE: Final = re.compile(r"(?:^|[_-])T?(\d{1,2})([C-HJ-NP-X][A-HJ-NP-Z]{2})(?=[_.]|$)")
_WRS: Final = re.compile(r"^L[A-Z]\d{2}_\w{4}_(\d{6})_")


def baseline_of(properties: Mapping[str, Any], identifier: str) -> tuple[int, int] | None:
    """(major, minor) of the processing baseline of a Sentinel-2 product, from its properties or its names; None: not said."""
    for name in CATALOGUE_NAMES["baseline"]:
        text = str(properties.get(name, "")).strip()
        match = _BASELINE.match(text) or _COMPACT.match(text)
        if match:
            return int(match[1]), int(match[2])
        if text.isdigit() and len(text) <= 2:
            return int(text), 0
    for text in _names(properties, identifier):
        if match := _IN_NAME.search(text):
            return int(match[1]), int(match[2])
    return None


def processed_at(properties: Mapping[str, Any], identifier: str) -> datetime.datetime | None:
    """When a product was made, from its properties or the time at the end of its names; None: not said."""
    for name in CATALOGUE_NAMES["processed"]:
        if moment := moment_of(properties.get(name)):
            return moment
    for text in _names(properties, identifier):
        if match := _STAMP.search(text):
            return datetime.datetime.strptime(match[1], "%Y%m%dT%H%M%S").replace(tzinfo=datetime.UTC)
    return None


def _names(properties: Mapping[str, Any], identifier: str) -> list[str]:
    return [identifier, *(str(properties[name]) for name in CATALOGUE_NAMES["product"] if name in properties)]


def moment_of(text: Any) -> datetime.datetime | None:
    """A time as catalogues write it, in UTC; None for anything else."""
    try:
        moment = datetime.datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment.replace(tzinfo=datetime.UTC) if moment.tzinfo is None else moment.astimezone(datetime.UTC)


def truth_of(value: Any) -> bool | None:
    """What a flag says, whether it is a flag, a number or a word; None: nothing."""
    return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(str(value).strip().lower())


def scale_and_offset(fields: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """(scale, offset) that an asset gives, in any version of the raster extension; None for what it does not give."""
    bands = [band for key in ("bands", "raster:bands") for band in (fields.get(key) or [])[:1] if isinstance(band, Mapping)]
    out = []
    for name in ("scale", "offset"):
        places: list[Any] = [fields.get(f"raster:{name}")]
        places += [value for band in bands for value in (band.get(f"raster:{name}"), band.get(name))]
        out.append(next((number for place in places if (number := _number(place)) is not None), None))
    return out[0], out[1]


def _number(value: Any) -> float | None:
    try:
        return None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def added_offset(
    identifier: str,
    moment: datetime.datetime,
    properties: Mapping[str, Any],
    assets: Iterable[Mapping[str, Any]],
    otherwise: int | None = None,
) -> int:
    """What was added to a Sentinel-2 scene's digital numbers, in digital numbers.

    In this order: a flag that the provider took the offset out, the offset that the bands' `assets` give, the processing
    baseline, the day of processing or of the picture, `otherwise`. Raises ValueError, a sentence without its scene, where
    none of them says it, or where the bands have a scale that is not reflectance x 10,000.
    """
    flags = [truth_of(value) for name, value in properties.items() if name.endswith("boa_offset_applied")]
    offsets = {_added(*scale_and_offset(fields)) for fields in assets}
    if True in flags:
        return 0
    offsets.discard(None)
    if len(offsets) > 1:
        raise ValueError(f"its bands have several offsets ({', '.join(str(number) for number in sorted(map(str, offsets)))})")
    if offsets:
        return int(next(iter(offsets)) or 0)
    baseline = baseline_of(properties, identifier)
    if baseline is not None and baseline != NOT_ESAS:
        return BOA_OFFSET if baseline >= (4, 0) else 0
    processing_time = processed_at(properties, identifier)
    late = processing_time is not None and processing_time >= BOA_SINCE
    if moment >= BOA_SINCE or (late and baseline is None):
        return BOA_OFFSET
    creation_time = moment_of(properties.get("created"))
    if (processing_time is not None and not late) or (creation_time is not None and creation_time < BOA_SINCE):
        return 0
    if otherwise is not None:
        return otherwise
    raise ValueError(
        "neither offset nor processing baseline nor day of processing is given, so 0 or 1000 may have been added to its"
        " numbers; say which one by stac.offset"
    )


def _added(scale: float | None, offset: float | None) -> int | None:
    """What `scale` and `offset` of an asset say was added, in digital numbers; None where no offset is given."""
    if scale not in (None, 1.0) and abs(scale / REFLECTANCE_STEP - 1) > 1e-6:
        raise ValueError(f"its bands have the scale {scale:g}, and those of Sentinel-2 Level-2A have {REFLECTANCE_STEP:g}")
    if offset is None:
        return None
    # Some catalogues give the offset in digital numbers, beside whatever scale.
    boa_offset = -offset if abs(offset) >= 1 else -offset / REFLECTANCE_STEP
    if not 0 <= boa_offset <= LARGEST_OFFSET or abs(boa_offset - round(boa_offset)) > 1e-3:
        raise ValueError(f"its bands have the offset {offset:g}, and those of Sentinel-2 have 0 or -0.1")
    return round(boa_offset)


def tile_of(properties: Mapping[str, Any], identifier: str) -> str:
    """The tile or frame of a scene (`32TMT`, or path and row of Landsat), from its properties or its name; empty: not said."""
    code = str(properties.get("grid:code") or properties.get("s2:mgrs_tile") or properties.get("sentinel:mgrs_tile") or "")
    if code:
        return code.removeprefix("MGRS-").removeprefix("T").zfill(5)
    for prefix in ("mgrs", "sentinel"):
        parts = [properties.get(f"{prefix}:{name}") for name in ("utm_zone", "latitude_band", "grid_square")]
        if all(part is not None for part in parts):
            return "".join(map(str, parts)).zfill(5)
    wrs = [properties.get(f"landsat:{name}") for name in ("wrs_path", "wrs_row")]
    if all(part is not None for part in wrs):
        return "".join(f"{str(part).zfill(3)}" for part in wrs)
    if match := _WRS.match(identifier):
        return match[1]
    match = _TILE.search(identifier)
    return f"{match[1].zfill(2)}{match[2]}" if match else ""


def newness(properties: Mapping[str, Any], identifier: str) -> tuple[Any, ...]:
    """What sorts the processings of one acquisition: baseline, then when it was made, then what the catalogue counts."""
    first = datetime.datetime.min.replace(tzinfo=datetime.UTC)
    sequence = str(properties.get("s2:sequence") or properties.get("sentinel:sequence") or 0)
    return (
        baseline_of(properties, identifier) or (0, 0),
        processed_at(properties, identifier) or first,
        int(sequence) if sequence.isdigit() else 0,
        moment_of(properties.get("updated")) or moment_of(properties.get("created")) or first,
        identifier,
    )


def calibration_differs(assets: Sequence[Mapping[str, Any]], scale: float, offset: float) -> str:
    """A sentence, without its scene, where an asset gives another scale or offset than these; empty where none does."""
    for fields in assets:
        for name, expected_value, stated_value in zip(
            ("scale", "offset"), (scale, offset), scale_and_offset(fields), strict=True
        ):
            if stated_value is not None and abs(stated_value - expected_value) > 1e-6 * abs(expected_value):
                return f"its bands have the {name} {stated_value:g}, and those of Collection 2 Level-2 have {expected_value:g}"
    return ""
