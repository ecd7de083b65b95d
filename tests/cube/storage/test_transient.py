"""What is worth another try: errors as the libraries in use really raise them, alone and behind sentences of ours."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import aiohttp
import botocore.exceptions
import numpy as np
import pystac_client.exceptions
import pytest
import rasterio
import rasterio.errors
import requests
import s3fs.errors

from cube.errors import ConfigError, SourceError
from cube.sources import opening
from cube.sources.raster_grid import RasterGrid
from cube.sources.warp import ResampleSpec, read_raster
from cube.storage.transient import fatal_reason, is_transient, retry_transient


def _s3(code: str, status: int) -> botocore.exceptions.ClientError:
    answer = {"Error": {"Code": code, "Message": "told"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return botocore.exceptions.ClientError(answer, "GetObject")


def _requests(status: int) -> requests.HTTPError:
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError("told", response=response)


def _stac(status: int) -> pystac_client.exceptions.APIError:
    error = pystac_client.exceptions.APIError("told")
    error.status_code = status
    return error


def _aiohttp(status: int) -> aiohttp.ClientResponseError:
    return aiohttp.ClientResponseError(None, (), status=status)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError(),
        ConnectionResetError(),
        BrokenPipeError(),
        socket.gaierror(socket.EAI_AGAIN, "name"),
        OSError(errno.ESTALE, "stale"),
        OSError(errno.EBUSY, "SlowDown"),
        _s3("SlowDown", 503),
        _s3("InternalError", 200),
        s3fs.errors.translate_boto_error(_s3("500", 500)),
        s3fs.errors.translate_boto_error(_s3("Whatever", 502)),
        botocore.exceptions.EndpointConnectionError(endpoint_url="x"),
        botocore.exceptions.ReadTimeoutError(endpoint_url="x"),
        botocore.exceptions.ConnectionClosedError(endpoint_url="x"),
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientPayloadError("Response payload is not completed"),
        _aiohttp(503),
        _aiohttp(429),
        _requests(500),
        requests.ConnectionError("told"),
        requests.ReadTimeout(),
        _stac(504),
        rasterio.errors.RasterioIOError("HTTP response code: 503"),
        rasterio.errors.RasterioIOError("HTTP error code : 429"),
        rasterio.errors.RasterioIOError("CURL error: Operation timed out after 30000 milliseconds"),
        rasterio.errors.RasterioIOError("/vsicurl/http://x/a.tif, band 1: IReadBlock failed at X offset 0, Y offset 1"),
        RuntimeError("Connection reset by peer (os error 104)"),
        SourceError("https://x/a.tif: cannot be read as a raster (HTTP response code: 500); check sources[0].raster."),
    ],
)
def test_what_passes_by_itself_is_tried_again(error: Exception) -> None:
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "no"),
        PermissionError(errno.EACCES, "no"),
        OSError(errno.ENOSPC, "full"),
        OSError(errno.EIO, "a disk that dies"),
        ValueError("503 rows"),
        KeyError("x"),
        SourceError("a.tif: has 3 bands"),
        ConfigError("timed out is no key"),
        _s3("NoSuchKey", 404),
        s3fs.errors.translate_boto_error(_s3("AccessDenied", 403)),
        _aiohttp(404),
        _requests(401),
        _stac(400),
        rasterio.errors.RasterioIOError("HTTP response code: 404"),
        rasterio.errors.RasterioIOError("/data/a.tif, band 1: IReadBlock failed at X offset 0, Y offset 1"),
        RuntimeError("No space left on device (os error 28)"),
    ],
)
def test_what_stays_wrong_is_named_at_once(error: Exception) -> None:
    assert not is_transient(error)


def test_a_sentence_of_ours_does_not_hide_what_caused_it() -> None:
    caught: list[SourceError] = []
    for cause in (ConnectionResetError("gone"), FileNotFoundError("a.tif")):
        for hidden in (False, True):
            try:
                try:
                    raise cause
                except OSError as error:
                    raise SourceError("scene a cannot be read.") from (None if hidden else error)
            except SourceError as error:
                caught.append(error)
    assert [is_transient(error) for error in caught] == [True, True, False, False]


def test_the_first_error_that_says_something_decides() -> None:
    missing = FileNotFoundError("no such scene")
    missing.__cause__ = TimeoutError()
    assert not is_transient(missing)


def test_what_no_task_survives_is_known_from_python_and_from_rust() -> None:
    behind = SourceError("unit x cannot be written.")
    behind.__cause__ = OSError(errno.ENOSPC, "No space left on device", "/cube/c/0")
    assert fatal_reason(behind) == "/cube/c/0: the disk is full; make room"
    assert "disk is full" in str(fatal_reason(RuntimeError("No space left on device (os error 28)")))
    assert "read-only" in str(fatal_reason(OSError(errno.EROFS, "Read-only file system")))
    assert fatal_reason(OSError(errno.EACCES, "one file of another user")) is None


@pytest.fixture
def failing_server(tmp_path: Path) -> Iterator[tuple[str, list[int]]]:
    """(URL of a GeoTIFF, status that its second half is answered with): the header can be read, the rest cannot."""
    values = np.random.default_rng(0).random((1, 512, 512), np.float32)
    with rasterio.open(
        tmp_path / "a.tif",
        "w",
        driver="GTiff",
        height=512,
        width=512,
        count=1,
        dtype="float32",
        tiled=True,
        crs="EPSG:3035",
        transform=rasterio.transform.from_origin(0, 0, 10, 10),
    ) as target:
        target.write(values)
    data, status = (tmp_path / "a.tif").read_bytes(), [503]

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            first, _, last = (self.headers.get("Range") or f"bytes=0-{len(data) - 1}").removeprefix("bytes=").partition("-")
            part = data[int(first) : min(int(last or len(data)), len(data) - 1) + 1]
            if self.path != "/a.tif" or int(first) > 0:
                self.send_response(status[0] if self.path == "/a.tif" else 404)
                part = b""
            else:
                self.send_response(206 if body else 200)
                self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}")
                self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            if body:
                self.wfile.write(part)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/a.tif", status
    server.shutdown()
    server.server_close()


def test_a_server_that_fails_in_the_middle_of_a_file_is_asked_again(
    failing_server: tuple[str, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _ = failing_server
    monkeypatch.setattr(opening, "GDAL", {**opening.GDAL, "GDAL_HTTP_MAX_RETRY": 0})  # GDAL's own tries wait for seconds
    transform = rasterio.transform.from_origin(0, 0, 10, 10)
    # GDAL looks for side files without letting go of Python's lock, and the server here needs it: none are looked for.
    with (
        rasterio.Env(GDAL_PAM_ENABLED="NO", CPL_VSIL_CURL_ALLOWED_EXTENSIONS=".tif"),
        pytest.raises(SourceError) as caught,
    ):
        read_raster(url, RasterGrid(transform, (512, 512)), ResampleSpec("sources[0].raster", [1]))
    assert is_transient(caught.value), repr(caught.value)


def test_a_local_file_that_is_cut_off_is_not(tmp_path: Path) -> None:
    path, transform = tmp_path / "a.tif", rasterio.transform.from_origin(0, 0, 10, 10)
    with rasterio.open(
        path, "w", driver="GTiff", height=512, width=512, count=1, dtype="float32", crs="EPSG:3035", transform=transform
    ) as target:
        target.write(np.random.default_rng(0).random((1, 512, 512), np.float32))
    path.write_bytes(path.read_bytes()[:500_000])
    with pytest.raises(SourceError) as caught:
        read_raster(str(path), RasterGrid(transform, (512, 512)), ResampleSpec("sources[0].raster", [1]))
    assert not is_transient(caught.value)


def test_a_coordinator_asks_again_what_passes_and_not_what_stays() -> None:
    asked: list[int] = []

    def moody(error: OSError, times: int) -> str:
        asked.append(1)
        if len(asked) <= times:
            raise error
        return "there"

    assert retry_transient(lambda: moody(OSError(errno.EBUSY, "busy"), 3), 3, 0.001) == "there"
    asked.clear()
    with pytest.raises(OSError, match="denied"):
        retry_transient(lambda: moody(PermissionError(errno.EACCES, "denied"), 3), 3, 0.001)
    assert len(asked) == 1
