"""The base of every part of a configuration: a key that is not known is a mistake, and nothing changes after reading."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError


def refuse_unknown_keys(value: Any, names_known: Iterable[str]) -> Any:
    """`value`, unless it is a mapping with a key that is not one of `names_known`: then the error names the nearest."""
    names = sorted(names_known)
    for key in value if isinstance(value, dict) else ():
        if key not in names:
            near = difflib.get_close_matches(str(key), names, 1)
            message = f"is not a key that is known here; known are {', '.join(names)}"
            message += f"; did you mean {near[0]}?" if near else ""
            raise PydanticCustomError("unknown_key", "{message}", {"message": message, "key": str(key)})
    return value


class Strict(BaseModel):
    """A part of the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _has_known_keys(cls, value: Any) -> Any:
        return refuse_unknown_keys(value, cls.model_fields)
