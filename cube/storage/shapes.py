"""The shape that the small documents of a cube must have: anything else is one sentence of whoever reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from cube.errors import CubeError


@dataclass(frozen=True)
class Key:
    """What the value of a key must be, in words and as a test; a `required` key must be there."""

    words: str
    fits: Callable[[Any], bool]
    required: bool = False


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number; JSON's `true` is none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is a number; JSON's `true` is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_numbers(value: Any) -> bool:
    """Whether a value is an object of numbers."""
    return isinstance(value, dict) and all(map(is_number, value.values()))


def is_whole_numbers(value: Any) -> bool:
    """Whether a value is an object of whole numbers."""
    return isinstance(value, dict) and all(map(is_whole, value.values()))


def is_texts(value: Any) -> bool:
    """Whether a value is an object of texts."""
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def is_list_of_texts(value: Any) -> bool:
    """Whether a value is a list of texts."""
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def is_list_of_objects(value: Any) -> bool:
    """Whether a value is a list of objects."""
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def is_list_of_numbers(value: Any, length: int) -> bool:
    """Whether a value is a list of so many numbers."""
    return isinstance(value, list) and len(value) == length and all(map(is_number, value))


def is_window(value: Any) -> bool:
    """Whether a value is a list of the four edges of a region."""
    return isinstance(value, list) and len(value) == 4 and all(map(is_whole, value))


def text(required: bool = False) -> Key:
    """A key whose value is a text."""
    return Key("a text", lambda value: isinstance(value, str), required)


def window(required: bool = False) -> Key:
    """A key whose value is west, south, east and north of a region."""
    return Key("four whole kilometres [west, south, east, north]", is_window, required)


TEXT_OR_NULL: Final = Key("a text or null", lambda value: value is None or isinstance(value, str))
NUMBER: Final = Key("a number", is_number)
WHOLE_NUMBER: Final = Key("a whole number", is_whole, required=True)
TEXTS: Final = Key("an object of texts", is_texts)
OBJECT: Final = Key("an object", lambda value: isinstance(value, dict))
# Of `current.json`; its `content` is a release, its `cube` is what the root says (`ROOT`).
POINTER: Final[Mapping[str, Key]] = {
    "release": TEXT_OR_NULL,
    "previous": TEXT_OR_NULL,
    "content": OBJECT,
    "cube": OBJECT,
    "verified": TEXTS,
    "removed": TEXTS,
}
RELEASE: Final[Mapping[str, Key]] = {
    "name": text(required=True),
    "products": Key("an object with the version of each product", is_texts, required=True),
    "created": text(),
    "parents": OBJECT,
    "made_from": OBJECT,
    "region_km": window(),
}
ROOT: Final[Mapping[str, Key]] = {
    "format": WHOLE_NUMBER,
    "region_km": window(required=True),
    "unit_km": Key("a whole number of kilometres", is_whole, required=True),
    "crs": text(),
}


def require(where: str, document: Any, keys: Mapping[str, Key], fix: str) -> dict[str, Any]:
    """`document`, which lies at `where`, if it is an object whose `keys` are as they must be; other keys may be anything.

    Raises `CubeError` with the key, what it must be, what it is, and the `fix`.
    """
    if not isinstance(document, dict):
        raise CubeError(f"{where}: expected a JSON object, found {_value_text(document)}; {fix}.")
    for name, key in keys.items():
        if name not in document:
            if key.required:
                raise CubeError(f"{where}: expected {key.words} as '{name}', found nothing; {fix}.")
        elif not key.fits(document[name]):
            raise CubeError(f"{where}: expected {key.words} as '{name}', found {_value_text(document[name])}; {fix}.")
    return document


@contextmanager
def reading(where: str, fix: str) -> Iterator[None]:
    """Make one `CubeError` of whatever fails while a large document, which lies at `where`, is taken apart."""
    try:
        yield
    except CubeError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(repr(error).split())[:200]
        raise CubeError(f"{where}: is not as floracube writes it ({reason}); {fix}.") from error


def _value_text(value: Any) -> str:
    names = {dict: "an object", list: "a list", type(None): "null"}
    return names.get(type(value)) or repr(value)[:60]
