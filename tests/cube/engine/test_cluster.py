"""Clusters are configuration: the same tasks on each, every option checked against the library's own constructor."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cube.config import load_config
from cube.config.cluster import ClusterConfig
from cube.engine import cluster as clusters
from cube.engine.workers import Workers, run
from cube.errors import ConfigError, WorkersError

SLURM = {
    "cores": 1,
    "memory": "500MB",
    "queue": "long",
    "account": "flora",
    "walltime": "01:00:00",
    "job_extra_directives": ["--gres=gpu:1"],
}


def pid_of(_: int) -> int:
    return os.getpid()


def remember() -> None:
    os.environ["FLORACUBE_PREPARED"] = str(int(os.environ.get("FLORACUBE_PREPARED", "0")) + 1)


def prepared(_: int) -> tuple[int, str | None]:
    return os.getpid(), os.environ.get("FLORACUBE_PREPARED")


def config_with(folder: Path, cluster: Any) -> Path:
    window = {"west_km": 4700, "south_km": 2850, "east_km": 4710, "north_km": 2860}
    path = folder / "config.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "title": "t",
                "cube": "c.zarr",
                "region": window,
                "unit_km": 10,
                "sources": [{"layer": "bioclim", "raster": "b.tif"}],
                "cluster": cluster,
            }
        )
    )
    return path


@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        ({"kind": "slurm"}, "cluster.kind"),
        ({"kind": "local", "worker": 3}, "cluster.worker: is not a key that is known here; known are adapt, address, kind"),
        ({"kind": "address"}, "kind address needs an address such as tcp://host:8786"),
        ({"kind": "address", "address": "tcp://a:1", "workers": 3}, "a running scheduler has the workers it has"),
        ({"kind": "jobqueue"}, "a jobqueue cluster needs workers"),
        ({"kind": "local", "adapt": {"maximum": 3}}, "a local cluster has a fixed number of workers"),
    ],
)
def test_a_cluster_that_does_not_fit_is_one_sentence(tmp_path: Path, cluster: Any, words: str) -> None:
    with pytest.raises(ConfigError) as said:
        load_config(config_with(tmp_path, cluster))
    assert words in str(said.value)


def test_flags_stand_above_the_configuration(tmp_path: Path) -> None:
    asked = load_config(config_with(tmp_path, {"kind": "jobqueue", "workers": 4, "options": SLURM})).cluster
    assert clusters.with_flags(asked, None, None) is asked
    assert clusters.with_flags(asked, 9, None).workers == 9
    assert clusters.with_flags(asked, 9, None).kind == "jobqueue"
    assert clusters.with_flags(asked, 9, "tcp://a:1") == ClusterConfig(kind="address", address="tcp://a:1")
    assert clusters.with_flags(ClusterConfig(kind="address", address="tcp://a:1"), 2, None) == ClusterConfig(workers=2)


@pytest.mark.parametrize(
    ("kind", "wrong", "words"),
    [
        ("local", "memory_limits", "cluster.options.memory_limits is no option of distributed.LocalCluster; did you mean "),
        ("kubernetes", "imagee", "no option of dask_kubernetes.KubeCluster; did you mean image?"),
        ("jobqueue", "acount", "no option of dask_jobqueue.SLURMCluster; did you mean account?"),
        ("jobqueue", "n_workers", "give cluster.workers"),
    ],
)
def test_an_option_that_the_library_does_not_know_is_named_with_the_nearest(kind: Any, wrong: str, words: str) -> None:
    with pytest.raises(ConfigError) as said:
        clusters.open_cluster(ClusterConfig(kind=kind, workers=1, options={wrong: 1}))
    assert words in str(said.value)


@pytest.mark.parametrize(
    ("kind", "module", "extra"),
    [
        ("dask-cuda", "dask_cuda", "cuda"),
        ("kubernetes", "dask_kubernetes", "kubernetes"),
        ("jobqueue", "dask_jobqueue", "jobqueue"),
    ],
)
def test_a_library_that_is_not_installed_is_named_with_its_extra(
    kind: Any, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Absent(module), *sys.meta_path])
    with pytest.raises(ConfigError, match=rf"needs {module.replace('_', '-')} .*pip install 'floracube\[{extra}\]'"):
        clusters.open_cluster(ClusterConfig(kind=kind, workers=1))


class _Absent:
    def __init__(self, module: str) -> None:
        self.module = module

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.split(".")[0] == self.module:
            raise ModuleNotFoundError(f"No module named '{self.module}'", name=self.module)


def test_a_slurm_job_asks_for_what_the_configuration_says() -> None:
    config = ClusterConfig(kind="jobqueue", workers=2, options=SLURM)
    with clusters.constructor(config)(**clusters.arguments(config)) as cluster:
        script = cluster.job_script()
    for line in ("#SBATCH -p long", "#SBATCH -A flora", "#SBATCH -t 01:00:00", "#SBATCH --gres=gpu:1", "#SBATCH --mem=477M"):
        assert line in script, script
    assert "--nworkers 1" in script or "--nworkers" not in script
    assert "--nthreads 1" in script


def test_pods_of_the_operator_ask_for_what_the_configuration_says() -> None:
    from dask_kubernetes.operator import make_cluster_spec

    limits = {"limits": {"nvidia.com/gpu": 1, "memory": "8Gi"}}
    config = ClusterConfig(kind="kubernetes", workers=3, options={"name": "flora", "image": "floracube:gpu", "resources": limits})
    clusters.check_options(config)
    said = {name: value for name, value in clusters.arguments(config).items() if name != "quiet"}
    worker = make_cluster_spec(**said)["spec"]["worker"]
    assert worker["replicas"] == 3
    container = worker["spec"]["containers"][0]
    assert (container["image"], container["resources"]) == ("floracube:gpu", limits)


def test_a_cluster_that_does_not_start_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(WorkersError, match=r"cluster\.kind is kubernetes, but dask_kubernetes\.KubeCluster did not start"):
        clusters.open_cluster(ClusterConfig(kind="kubernetes", workers=1, options={"name": "flora"}))


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.mark.slow
def test_tasks_run_in_slurm_jobs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A queue of one machine: what SLURM's own commands do for a job is to start its script and to end it."""
    script = f"{tmp_path}/$$.sh"  # a queue keeps a copy
    _program(
        tmp_path / "sbatch",
        f'#!/bin/sh\ncp "$1" {script}\nsetsid sh {script} > {tmp_path}/job.log 2>&1 &\necho Submitted batch job $!\n',
    )
    _program(tmp_path / "scancel", '#!/bin/sh\nkill -- -"$1"\n')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    options = {"cores": 1, "memory": "1GB", "scheduler_options": {"host": "127.0.0.1"}, "local_directory": str(tmp_path)}
    crew = Workers(cluster=ClusterConfig(kind="jobqueue", workers=2, options=options), prepare=remember)
    with crew:
        assert crew.dashboard is not None
        crew._client.wait_for_workers(2, timeout=60)
        ends = list(run(prepared, range(30), crew))
    assert {end.error for end in ends} == {None}
    pids = {end.result[0] for end in ends if end.result}
    assert len(pids) == 2
    assert os.getpid() not in pids
    assert {end.result[1] for end in ends if end.result} == {"1"}  # once in each worker, before its first task


def test_a_gpu_worker_is_one_process_of_one_slot() -> None:
    assert clusters.arguments(ClusterConfig(kind="dask-cuda"))["threads_per_worker"] == 1
    assert "n_workers" not in clusters.arguments(ClusterConfig(kind="dask-cuda"))  # every GPU that it finds
    assert clusters.arguments(ClusterConfig(kind="dask-cuda", workers=2))["n_workers"] == 2
    many = ClusterConfig(workers=2, options={"threads_per_worker": 4})
    with Workers(cluster=many.model_copy(update={"kind": "local"}), one_a_process=True) as crew:
        crew._client.wait_for_workers(2, timeout=60)
        assert sum(crew._client.nthreads().values()) == 8
        assert crew.slots() == 2
