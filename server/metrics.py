"""What the server counts about itself, in the words of Prometheus; who counts where is said in the modules that count.

With several workers each has its own figures: where PROMETHEUS_MULTIPROC_DIR names a folder (`floracube serve --workers`
makes one), they are kept in files there and `/metrics` of any worker answers with the sum.
"""

from __future__ import annotations

import os
from typing import Final

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
if FOLDER in os.environ:  # read as soon as the first figure is made
    os.makedirs(os.environ[FOLDER], exist_ok=True)
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

REQUESTS: Final = Counter("floracube_requests", "Requests answered.", ("route", "status"))
LATENCY: Final = Histogram("floracube_request_seconds", "Time to answer.", ("route",), buckets=_SECONDS)
SENT_BYTES: Final = Counter("floracube_sent_bytes", "Bytes of bodies sent.", ("route",))
IN_FLIGHT: Final = Gauge("floracube_requests_in_flight", "Requests being answered.", multiprocess_mode="livesum")
CACHE_HITS: Final = Counter("floracube_chunk_cache_hits", "Decoded chunks found in memory.")
CACHE_MISSES: Final = Counter("floracube_chunk_cache_misses", "Decoded chunks that had to be read, or waited for.")
CACHE_BYTES: Final = Gauge("floracube_chunk_cache_bytes", "Bytes of decoded chunks in memory.", multiprocess_mode="livesum")
READ_BYTES: Final = Counter("floracube_store_read_bytes", "Bytes read from the store.")
READS: Final = Counter("floracube_store_reads", "Ranges of objects read from the store.")
READ_SECONDS: Final = Histogram("floracube_store_read_seconds", "Time of a round of reads.", buckets=_SECONDS)
STORE_ERRORS: Final = Counter("floracube_store_errors", "Rounds of reads that failed.")
RELEASES: Final = Counter("floracube_releases_opened", "Releases opened since the start.")


def text() -> bytes:
    """All figures in Prometheus' text format, summed over the workers."""
    if FOLDER not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


router: Final = APIRouter(tags=["operations"])
_KIND: Final = {"text/plain": {"schema": {"type": "string"}}}


@router.get("/metrics", summary="Figures for Prometheus", response_class=Response, responses={200: {"content": _KIND}})
def figures() -> Response:
    """Requests and latency by route, cache hits, bytes read."""
    return Response(text(), media_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})
