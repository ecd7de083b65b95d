"""Parts of a file by the Range header (RFC 9110, section 14)."""

from __future__ import annotations

import re
from typing import Final

from fastapi import Request

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


def part_of(request: Request, size: int, headers: dict[str, str]) -> tuple[int, int, int]:
    """Status, first byte and end of what a request wants of a file of `size` bytes; completes `headers`, which hold its ETag.

    Where the file has changed since (`If-Range`) the whole is sent; 416 has no bytes.
    """
    headers |= {"Accept-Ranges": "bytes", "Content-Encoding": "identity"}  # ranges count the bytes as they are stored
    is_stale = request.headers.get("if-range", headers["ETag"]) != headers["ETag"]
    try:
        part = None if is_stale else byte_range(request.headers.get("range", ""), size)
    except ValueError:
        headers["Content-Range"] = f"bytes */{size}"
        return 416, 0, 0
    if part is None:
        return 200, 0, size
    headers["Content-Range"] = f"bytes {part[0]}-{part[1] - 1}/{size}"
    return 206, *part
