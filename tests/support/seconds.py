"""Write `tests/seconds.json`, by which pytest takes the longest files first, from the report of a run.

python -m pytest -n 2 --junitxml /tmp/run.xml
python -m tests.support.seconds /tmp/run.xml
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

OUT = Path(__file__).parents[1] / "seconds.json"
MIN_SECONDS = 3.0  # seconds of a file that is worth a line


def main(report: str) -> None:
    """Read the JUnit XML at `report`."""
    seconds: dict[str, float] = defaultdict(float)
    for case in ElementTree.parse(report).iter("testcase"):
        module = case.attrib["classname"].replace(".", "/")
        path = next((f"{p}.py" for p in (module, module.rpartition("/")[0]) if (OUT.parents[1] / f"{p}.py").is_file()), None)
        if path:
            seconds[path] += float(case.attrib["time"])
    rows = {path: round(value) for path, value in sorted(seconds.items(), key=lambda row: -row[1]) if value >= MIN_SECONDS}
    OUT.write_text(json.dumps(rows, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
