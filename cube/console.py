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
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from cube.errors import CubeError, FloracubeError

if TYPE_CHECKING:
    from cube.engine.inspect_config import Understood
    from cube.engine.plan import Plan

say: Final = Console(stderr=True, soft_wrap=True)
ENDS: Final = """Every command says more with `--help`; `--json` prints what it has found for other programs.

Exit codes: 0 done; 1 done but for what is named, or a rule is broken; 2 a mistake that you can fix, told in one
sentence; 130 interrupted (Ctrl-C): run the same command again to resume."""
PREDICT: Final = """Examples:

`floracube predict demo-out/config.yaml` in this process, the next version, published if it keeps the rules

`floracube predict CONFIG --workers 4` in four local processes, or of the `cluster:` that CONFIG names

`floracube predict CONFIG --scheduler tcp://head:8786 --version v3 --no-publish` on a dask cluster that runs already

`floracube predict CONFIG --products species,indicators` these alone as a new version, beside the others of the release

Killed or interrupted, run the same command again. `reports/predict-VERSION.json` tells how it went, `.jsonl` is the log."""
EXPORT: Final = """Examples:

`floracube export demo-out/cube.zarr indicators.richness richness.tif`

`floracube export demo-out/cube.zarr "Fagus sylvatica" beech.tif --level 1` pixels of 100 m

`floracube export demo-out/cube.zarr species species.tif` all species, a band each

`floracube export demo-out/cube.zarr inputs.sentinel2.nir nir.tif --bbox 7.0,46.6,7.1,46.65` one band of a window

QGIS opens the file in the colours of the map, by the style `richness.qml` beside it."""
# Modules of each extra that a command imports by itself; clusters name theirs (`cube.engine.cluster`).
EXTRAS: Final = {
    "build": ("distributed", "stackstac"),
    "inference": ("torch", "transformers", "sklearn", "scipy", "safetensors", "accelerate"),
    "server": (
        "uvicorn",
        "fastapi",
        "morecantile",
        "starlette",
        "isal",
        "prometheus_client",
        "numba",
        "jinja2",
        "rio_tiler",
        "titiler",
    ),
}
LINE_EVERY: Final = 60.0  # seconds between two lines of progress where the output is no terminal
MIN_SHARE: Final = 0.05  # share of a stage after which its speed says something of the rest

Move = Callable[[int, int, str], None]


class Pace:
    """How fast a stage goes: the time left, where that can be told. Another sum, or fewer steps done, is another stage."""

    def __init__(self) -> None:
        """No stage yet."""
        self.total, self.steps_done, self._first, self._began, self._last = -1, 0, 0, 0.0, 0.0

    def note(self, steps_done: int, total: int, now: float) -> bool:
        """Take over steps done, steps in all (0: unknown) and the time in seconds; True where a stage begins."""
        new = total != self.total or steps_done < self.steps_done
        if new:
            self.total, self._first, self._began, self._last = total, steps_done, now, now
        elif steps_done > self.steps_done:
            self._last = now
        self.steps_done = steps_done
        return new

    def seconds_left(self, now: float) -> float | None:
        """Seconds left at `now`; None before the pace has settled, without a sum, and once the estimate is overdue.

        The pace is that of the finished steps, so the estimate runs down while a step takes its time and never stays at 0.
        """
        finished_steps = self.steps_done - self._first
        if not 0 < self.steps_done < self.total or finished_steps <= MIN_SHARE * (self.total - self._first):
            return None
        estimate = (self._last - self._began) / finished_steps * (self.total - self.steps_done) - (now - self._last)
        return estimate if estimate >= 1 else None

    def text(self, now: float) -> str:
        """` 0:01:30 left` for a person; empty where that cannot be told."""
        seconds = self.seconds_left(now)
        return "" if seconds is None else f"{datetime.timedelta(seconds=round(seconds))} left"

    def steps(self) -> str:
        """`3/10 steps`; steps alone where their sum is unknown."""
        return (
            f"{self.steps_done}/{self.total} steps" if self.total > 0 else f"{self.steps_done} steps" if self.steps_done else ""
        )


