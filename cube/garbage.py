"""What a cube no longer needs: versions and ledgers that no release names, and what kills left; found, told, removed.

Whatever any release names stays, and so does what a living run holds (`lock`). A version is removed under the lock that a
run of it would take, its receipts first: cut off at any moment, what is left of it is no version that anybody believes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final, Literal

from cube import standing
from cube.errors import WorkersError
from cube.info import size_text
from cube.inputs import INPUTS
from cube.storage import backends, lock, releases
from cube.storage.shardfile import is_whole_shard
from cube.storage.store import CubeStore, resolution_of

Kind = Literal["version", "ledger", "orphan"]
SETTLED: Final = 600.0  # seconds after which a temporary file that is still there belongs to nobody


@dataclass(frozen=True)
class Garbage:
    """One thing that nobody needs: a folder of a version or of its receipts, or a file that a kill left."""

    path: str  # below the cube
    kind: Kind
    why: str
    files: int
    size: int  # bytes


@dataclass(frozen=True)
class Collected:
    """What was found (and removed, unless it was a dry run), and what was left since a living run holds it."""

    garbage: list[Garbage]
    held: list[str]

    @property
    def size(self) -> int:
        """Bytes of all garbage."""
        return sum(one.size for one in self.garbage)

    def text(self) -> str:
        """A line each, and the sum, for a person."""
        lines = [f"{one.kind:<8} {one.files:>8,} files {size_text(one.size):>9}  {one.path} ({one.why})" for one in self.garbage]
        files = sum(one.files for one in self.garbage)
        lines.append(f"{'all':<8} {files:>8,} files {size_text(self.size):>9}")
        return "\n".join([*lines, *(f"kept: {sentence}" for sentence in self.held)])


def collect(cube: CubeStore, dry_run: bool = False, keep: tuple[str, ...] = (), forget: tuple[str, ...] = ()) -> Collected:
    """Remove what no release names and no living run holds, or only tell with `dry_run`; versions in `keep` stay.

    The releases in `forget` are removed first. Raises `CubeError` for one of them that readers follow or may go back to,
    and for a damaged release: what it names is not known, so nothing may be removed.
    """
    found: list[Garbage] = []
    held: list[str] = []
    for release in forget:
        releases.forget(cube, release, dry_run)
    for version in sorted(_versions(cube) - set(keep)):
        some = list(_of_version(cube, version, forget))
        if not some:
            continue
        who = lock.holder(cube, f"predict/{version}") or lock.holder(cube, "predict")
        if who is not None:
            held.append(f"version {version}, which {who} is writing")
            continue
        if dry_run:
            found += some
            continue
        try:
            with lock.held(cube, f"predict/{version}") as still_ours:
                for one in _of_version(cube, version, forget):  # asked again: a release may have been written meanwhile
                    still_ours()
                    cube.remove_tree(one.path)
                    found.append(one)
        except WorkersError as error:
            held.append(f"version {version} ({error})")
    for one in _orphans(cube, held):
        found.append(one)
        if not dry_run:
            cube.remove_tree(one.path)
    return Collected(found, held)


def _versions(cube: CubeStore) -> set[str]:
    """Every version that has a folder, whether it is a whole one or not."""
    folders = [*(f"products/{product}" for product in releases.PRODUCTS), "ledger/predict"]
    return {name for folder in folders for name in cube.folders(folder)}


def _of_version(cube: CubeStore, version: str, forgotten: tuple[str, ...]) -> Iterator[Garbage]:
    """The folders of a version that no release names, receipts first: without them its values are believed by nobody."""
    named = releases.named(cube, forgotten)
    if version not in set().union(*named.values()):
        yield from _folder(cube, f"ledger/predict/{version}", "ledger", "receipts of no release")
    for product in releases.PRODUCTS:
        if version not in named.get(product, set()):
            yield from _folder(cube, f"products/{product}/{version}", "version", "in no release")


def _folder(cube: CubeStore, path: str, kind: Kind, why: str) -> Iterator[Garbage]:
    sizes = cube.sizes(path)
    if sizes:
        yield Garbage(path, kind, why, len(sizes), sum(sizes.values()))


def _orphans(cube: CubeStore, held: list[str]) -> Iterator[Garbage]:
    """Temporary files and truncated shards of kills; an object store has neither, since an object appears whole or not."""
    folder = backends.local_path(cube.url)
    if folder is None:
        return
    who = lock.holder(cube, "inputs")
    if who is not None:
        held.append(f"temporary files, since {who} is writing inputs")
    elif not held:
        for file in sorted(folder.rglob("*.partial")):
            yield from _file(folder, file, "a write that was cut off", SETTLED)
        for file in sorted(_truncated(cube, folder)):
            yield from _file(folder, file, "a truncated shard of a unit without a receipt", 0.0)


def _file(folder: Path, file: Path, why: str, age: float) -> Iterator[Garbage]:
    try:
        about = file.stat()
    except FileNotFoundError:
        return
    if time.time() - about.st_mtime >= age:
        yield Garbage(str(file.relative_to(folder)), "orphan", why, 1, about.st_size)


def _truncated(cube: CubeStore, folder: Path) -> Iterator[Path]:
    """Shards of inputs that are not whole and that no receipt vouches for; one that a receipt names is `check`'s to tell."""
    stages = standing.stages_by_layer(cube)
    for name in standing.held_inputs(cube):
        layer, array = INPUTS[name], cube.array(INPUTS[name].path)
        if array.shards is None:
            continue
        done = set(stages[name].done) if name in stages else set()
        side = array.shards[-1]
        squares = {unit.name: cube.region.square(unit, resolution_of(layer)) for unit in cube.region.units()}
        vouched = {(s.row // side, s.col // side) for unit, s in squares.items() if unit in done}
        chunks = prod(outer // inner for outer, inner in zip(array.shards, array.chunks, strict=True))
        for file in (folder / layer.path / "c").rglob("*"):
            if not file.is_file() or not file.name.isdigit():
                continue
            if (int(file.parent.name), int(file.name)) not in vouched and not is_whole_shard(file, chunks):
                yield file
