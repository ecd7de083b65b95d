"""What a cube no longer needs: versions and ledgers that no release names, and what kills left; found, told, removed.

Whatever any release names stays, and so does what a living run holds (`lock`). A version is removed under the lock that a
run of it would take, its receipts first: cut off at any moment, what is left of it is no version that anybody believes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final, Literal

from rich.filesize import decimal

from cube.errors import WorkersError
from cube.storage import backends, lock, releases
from cube.storage.ledger import receipts
from cube.storage.progress import input_stages
from cube.storage.store import CubeStore, resolution_of
from cube.storage.whole_shards import is_whole_shard

Kind = Literal["version", "ledger", "orphan"]
STALE_AFTER: Final = 600.0  # seconds after which a temporary file that is still there belongs to nobody


@dataclass(frozen=True)
class Garbage:
    """One thing that nobody needs: a folder of a version or of its receipts, or a file that a kill left."""

    path: str  # below the cube
    kind: Kind
    why: str
    files: int
    size: int  # bytes


@dataclass(frozen=True)
class Findings:
    """What was found (and removed, unless it was a dry run), and what was left since a living run holds it."""

    garbage: list[Garbage]
    in_use: list[str]

    @property
    def size(self) -> int:
        """Bytes of all garbage."""
        return sum(item.size for item in self.garbage)

    def text(self) -> str:
        """A line each, and the sum, for a person."""
        lines = [
            f"{item.kind:<8} {item.files:>8,} files {decimal(item.size):>9}  {item.path} ({item.why})" for item in self.garbage
        ]
        files = sum(item.files for item in self.garbage)
        lines.append(f"{'all':<8} {files:>8,} files {decimal(self.size):>9}")
        return "\n".join([*lines, *(f"kept: {sentence}" for sentence in self.in_use)])


def collect(cube: CubeStore, dry_run: bool = False, keep: tuple[str, ...] = (), forget: tuple[str, ...] = ()) -> Findings:
    """Remove what no release names and no living run holds, or only tell with `dry_run`; versions in `keep` stay.

    The releases in `forget` are removed first. Raises `CubeError` for one of them that readers follow or may go back to,
    and for a damaged release: what it names is not known, so nothing may be removed.
    """
    for release in forget:
        releases.forget(cube, release, dry_run)
    collection = Findings([], [])
    for version in sorted(_versions(cube)):
        with _locked(cube, f"predict/{version}", f"version {version}", dry_run, collection) as still_ours:
            if still_ours is None:
                continue
            if version not in keep:
                _remove(cube, _of_version(cube, version, forget), dry_run, collection, still_ours)
            folders = [f"ledger/predict/{version}", *(f"products/{product}/{version}" for product in releases.PRODUCTS)]
            _remove(cube, _cut_off(cube, folders), dry_run, collection, still_ours)
    with _locked(cube, "inputs", "inputs", dry_run, collection) as still_ours:
        if still_ours is not None:
            _remove(cube, _cut_off(cube, ["inputs", "ledger/inputs"]), dry_run, collection, still_ours)
            _remove(cube, _cut_blocks(cube), dry_run, collection, still_ours)
    _remove(cube, _cut_off(cube, [""], deep=False), dry_run, collection)
    return collection


@contextmanager
def _locked(cube: CubeStore, stage: str, what: str, dry_run: bool, collection: Findings) -> Iterator[Callable[[], None] | None]:
    """Hold the lock of a stage while it is walked, so that no run of it begins meanwhile; None where a living run has it.

    A dry run takes no lock: it changes nothing.
    """
    who = lock.holder(cube, stage)
    if who is not None:
        collection.in_use.append(f"{what}, which {who} is writing")
        yield None
    elif dry_run:
        yield lambda: None
    else:
        with ExitStack() as stack:
            still_ours = None
            try:
                still_ours = stack.enter_context(lock.hold(cube, stage))
            except WorkersError as error:  # taken since the question
                collection.in_use.append(f"{what} ({error})")
            yield still_ours


def _remove(
    cube: CubeStore,
    garbage: Iterable[Garbage],
    dry_run: bool,
    collection: Findings,
    still_ours: Callable[[], None] = lambda: None,
) -> None:
    for item in garbage:
        still_ours()
        if not dry_run:
            cube.remove_tree(item.path)
        collection.garbage.append(item)


def _versions(cube: CubeStore) -> set[str]:
    """Every version that has a folder, whether it is a whole one or not."""
    folders = [*(f"products/{product}" for product in releases.PRODUCTS), "ledger/predict"]
    return {name for folder in folders for name in cube.folders(folder)}


def _of_version(cube: CubeStore, version: str, forgotten_releases: tuple[str, ...]) -> Iterator[Garbage]:
    """The folders of a version that no release names, receipts first: without them its values are believed by nobody."""
    named_versions = releases.named_versions(cube, forgotten_releases)
    if version not in set().union(*named_versions.values()):
        yield from _folder(cube, f"ledger/predict/{version}", "ledger", "receipts of no release")
    for product in releases.PRODUCTS:
        if version not in named_versions.get(product, set()):
            yield from _folder(cube, f"products/{product}/{version}", "version", "in no release")


def _folder(cube: CubeStore, path: str, kind: Kind, why: str) -> Iterator[Garbage]:
    sizes = cube.sizes(path)
    if sizes:
        yield Garbage(path, kind, why, len(sizes), sum(sizes.values()))


def _cut_off(cube: CubeStore, folders: Iterable[str], deep: bool = True) -> Iterator[Garbage]:
    """Temporary files that kills left; an object store has none, since an object appears whole or not."""
    root = backends.local_path(cube.url)
    if root is None:
        return
    for folder in folders:
        path = root / folder
        for file in sorted(path.rglob("*.partial") if deep else path.glob("*.partial")):
            yield from _file(root, file, "a write that was cut off", STALE_AFTER)


def _file(folder: Path, file: Path, why: str, age: float) -> Iterator[Garbage]:
    try:
        status = file.stat()
    except FileNotFoundError:
        return
    if time.time() - status.st_mtime >= age:
        yield Garbage(str(file.relative_to(folder)), "orphan", why, 1, status.st_size)


def _cut_blocks(cube: CubeStore) -> Iterator[Garbage]:
    """Shards of inputs that are not whole and that no receipt vouches for; one that a receipt names is `check`'s to tell."""
    folder = backends.local_path(cube.url)
    if folder is None:
        return
    layers = cube.layers()
    for stage in input_stages(cube):
        units_with_receipts = {name for name, _ in receipts(cube, stage.path)}
        for layer in (layers[name] for name in stage.layers if name in layers):
            array = cube.array(layer.path)
            if array.shards is None:
                continue
            side = array.shards[-1]
            squares = [
                cube.region.square(unit, resolution_of(layer))
                for unit in stage.region.units()
                if unit.name in units_with_receipts
            ]
            block_numbers = {(square.row // side, square.col // side) for square in squares}
            chunks = prod(outer // inner for outer, inner in zip(array.shards, array.chunks, strict=True))
            for file in sorted((folder / layer.path / "c").rglob("*")):
                if not file.is_file() or not file.name.isdigit():
                    continue
                if (int(file.parent.name), int(file.name)) not in block_numbers and not is_whole_shard(file, chunks):
                    yield from _file(folder, file, "a truncated shard of a unit without a receipt", 0.0)