class _OfPace(ProgressColumn):
    """A column of a `Pace`."""

    def __init__(self, show: Callable[[float], str]) -> None:
        super().__init__()
        self._show = show

    def render(self, task: Task) -> Text:
        """The column's text now."""
        return Text(self._show(time.monotonic()))


@contextmanager
def bar(title: str) -> Iterator[Move]:
    """A progress bar with steps and time left; a plain line now and then where the output is no terminal.

    What is called back takes steps done, steps in all (0: unknown), and what they are. Another sum is another stage, with a speed
    of its own.
    """
    if not say.is_terminal:
        yield _lines(title)
        return
    pace = Pace()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        _OfPace(lambda now: pace.steps()),
        TimeElapsedColumn(),
        _OfPace(pace.text),
        TextColumn("[dim]{task.fields[what]}"),
    )
    with Progress(*columns, console=say, transient=True) as progress:
        task = progress.add_task(title, total=None, what="")

        def move(steps_done: int, total: int, what: str) -> None:
            known_total = total if total > 0 else None
            if pace.note(steps_done, total, time.monotonic()):
                # What an earlier run or stage did is no measure of this one's speed.
                progress.reset(task, completed=steps_done, total=known_total, what=what)
            progress.update(task, completed=steps_done, total=known_total, what=what)

        yield move


def _lines(title: str) -> Move:
    pace = Pace()
    last = (-1, 0.0)  # tenth (or step, where their sum is unknown) and time of the last line

    def line(steps_done: int, total: int, what: str) -> None:
        nonlocal last
        now = time.monotonic()
        new = pace.note(steps_done, total, now)
        tenth = 10 * steps_done // total if total > 0 else steps_done
        if not new and tenth == last[0] and now - last[1] < LINE_EVERY:
            return
        last = (tenth, now)
        parts = [part for part in (pace.steps(), what, pace.text(now)) if part]
        say.print(f"{title}: {', '.join(parts)}", highlight=False, markup=False)

    return line


def print_reports(reports: list[dict[str, Any]]) -> None:
    """What was kept of each table and what was left out, with the first few names."""
    for report in reports:
        totals_text = ", ".join(f"{n:,} {what}" for what, n in report["kept"].items())
        say.print(f"{report['title']}: {totals_text}", highlight=False)
        for reason, row in report["remarks"].items():
            names = ", ".join(row["first"]) + (", ..." if row["count"] > len(row["first"]) else "")
            names_text = f" ({names})" if row["first"] else ""
            say.print(f"  {row['count']:,} {reason}{names_text}", highlight=False, style="yellow")


def print_metrics(metrics: Mapping[str, Any], prefix: str = "") -> None:
    """A line for each figure, four digits of it, `part: name` where they come in parts."""
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            print_metrics(value, f"{prefix}{name}: ")
        else:
            value_text = value if not isinstance(value, int | float) or isinstance(value, bool) else _figure(value)
            say.print(
                f"  {prefix}{name}: {value_text}", highlight=False, markup=False, style="yellow" if name == "warning" else None
            )


