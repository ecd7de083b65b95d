"""What stands behind a cube's URL: the filesystem of its documents, the Zarr store of its arrays, and how both fail.

A cube is a path or a URL: `s3://bucket/cube.zarr` (and whatever speaks S3), `gs://`, `az://`, `memory://` in tests, and
`https://` or `http://`, read-only, for a folder that a web server answers with range requests. There are no credentials of
our own: each cloud's usual ones count, as its own tools read them (`AWS_PROFILE`, `AWS_ACCESS_KEY_ID`, `~/.aws`,
`AWS_ENDPOINT_URL` for another S3 than Amazon's, `AWS_MAX_ATTEMPTS`; `GOOGLE_APPLICATION_CREDENTIALS`;
`AZURE_STORAGE_CONNECTION_STRING`, ...), and what fsspec is told in its own way (`FSSPEC_S3_ANON=true`, `~/.config/fsspec`).

A read that fails is an error that names the object, never a hole: Zarr takes a missing object for fill values, so only
an object that the store itself says is not there may count as missing.

`FLORACUBE_IO` chooses how chunks are read and written: `plain` (fsspec and Zarr's own codecs), `zarrs` (its Rust codecs),
`obstore` (Rust object stores for s3, gs, az and https; for an `AWS_ENDPOINT_URL` with plain http it wants
`AWS_ALLOW_HTTP=true`) or `obstore+zarrs`. Unset, a local cube takes `zarrs` where that package is installed and everything
else is `plain`; where it is installed, shards for a bucket are encoded by it in a temporary folder, in a third of the time.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import fsspec
import zarr
import zarr.storage
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest

from cube.errors import CubeError
from cube.storage.transient import delay, retry_transient

if TYPE_CHECKING:
    from zarr.core.buffer import Buffer, BufferPrototype

T = TypeVar("T")

PACKAGES: Final = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs", "https": "aiohttp", "http": "aiohttp"}
WEB: Final = frozenset({"http", "https"})
PUT_BY_OBSTORE: Final = frozenset({"gs", "az"})  # conditional writes, see `cube.storage.conditional`
NO_STORE: Final = "no-store"  # of documents, for whoever puts a web cache before the bucket
OBSTORE: Final = frozenset({"s3", "gs", "az", "http", "https"})
IO_BACKENDS: Final = ("plain", "zarrs", "obstore", "obstore+zarrs")
TRIES: Final = 5  # of a request to a web server; the clouds' own libraries count theirs
FIRST_WAIT: Final = 0.2  # seconds before the second try, doubled for each other


def scheme(url: str) -> str:
    """`s3` of `s3://bucket/cube.zarr`; `file` of a path."""
    return url.split("://", 1)[0] if "://" in url else "file"


def local_path(url: str) -> Path | None:
    """The folder of a local cube (a path or a `file://` URL); None of any other."""
    return Path(url.removeprefix("file://")) if scheme(url) == "file" else None


def require_writable(url: str) -> None:
    """Raise `CubeError` for a cube on a web server, which only gives."""
    if scheme(url) in WEB:
        raise CubeError(f"{url}: a cube on a web server can only be read; write to the folder or bucket that it serves.")


def filesystem(url: str, asynchronous: bool = False) -> tuple[Any, str]:
    """The fsspec filesystem of `url` and the path on it. Raises `CubeError` for an unknown protocol or a missing package."""
    name = scheme(url)
    options: dict[str, Any] = {"asynchronous": asynchronous}
    if name in PACKAGES:
        # A listing that is remembered hides the receipts that other workers leave.
        options["use_listings_cache"] = False
    if name == "s3":
        # Otherwise every whole object costs a HEAD before its GET, only to see whether it is worth splitting.
        options["max_concurrency"] = 1
    if name in WEB:
        # A cache on the way must not answer for the release that readers follow.
        options["client_kwargs"] = {"headers": {"Cache-Control": "no-cache"}}
    try:
        fs, path = fsspec.core.url_to_fs(url, **{**options, **fsspec.config.conf.get(name, {})})
    except ImportError as error:
        package = PACKAGES.get(name, name)
        raise CubeError(f"{url}: {name}:// needs the package {package}, which is not here; `pip install {package}`.") from error
    except ValueError as error:
        raise CubeError(
            f"{url}: '{name}://' is no protocol of a cube; use a path, {', '.join(f'{p}://' for p in PACKAGES)} or memory://."
        ) from error
    return fs, path.rstrip("/")


def io_backend(url: str) -> str:
    """One of `IO_BACKENDS` for `url`, by `FLORACUBE_IO`.

    Raises `CubeError` where that says something else or needs a package that is not installed.
    """
    setting = os.environ.get("FLORACUBE_IO", "")
    if setting and setting not in IO_BACKENDS:
        raise CubeError(f"FLORACUBE_IO is '{setting}'; it may be {', '.join(IO_BACKENDS)} or unset.")
    for package in ("zarrs", "obstore"):
        if package in setting and importlib.util.find_spec(package) is None:
            raise CubeError(f"FLORACUBE_IO is '{setting}', but {package} is not installed; `pip install {package}` or unset it.")
    if not setting:
        return "zarrs" if scheme(url) == "file" and importlib.util.find_spec("zarrs") else "plain"
    packages = [p for p in setting.split("+") if p != "obstore" or scheme(url) in OBSTORE]
    # The Rust codecs fetch by themselves, and know folders and clouds; of a web server they forget what it was opened with.
    if "zarrs" in packages and not (scheme(url) == "file" or ("obstore" in packages and scheme(url) not in WEB)):
        packages.remove("zarrs")
    return "+".join(packages) or "plain"


def encodes_in_folder() -> bool:
    """Whether the Rust codecs, which cannot write through fsspec, encode what goes to a bucket in a temporary folder."""
    return not os.environ.get("FLORACUBE_IO") and importlib.util.find_spec("zarrs") is not None


def with_rust_codecs(array: zarr.Array[Any], url: str) -> zarr.Array[Any]:
    """The same array with the Rust codecs, where `io_backend(url)` says so; they hand what they cannot do back to Zarr's own."""
    if "zarrs" in io_backend(url):
        from zarrs import ZarrsCodecPipeline

        # It opens a store of obstore once more for itself, which is no news to a user.
        warnings.filterwarnings("ignore", message="Successfully reconstructed a store", category=RuntimeWarning)
        pipeline = ZarrsCodecPipeline.from_array_metadata_and_store(array.metadata, array.store)
        # Zarr's setting for this belongs to the whole process, threads and other people's arrays included.
        object.__setattr__(array._async_array, "codec_pipeline", pipeline)
    return array


