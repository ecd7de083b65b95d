"""What an operator may set, each by an environment variable, since every worker process reads them for itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from cube.errors import ConfigError


@dataclass(frozen=True)
class Settings:
    """How one worker behaves; the defaults suit a public map on a small machine."""

    api_keys: tuple[str, ...] = ()  # FLORACUBE_API_KEYS, comma-separated: requests must carry one of them
    trusted_header: str = ""  # FLORACUBE_TRUSTED_HEADER: what a reverse proxy sets once it knows who asks
    access_log: bool = False  # FLORACUBE_ACCESS_LOG: a line of JSON a request on standard output
    cache_mb: int = 256  # FLORACUBE_CACHE_MB: decoded chunks kept in memory, by worker
    max_requests: int = 128  # FLORACUBE_MAX_REQUESTS: at once, by worker; further ones are told to come again
    max_seconds: float = 60.0  # FLORACUBE_MAX_SECONDS: until an answer begins

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """The settings of `environment`; raises `ConfigError` for a value that is none."""
        return cls(
            tuple(key.strip() for key in environment.get("FLORACUBE_API_KEYS", "").split(",") if key.strip()),
            environment.get("FLORACUBE_TRUSTED_HEADER", "").strip().lower(),
            environment.get("FLORACUBE_ACCESS_LOG", "").strip().lower() in ("1", "true", "yes"),
            int(_number(environment, "FLORACUBE_CACHE_MB", cls.cache_mb)),
            int(_number(environment, "FLORACUBE_MAX_REQUESTS", cls.max_requests)),
            _number(environment, "FLORACUBE_MAX_SECONDS", cls.max_seconds),
        )


def _number(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value < 1e9:
        raise ConfigError(f"{name} is '{text}'; it must be a number of at least 1.")
    return value
