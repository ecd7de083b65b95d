"""The page of the configuration, out of the classes that check it: every key, its type, its default, what it means.

A field tells its meaning by its description.

    python -m docs.make.configuration    writes the page anew
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from cube.config import Config
from inference.network.sizes import FIELDS, SIZES
from server.operating.settings import Settings, variable

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "configuration.md"
WORDS = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true, false",
    "Path": "path",
    "tuple[str, ...]": "list of text",
}
HEAD = """# Every key of a configuration

One YAML file says everything; it is checked whole before any work starts, and a wrong key is one sentence that names
those that are known. `${NAME}` in it stands for an environment variable. Paths of `sources`, `surveys`, `records`,
`species` and `habitats` are found below `data`, the others beside the file; each may be a URL.

This page is made from the classes that check a configuration, by `python -m docs.make.configuration`.
"""


def page() -> str:
    """Markdown of the whole page."""
    parts = [HEAD]
    for path, model in [("", Config), *_models(Config, "")]:
        parts.append(f"## {path}" if path else "## The file")
        parts.append(_cleaned(model.__doc__))
        parts.append(_table([_field(name, field) for name, field in _fields(model).items()]))
    parts += ["## Sizes of the network", _network()]
    served = [_field(variable(name), field) for name, field in Settings.model_fields.items()]
    parts += ["## The server", _cleaned(Settings.__doc__), _table(served)]
    return "\n\n".join(parts) + "\n"


def keys() -> Iterator[str]:
    """Every key that a configuration may have, as a path: `sources.layer`, `train.members`."""
    for path, model in [("", Config), *_models(Config, "")]:
        yield from (f"{path}.{name}".lstrip(".") for name in _fields(model))


def _fields(model: type[Any]) -> dict[str, Any]:
    """The fields of a pydantic model or dataclass by name."""
    return dict(model.__pydantic_fields__)


def _models(model: type[Any], path: str) -> Iterator[tuple[str, type[Any]]]:
    for name, field in _fields(model).items():
        for below in _models_in(field.annotation):
            location = f"{path}.{name}".lstrip(".")
            yield location, below
            yield from _models(below, location)


def _models_in(annotation: Any) -> list[type[Any]]:
    if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or is_dataclass(annotation)):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _field(name: str, field: Any) -> tuple[str, str, str, str]:
    if field.is_required():
        default = "needed"
    elif field.default in (None, PydanticUndefined) or isinstance(field.default, BaseModel) or is_dataclass(field.default):
        default = ""
    else:
        default = _value_text(field.default)
    return name, _type(field.annotation), default, field.description or ""


def _network() -> str:
    size_keys = [key for key in FIELDS if any(key in row for row in SIZES.values())]
    sizes = [(name, *(_value_text(row[key]) for key in size_keys)) for name, row in SIZES.items()]
    head = "What each `network.size` stands for; single keys override it.\n\n"
    table = [("size", *(f"`{key}`" for key in size_keys)), ("---",) * (len(size_keys) + 1), *sizes]
    return head + "\n".join("| " + " | ".join(row) + " |" for row in table)


def _value_text(value: Any) -> str:
    if isinstance(value, tuple):
        value = list(value)
    if value == "" or value == [] or value == {}:
        return ""
    if isinstance(value, bool):
        value = str(value).lower()
    return f"`{value}`"


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(argument) for argument in arguments if argument is not type(None))
    if origin in (tuple, list):
        return "list of " + _type(arguments[0])
    if origin is dict:
        return "keys and values"
    if annotation is Any:
        return "anything"
    if origin is Annotated:
        return _type(arguments[0])
    if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or is_dataclass(annotation)):
        return "keys below"
    return WORDS.get(getattr(annotation, "__name__", ""), getattr(annotation, "__name__", str(annotation)))


def _cleaned(doc: str | None) -> str:
    return inspect.cleandoc(doc or "")


def _table(rows: list[tuple[str, str, str, str]]) -> str:
    lines = ["| key | value | by default | meaning |", "|---|---|---|---|"]
    for name, kind, default, meaning in rows:
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in (f"`{name}`", kind, default, meaning)) + " |")
    return "\n".join(lines)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
