"""Which errors pass by themselves, which concern every task, and the one way to try again."""

from __future__ import annotations

import errno
import random
import re
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from cube.errors import ConfigError

T = TypeVar("T")

LONGEST_WAIT: Final = 60.0  # seconds between two tries

# A server that is busy, or broken for the moment: time-out, too early, too many requests, and every 5xx.
_STATUS: Final = frozenset({408, 425, 429, *range(500, 600)}) - {501, 505}
_ERRNO: Final = frozenset(
    getattr(errno, name)
    for name in (
        "EAGAIN",
        "EBUSY",
        "ECONNABORTED",
        "ECONNREFUSED",
        "ECONNRESET",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "EINTR",
        "ENETDOWN",
        "ENETRESET",
        "ENETUNREACH",
        "ENOBUFS",
        "ENOTCONN",
        "EPIPE",
        "EREMOTEIO",
        "ESTALE",
        "ETIMEDOUT",
    )
    if hasattr(errno, name)
)
# What no other unit will survive either: no room, no quota, a store that cannot be written.
_PERMANENT_ERRNO: Final = {
    errno.ENOSPC: "the disk is full; make room",
    errno.EDQUOT: "the disk quota is used up; make room",
    errno.EROFS: "the store is read-only; make it writable or choose another cube URL",
}
# By name, since none of these libraries may be imported only to ask: botocore, aiohttp, urllib3, requests, httpx, distributed.
_NAMES: Final = frozenset(
    {
        "HTTPClientError",
        "EndpointConnectionError",
        "ConnectTimeoutError",
        "ReadTimeoutError",
        "ClientConnectionError",
        "ClientPayloadError",
        "ProtocolError",
        "NewConnectionError",
        "IncompleteRead",
        "ChunkedEncodingError",
        "ConnectTimeout",
        "ConnectionError",
        "ReadTimeout",
        "TransportError",
        "CommClosedError",
        "MaxRetryError",
        "RemoteDisconnected",
    }
)
# S3 answers some of these with status 200 or 400 and says so only in the code.
_CODES: Final = frozenset(
    {
        "InternalError",
        "OperationAborted",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
    }
)
# GDAL, curl and obstore keep the status only in the text: "HTTP response code: 503", "HTTP error code : 500".
_TEXT_STATUS: Final = re.compile(r"(?:HTTP|status|response|error)[ _a-z]*(?:code)?\W{1,4}(\d{3})\b", re.IGNORECASE)
_TEXT: Final = re.compile(
    r"timed? ?out|connection (?:was )?(?:reset|refused|aborted|closed)|server disconnected|broken pipe|recv failure|"
    r"send failure|empty reply from server|curl error|could(?:n't| not) (?:resolve|connect)|temporarily unavailable|"
    r"temporary failure|too many requests|slow ?down|internal server error|bad gateway|service unavailable|"
    r"error sending request",
    re.IGNORECASE,
)
_RUST: Final = re.compile(r"\(os error (\d+)\)")
# A remote file of which GDAL tells only that a block could not be read: the network or the file, so it is asked again.
# GDAL itself names the file without its folder; where it lies is known from the sentence that a reader made of it.
_REMOTE: Final = re.compile(r"/vsi(?:curl|s3|gs|az|adls)|https?://|s3://|gs://|az://")
_BLOCK: Final = re.compile(r"IReadBlock failed|TIFFRead\w+|Read failed|TIFFFillTile|TIFFFillStrip", re.IGNORECASE)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, then what caused it; `raise ... from None` hides the cause from a traceback and not from us."""
    seen_ids: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen_ids:
        seen_ids.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _status(error: Any) -> int | None:
    """HTTP status that an error carries: aiohttp `status`, pystac-client `status_code`, requests, httpx, botocore `response`."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        status = getattr(error, "status_code", None) or getattr(error, "status", None) or getattr(response, "status_code", None)
    return status if isinstance(status, int) else None


def _code(error: Any) -> str | None:
    response = getattr(error, "response", None)
    return response.get("Error", {}).get("Code") if isinstance(response, dict) else None


def _number(error: BaseException) -> int | None:
    """The `errno` of an error; Rust libraries (zarrs, obstore) keep it in the text alone: `(os error 28)`."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    match = _RUST.search(str(error))
    return int(match[1]) if match else None


def _verdict(error: BaseException) -> bool | None:
    """Whether this error alone passes by itself; None where it does not say."""
    if isinstance(error, ConfigError | KeyboardInterrupt):
        return False
    if _code(error) in _CODES:
        return True
    status = _status(error)
    if status is not None and status >= 400:
        return status in _STATUS
    if isinstance(error, TimeoutError | ConnectionError | InterruptedError | BlockingIOError | socket.gaierror):
        return True
    if any(base.__name__ in _NAMES for base in type(error).__mro__):
        return True
    if _number(error) in _ERRNO:
        return True
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError):
        return False
    if _number(error) in _PERMANENT_ERRNO:
        return False
    text = str(error)
    status_codes = [int(number) for number in _TEXT_STATUS.findall(text) if number[0] in "45"]
    if status_codes:
        return any(number in _STATUS for number in status_codes)
    return True if _TEXT.search(text) else None


def is_transient(error: BaseException) -> bool:
    """Whether another try may succeed: the first error of the chain that says so, from the one raised down to its causes.

    Transient are HTTP 408, 425, 429 and 5xx (as an attribute, an S3 code or in GDAL's text), time-outs, connections
    refused, reset or closed, names that do not resolve, the `OSError`s of a busy or stale network file system, and a block
    that GDAL could not read without saying why, if some sentence of the chain names a remote file. A missing file, a
    refused right, HTTP 4xx, a wrong configuration and everything that says nothing are permanent.
    """
    for part in _chain(error):
        verdict = _verdict(part)
        if verdict is not None:
            return verdict
    text = " ".join(str(part) for part in _chain(error))
    return bool(_BLOCK.search(text) and _REMOTE.search(text))


def delay(error: BaseException, tries: int, retries: int, first_wait: float) -> float | None:
    """Seconds to wait before another try, after `tries` of them; None where `error` lasts or `retries` are used up.

    `first_wait` is doubled for each further try. Jitter keeps all workers from coming back in the same instant.
    """
    if tries > retries or not is_transient(error):
        return None
    return min(LONGEST_WAIT, first_wait * 2 ** (tries - 1)) * random.uniform(0.5, 1.0)


def retry_transient(request: Callable[[], T], retries: int, first_wait: float = 1.0) -> T:
    """The result of `request`, which is tried again while its failures are of those that pass by themselves.

    Raises what the last try raised. `request` may be made several times, so twice must be as good as once.
    """
    tries = 0
    while True:
        tries += 1
        try:
            return request()
        except Exception as error:
            wait = delay(error, tries, retries, first_wait)
            if wait is None:
                raise
        time.sleep(wait)


def fatal_reason(error: BaseException) -> str | None:
    """Why no other task can succeed either (a full disk, a read-only store), as a sentence with the fix; else None."""
    for part in _chain(error):
        number = _number(part)
        if number in _PERMANENT_ERRNO:
            return f"{getattr(part, 'filename', None) or 'the store'}: {_PERMANENT_ERRNO[number]}"
    return None
