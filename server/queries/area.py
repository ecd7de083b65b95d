"""The report of an area: species, counts by status, indicators and habitat shares of the cells in a polygon or a named region."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Final

import numpy as np
import shapely
from fastapi import APIRouter, Query, Request, Response

from cube.grid import CELL
from cube.layers import BOUNDS
from server.dependencies import RequestedSnapshot, unchanged, validators
from server.errors import NotFoundError
from server.queries import outline, tally
from server.queries.area_models import (
    REQUEST_SCHEMA,
    AreaHabitats,
    AreaIndicator,
    AreaReport,
    AreaSpecies,
    Count,
    Counts,
    Format,
    HabitatShare,
)
from server.queries.gate import HEAVY
from server.queries.outline import OutlineError
from server.queries.regions import NamedRegions, region_lists
from server.queries.report import MEDIA, in_format
from server.queries.tally import AreaTooLargeError, Tally
from server.reading.catalogue import species_status, text
from server.reading.layers import MapLayer
from server.reading.snapshot import Snapshot

CELL_KM2: Final = (CELL / 1000) ** 2
THREATENED: Final = ("CR", "EN", "VU")
_INTERVALS: Final = (
    "An area's interval goes from the mean of its cells' lower bounds to the mean of their upper bounds. It contains the"
    " true mean if every cell's true value lies in its own interval: it assumes that all cells err in the same direction, so it"
    " is usually wider than a confidence interval of the mean."
)
_COVERAGE: Final = (
    "coverage is the share of mapped cells in whose most likely list of species (the set that maximises expected F1) the"
    " species is; mean_probability is the mean over the cells of the probability of occurrence in one plot, and"
    " expected_cells their sum."
)
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The report, as JSON, CSV or a printable page.",
        "content": {"text/csv": {"schema": {"type": "string"}}, "text/html": {"schema": {"type": "string"}}},
    },
    404: {"description": "A region that is not known, or an area outside the cube."},
    413: {"description": "An area, an outline or a body that is too large."},
    422: {"description": "What is no valid polygon."},
}
FormatParameter = Annotated[Format | None, Query(alias="format", description="Instead of the Accept header.")]
ThresholdParameter = Annotated[float, Query(ge=0, le=1, description="Least probability in the best cell of a listed species.")]


_OUTLINES: Final = {media: {"schema": REQUEST_SCHEMA} for media in ("application/json", "application/geo+json")}
router: Final = APIRouter(tags=["queries"])


@router.post(
    "/area",
    summary="Report of a polygon or a named region",
    response_model=AreaReport,
    responses=_ANSWERS,
    openapi_extra={"requestBody": {"required": True, "content": _OUTLINES}},
)
async def of_outline(
    request: Request,
    snapshot: RequestedSnapshot,
    form: FormatParameter = None,
    threshold: ThresholdParameter = 0.05,
) -> Response:
    """GeoJSON in longitude and latitude, or `{"region": "Austria"}`. The edge of large areas is read at a coarser `level`."""
    body, answer_format = await request.body(), form or _accepted(request)
    # Megabytes of JSON are parsed where they keep nobody waiting.
    answer = await HEAVY.run(lambda: in_format(_report(request, snapshot, _document(body), threshold), answer_format))
    return Response(answer, media_type=MEDIA[answer_format], headers={"Cache-Control": "no-store", **_guarded(answer_format)})


@router.get("/area", summary="Report of a named region", response_model=AreaReport, responses=_ANSWERS)
async def of_region(
    request: Request,
    snapshot: RequestedSnapshot,
    regions: NamedRegions,
    region: Annotated[str, Query(min_length=1, max_length=200, description="A name of /regions.")],
    kind: Annotated[str | None, Query(max_length=100, description="Such as countries.")] = None,
    form: FormatParameter = None,
    threshold: ThresholdParameter = 0.05,
) -> Response:
    """The same report at an address that can be linked and printed."""
    answer_format = form or _accepted(request)
    headers = {**validators(snapshot, request), "Vary": "Accept", **_guarded(answer_format)}
    headers["ETag"] = f'{headers["ETag"][:-1]}-{answer_format}-{regions.token}"'
    if (not_modified := unchanged(request, headers)) is not None:
        return not_modified
    document = {"region": region, **({} if kind is None else {"kind": kind})}
    answer = await HEAVY.run(lambda: in_format(_report(request, snapshot, document, threshold), answer_format))
    return Response(answer, media_type=MEDIA[answer_format], headers=headers)


def _document(body: bytes) -> Any:
    """The JSON of a request; raises `OutlineError`. NaN and infinity are not JSON, whatever Python says."""

    def refuse(constant: str) -> float:
        raise OutlineError(f"{constant} is not a number of JSON; write finite numbers.")

    try:
        return json.loads(body, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise OutlineError("The body is not JSON; send a GeoJSON polygon or the name of a region.") from None


def _accepted(request: Request) -> Format:
    """The first of our formats that the Accept header names; JSON where it names none."""
    for part in request.headers.get("accept", "").split(","):
        for form, media in MEDIA.items():
            if part.split(";")[0].strip().lower() == media:
                return form
    return "json"


def _guarded(form: Format) -> dict[str, str]:
    # The page needs nothing from anywhere, so nothing is allowed to come.
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; sandbox allow-modals"
    return {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"} if form == "html" else {}


def _report(request: Request, snapshot: Snapshot, document: Any, threshold: float) -> AreaReport:
    max_km2 = request.app.state.settings.area_km2
    if isinstance(document, dict) and "region" in document:
        region = region_lists(request).find(document["region"], document.get("kind"))
        return describe(snapshot, region.shape, region.name, threshold, max_km2)
    return describe(snapshot, outline.parse(document), "Area", threshold, max_km2)


def describe(snapshot: Snapshot, shape: shapely.Geometry, name: str, threshold: float, most_km2: float = math.inf) -> AreaReport:
    """The report of a shape in degrees (WGS 84).

    Raises `NotFoundError` outside the mapped region, `AreaTooLargeError` where more than `most_km2` of it lie inside.
    """
    inside = outline.on_grid(shape, snapshot.region)
    if inside.is_empty:
        raise NotFoundError(f"{name} lies outside the mapped region; choose a place on the map.")
    if inside.area / 1e6 > most_km2:
        raise AreaTooLargeError(f"{name} has {inside.area / 1e6:,.0f} km2 inside the map; one report takes {most_km2:,.0f} km2.")
    result = tally.tally(snapshot, inside, threshold)
    species, mapped_cells = _species(snapshot, result, threshold)
    indicators, habitats = _indicators(snapshot, result), _habitats(snapshot, result)
    mapped_cells = mapped_cells or max([*(i.cells for i in indicators), *(h.cells for h in habitats)], default=0)
    return AreaReport(
        name=name,
        release=snapshot.release,
        level=result.edge.level,
        cell_m=CELL * 2**result.edge.level,
        km2=rounded(outline.square_kilometres(shape)),
        inside_km2=rounded(inside.area / 1e6),
        cells=result.cells,
        mapped_cells=mapped_cells,
        mapped_km2=rounded(mapped_cells * CELL_KM2),
        threshold=threshold,
        counts=_counts(species),
        species=species,
        indicators=indicators,
        habitats=habitats,
        notes=_notes(result),
        attribution=cube_text(snapshot, "attribution"),
        license=cube_text(snapshot, "license"),
    )


def rounded(value: float) -> float:
    """Six figures."""
    return float(f"{value:.6g}")


def cube_text(snapshot: Snapshot, key: str) -> str:
    """What the cube's root says of whom to name and under which licence, else what its first layer says."""
    value = str(snapshot.reader.cube.root.attrs.get(key, ""))
    return value or next((str(getattr(layer, key)) for layer in snapshot.catalogue.layers if getattr(layer, key)), "")


