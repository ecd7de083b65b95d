"""Parts of a file by the Range header (RFC 9110, section 14)."""

from __future__ import annotations

import re
from typing import Final

from fastapi import Request, Response

_RANGE: Final = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))")


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """[first, end) that a Range header asks for of a file of `size` bytes; None where it asks for the whole.

    One range, `first-last`, `first-` or `-length`; what is not understood, and several ranges, count as none.
    Raises `ValueError` for a range that begins beyond the file.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None:
        return None
    start, last, suffix = match.groups()
    if suffix is not None:
        if int(suffix) == 0 or size == 0:
            raise ValueError(header)
        return max(0, size - int(suffix)), size
    first, end = int(start), size if last == "" else min(int(last) + 1, size)
    if last and int(last) < first:
        return None  # not a valid range: to be ignored
    if first >= size:
        raise ValueError(header)
    return first, end


def requested_range(request: Request, size: int, tag: str) -> tuple[int, int] | None:
    """As `byte_range`, of a file with the ETag `tag`: where it has changed since (`If-Range`), the whole is sent."""
    if request.headers.get("if-range", tag) != tag:
        return None
    return byte_range(request.headers.get("range", ""), size)


def file_answer(request: Request, body: bytes, media_type: str, headers: dict[str, str]) -> Response:
    """The whole of a file in memory or the part that is asked for; `headers` hold its ETag."""
    headers = {**headers, "Accept-Ranges": "bytes", "Content-Encoding": "identity"}
    try:
        part = requested_range(request, len(body), headers["ETag"])
    except ValueError:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{len(body)}"})
    if part is None:
        return Response(body, media_type=media_type, headers=headers)
    first, end = part
    headers["Content-Range"] = f"bytes {first}-{end - 1}/{len(body)}"
    return Response(body[first:end], 206, headers, media_type)
