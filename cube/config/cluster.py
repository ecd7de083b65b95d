"""Where units are computed, as a part of the configuration; how such a cluster is opened is `cube.engine.cluster`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from cube.config.strict import Strict


class Adapt(Strict):
    """A cluster that grows and shrinks with the work: bounds on its workers."""

    minimum: int = Field(0, ge=0, description="workers that are always there")
    maximum: int = Field(ge=1, description="most workers")


class ClusterConfig(Strict):
    """Processes of this machine (the default), a running scheduler, or a cluster that one of dask's libraries starts."""

    kind: Literal["local", "address", "dask-cuda", "kubernetes", "jobqueue"] = Field(
        "local", description="local: processes of this machine"
    )
    workers: int | None = Field(None, ge=1, description="processes, GPUs, pods or jobs; left out: 1, every GPU, else the adapt")
    adapt: Adapt | None = Field(None, description="bounds on the number of workers, instead of workers")
    address: str | None = Field(None, description="of a running dask scheduler, for kind address")
    system: Literal["slurm", "pbs", "sge", "lsf", "htcondor", "oar", "moab", "local"] = Field("slurm", description="for jobqueue")
    patience_s: float = Field(60.0, gt=0, description="seconds that the first worker may take to come")
    memory_gb: float | None = Field(
        None, gt=0, description="that one task may take; left out: of local, this machine's divided by workers; else not checked"
    )
    options: dict[str, Any] = Field({}, description="passed to the library's own constructor, every name checked against it")

    @model_validator(mode="after")
    def _fits(self) -> ClusterConfig:
        if (self.kind == "address") != (self.address is not None):
            raise ValueError("kind address needs an address such as tcp://host:8786, and no other kind takes one")
        if self.kind == "address" and (self.options or self.workers or self.adapt):
            raise ValueError("a running scheduler has the workers it has; options, workers and adapt belong to clusters we start")
        if self.kind in ("kubernetes", "jobqueue") and self.workers is None and self.adapt is None:
            raise ValueError(f"a {self.kind} cluster needs workers (a number) or adapt (minimum, maximum)")
        if self.kind in ("local", "dask-cuda") and self.adapt is not None:
            raise ValueError(f"a {self.kind} cluster has a fixed number of workers; give workers")
        return self
