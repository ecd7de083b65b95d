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
    selection: list[Scene] = []
    by_frame: dict[tuple[Any, ...], list[int]] = {}
    for scene in scenes:
        places = by_frame.setdefault((*scene.frame, scene.epsg), [])
        same = next((place for place in places if _one_acquisition(selection[place], scene)), None)
        if same is None:
            places.append(len(selection))
            selection.append(scene)
        elif (not scene.flaw, scene.newness) > (not selection[same].flaw, selection[same].newness):
            selection[same] = scene
    return tuple(selection)


def _one_acquisition(first: Scene, second: Scene) -> bool:
    if first.id == second.id:
        return True
    if abs(first.moment - second.moment) > SAME_MOMENT:
        return False
    if first.outline is None or second.outline is None:
        return True
    overlap_m2 = first.outline.intersection(second.outline).area
    return bool(overlap_m2 >= 0.5 * min(first.outline.area, second.outline.area))
