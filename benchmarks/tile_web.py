"""A folder on a web server of its own that can be as far away, or as broken, as a benchmark wants.

    python -m benchmarks.tile_web FOLDER PORT DELAY_SECONDS

GET and HEAD of files with ranges, 404 for what is not there, PUT (also under `If-Match` or `If-None-Match`, also in parts),
DELETE (also of many at once), and listings as S3 gives them, so that `FOLDER/cubes/a.zarr` is also `s3://cubes/a.zarr` of this
endpoint. After `/__down__` everything is 503, after `/__away__` nothing is there (404, as where a disk is not mounted), after
`/__flaky__` of every seven requests one is 503 and one breaks off; `/__up__` ends all that. `/__counts__` tells how many requests
of each kind there were, and bytes, `/__processor__` the processor seconds of the server.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape, unescape

from benchmarks.ports import answering

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
PAGE = 1000  # keys in an answer of S3
_STATES = ("up", "down", "away", "flaky")


class WebFolder:
    """The server in this process."""

    def __init__(self, folder: Path, delay: float) -> None:
        """Of `folder`, each answer `delay` seconds late."""
        self.folder, self.delay, self.state, self.count = folder, delay, "up", 0
        self.listings: dict[str, list[str]] = {}  # what the pages of each listing are cut from
        self.uploads: dict[str, dict[int, bytes]] = {}  # parts by number of each upload that is not yet complete
        # Since the start, by kind; GETs of shards are among the GETs.
        self.counts = {"GET": 0, "of shards": 0, "HEAD": 0, "LIST": 0, "PUT": 0, "POST": 0, "DELETE": 0, "bytes": 0}

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one keep-alive connection."""
        with suppress(OSError, EOFError):
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, path, _ = lines[0].split()
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:] if line)}
                if "100-continue" in headers.get("expect", "").lower():
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                request_body = await reader.readexactly(int(headers.get("content-length", 0)))
                await asyncio.sleep(self.delay)
                name, _, query = path.partition("?")
                if "uploadId=" in query or query.startswith("uploads"):
                    parameters = parse_qs(query, keep_blank_values=True)
                    status, extra, body = self.upload(method, unquote(name), parameters, headers, request_body)
                elif method == "PUT":
                    status, extra, body = self.put(unquote(name), headers, request_body)
                elif method == "POST":
                    status, extra, body = self.delete_many(unquote(name), request_body)
                elif method == "DELETE":
                    (self.folder / unquote(name).lstrip("/")).unlink(missing_ok=True)
                    status, extra, body = 204, "", b""
                else:
                    status, extra, body = self.answer(unquote(name), query, headers.get("range", ""))
                if not name.startswith("/__"):
                    self.counts["LIST" if "list-type=2" in query else method] += 1
                    self.counts["of shards"] += method == "GET" and "/c/" in name
                    self.counts["bytes"] += 0 if method == "HEAD" else len(body)
                head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nAccept-Ranges: bytes\r\n{extra}\r\n".encode()
                if self.state == "flaky" and self.count % 7 == 5 and method == "GET":
                    writer.write(head + body[: len(body) // 2])
                    break
                writer.write(head if method == "HEAD" else head + body)
                await writer.drain()
        writer.close()

    def answer(self, path: str, query: str, range_header: str) -> tuple[int, str, bytes]:
        """Status, further header lines and body."""
        if path.strip("/_") in _STATES:
            self.state = path.strip("/_")
            return 200, "", b""
        if path == "/__counts__":
            return 200, "", json.dumps(self.counts).encode()
        if path == "/__processor__":
            return 200, "", json.dumps(time.process_time()).encode()
        self.count += 1
        if self.state == "down" or (self.state == "flaky" and self.count % 7 == 2):
            return 503, "", b"down for the benchmark"
        if "list-type=2" in query:
            return 200, "Content-Type: application/xml\r\n", self.listing(path.strip("/"), parse_qs(query))
        file = self.folder / path.lstrip("/")
        if self.state == "away" or not file.is_file():
            return 404, "", b"<Error><Code>NoSuchKey</Code></Error>"
        data, tag = file.read_bytes(), f"ETag: {_tag(file)}\r\n"
        match = _RANGE.fullmatch(range_header)
        if match is None:
            return 200, tag, data
        if match[1] and int(match[1]) >= len(data):
            return 416, "", b"<Error><Code>InvalidRange</Code></Error>"
        start = int(match[1]) if match[1] else max(0, len(data) - int(match[2]))
        end = min(int(match[2]) + 1, len(data)) if match[1] and match[2] else len(data)
        return 206, f"{tag}Content-Range: bytes {start}-{end - 1}/{len(data)}\r\n", data[start:end]

    def put(self, path: str, headers: Mapping[str, str], data: bytes) -> tuple[int, str, bytes]:
        """As `answer`, of an object that is written where its conditions hold."""
        file = self.folder / path.lstrip("/")
        now = _tag(file) if file.is_file() else None
        if (now is not None and "if-none-match" in headers) or headers.get("if-match", now) != now:
            return 412, "", b"<Error><Code>PreconditionFailed</Code></Error>"
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f".{file.name}.partial")
        partial.write_bytes(data)
        partial.replace(file)
        return 200, f"ETag: {_tag(file)}\r\n", b""

    def upload(
        self, method: str, path: str, query: dict[str, list[str]], headers: Mapping[str, str], data: bytes
    ) -> tuple[int, str, bytes]:
        """As `answer`, to a step of an upload in parts: begin, a part, complete (as `put`) or abort."""
        if "uploads" in query:
            upload_id = secrets.token_hex(8)
            self.uploads[upload_id] = {}
            return 200, "", _xml("InitiateMultipartUploadResult", f"<UploadId>{upload_id}</UploadId>")
        upload_id = query["uploadId"][0]
        if method == "PUT":
            self.uploads[upload_id][int(query["partNumber"][0])] = data
            return 200, f'ETag: "{upload_id}-{query["partNumber"][0]}"\r\n', b""
        parts = self.uploads.pop(upload_id)
        if method == "DELETE":
            return 204, "", b""
        status, tag, body = self.put(path, headers, b"".join(parts[number] for number in sorted(parts)))
        return status, tag, body or _xml("CompleteMultipartUploadResult", f"<ETag>{escape(tag[6:-2])}</ETag>")

    def delete_many(self, bucket: str, request: bytes) -> tuple[int, str, bytes]:
        """As `answer`, to the names of objects to be removed."""
        for key in re.findall("<Key>(.*?)</Key>", request.decode()):
            (self.folder / bucket.strip("/") / unescape(key)).unlink(missing_ok=True)
        return 200, "", _xml("DeleteResult", "")

    def listing(self, bucket: str, query: dict[str, list[str]]) -> bytes:
        """What S3's ListObjectsV2 says of a prefix that ends in `/` (or is empty), with or without the delimiter `/`."""
        prefix = query.get("prefix", [""])[0]
        root = self.folder / bucket
        place = root / prefix.rstrip("/")
        first, listing_key = int(query.get("continuation-token", ["0"])[0]), f"{bucket}/{prefix} {'delimiter' in query}"
        if not first:
            paths = sorted(map(str, place.iterdir()) if "delimiter" in query else _below(place)) if place.is_dir() else []
            self.listings[listing_key] = [] if self.state == "away" else paths
        entries, end = self.listings[listing_key], first + PAGE
        parts = []
        for entry in map(Path, entries[first:end]):
            key = escape(entry.relative_to(root).as_posix())
            if entry.is_file():
                parts.append(
                    f"<Contents><Key>{key}</Key><Size>{entry.stat().st_size}</Size><ETag>{escape(_tag(entry))}</ETag>"
                    "<LastModified>2025-01-06T00:00:00.000Z</LastModified></Contents>"
                )
            elif "delimiter" in query:
                parts.append(f"<CommonPrefixes><Prefix>{key}/</Prefix></CommonPrefixes>")
        more = end < len(entries)
        head = f"<Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix><IsTruncated>{str(more).lower()}</IsTruncated>"
        head += f"<NextContinuationToken>{end}</NextContinuationToken>" if more else ""
        return _xml("ListBucketResult", f"{head}<KeyCount>{len(parts)}</KeyCount>{''.join(parts)}")


def _xml(name: str, content: str) -> bytes:
    return f"<{name}>{content}</{name}>".encode()


def _below(folder: Path) -> Iterator[str]:
    for directory, _, names in os.walk(folder):
        yield from (os.path.join(directory, name) for name in names)


def _tag(file: Path) -> str:
    status = file.stat()
    return f'"{status.st_ino}-{status.st_mtime_ns}"'


@contextmanager
def serve(folder: Path, port: int, delay: float) -> Iterator[str]:
    """The URL of `folder` while a process serves it."""
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "benchmarks.tile_web", str(folder.resolve()), str(port), str(delay)]
    with answering(command, f"{url}/__up__", cwd=Path(__file__).parents[1]):
        yield url


def s3_environment(address: str) -> dict[str, str]:
    """Variables by which a process finds the server at `address` as its S3."""
    keys = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "testing")
    return {
        **keys,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": address,
        "AWS_ALLOW_HTTP": "true",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def counts(url: str) -> dict[str, int]:
    """Requests by kind that the server at `url` has answered."""
    with urllib.request.urlopen(f"{url}/__counts__", timeout=10) as answer:
        return dict(json.load(answer))


def processor_seconds(url: str) -> float:
    """Processor seconds that the server at `url` has taken since it started."""
    with urllib.request.urlopen(f"{url}/__processor__", timeout=10) as answer:
        return float(json.load(answer))


def switch(url: str, state: str) -> None:
    """Make the server at `url` one of `up`, `down`, `away`, `flaky`."""
    urllib.request.urlopen(f"{url}/__{state}__", timeout=10).read()


async def _main(folder: Path, port: int, delay: float) -> None:
    server = await asyncio.start_server(WebFolder(folder, delay).connection, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