def _figure(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"


def print_result(result: dict[str, Any], as_json: bool, location: str) -> None:
    """What a training has found: its metrics, the reports of its tables, its skill on the blocks left out, and its `location`."""
    if as_json:
        print(json.dumps({"metrics": result["metrics"], "reports": result["reports"]}, indent=1, default=float))
    else:
        print_reports(result["reports"])
        print_metrics(result["metrics"])
        for table in result["tables"]:
            print(f"\n{table}")
    say.print(location, highlight=False)


def print_plan(plan: Plan, problems: list[str], notes: list[str], as_json: bool) -> None:
    """Print a plan, what is missing or built already, and what is wrong with its files; exit code 2 where something is."""
    print(json.dumps({**plan.document(), "problems": problems, "notes": notes}, indent=1) if as_json else plan.text())
    say_problems(notes, problems)


def say_problems(notes: list[str], problems: list[str]) -> None:
    """Print what should be looked at and what is wrong; exit code 2 where something is."""
    for note in notes:
        say.print(note, style="yellow", highlight=False, markup=False)
    for problem in problems:
        say.print(problem, style="red", highlight=False, markup=False)
    if problems:
        raise typer.Exit(2)


def print_understood(understood: Understood, html: Path | None, as_json: bool) -> None:
    """Print what is understood of a configuration and write it as the page `html`; exit code 2 where a build would refuse.

    Raises `CubeError` where the page cannot be written.
    """
    from cube.engine import inspect_page, inspect_text  # here: what lists commands needs no arrays

    notes = inspect_text.notes(understood)
    document = {**understood.document(), "notes": notes}
    print(json.dumps(document, indent=1, default=str) if as_json else inspect_text.text(understood))
    if html is not None:
        try:
            html.write_text(inspect_page.page(understood), encoding="utf-8")
        except OSError as error:
            raise CubeError(f"--html: {html} cannot be written ({error.strerror}); name another file.") from None
        say.print(f"The page is {html}.", highlight=False)
    say_problems(notes, understood.problems)


def print_built(report: Path, cube: str, failures: list[str], as_json: bool) -> None:
    """Print how much of the region each input has values for, and what was refused, as the `report` of a build says it."""
    from cube.sources.coverage import COMPLETE_SHARE  # here: what lists commands needs no arrays

    document = json.loads(report.read_text(encoding="utf-8")) if report.is_file() else {}
    document_parts = {key: document.get(key, []) for key in ("coverage", "warnings")}
    if as_json:
        print(json.dumps({"cube": cube, "complete": not failures, "failures": failures, **document_parts}, indent=1))
        return
    for row in document_parts["coverage"]:
        say.print(row["line"], style=None if row["least_share"] > COMPLETE_SHARE else "yellow", highlight=False, markup=False)
    for warning in document_parts["warnings"]:
        times = f" ({warning['times']} units)" if warning["times"] > 1 else ""
        say.print(f"warning: {warning['text']}{times}", style="yellow", highlight=False, markup=False)


def print_published(cube: str, release: str, is_current: bool, broken_rules: list[str], as_json: bool) -> None:
    """Say whether readers follow a release now; exit code 1 where they do not, because of the `broken_rules`."""
    if as_json:
        print(json.dumps({"cube": cube, "release": release, "followed": is_current, "broken": broken_rules}, indent=1))
    for sentence in broken_rules:
        say.print(f"broken: {sentence}", style="red", highlight=False, markup=False)
    if not is_current:
        say.print(f"Release {release} is not published; readers of {cube} follow what they followed.", highlight=False)
        raise typer.Exit(1)
    say.print(f"Readers of {cube} follow release {release}.", highlight=False)


def fail_if(failures: list[str], fix: str) -> None:
    """Name what failed for good and how it is fixed, and end with exit code 1; nothing where nothing failed."""
    for failure in failures:
        say.print(f"failed: {failure}", style="red", highlight=False, markup=False)
    if failures:
        say.print(f"{len(failures)} failed; everything else is done. {fix}", highlight=False, markup=False)
        raise typer.Exit(1)


def run(app: typer.Typer) -> None:
    """Run a command line; what goes wrong is a sentence on standard error, and the exit code is one of `ENDS`."""
    try:
        app(standalone_mode=True)
    except FloracubeError as error:
        say.print(f"floracube: {error}", style="red", highlight=False, markup=False)
        sys.exit(2)
    except ModuleNotFoundError as error:
        say.print(f"floracube: '{error.name}' is not installed; run `{fix_of(str(error.name))}`.", style="red", markup=False)
        sys.exit(2)
    except SystemExit as end:
        if end.code == 130:  # how typer ends on KeyboardInterrupt
            say.print("Interrupted; run the same command again to resume.", style="yellow")
        raise


def fix_of(module: str) -> str:
    """The command that installs what a missing module belongs to."""
    extras = [extra for extra, modules in EXTRAS.items() if module.split(".")[0] in modules]
    return f"pip install 'floracube[{extras[0]}]'" if extras else "pip install --force-reinstall floracube"
