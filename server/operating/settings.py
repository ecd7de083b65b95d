"""What an operator may set, each by an environment variable, since every worker process reads them for itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from cube.errors import ConfigError

_Keys = Annotated[tuple[str, ...], BeforeValidator(lambda given: _split(given) if isinstance(given, str) else given)]
_Header = Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True)]
_Sites = Annotated[str, AfterValidator(lambda text: _sources(text))]


def _sources(text: str) -> str:
    """Sources of a Content Security Policy, which a semicolon or a comma would end."""
    if not text.isascii() or not text.isprintable() or ";" in text or "," in text:
        raise ValueError("write sites separated by blanks, such as https://example.org, or *")
    return text


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


class Settings(BaseModel):
    """Environment variables of `floracube serve`. The defaults suit a public map on a small machine."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    api_keys: _Keys = Field((), description="Keys, comma-separated; requests must carry one of them.")
    trusted_header: _Header = Field("", description="What a reverse proxy sets, and clients cannot, once it knows who asks.")
    access_log: bool = Field(False, description="A line of JSON a request on standard output.")
    cache_mb: int = Field(256, ge=1, lt=10**9, description="Decoded chunks kept in memory, by worker, MiB.")
    max_requests: int = Field(128, ge=1, lt=10**9, description="Requests at once, by worker; others are told to come again.")
    max_seconds: float = Field(60.0, ge=1, lt=1e9, description="Until an answer begins, seconds.")
    frame_ancestors: _Sites = Field("'self'", description="Sites that may frame the page, separated by blanks; `*`: all.")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """The settings of `environment`; raises `ConfigError` for a value that is none."""
        texts = {name: environment.get(variable(name), "").strip() for name in cls.model_fields}
        try:
            return cls.model_validate({name: text for name, text in texts.items() if text})
        except ValidationError as error:
            wrong = error.errors()[0]
            told = wrong["msg"].removeprefix("Value error, ")
            raise ConfigError(f"{variable(str(wrong['loc'][0]))} is '{wrong['input']}': {told[0].lower()}{told[1:]}.") from None


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"FLORACUBE_{name.upper()}"
