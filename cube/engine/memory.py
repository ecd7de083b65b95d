"""The memory of a task: what its reader says that a unit takes, what a worker has, and what was taken in the end."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from cube.config.cluster import ClusterConfig
from cube.errors import ConfigError
from cube.grid import UNIT_KM, Unit
from cube.layers import Layer
from cube.sources.reader import Reader
from cube.storage.store import resolution_of

GB: Final = 10**9
PROCESS: Final = 400 * 10**6  # bytes of a worker that has imported everything and read nothing
COPIES: Final = 4  # of a shard on its way to a bucket: its chunks, the shard joined of them, and its request in two libraries
CGROUP: Final = Path("/sys/fs/cgroup/memory.max")  # the limit of a container or job, where there is one


def machine_bytes() -> int:
    """Memory that the processes of this machine, or of this container, may take together."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = CGROUP.read_text().strip() if CGROUP.exists() else "max"
    return min(total, int(limit)) if limit.isdigit() else total


def allowed_bytes(cluster: ClusterConfig) -> int | None:
    """Memory that one task may take; None where only the machines of another cluster know."""
    if cluster.memory_gb is not None:
        return round(cluster.memory_gb * GB)
    return machine_bytes() // (cluster.workers or 1) if cluster.kind == "local" else None


def projected_bytes(reader: Reader, unit: Unit) -> int:
    """Memory of a worker that reads and writes `unit`, its libraries included."""
    return PROCESS + max(reader.memory(unit), writing_bytes(reader.layers, unit))


def writing_bytes(layers: Sequence[Layer], unit: Unit) -> int:
    """Memory that writing `unit` takes at most, the values of all layers with a mask included: one layer is written at a time."""
    pixels = [math.prod(map(len, layer.labels.values())) * (unit.km * 1000 // resolution_of(layer)) ** 2 for layer in layers]
    stored_bytes = [count * np.dtype(layer.dtype).itemsize for count, layer in zip(pixels, layers, strict=True)]
    return sum(pixels) + sum(stored_bytes) + COPIES * max(stored_bytes)


def check_memory(readers: Iterable[Reader], unit: Unit, cluster: ClusterConfig) -> None:
    """Refuse, before any work, sources of which a unit takes more memory than a task may. Raises `ConfigError`."""
    max_bytes = allowed_bytes(cluster)
    if max_bytes is None:
        return
    for reader in readers:
        required_bytes = projected_bytes(reader, unit)
        if required_bytes > max_bytes:
            ways = ["a smaller unit_km"] if unit.km > min(UNIT_KM) else []
            ways += ["fewer workers"] if cluster.memory_gb is None and (cluster.workers or 1) > 1 else []
            ways += ["another cluster.memory_gb" if cluster.memory_gb is not None else "a machine with more memory"]
            raise ConfigError(
                f"unit_km is {unit.km}: a unit of {reader.layers[0].name} takes about {required_bytes / GB:.1f} GB, and a task"
                f" may take {max_bytes / GB:.1f} GB; choose {' or '.join(ways)}."
            )


def peak_bytes() -> int:
    """The most memory that this process has taken so far."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
