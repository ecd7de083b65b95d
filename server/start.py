"""How the server is started: its workers, and where they keep the figures that they share."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

import uvicorn

from cube.errors import ServerError
from cube.storage.local_files import temporary_folder
from cube.storage.store import open_cube
from server.operating.settings import Settings, variable
from server.queries import regions as regions_of_operator

CUBES = "FLORACUBE_CUBES"  # as `server.main` reads it, which is not imported here: each worker does it for itself
FIGURES = "PROMETHEUS_MULTIPROC_DIR"
_LOCAL = "127.0.0.1 is this machine alone, 0.0.0.0 all its addresses"
_MENDS: Final = {
    errno.EADDRINUSE: "the port is taken; choose another with --port, or stop the server that is there",
    errno.EACCES: "ports below 1024 are not for everybody; choose another with --port",
    errno.EADDRNOTAVAIL: f"this machine has no such address; choose another with --host ({_LOCAL})",
    socket.EAI_NONAME: f"there is no such host; choose another with --host ({_LOCAL})",
}


@contextmanager
def _shared_figures(workers: int) -> Iterator[None]:
    """A folder in which several workers count together, unless the operator named one."""
    if workers == 1 or FIGURES in os.environ:
        yield
        return
    with temporary_folder() as folder:
        os.environ[FIGURES] = str(folder)
        try:
            yield
        finally:
            del os.environ[FIGURES]


def require_free(host: str, port: int) -> None:
    """Raise `ServerError` unless a server may listen at this address: a busy port is one sentence, not a broken server."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: a port just left is free
            probe.bind(address)
    except OSError as error:  # gaierror is one, with numbers of its own
        raise ServerError(f"http://{host}:{port} cannot be served on: {_MENDS.get(error.errno or 0, error.strerror)}.") from None


def prepare(urls: Sequence[str], host: str, port: int, regions: Sequence[str] = ()) -> None:
    """Put what the workers need into the environment; what is wrong is one sentence now, not a broken server.

    `regions`: GeoJSON files of named regions, each `FILE` or `KIND=FILE`. Raises `ConfigError` for an invalid one,
    `ServerError` where the address cannot be served on, `CubeError` where there is no cube and the setting `wait` is off.
    """
    os.environ[CUBES] = ",".join(urls)
    if regions:
        os.environ[variable("regions")] = ",".join(regions)
    settings = Settings.from_environment()
    regions_of_operator.read(settings.regions, "--regions" if regions else variable("regions"))
    for url in () if settings.wait else urls:
        open_cube(url)
    require_free(host, port)


def serve(host: str, port: int, workers: int) -> None:
    """Serve what is prepared until interrupted; settings come from the environment (see `server.operating.settings`)."""
    # Ctrl-C is how a server ends: uvicorn raises it again once all answers are given, and nobody needs to hear of it.
    with _shared_figures(workers), suppress(KeyboardInterrupt):
        uvicorn.run(
            "server.main:app_from_environment",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            log_level="warning",
            access_log=False,  # ours is JSON and knows the route
            server_header=False,
            # A map asks in bursts; the connections of the last one are still open for the next.
            timeout_keep_alive=30,
            timeout_graceful_shutdown=10,
        )
