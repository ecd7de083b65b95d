"""What every route may answer instead, as the OpenAPI document tells it."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, Field


class Problem(BaseModel):
    """Error response."""

    detail: str = Field(description="One sentence for the person who asked.")
    error: str = Field(description="A word for the program that asked.")
    status: int


_DESCRIPTIONS: Final = {
    304: "The client holds the answer already.",
    400: "A parameter outside what it may be.",
    404: "What is asked for is not there.",
    413: "More is asked for, or sent, than one answer may cost.",
    414: "The address is too long.",
    422: "A parameter has the wrong type.",
    503: "The store does not answer, or too much is asked at once; try again after the seconds of Retry-After.",
}
# In JSON, whatever the answer itself would be.
_BODY: Final = {"model": Problem, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}
COMMON: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": description, **({} if status == 304 else _BODY)} for status, description in _DESCRIPTIONS.items()
}
