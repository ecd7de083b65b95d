"""How long work speaks to a person: a progress bar with time left, or a line now and then, and reports of tables."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

say: Final = Console(stderr=True, soft_wrap=True)
PREDICT: Final = """Examples:

`floracube predict demo-out/config.yaml` in this process, the next version, published if it keeps its promises

`floracube predict CONFIG --workers 4` in four local processes, or of the `cluster:` that CONFIG names

`floracube predict CONFIG --scheduler tcp://head:8786 --version v3 --no-publish` on a dask cluster that runs already

`floracube predict CONFIG --products species,indicators` these alone as a new version, beside the others of the release

Killed or interrupted, run the same command again. `reports/predict-VERSION.html` tells how it went, `.jsonl` is the log."""
# Modules of each extra that a command imports by itself; clusters name theirs (`cube.engine.cluster`).
EXTRAS: Final = {
    "build": ("distributed",),
    "inference": ("torch", "transformers", "sklearn", "scipy", "safetensors", "accelerate"),
    "server": ("uvicorn", "fastapi", "morecantile", "starlette", "deflate", "prometheus_client", "numba", "shapely", "jinja2",
               "rio_tiler", "titiler"),
}  # fmt: skip
LINE_EVERY: Final = 60.0  # seconds between two lines of progress where the output is no terminal


@contextmanager
def bar(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar with time left; a plain line now and then where the output is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
               TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("[dim]{task.fields[what]}"))  # fmt: skip
    if say.is_terminal:
        with Progress(*columns, console=say, transient=True) as progress:
            task = progress.add_task(title, total=None, what="")

            def move(done: int, total: int, what: str) -> None:
                if progress.tasks[task].total is None:
                    # What an earlier run did is no measure of this one's speed.
                    progress.reset(task, completed=done, total=total, what=what)
                progress.update(task, completed=done, total=total, what=what)

            yield move
        return
    began: tuple[float, int] | None = None
    said = (-1, 0.0)  # tenth and time of the last line

    def line(done: int, total: int, what: str) -> None:
        nonlocal began, said
        now = time.monotonic()
        began = began or (now, done)
        tenth = 10 * done // max(total, 1)
        if tenth == said[0] and now - said[1] < LINE_EVERY:
            return
        said = (tenth, now)
        left = (now - began[0]) / max(done - began[1], 1) * (total - done)
        ahead = f", {datetime.timedelta(seconds=round(left))} left" if began[1] < done < total else ""
        say.print(f"{title}: {done}/{total} {what}{ahead}", highlight=False)

    yield line


def print_reports(reports: list[dict[str, Any]]) -> None:
    """What was kept of each table and what was left out, with the first few names."""
    for report in reports:
        kept = ", ".join(f"{n:,} {what}" for what, n in report["kept"].items())
        say.print(f"{report['title']}: {kept}", highlight=False)
        for reason, row in report["remarks"].items():
            names = ", ".join(row["first"]) + (", ..." if row["count"] > len(row["first"]) else "")
            named = f" ({names})" if row["first"] else ""
            say.print(f"  {row['count']:,} {reason}{named}", highlight=False, style="yellow")


def mend_of(module: str) -> str:
    """The command that installs what a missing module belongs to."""
    named = [extra for extra, modules in EXTRAS.items() if module.split(".")[0] in modules]
    return f"pip install 'floracube[{named[0]}]'" if named else "pip install --force-reinstall floracube"
