"""How the server is started: its workers, and where they keep the figures that they share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import uvicorn

from server.asking import regions as named

CUBES = "FLORACUBE_CUBES"  # as `server.main` reads it, which is not imported here: each worker does it for itself
FIGURES = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def _shared_figures(workers: int) -> Iterator[None]:
    """A folder in which several workers count together, unless the operator named one."""
    if workers == 1 or FIGURES in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="floracube-figures-") as folder:
        os.environ[FIGURES] = folder
        try:
            yield
        finally:
            del os.environ[FIGURES]


def serve(urls: Sequence[str], host: str, port: int, workers: int, regions: Sequence[str] = ()) -> None:
    """Serve the cubes at `urls` until interrupted; settings come from the environment (see `server.operating.settings`).

    `regions`: GeoJSON files of named regions, each `FILE` or `KIND=FILE`; raises `ConfigError` for one that is none.
    """
    os.environ[CUBES] = ",".join(urls)
    if regions:
        os.environ[named.ENVIRONMENT] = ",".join(regions)
    named.from_environment()  # a wrong file is one sentence now, not a broken server
    with _shared_figures(workers):
        uvicorn.run(
            "server.main:app_from_environment", factory=True, host=host, port=port, workers=workers, log_level="warning",
            access_log=False,  # ours is JSON and knows the route
            server_header=False,
            # A map asks in bursts; the connections of the last one are still open for the next.
            timeout_keep_alive=30,
            timeout_graceful_shutdown=10,
        )  # fmt: skip
