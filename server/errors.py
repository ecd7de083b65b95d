"""What a request may get wrong, as exceptions; `server.main` maps them to statuses with titiler's own handlers."""

from __future__ import annotations

from titiler.core.errors import BadRequestError, TileNotFoundError


class NotFoundError(TileNotFoundError):
    """A layer, a tile matrix set, a tile or a place that does not exist (404)."""


class WrongRequestError(BadRequestError):
    """A parameter outside what it may be (400)."""


class TooLargeError(BadRequestError):
    """A request that would read more than one answer may cost (400)."""
