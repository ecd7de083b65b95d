"""One scene for each acquisition, however often a catalogue lists it: repeated items, and several processings of one picture."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cube.sources.stac import Scene

SAME_MOMENT: Final = datetime.timedelta(seconds=2)  # catalogues give the moments of two processings a millisecond apart


def one_per_acquisition(scenes: Sequence[Scene]) -> tuple[Scene, ...]:
    """The newest processing of every acquisition, in the order of the first of each; usable ones before all others.

    Two scenes are of one acquisition where satellite, tile and moment (to `SAME_MOMENT`) agree and the smaller footprint
    lies in the other for the most part: a tile that two downlinks cut in two is two scenes.
    """
    chosen: list[Scene] = []
    by_frame: dict[tuple[Any, ...], list[int]] = {}
    for scene in scenes:
        places = by_frame.setdefault((*scene.frame, scene.epsg), [])
        same = next((place for place in places if _one_acquisition(chosen[place], scene)), None)
        if same is None:
            places.append(len(chosen))
            chosen.append(scene)
        elif (not scene.flaw, scene.newness) > (not chosen[same].flaw, chosen[same].newness):
            chosen[same] = scene
    return tuple(chosen)


def _one_acquisition(one: Scene, other: Scene) -> bool:
    if one.id == other.id:
        return True
    if abs(one.moment - other.moment) > SAME_MOMENT:
        return False
    if one.outline is None or other.outline is None:
        return True
    shared = one.outline.intersection(other.outline).area
    return bool(shared >= 0.5 * min(one.outline.area, other.outline.area))
