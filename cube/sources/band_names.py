"""Which band of a file is which label of a layer: by the names that the file gives its bands, never by their mere position.

A file's only band needs no name. Of several, descriptions decide ("B04", "Red band", "wc2.1_30s_bio_1"); bands without
names, or with names that fit no label, are refused, and the configuration says `bands:`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader
from rasterio.windows import Window

from cube.errors import SourceError
from cube.layers import Layer, legends
from cube.layers.inputs import INPUTS
from cube.sources.georeference import edit_command
from cube.yaml_tables import yaml_table

_ALIASES: Final[Mapping[str, Mapping[str, list[str]]]] = yaml_table(__file__, "band_names.yaml")  # by layer and label
_TAGS: Final = ("long_name", "standard_name", "NETCDF_VARNAME", "name", "common_name", "BandName", "Band_Name")
_NAMELESS: Final = re.compile(r"^(band|layer|lyr|b|channel|ch)?[ _.]*\d*$|^(gr[ae]y|undefined|alpha)$", re.IGNORECASE)
_PICTURE: Final = {ColorInterp.red, ColorInterp.green, ColorInterp.blue}
ALPHA_SQUARES: Final = 3  # along a side of an alpha band, that are read: a decimated read of a file without overviews reads all
ALPHA_SIDE: Final = 64  # pixels of such a square
MAX_BLENDED: Final = 0.1  # most of their share that is neither 0 nor opaque in a mask
MAX_NAMES: Final = 12  # names of bands that a sentence lists


def find_bands(
    dataset: DatasetReader, where: str, layer: Layer, labels: Sequence[str], names: Sequence[str] = ()
) -> tuple[int, ...]:
    """The band of a file (from 1) that is each of `labels`, labels of the layer's first axis (empty: the layer itself).

    `names` are the publisher's names of the labels: a published file without names has its bands in that order.
    Raises `SourceError` naming the file's bands and the key `bands` where they cannot be told apart.
    """
    labels_to_find = tuple(labels) or (layer.name,)
    interpretation = dataset.colorinterp
    if layer.kind == "class" and len(labels_to_find) == 1 and set(interpretation) >= _PICTURE:
        raise SourceError(
            f"{dataset.name}: is a picture (bands red, green and blue), and the layer {layer.name} needs one band of class"
            f" numbers; take the raster that the picture was drawn from, or name a band by `bands:` ({where})."
        )
    present = value_bands(dataset)
    if len(present) == len(labels_to_find) == 1:
        _check_only(dataset, where, layer, labels_to_find[0], present[0], names)
        return (present[0],)
    file_names = {band: name_of_band(dataset, band) for band in present}
    if len(present) < len(labels_to_find):
        refuse_alpha(dataset, where, dataset.indexes)
        raise SourceError(
            f"{dataset.name}: has {len(present)} bands, {where} needs {len(labels_to_find)} ({', '.join(labels_to_find)})."
        )
    first = layer.labels[layer.dims[0]] if layer.dims else (layer.name,)
    title_of_label = dict(zip(first, names, strict=False)) if len(names) >= len(first) else {}
    if title_of_label and len(present) == len(names) and not any(file_names.values()):
        return tuple(present[names.index(title_of_label[label])] for label in labels_to_find)
    aliases = _aliases(layer, labels_to_find, title_of_label)
    matches: dict[str, list[int]] = {label: [] for label in labels_to_find}
    for band, name in file_names.items():
        label = _label_of(name, aliases) if name else None
        if label:
            matches[label].append(band)
    if all(len(bands) == 1 for bands in matches.values()):
        return tuple(bands[0] for bands in matches.values())
    raise SourceError(f"{dataset.name}: {_why(file_names, matches)}; {_fix(layer, labels_to_find)} ({where}).")


def _check_only(dataset: DatasetReader, where: str, layer: Layer, expected_label: str, band: int, names: Sequence[str]) -> None:
    """Refuse a file of one band whose name says that it is another label of the layer than the wanted one."""
    name = name_of_band(dataset, band)
    if not layer.dims or not name:
        return
    labels = layer.labels[layer.dims[0]]
    title_of_label = dict(zip(labels, names, strict=False)) if len(names) >= len(labels) else {}
    # Aliases of two letters stand in many a sentence: "cation exchange capacity at pH 7".
    aliases = {
        alias: label for alias, label in _aliases(layer, labels, title_of_label).items() if not re.fullmatch("[a-z]{1,2}", alias)
    }
    band_label = _label_of(name, aliases)
    if band_label is not None and band_label != expected_label:
        raise SourceError(
            f"{dataset.name}: its band is named '{name}', which is {band_label} and not {expected_label} of the layer"
            f" {layer.name}; name the right file, or say `bands: [{band}]` if the name is wrong ({where})."
        )


def value_bands(dataset: DatasetReader) -> list[int]:
    """The bands of a file (from 1) but for one that is a mask: an alpha band without a name of its own."""
    return [band for band in dataset.indexes if dataset.colorinterp[band - 1] != ColorInterp.alpha or name_of_band(dataset, band)]


def require_bands(dataset: DatasetReader, where: str, bands: Sequence[int]) -> None:
    """Raise `SourceError` where a file lacks one of `bands` (from 1), which `bands` of the configuration names."""
    if max(bands) > dataset.count:
        raise SourceError(
            f"{dataset.name}: has {dataset.count} bands, and bands of {where} names band {max(bands)}; name bands that the file"
            " has, counted from 1."
        )


def refuse_alpha(dataset: DatasetReader, where: str, bands: Sequence[int]) -> None:
    """Raise `SourceError` where a band that holds values is declared as an alpha band: being one of `bands`, named, or no mask.

    Pixels where it is 0 would count as no data in all bands. Programs declare the fourth band of four of uint8 so by default.
    """
    for band in dataset.indexes:
        if dataset.colorinterp[band - 1] != ColorInterp.alpha:
            continue
        band_name = name_of_band(dataset, band)
        if band in bands or band_name or not _is_mask(dataset, band):
            title = f"band {band}, {band_name}," if band_name else f"band {band}"
            raise SourceError(
                f"{dataset.name}: {title} is declared as an alpha band, whose zeros mean no data everywhere; if it holds values,"
                f" write {edit_command(dataset, f'-colorinterp_{band} undefined')} ({where})."
            )


def _is_mask(dataset: DatasetReader, band: int) -> bool:
    """Whether an alpha band holds little but 0 and its largest value, in a few squares of it: edges may be blended."""
    dtype = np.dtype(dataset.dtypes[band - 1])
    largest = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    height, width = (min(length, ALPHA_SIDE) for length in dataset.shape)
    rows = np.linspace(0, dataset.height - height, ALPHA_SQUARES).astype(int)
    cols = np.linspace(0, dataset.width - width, ALPHA_SQUARES).astype(int)
    squares = [dataset.read(band, window=Window(col, row, width, height)) for row in rows for col in cols]
    values = np.stack(squares)
    return bool(np.mean((values != 0) & (values != largest)) <= MAX_BLENDED)


def name_of_band(dataset: DatasetReader, band: int) -> str:
    """What a file calls a band: its description, else a tag that names it; empty for a mere number."""
    tags = dataset.tags(band)
    for name in (dataset.descriptions[band - 1], *(tags.get(tag) for tag in _TAGS)):
        if name and not _NAMELESS.match(name.strip()):
            return str(name).strip()
        if name and re.fullmatch(r"[Bb]0?\d{1,2}[Aa]?", name.strip()):  # B04: a Sentinel-2 band, not the fourth of the file
            return str(name).strip()
    return ""


def _aliases(layer: Layer, labels: Sequence[str], title_of_label: Mapping[str, str]) -> dict[str, str]:
    """Label by alias, aliases in plain form; an empty label is another band."""
    out: dict[str, str] = {}
    own_aliases = _ALIASES.get(layer.name, {})
    preset = INPUTS.get(layer.name, layer)  # of a preset that is read in part, the bands that are left out have names, too
    first = preset.labels[layer.dims[0]] if layer.dims else (layer.name,)
    codes = {value: (code, name) for value, code, name, _ in legends.CORINE}
    # All labels of the layer, not only the wanted ones: what is another label's band is not this one's.
    for label in (*first, ""):
        names = [label, title_of_label.get(label, ""), *own_aliases.get(label or "other", ())]
        if label:
            names += [band.long_name for band in preset.bands if band.name == label]
        if layer.name == "corine" and label:
            code, name = codes.get(int(label[3:]), ("", ""))
            names += [f"clc {code}", f"code {code}", name] if code else ["nodata", "no data", "no class", "unclassified"]
        for alias in names:
            if alias:
                out[_plain(alias)] = label if label in labels else ""
    return out


def _plain(name: str) -> str:
    """Lower case, words apart by one space, numbers apart from letters and without leading zeros: `B04` is `b 4`."""
    words = re.findall(r"[^\W\d_]+|\d+", name.lower())
    return " ".join(str(int(word)) if word.isdecimal() else word for word in words)


def _label_of(name: str, aliases: Mapping[str, str]) -> str | None:
    """The label whose alias the name is, else the one with the longest alias in it; None: none, or two of equal length."""
    plain = _plain(name)
    if plain in aliases:
        return aliases[plain] or None
    matches = [alias for alias in aliases if f" {alias} " in f" {plain} "]
    longest = max((len(alias) for alias in matches), default=0)
    labels = {aliases[alias] for alias in matches if len(alias) == longest}
    return next(iter(labels)) or None if len(labels) == 1 else None


def _why(file_names: Mapping[int, str], matches: Mapping[str, list[int]]) -> str:
    band_texts = [f"{band} {name}".strip() for band, name in file_names.items()]
    bands_text = ", ".join(band_texts[:MAX_NAMES]) + (", ..." if len(band_texts) > MAX_NAMES else "")
    if not any(file_names.values()):
        return f"has {len(file_names)} bands without names, and nothing says which is which"
    missing = [label for label, bands in matches.items() if not bands]
    if missing:
        return f"no band's name says that it is {', '.join(missing[:MAX_NAMES])} (its bands are {bands_text})"
    label, bands = next((label, bands) for label, bands in matches.items() if len(bands) > 1)
    if len(bands) == 2:
        return f"bands {bands[0]} and {bands[1]} are both named {label} (its bands are {bands_text})"
    return f"{len(bands)} bands are all named {label} (its bands are {bands_text})"


def _fix(layer: Layer, labels: Sequence[str]) -> str:
    if len(labels) == 1:
        return f"say which one is {labels[0]} by `bands: [n]`, counted from 1"
    examples = ", ".join(labels[:MAX_NAMES]) + (", ..." if len(labels) > MAX_NAMES else "")
    return f"say which ones are {examples}, in this order, by `bands:` with {len(labels)} numbers counted from 1"
