"""How the command line speaks to a person: progress, reports of tables, and errors as one sentence with an exit code.

What a command has found goes to standard output, everything else to standard error, so that a pipe gets the former alone.
"""

from __future__ import annotations

import datetime
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cube.errors import FloracubeError

say: Final = Console(stderr=True, soft_wrap=True)
ENDS: Final = """Every command says more with `--help`; `--json` prints what it has found for other programs.

Exit codes: 0 done; 1 done but for what is named, or a promise is broken; 2 a mistake that you can mend, told in one
sentence; 130 interrupted (Ctrl-C): run the same command again, it goes on where it was."""
PREDICT: Final = """Examples:

`floracube predict demo-out/config.yaml` in this process, the next version, published if it keeps its promises

`floracube predict CONFIG --workers 4` in four local processes, or of the `cluster:` that CONFIG names

`floracube predict CONFIG --scheduler tcp://head:8786 --version v3 --no-publish` on a dask cluster that runs already

`floracube predict CONFIG --products species,indicators` these alone as a new version, beside the others of the release

Killed or interrupted, run the same command again. `reports/predict-VERSION.html` tells how it went, `.jsonl` is the log."""
EXPORT: Final = """Examples:

`floracube export demo-out/cube.zarr indicators.richness richness.tif`

`floracube export demo-out/cube.zarr species.fagus_sylvatica beech.tif --level 1` pixels of 100 m

`floracube export demo-out/cube.zarr inputs.sentinel2.nir nir.tif --bbox 7.0,46.6,7.1,46.65` one band of a window

QGIS opens the file in the colours of the map, by the style `richness.qml` beside it."""
# Modules of each extra that a command imports by itself; clusters name theirs (`cube.engine.cluster`).
EXTRAS: Final = {
    "build": ("distributed",),
    "inference": ("torch", "transformers", "sklearn", "scipy", "safetensors", "accelerate"),
    "server": ("uvicorn", "fastapi", "morecantile", "starlette", "deflate", "prometheus_client", "numba", "shapely", "jinja2",
               "rio_tiler", "titiler"),
}  # fmt: skip
LINE_EVERY: Final = 60.0  # seconds between two lines of progress where the output is no terminal
SETTLED: Final = 0.05  # share of a stage after which its speed says something of the rest

Move = Callable[[int, int, str], None]


@contextmanager
def bar(title: str) -> Iterator[Move]:
    """A progress bar with steps and time left; a plain line now and then where the output is no terminal.

    What is called back takes steps done, steps in all, and what they are. Another sum is another stage, with a speed of its own.
    """
    if not say.is_terminal:
        yield _lines(title)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total} steps"),
               TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("[dim]{task.fields[what]}"))  # fmt: skip
    with Progress(*columns, console=say, transient=True) as progress:
        task = progress.add_task(title, total=None, what="")

        def move(done: int, total: int, what: str) -> None:
            if progress.tasks[task].total != total:
                # What an earlier run or stage did is no measure of this one's speed.
                progress.reset(task, completed=done, total=total, what=what)
            progress.update(task, completed=done, total=total, what=what)

        yield move


def _lines(title: str) -> Move:
    stage: tuple[int, float, int] | None = None  # steps in all, when it began, and at which step
    said = (-1, 0.0)  # tenth and time of the last line

    def line(done: int, total: int, what: str) -> None:
        nonlocal stage, said
        now = time.monotonic()
        if stage is None or stage[0] != total or done < stage[2]:
            stage, said = (total, now, done), (-1, 0.0)
        tenth = 10 * done // max(total, 1)
        if tenth == said[0] and now - said[1] < LINE_EVERY:
            return
        said = (tenth, now)
        _, began, first = stage
        ahead = ""
        if done < total and done - first > SETTLED * (total - first):
            ahead = f", {datetime.timedelta(seconds=round((now - began) / (done - first) * (total - done)))} left"
        say.print(f"{title}: {done}/{total} steps, {what}{ahead}", highlight=False, markup=False)

    return line


def print_reports(reports: list[dict[str, Any]]) -> None:
    """What was kept of each table and what was left out, with the first few names."""
    for report in reports:
        kept = ", ".join(f"{n:,} {what}" for what, n in report["kept"].items())
        say.print(f"{report['title']}: {kept}", highlight=False)
        for reason, row in report["remarks"].items():
            names = ", ".join(row["first"]) + (", ..." if row["count"] > len(row["first"]) else "")
            named = f" ({names})" if row["first"] else ""
            say.print(f"  {row['count']:,} {reason}{named}", highlight=False, style="yellow")


def print_metrics(metrics: Mapping[str, Any], before: str = "") -> None:
    """A line for each figure, four digits of it, `part: name` where they come in parts."""
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            print_metrics(value, f"{before}{name}: ")
        else:
            shown = value if not isinstance(value, int | float) or isinstance(value, bool) else _figure(value)
            say.print(f"  {before}{name}: {shown}", highlight=False, markup=False)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"


def print_result(result: dict[str, Any], as_json: bool) -> None:
    """What a training has found: its metrics and the reports of its tables."""
    if as_json:
        print(json.dumps({"metrics": result["metrics"], "reports": result["reports"]}, indent=1, default=float))
        return
    print_reports(result["reports"])
    print_metrics(result["metrics"])


def fail_if(failures: list[str], mend: str) -> None:
    """Name what failed for good and how it is mended, and end with exit code 1; nothing where nothing failed."""
    for failure in failures:
        say.print(f"failed: {failure}", style="red", highlight=False, markup=False)
    if failures:
        say.print(f"{len(failures)} failed; everything else is done. {mend}", highlight=False, markup=False)
        raise typer.Exit(1)


def run(app: typer.Typer) -> None:
    """Run a command line; what goes wrong is a sentence on standard error, and the exit code is one of `ENDS`."""
    try:
        app(standalone_mode=True)
    except FloracubeError as error:
        say.print(f"floracube: {error}", style="red", highlight=False, markup=False)
        sys.exit(2)
    except ModuleNotFoundError as error:
        say.print(f"floracube: '{error.name}' is not installed; run `{mend_of(str(error.name))}`.", style="red", markup=False)
        sys.exit(2)
    except SystemExit as end:
        if end.code == 130:  # how typer ends on KeyboardInterrupt
            say.print("Interrupted; run the same command again to go on where it was.", style="yellow")
        raise


def mend_of(module: str) -> str:
    """The command that installs what a missing module belongs to."""
    named = [extra for extra, modules in EXTRAS.items() if module.split(".")[0] in modules]
    return f"pip install 'floracube[{named[0]}]'" if named else "pip install --force-reinstall floracube"