def zarr_store(url: str, read_only: bool) -> Store:
    """The Zarr store behind a cube's URL or a group below it."""
    folder = local_path(url)
    if folder is not None:
        return zarr.storage.LocalStore(folder, read_only=read_only)
    if not read_only:
        require_writable(url)
    if "obstore" in io_backend(url):
        return zarr.storage.ObjectStore(object_store(url), read_only=read_only)
    fs, path = filesystem(url, asynchronous=True)
    if not fs.async_impl:
        from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

        fs = AsyncFileSystemWrapper(fs, asynchronous=True)
    return RemoteStore(fs, read_only=read_only, path=path)


def object_store(url: str) -> Any:
    """The store of obstore behind a URL. Raises `CubeError` where that package is missing."""
    try:
        from obstore.store import from_url
    except ImportError as error:
        raise CubeError(f"{url}: writing to {scheme(url)}:// needs the package obstore; `pip install obstore`.") from error
    options: dict[str, Any] = {"client_options": {"allow_http": True}} if scheme(url) == "http" else {}
    if scheme(url) == "s3" and "AWS_ACCESS_KEY_ID" not in os.environ and importlib.util.find_spec("boto3"):
        # By itself it knows the variables of the environment alone, not profiles or single sign-on.
        from obstore.auth.boto3 import Boto3CredentialProvider

        options["credential_provider"] = Boto3CredentialProvider()
    if scheme(url) == "az":
        options |= _azure_account()
    return from_url(url, **options)


