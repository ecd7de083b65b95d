"""Loss curves of a training: TensorBoard events while it runs, one picture afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Final

from inference.evaluation.pictures import new_figure, save_figure
from inference.training.loop import Watch

PICTURE: Final = "curves.png"
EVENTS: Final = "events"
SCALARS: Final = ("loss", "rate")

Row = dict[str, float]


@contextmanager
def watching(folder: Path | None, member: int) -> Iterator[Watch]:
    """What a member's rows are shown to: TensorBoard events below `folder` (None: nobody), a run of its own each.

    A resumed training writes a further file, whose first step tells TensorBoard to forget what an earlier one wrote of it
    and after.
    """
    if folder is None:
        yield lambda row: None
        return
    from tensorboardX import SummaryWriter  # type: ignore[import-untyped]

    writers: list[SummaryWriter] = []

    def show(row: Row) -> None:
        step = int(row["step"])
        if not writers:  # a member that was finished before shows nothing and gets no file
            writers.append(SummaryWriter(str(folder / EVENTS / f"member{member}"), purge_step=step, flush_secs=5))
        for name in SCALARS:
            if name in row:
                writers[0].add_scalar(name, row[name], step)
        writers[0].flush()

    try:
        yield show
    finally:
        for writer in writers:
            writer.close()


def draw_curves(history: Sequence[Row], path: Path) -> None:
    """A PNG of the losses of all members over their steps.

    `history`: rows of `fit_member`, members one after the other. Nothing is drawn of no rows.
    """
    if not history:
        return
    figure = new_figure(7, 4)
    axes = figure.add_subplot()
    for number, (_, member) in enumerate(groupby(history, lambda row: row["seed"])):
        rows = list(member)
        steps = [row["step"] for row in rows]
        axes.plot(steps, [row["loss"] for row in rows], color=f"C{number % 10}", linewidth=0.8, label=f"member {number + 1}")
    axes.set_xlabel("step")
    axes.set_ylabel("negative log likelihood")
    axes.set_title("Training")
    if len(axes.lines) <= 24:
        axes.legend(fontsize="x-small", frameon=False)
    save_figure(figure, path, 120)
