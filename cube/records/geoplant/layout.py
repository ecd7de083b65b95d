"""What lies in a GeoPlant folder, of whatever year: tables, folders of patches and cubes, rasters, archives left packed.

Nothing here opens a table or lists five million files: a folder of files named by id is known from one of them, and
the paths of all others are computed. Names are matched by their words, for they differ by year and even between train
and test: `SatelitePatches`, `TimeSeries-Cubes/TimeSeries-Cubes`, `landsat-time-series` and `landsat_time_series`.
Sources: plantnet/malpolon (2023 to 2025) and plantnet/GeoPlant (2026), read for the names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from cube.errors import SourceError
from cube.layers.inputs import LANDSAT_BANDS

MAX_ENTRIES: Final = 2000  # entries of a folder that are looked at; a folder of cubes holds millions
DEPTH: Final = 7
MAX_SUBFOLDERS: Final = 100  # folders of two digits; a folder has no more of them
TABLES: Final = (".csv", ".parquet", ".csv.gz")
VALUES: Final = {"elevation": "elevation", "footprint": "footprint", "landcover": "land-?cover", "soil": "soil-?grid"}
IMAGES: Final = (".jpeg", ".jpg", ".tif", ".tiff")


@dataclass(frozen=True)
class DataFolder:
    """A table, or a folder of files by id, and what its path says of it.

    `what`: metadata, labels, landsat, climate, bioclim, soil, elevation, landcover, footprint (tables of values);
    rgb, nir, tiff, landsat, climate (folders). `observations` is PA, PO or empty (both), `split` such as train,
    test, test_iid, or empty. A folder has a `pattern` of file names with `{id}` in it, `nested` as `CD/AB/…ABCD`.
    """

    path: Path
    what: str
    observations: str = ""
    split: str = ""
    band: str = ""
    pattern: str = ""
    nested: bool = False


@dataclass(frozen=True)
class Layout:
    """All that was found below `folder`, in the order of names; nothing of it is opened yet."""

    folder: Path
    tables: tuple[DataFolder, ...]
    folders: tuple[DataFolder, ...]
    rasters: tuple[Path, ...]
    archives: tuple[Path, ...]  # archives that nobody has unpacked

    def table(self, what: str, observations: str = "") -> list[DataFolder]:
        """Tables of one kind of content that may hold records of PA or PO, newest version first."""
        return _fitting(self.tables, what, observations)

    def folder_of(self, what: str, observations: str = "") -> list[DataFolder]:
        """Folders of one kind of files that may hold records of PA or PO."""
        return _fitting(self.folders, what, observations)


def _fitting(folders: tuple[DataFolder, ...], what: str, observations: str) -> list[DataFolder]:
    return [f for f in folders if f.what == what and (not observations or f.observations in ("", observations))]


def find_layout(folder: str | Path) -> Layout:
    """Look into `folder`; raises `SourceError` if it is none or nothing of GeoPlant is in it."""
    root = Path(folder)
    if not root.is_dir():
        raise SourceError(f"{root}: there is no such folder; give the folder into which GeoPlant was unpacked.")
    tables: list[DataFolder] = []
    folders: list[DataFolder] = []
    rasters: list[Path] = []
    archives: list[Path] = []
    for path, files in _walk(root, root, 0):
        leaf = _leaf(root, path, files)
        if leaf is not None:
            folders.append(leaf)
        for name in files:
            lower = name.lower()
            if lower.endswith(TABLES):
                table = _table(root, path / name)
                if table is not None:
                    tables.append(table)
            elif lower.endswith((".tif", ".tiff")) and leaf is None:
                rasters.append(path / name)
            elif lower.endswith(".zip"):
                archives.append(path / name)
    if not tables and not folders and not rasters:
        more = f" ({archives[0].name} is still packed)" if archives else ""
        raise SourceError(f"{root}: holds no tables, patches or cubes of GeoPlant{more}; unpack it here.")
    # Values of an older version are asked last.
    tables.sort(key=lambda t: (bool(re.search(r"legacy|[/\\]v1[/\\]", str(t.path))), str(t.path)))
    return Layout(root, tuple(tables), tuple(folders), tuple(rasters), tuple(archives))


def _walk(root: Path, path: Path, depth: int) -> Iterator[tuple[Path, list[str]]]:
    """Folders and the first files in them; folders named by the digits of ids are not entered."""
    with os.scandir(path) as entries:
        children = [(e.name, e.is_dir()) for e in islice(entries, MAX_ENTRIES) if not e.name.startswith((".", "__MACOSX"))]
    yield path, sorted(name for name, is_folder in children if not is_folder)
    if depth < DEPTH:
        for name in sorted(name for name, is_folder in children if is_folder and not _is_digits(name)):
            yield from _walk(root, path / name, depth + 1)


def _is_digits(name: str) -> bool:
    return re.fullmatch(r"\d{1,2}", name) is not None


def _words(root: Path, path: Path) -> str:
    """The path below `root` in small letters, `-` between words."""
    text = str(path.relative_to(root)) if path != root else ""
    return "-" + re.sub(r"[^a-z0-9]+", "-", text.lower()) + "-"


def _observations(words: str) -> str:
    hits = re.findall(r"(?<=-)(pa|po)(?=-)|(absence)|(only)", words)
    if not hits:
        return ""
    short, absence, _ = hits[-1]
    return "PA" if short == "pa" or absence else "PO"


def _split(words: str) -> str:
    hits = re.findall(r"-(train|val|test(?:-(?:iid|ood|glc25))?)(?=-)", words.replace("-test-labels-", "-test-"))
    return hits[-1].replace("-", "_") if hits else ""


def _table(root: Path, path: Path) -> DataFolder | None:
    words = _words(root, path)
    name = _words(path.parent, path)
    observations, split = _observations(words), _split(words)

    def data_folder(what: str, band: str = "") -> DataFolder:
        return DataFolder(path, what, observations, split, band)

    if re.search(r"habitat|dummy|submission|alphaearth|stats", name):
        return None
    if "bioclim" in words:
        return data_folder("climate" if re.search(r"month|time-?series", name) else "bioclim")
    if re.search(r"time-?serie|landsat", words):
        band = next((b for b in LANDSAT_BANDS if f"-{b}-" in name), "")
        return data_folder("landsat", band) if band else None
    for what, word in VALUES.items():
        if re.search(word, words):
            return data_folder(what)
    if "-labels-" in name:
        return data_folder("labels")
    if "metadata" in name or re.search(r"presences?-?(absence|only)", words) or name.startswith("-test-blind"):
        return data_folder("metadata")
    return None


def _leaf(root: Path, path: Path, files: list[str]) -> DataFolder | None:
    """`path` as a folder of files named by id, if it is one: known from the first file found."""
    words = _words(root, path)
    if "rasters" in words:
        return None
    nested = False
    sample = next((f for f in files if f.endswith((".pt", *IMAGES))), None)
    if sample is None:
        sample = _first_below(path)
        nested = sample is not None
    if sample is None:
        return None
    match = re.fullmatch(r"(.*?)(\d+)((?:_cube)?\.\w+)", sample)
    if match is None:
        return None
    pattern = f"{match[1]}{{id}}{match[3]}"
    if sample.endswith(".pt"):
        what = "landsat" if "landsat" in words + _words(Path(), Path(sample)) else "climate"
    elif sample.endswith((".tif", ".tiff")):
        what = "tiff"
    else:
        what = _colour(words)
    return DataFolder(path, what, _observations(words), _split(words), pattern=pattern, nested=nested)


def _first_below(path: Path, depth: int = 2) -> str | None:
    """Name of one file two folders of digits down (one, for ids under three digits); a few empty folders are passed over."""
    if depth == 0:
        return None
    with os.scandir(path) as entries:
        inner = [Path(e.path) for e in islice(entries, MAX_ENTRIES) if e.is_dir() and _is_digits(e.name)][:MAX_SUBFOLDERS]
    for folder in inner:
        with os.scandir(folder) as entries:
            name = next((e.name for e in islice(entries, MAX_ENTRIES) if e.is_file() and e.name.endswith((".pt", *IMAGES))), None)
        name = name or _first_below(folder, depth - 1)
        if name is not None:
            return name
    return None


def _colour(words: str) -> str:
    """Whether JPEG patches are RGB or NIR: the last word of the path that says one of them."""
    hits = re.findall(r"-(rgb|nir)(?=-)", words)
    return hits[-1] if hits else "rgb"


def candidates(folder: DataFolder, number: int) -> list[Path]:
    """Where the file of `number` may lie: `75/85/3018575`; ids under four digits are padded with zeros, or not.

    `candidates` is pure: no file is looked for.
    """
    if not folder.nested:
        return [folder.path / folder.pattern.replace("{id}", str(number))]
    texts = dict.fromkeys((str(number), str(number).zfill(4)))
    names = [folder.pattern.replace("{id}", text) for text in texts]
    return list(dict.fromkeys(folder.path / text[-2:] / text[-4:-2] / name for text in texts for name in names))