def _azure_account() -> dict[str, str]:
    """What obstore, which knows other variables, needs of `AZURE_STORAGE_CONNECTION_STRING`; empty without it."""
    pairs = (pair.partition("=") for pair in os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "").split(";"))
    parts = {key.strip(): value for key, _, value in pairs}
    names = {"AccountName": "account_name", "AccountKey": "account_key", "BlobEndpoint": "endpoint"}
    return {option: parts[key] for key, option in names.items() if key in parts}


def is_absent(error: BaseException) -> bool:
    """Whether an error says that an object is not there; a bucket that is not there is no such answer."""
    response = getattr(error.__cause__, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return isinstance(error, FileNotFoundError) and code != "NoSuchBucket"


def with_name(error: Exception, what: str) -> OSError:
    """The same failure as an `OSError` that names the object; kind and number stay, for whoever decides on another try."""
    kind = next((k for k in (PermissionError, FileNotFoundError, TimeoutError) if isinstance(error, k)), OSError)
    text = f"{what}: {getattr(error, 'strerror', None) or str(error) or type(error).__name__}"
    number = getattr(error, "errno", None)
    return kind(number, text) if number is not None else kind(text)


def retry_web(request: Callable[[], T], url: str) -> T:
    """The answer to a request; a web server that fails for the moment is asked again, since no library does that for us."""
    return retry_transient(request, TRIES - 1 if scheme(url) in WEB else 0, FIRST_WAIT)


class RemoteStore(zarr.storage.FsspecStore):
    """Zarr's fsspec store, but whatever fails says so: only an object that is certainly not there is missing."""

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """The object (or part of it) as a buffer; None where the store says that there is none."""
        path = f"{self.path.rstrip('/')}/{key}"
        start: int | None = None
        end: int | None = None
        if isinstance(byte_range, RangeByteRequest):
            start, end = byte_range.start, byte_range.end
        elif isinstance(byte_range, OffsetByteRequest):
            start = byte_range.offset
        elif isinstance(byte_range, SuffixByteRequest):
            start = -byte_range.suffix
        elif byte_range is not None:
            raise ValueError(f"Unexpected byte_range, got {byte_range}.")
        data = await self._fetch(path, start, end)
        if data is None:
            return None
        longest = end - (start or 0) if end is not None else -start if start is not None and start < 0 else None
        if longest is not None and len(data) > longest:
            raise OSError(f"{path}: the server sends whole objects where a part is asked for; it must answer range requests.")
        return prototype.buffer.from_bytes(data)

    async def _fetch(self, path: str, start: int | None, end: int | None) -> bytes | None:
        retries = TRIES - 1 if "http" in self.fs.protocol else 0
        tries = 0
        while True:
            tries += 1
            try:
                return bytes(await self.fs._cat_file(path, start=start, end=end))
            except (IsADirectoryError, NotADirectoryError):
                return None
            except Exception as error:
                if is_absent(error):
                    return None
                wait = delay(error, tries, retries, FIRST_WAIT)
                if wait is None:
                    raise with_name(error, path) from error
            await asyncio.sleep(wait)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Several parts at once."""
        return list(await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges)))

    async def exists(self, key: str) -> bool:
        """Whether there is such an object; fsspec's own answer for web servers takes every failure for a no."""
        from zarr.core.buffer import default_buffer_prototype

        return await self.get(key, default_buffer_prototype(), RangeByteRequest(0, 1)) is not None

    async def set(self, key: str, value: Buffer, byte_range: tuple[int, int] | None = None) -> None:
        """Put an object whole."""
        try:
            await super().set(key, value, byte_range)
        except (TypeError, ValueError):  # what is no buffer, and a store that is open for reading alone
            raise
        except Exception as error:
            raise with_name(error, f"{self.path.rstrip('/')}/{key}") from error
