"""Absolute URLs in answers: what a client must call us, behind a reverse proxy or not, and the validators of such answers."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from fastapi import Request, Response

from server.dependencies import unchanged, validators
from server.reading.snapshot import Snapshot

_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?")
_PREFIX: Final = re.compile(r"(/[A-Za-z0-9._~-]+){0,8}/?")


def base_url(request: Request) -> str:
    """`scheme://host[:port][/prefix]` under which the client reached us, without a closing slash.

    The prefix is ASGI's `root_path`; with the setting `forwarded`, X-Forwarded-Proto, -Host and -Prefix go before
    what the server sees itself. What does not read as a scheme, a host or a path is left aside.
    """
    scope = request.scope
    scheme, prefix = str(scope.get("scheme", "http")), str(scope.get("app_root_path", scope.get("root_path", "")))
    server = scope.get("server") or ("localhost", None)
    host = request.headers.get("host", "")
    if request.app.state.settings.forwarded:
        scheme = _first(request, "x-forwarded-proto") or scheme
        host = _first(request, "x-forwarded-host") or host
        prefix = _first(request, "x-forwarded-prefix") or prefix
    if _HOST.fullmatch(host) is None:
        host = str(server[0]) if server[1] in (None, 80, 443) else f"{server[0]}:{server[1]}"
    if _PREFIX.fullmatch(prefix) is None:
        prefix = ""
    return f"{'https' if scheme == 'https' else 'http'}://{host}{prefix.rstrip('/')}"


def _first(request: Request, header: str) -> str:
    """The value that the proxy nearest to the client wrote."""
    return request.headers.get(header, "").split(",")[0].strip()


def absolute_validators(snapshot: Snapshot, request: Request) -> dict[str, str]:
    """Validators of an answer that holds absolute URLs: its ETag differs by the address under which it was asked for."""
    headers = validators(snapshot, request)
    identity = f"{headers['ETag']} {base_url(request)}"
    return {**headers, "ETag": f'"{hashlib.sha256(identity.encode()).hexdigest()[:24]}"'}


def absolute_answer(
    snapshot: Snapshot, request: Request, body: bytes | str, media_type: str, extra: dict[str, str] | None = None
) -> Response:
    """An answer that holds absolute URLs."""
    headers = {**absolute_validators(snapshot, request), **(extra or {})}
    return unchanged(request, headers) or Response(body, media_type=media_type, headers=headers)
