"""What an operator may set, each by an environment variable, since every worker process reads them for itself."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from cube.errors import ConfigError

PREFIX: Final = "FLORACUBE_"
_Keys = Annotated[tuple[str, ...], NoDecode, BeforeValidator(lambda keys: _split(keys) if isinstance(keys, str) else keys)]
_Header = Annotated[str, StringConstraints(to_lower=True, pattern=r"^[\w!#$%&'*+.^`|~-]*$")]
_Sites = Annotated[str, AfterValidator(lambda text: _sources(text))]


def _sources(text: str) -> str:
    """Sources of a Content Security Policy, which a semicolon or a comma would end."""
    if not text.isascii() or not text.isprintable() or ";" in text or "," in text:
        raise ValueError("write sites separated by blanks, such as https://example.org, or *")
    return text


def _split(text: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in text.split(",") if part.strip())
    if not parts:
        raise ValueError("write at least one key; without the variable everybody may ask")
    return parts


class Settings(BaseSettings):
    """Environment variables of `floracube serve`. The defaults suit a public map on a small machine."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, allow_inf_nan=False)

    api_keys: _Keys = Field((), description="Keys, comma-separated; requests must carry one of them.")
    trusted_header: _Header = Field("", description="What a reverse proxy sets, and clients cannot, once it knows who asks.")
    forwarded: bool = Field(
        False,
        description="Whether a reverse proxy overwrites X-Forwarded-Proto, -Host and -Prefix: answers"
        " then name its address. Without one, any client could write these headers.",
    )
    wait: bool = Field(False, description="Start before there is a cube: a page says how to make one until it can be opened.")
    access_log: bool = Field(False, description="A line of JSON a request on standard output.")
    cache_mb: int = Field(256, ge=1, lt=10**9, description="Decoded chunks kept in memory, MiB a worker; tiles take 1/16 more.")
    max_requests: int = Field(128, ge=1, lt=10**9, description="Requests at once, by worker; others get a 503.")
    max_seconds: float = Field(60.0, ge=1, lt=1e9, description="Until an answer begins, seconds.")
    frame_ancestors: _Sites = Field("'self'", description="Sites that may frame the page, separated by blanks; `*`: all.")
    regions: str = Field("", description="GeoJSON files of named regions, comma-separated, each `FILE` or `KIND=FILE`.")
    area_km2: float = Field(1_000_000, gt=0, description="The largest area of one report, km2: by default a large country.")

    @classmethod
    def from_environment(cls) -> Settings:
        """The settings of the environment; raises `ConfigError` for an invalid value."""
        try:
            return cls()
        except ValidationError as error:
            wrong = error.errors()[0]
            why = wrong["msg"].removeprefix("Value error, ")
            raise ConfigError(f"{variable(str(wrong['loc'][0]))} is '{wrong['input']}': {why[0].lower()}{why[1:]}.") from None


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"{PREFIX}{name.upper()}"
