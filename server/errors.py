"""What may go wrong with a request, as exceptions, and how each is told: one JSON sentence with a status, never a traceback."""

from __future__ import annotations

import logging
from typing import Any, ClassVar, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cube.errors import CubeError
from cube.storage.transient import is_transient

RETRY_SECONDS: Final = 5  # what Retry-After tells a client whose answer we could not give
_UNAVAILABLE: Final = "The cube cannot be read at the moment; try again."
log = logging.getLogger("floracube.server")


class RequestError(Exception):
    """A request that gets no answer; its text is one sentence for the person who asked."""

    status: ClassVar[int] = 500
    name: ClassVar[str] = "error"


class NotFoundError(RequestError):
    """A layer, a tile matrix set, a tile or a place that does not exist (404)."""

    status = 404
    name = "not_found"


class WrongRequestError(RequestError):
    """A parameter outside what it may be (400)."""

    status = 400
    name = "wrong_request"


class InvalidParameterError(RequestError):
    """A parameter that does not read as what it is: a word for a number (422)."""

    status = 422
    name = "invalid_parameter"


class TooLargeError(RequestError):
    """A request that would read more than one answer may cost (400)."""

    status = 400
    name = "too_large"


class StoreError(RequestError):
    """The store behind the cube fails, is too slow or gives damaged bytes (503); its text is for the log alone."""

    status = 503
    name = "store_unavailable"


class DamagedError(StoreError):
    """Bytes that are no shard or chunk (503): damaged, or those of a shard that was written anew since its index was read."""


class BusyError(RequestError):
    """More requests of one kind at once than may wait (503)."""

    status = 503
    name = "busy"


def error_answer(status: int, name: str, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """The JSON of every error response: `detail` for the person, `error` for the program."""
    all_headers = {"Cache-Control": "no-store", **(headers or {})}
    if status == 503:
        all_headers["Retry-After"] = str(RETRY_SECONDS)
    return JSONResponse({"detail": detail, "error": name, "status": status}, status_code=status, headers=all_headers)


def add_handlers(app: FastAPI) -> None:
    """Make `app` tell errors as this module does."""
    app.add_exception_handler(RequestError, _problem_response)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(CubeError, _unavailable)
    app.add_exception_handler(OSError, _unavailable)


async def _problem_response(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestError)
    if isinstance(error, StoreError):
        return await _unavailable(request, error)
    return error_answer(error.status, error.name, str(error))


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first: dict[str, Any] = dict(error.errors()[0])
    place = ".".join(str(part) for part in first.get("loc", ())[1:]) or "request"
    return error_answer(422, "invalid_parameter", f"Parameter '{place}': {first.get('msg', 'invalid')}.")


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return error_answer(error.status_code, "refused", str(error.detail), dict(error.headers or {}))


async def _unavailable(request: Request, error: Exception) -> JSONResponse:
    # The message may carry paths of this machine, which are nobody else's business.
    log.warning("%s: %s", request.url.path, error)
    return error_answer(503, StoreError.name, _UNAVAILABLE)


class ErrorGuard:
    """Around the whole application: what no handler knows is 503 if it passes by itself, else 500, and never a bare text."""

    def __init__(self, app: ASGIApp) -> None:
        """Around `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer in the application's stead if it fails before it has begun to."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        has_started = False

        async def watched(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            if has_started:
                raise
            passing = is_transient(error)
            log.error("%s: %s", scope.get("path", ""), error, exc_info=None if passing else error)
            answer = (
                error_answer(503, StoreError.name, _UNAVAILABLE)
                if passing
                else error_answer(500, "internal_error", "The server made a mistake; it is in its log.")
            )
            await answer(scope, receive, send)