def _notes(result: Tally) -> list[str]:
    notes = ["A cell belongs to the area if its centre lies in it.", _COVERAGE, _INTERVALS]
    if result.edge.tiny:
        notes.insert(0, f"The area holds the centre of no cell; the cell of {CELL} m at its middle stands for it.")
    if not result.exact:
        level, cell_m = result.edge.level, CELL * 2**result.edge.level
        notes.insert(
            0,
            f"The area is large: at its edge, cells of {cell_m} m (pyramid level {level}) stand for those below them,"
            " of which they are means (habitats: the most frequent one).",
        )
    return notes


def _species(snapshot: Snapshot, result: Tally, threshold: float) -> tuple[list[AreaSpecies], int]:
    """Listed species, the most probable first, and the number of mapped cells."""
    figures = result.figures.get("species")
    if figures is None:
        return [], 0
    table = snapshot.catalogue.species
    rows = {str(name): row for row, name in enumerate(table.get("scientific_name", ()))}
    set_cells = result.figures["composition"]["listed"] if result.exact and "composition" in result.figures else None
    out = []
    for layer in snapshot.catalogue.find(product="species"):
        (index,) = layer.lead
        count, highest = int(figures["cells"][index]), float(figures["highest"][index]) * layer.scale
        if count and highest >= threshold:
            total, row = float(figures["steps"][index]) * layer.scale, rows.get(layer.title)
            out.append(_species_row(layer, table, row, count, total, highest, set_cells))
    out.sort(key=lambda entry: (-entry.mean_probability, entry.name))
    return out, int(figures["cells"].max(initial=0))


