"""A cluster of the configuration, opened: which of dask's libraries starts it, its options by name, its absence by name.

Nothing here differs in what is computed. A library is imported only when its kind of cluster is asked for.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import logging
from collections.abc import Mapping
from typing import Any, Final

from cube.config.cluster import ClusterConfig
from cube.errors import ConfigError, WorkersError

EXTRA: Final = {"local": "build", "dask-cuda": "cuda", "kubernetes": "kubernetes", "jobqueue": "jobqueue"}
MODULE: Final = {
    "local": "distributed",
    "dask-cuda": "dask_cuda",
    "kubernetes": "dask_kubernetes.operator",
    "jobqueue": "dask_jobqueue",
}
CLASS: Final = {"local": "LocalCluster", "dask-cuda": "LocalCUDACluster", "kubernetes": "KubeCluster"}
JOBS: Final = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "lsf": "LSFCluster",
    "htcondor": "HTCondorCluster",
    "oar": "OARCluster",
    "moab": "MoabCluster",
    "local": "LocalCluster",
}
# What the configuration says by other keys, or what would take the cluster out of our hands.
RESERVED_OPTIONS: Final = frozenset({"self", "args", "kwargs", "n_workers", "loop", "asynchronous", "silence_logs", "job_cls"})


def constructor(config: ClusterConfig) -> Any:
    """The class of the library that starts such a cluster. Raises `ConfigError` naming the extra where it is not installed."""
    name = JOBS[config.system] if config.kind == "jobqueue" else CLASS[config.kind]
    try:
        return getattr(importlib.import_module(MODULE[config.kind]), name)
    except ImportError as error:  # absent, or there without a part of its own, such as CUDA's bindings
        library = MODULE[config.kind].split(".")[0].replace("_", "-")
        raise ConfigError(
            f"cluster.kind is {config.kind}, which needs {library} ({error}); run"
            f" `pip install 'floracube[{EXTRA[config.kind]}]'`."
        ) from error


def known_options(cluster: Any) -> set[str]:
    """Names that a cluster's constructor takes, those included that it hands on to its jobs or workers."""
    classes = list(inspect.getmro(cluster))
    if job := getattr(cluster, "job_cls", None):
        classes += inspect.getmro(job)
    names = {base.__name__ for base in classes}
    if "LocalCluster" in names and "JobQueueCluster" not in names:
        from distributed import Nanny, Worker

        classes += [Nanny, Worker]
    options: set[str] = set()
    for cluster_class in classes:
        if cluster_class is not object and "__init__" in vars(cluster_class):
            parameters = inspect.signature(vars(cluster_class)["__init__"]).parameters.values()
            options |= {parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD}
    return options - RESERVED_OPTIONS


def check_options(config: ClusterConfig) -> Any:
    """The constructor, once every option has a name that it knows. Raises `ConfigError` for another, with the nearest."""
    cluster = constructor(config)
    options = known_options(cluster)
    for name in config.options:
        if name not in options:
            near = difflib.get_close_matches(name, options, 1)
            fix = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(options))}."
            if name == "n_workers":
                fix = "give cluster.workers."
            raise ConfigError(f"cluster.options.{name} is no option of {_full_name(cluster)}; {fix}")
    return cluster


def _full_name(cluster: Any) -> str:
    return f"{cluster.__module__.split('.')[0]}.{cluster.__name__}"


def arguments(config: ClusterConfig) -> dict[str, Any]:
    """What the constructor is called with: the options of the configuration over what a unit as a task asks for.

    A worker is a process of one slot, on a GPU alone: units are large, and two in one process would only share its memory.
    """
    default_options: dict[str, Any] = {}
    if config.kind == "local":
        default_options = {
            "n_workers": config.workers or 1,
            "threads_per_worker": 1,
            "processes": True,
            "dashboard_address": ":0",
            "silence_logs": logging.CRITICAL,
        }
    elif config.kind == "dask-cuda":
        default_options = {"threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": logging.CRITICAL}
        default_options |= {"n_workers": config.workers} if config.workers else {}  # else: every GPU
    elif config.kind == "kubernetes":
        default_options = {"quiet": True, "n_workers": config.workers or (config.adapt.minimum if config.adapt else 0)}
    elif config.kind == "jobqueue":
        default_options = {
            "processes": 1
        }  # dask-jobqueue would cut a job of many cores into several workers, each with the model
    return default_options | dict(config.options)


def open_cluster(config: ClusterConfig) -> Any:
    """Start the cluster, scaled as asked; the address itself for a running scheduler.

    Raises `ConfigError` for an absent library or an unknown option, `WorkersError` where it does not start.
    """
    if config.kind == "address":
        return config.address
    import dask

    cluster = check_options(config)
    try:
        # Dask's own three tries of a task whose worker died would kill four workers and prove nothing: see `workers._on_dask`.
        with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
            running_cluster = cluster(**arguments(config))
            _scale(running_cluster, config)
    except Exception as error:
        why = " ".join(str(error).split())
        raise WorkersError(
            f"cluster.kind is {config.kind}, but {_full_name(cluster)} did not start ({type(error).__name__}: {why});"
            " check cluster.options."
        ) from error
    return running_cluster


def _scale(cluster: Any, config: ClusterConfig) -> None:
    if config.adapt is not None:
        cluster.adapt(minimum=config.adapt.minimum, maximum=config.adapt.maximum)
    elif config.kind == "jobqueue":
        cluster.scale(config.workers)


def with_flags(config: ClusterConfig, workers: int | None, scheduler: str | None) -> ClusterConfig:
    """The cluster of a configuration under the flags of a command: an address stands above it, a number is its workers."""
    if scheduler is not None:
        return ClusterConfig(kind="address", address=scheduler, patience_s=config.patience_s, memory_gb=config.memory_gb)
    if workers is None:
        return config
    if config.kind == "address":
        # Whoever names a number here wants processes of this machine.
        return ClusterConfig(workers=workers, memory_gb=config.memory_gb)
    fields: Mapping[str, Any] = config.model_dump() | {"workers": workers, "adapt": None}
    return ClusterConfig(**fields)
