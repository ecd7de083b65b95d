"""Who may ask: anybody, or whoever carries a key, or whom a reverse proxy has let through."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.dependencies import KEY, path_of
from server.errors import error_answer

_COOKIE: Final = "floracube_key"  # of a browser that came with a key in its address: what the page asks for carries none
_OPEN: Final = frozenset({"/healthz", "/readyz"})  # what asks them has no key
# A browser then asks its user: any name, the key as password. So do QGIS and GDAL.
_CHALLENGE: Final = {"WWW-Authenticate": 'Basic realm="floracube", charset="UTF-8"'}


def key_of(scope: Scope) -> str:
    """The key of a request: `X-API-Key`, `Authorization: Bearer` or `Basic` (as password), `?api_key=`, a cookie; or empty."""
    headers = Headers(scope=scope)
    if "x-api-key" in headers:
        return headers["x-api-key"]
    kind, _, text = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return text.strip()
    if kind.lower() == "basic":
        return _decoded(text).partition(":")[2]
    return _of_address(scope) or _decoded(cookie_parser(headers.get("cookie", "")).get(_COOKIE, ""))


def _decoded(text: str) -> str:
    """What Base64 says; empty where it is none."""
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""


def _of_address(scope: Scope) -> str:
    return parse_qs(scope["query_string"].decode("latin-1")).get(KEY, [""])[0]


def _cookie(scope: Scope) -> str:
    """What makes a browser send the key of this address again, to us alone and out of reach of scripts."""
    value = base64.b64encode(_of_address(scope).encode()).decode()
    secure = "; Secure" if scope.get("scheme") == "https" else ""
    return f"{_COOKIE}={value}; Path={scope.get('root_path') or '/'}; HttpOnly; SameSite=Strict{secure}"


class Keys:
    """Lets a request through that carries one of `keys`, or `header`, which the proxy in front sets and clients cannot."""

    def __init__(self, app: ASGIApp, keys: Sequence[str], header: str = "") -> None:
        """Around `app`; without keys and without a header everybody may ask."""
        self._app, self._keys, self._header = app, [key.encode() for key in keys], header

    def _allowed(self, scope: Scope) -> bool:
        if self._header and Headers(scope=scope).get(self._header):
            return True
        key = key_of(scope).encode()
        # All keys are compared, each in constant time, so that the time taken tells nothing.
        return sum(hmac.compare_digest(key, valid) for valid in self._keys) > 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401."""
        if scope["type"] != "http" or not (self._keys or self._header) or path_of(scope) in _OPEN:
            return await self._app(scope, receive, send)
        if not self._allowed(scope):
            answer = error_answer(
                401, "no_access", "This server answers only requests that carry its key; ask its operator for one.", _CHALLENGE
            )
            return await answer(scope, receive, send)

        async def kept_private(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                # A shared cache would hand the answer to those who have no key.
                if "public" in headers.get("cache-control", ""):
                    headers["cache-control"] = headers["cache-control"].replace("public", "private")
                if _of_address(scope) and headers.get("content-type", "").startswith("text/html"):
                    headers.append("set-cookie", _cookie(scope))
            await send(message)

        await self._app(scope, receive, kept_private)