def _species_row(
    layer: MapLayer, table: Any, row: int | None, count: int, total: float, highest: float, set_cells: Any
) -> AreaSpecies:
    return AreaSpecies(
        id=layer.id,
        name=layer.title,
        vernacular="" if row is None else text(table, "vernacular_name", row),
        coverage=None if set_cells is None or row is None else rounded(int(set_cells[row]) / count),
        mean_probability=rounded(total / count),
        highest_probability=rounded(highest),
        expected_cells=rounded(total),
        **({} if row is None else species_status(table, row)),
    )


def _counts(species: list[AreaSpecies]) -> Counts:
    def count(members: list[AreaSpecies]) -> Count:
        return Count(species=len(members), expected_per_plot=rounded(sum(s.mean_probability for s in members)))

    return Counts(
        listed=count(species),
        threatened=count([s for s in species if s.iucn in THREATENED]),
        protected=count([s for s in species if s.protected]),
        invasive=count([s for s in species if s.invasive]),
        endemic=count([s for s in species if s.endemic]),
    )


def _indicators(snapshot: Snapshot, result: Tally) -> list[AreaIndicator]:
    out = []
    for layer in snapshot.catalogue.find(product="indicators"):
        name, figures = layer.id.removeprefix("indicators."), result.figures["indicators"]
        if f"{name}.{BOUNDS[0]}" not in result.names:
            continue
        at = {bound: result.names.index(f"{name}.{bound}") for bound in BOUNDS}
        cells = {bound: int(figures["cells"][i]) for bound, i in at.items()}
        if cells["estimate"]:
            # An indicator may have no interval, and its bounds then hold no data.
            means = {b: _value(layer, figures["steps"][i] / cells[b]) if cells[b] else None for b, i in at.items()}
            lowest, highest = (_value(layer, figures[end][at["estimate"]]) for end in ("lowest", "highest"))
            out.append(
                AreaIndicator(
                    id=layer.id,
                    title=layer.title,
                    units=layer.units,
                    cells=cells["estimate"],
                    mean=means["estimate"] or 0.0,
                    lower=means["lower"],
                    upper=means["upper"],
                    lowest=lowest,
                    highest=highest,
                )
            )
    return out


def _value(layer: MapLayer, stored_value: float) -> float:
    return rounded(float(stored_value) * layer.scale + layer.offset)


def _habitats(snapshot: Snapshot, result: Tally) -> list[AreaHabitats]:
    out = []
    for layer in snapshot.catalogue.find(product="habitats"):
        if layer.kind != "class":
            continue
        level = layer.id.removeprefix("habitats.")
        counts, classes = result.figures["habitats"][level], {entry.value: entry for entry in layer.classes}
        total = int(counts.sum())
        shares = [
            HabitatShare(
                value=classes[value].code or value if value in classes else value,
                label=classes[value].label if value in classes else f"class {value}",
                colour=classes[value].colour if value in classes else "#808080",
                share=rounded(counts[value] / total),
                km2=rounded(counts[value] * CELL_KM2),
            )
            for value in sorted(np.flatnonzero(counts).tolist(), key=lambda value: -counts[value])
        ]
        out.append(AreaHabitats(level=level, title=layer.title, cells=total, shares=shares))
    return out
