"""The log of a run: one JSON object a line, written as things happen, so that a run that was killed has told so far.

Every line has `time` (UTC) and `event`; what else it has depends on the event:

begin   title, cube, units (all), ready (valid before), squares, where (`this process` or the kind of cluster), dashboard
unit    layer, unit, state (`built` or `failed`), seconds, cells, tries, steps (seconds by step), error
square  layer, square, level, state (`built`, `failed`, `waiting`), error
note    text: what a person should know, such as that no worker is there
end     ended (`complete`, `with failures`, `interrupted` or a sentence), seconds, cells, failed, release

A run that resumes another one appends to its file. Keys without a value are left out.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any


class Journal:
    """A file of JSON lines; a disk that is full takes no more lines and stops nothing."""

    def __init__(self, path: Path) -> None:
        """`path` is made with its folder when the first line is written."""
        self.path = path

    def write(self, event: str, **keys: Any) -> None:
        """Append one line at once: a line is whole or, after a kill in between, the last and cut off."""
        line = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "event": event}
        line |= {key: value for key, value in keys.items() if value not in (None, "", {})}
        # The log tells of the work; it must not be what ends it.
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file:
                if file.tell() and not _ends_a_line(file):
                    file.write(b"\n")
                file.write((json.dumps(line, ensure_ascii=False) + "\n").encode())


def _ends_a_line(file: Any) -> bool:
    """Whether the last byte is a line's end; after a kill in the middle of a line it is not."""
    file.seek(-1, 2)
    return bool(file.read(1) == b"\n")
