"""What a worker does of a prediction: the model loaded once, a unit claimed, predicted, and signed last.

What a unit's values are is known to `unit`; how workers are had, to `cube.engine`.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

from cube.grid import Unit
from cube.storage import lock
from cube.storage.ledger import Ledger, fingerprint
from inference.cascade.unit import Job, open_job, run_unit

# A unit takes the memory and the threads that its process has; a worker of several threads computes one after another.
_alone = threading.Lock()


def predict_unit(job: Job, stage: str, unit: Unit) -> dict[str, Any]:
    """Predict one unit and leave its receipt in `stage`; returns it with its fingerprint, without checksums and sizes.

    A unit that somebody else finished meanwhile is left alone, and one that somebody is writing is waited for: the
    workers of a coordinator that was killed may still be at it. Raises what reading, the model and writing raise.
    """
    with _alone:
        cube, _ = open_job(job)
        ledger = Ledger(cube, stage, job.inputs)
        with lock.claimed(cube, stage, unit.name):
            receipt = ledger.valid_or_withdrawn(unit.name)
            if receipt is None:
                receipt = {**run_unit(_with_threads(job), unit), "stage": stage}
                ledger.leave(unit.name, receipt)
    small = {name: value for name, value in receipt.items() if name not in ("checksums", "sizes")}
    return small | {"fingerprint": fingerprint(receipt)}


def _with_threads(job: Job) -> Job:
    """Under dask a unit takes as many numeric threads as dask gave the worker; by itself it takes what it finds."""
    if job.threads is None:
        return job
    from distributed import get_worker

    return replace(job, threads=get_worker().state.nthreads)
