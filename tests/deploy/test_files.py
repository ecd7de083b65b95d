"""deploy/ against the code: its commands parse, its paths exist, its variables are read by somebody, its images lint."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

import floracube
from cube.config import load_config
from cube.config.cluster import ClusterConfig
from inference.data.dataset import split_network_options
from server import metrics
from server.operating import settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
ROOMS = ("cube", "inference", "server", "demo")
TEXTS = sorted(p for p in DEPLOY.rglob("*") if p.is_file() and p.suffix != ".lock")
# What others read: the clouds' libraries, dask, numba, pip, nginx' image, SLURM, Python and the shells.
FOREIGN = re.compile(r"AWS_|DASK_|MINIO_|NUMBA_|OMP_|PIP_|NGINX_|SLURM_|PYTHON|PATH$|HOME$|TMPDIR$|GOOGLE_|AZURE_|UV_")


def code() -> str:
    files = [ROOT / "floracube.py", *(p for room in ROOMS for p in (ROOT / room).rglob("*.py") if "node_modules" not in p.parts)]
    named = (f'"{settings.variable(name)}"' for name in settings.Settings.model_fields)  # made of the names of the fields
    return "\n".join([*(p.read_text(encoding="utf-8") for p in files), *named])


def test_every_variable_of_ours_is_read_by_the_code_or_where_it_is_set() -> None:
    """A variable is read by the code, filled into a file of deploy/, or named by a configuration that is an example."""
    readers = code() + "".join(p.read_text(encoding="utf-8") for p in (ROOT / "examples").glob("*.yaml"))
    filled_in = set(re.findall(r"\$\{(FLORACUBE_[A-Z_]+)", _all_texts()))
    named = set(re.findall(r"\b(FLORACUBE_[A-Z_]+[A-Z])\b", _all_texts()))
    assert "FLORACUBE_FORWARDED" in named
    assert not {name for name in named - filled_in if name not in readers}


def _all_texts() -> str:
    return "\n".join(p.read_text(encoding="utf-8") for p in TEXTS)


def test_every_variable_of_the_compose_file_is_explained_in_its_example() -> None:
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    example = (DEPLOY / ".env.example").read_text(encoding="utf-8")
    asked = set(re.findall(r"\$\{([A-Z_]+)", text))
    assert asked == set(re.findall(r"^#? ?([A-Z_]+)=", example, re.M))


def test_environment_of_the_services_is_known() -> None:
    source = code()
    proxy = (DEPLOY / "proxy/floracube.conf.template").read_text(encoding="utf-8")
    for name, service in compose()["services"].items():
        for variable in service.get("environment", {}):
            known = FOREIGN.match(variable) or f'"{variable}"' in source or f"${{{variable}}}" in proxy
            examples = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "examples").glob("*.yaml"))
            assert known or f"${{{variable}}}" in examples, f"{name}: nobody reads {variable}"


def test_every_local_path_that_is_mounted_or_copied_exists() -> None:
    for service in compose()["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith("./") or (DEPLOY / source).exists()
        if "build" in service:
            assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    for dockerfile in DEPLOY.glob("images/*.Dockerfile"):
        for line in re.findall(r"^COPY (?!--from)(.*)$", dockerfile.read_text(encoding="utf-8"), re.M):
            for source in shlex.split(line.replace("${LOCK}", "worker-cpu.lock"))[:-1]:
                assert (ROOT / source).exists(), f"{dockerfile.name}: {source}"
                if source.startswith("deploy/") and not source.endswith(".lock"):
                    assert f"!{source}\n" in (ROOT / ".dockerignore").read_text(encoding="utf-8")


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8")))


def test_a_first_start_needs_no_other_file_and_builds_the_image_of_the_server_alone() -> None:
    services = compose()["services"]
    started = {name: service for name, service in services.items() if "profiles" not in service}
    assert started.keys() == {"store", "bucket", "server", "proxy", "prometheus"}
    built = {service["build"]["dockerfile"] for service in started.values() if "build" in service}
    assert built == {"deploy/images/server.Dockerfile"}
    assert not any("secrets" in service or "secrets" in service.get("build", {}) for service in services.values())
    assert all(set(service.get("depends_on", ())) <= set(started) for service in started.values())


@pytest.mark.parametrize("step", ["build", "train", "predict"])
def test_each_step_of_a_run_is_a_service_that_brings_its_workers_and_runs_once(step: str) -> None:
    services = compose()["services"]
    service = services[step]
    assert service["command"].startswith(f"floracube {step} /config/region.yaml")
    assert service["restart"] == "no"
    assert {"bucket", "scheduler", "workers"} <= set(service["depends_on"])
    assert service["profiles"] == services["scheduler"]["profiles"] == services["workers"]["profiles"]


def test_a_server_of_compose_waits_for_its_cube() -> None:
    assert compose()["services"]["server"]["environment"]["FLORACUBE_WAIT"] == "1"


def test_prometheus_is_let_in_with_keys_and_asks_what_answers() -> None:
    service = compose()["services"]["prometheus"]
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text(encoding="utf-8"))
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    file = jobs["floracube-server"]["basic_auth"]["password_file"]
    shell, _, script = service["entrypoint"]
    (prepared, started) = script.replace("$$", "$").split(" && ")
    assert f" > {file}" in prepared
    assert "/etc/prometheus/prometheus.yml" in started
    # The script itself, with keys and without.
    for keys, first in (("one,two", "one"), ("one", "one"), ("", "")):
        done = subprocess.run(
            [shell, "-c", prepared.replace(f" > {file}", "")],
            env={"FLORACUBE_API_KEYS": keys},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == first
    assert {entry["names"][0] for job in jobs.values() for entry in job.get("dns_sd_configs", [])} == {"scheduler", "workers"}
    for name in ("scheduler", "workers"):
        assert "--dashboard-address :8787" in compose()["services"][name]["command"]


def test_rules_of_prometheus_name_figures_of_the_server() -> None:
    """Every figure that a rule reads is one that `/metrics` gives, or one that another rule records."""
    (group,) = yaml.safe_load((DEPLOY / "prometheus/rules.yml").read_text(encoding="utf-8"))["groups"]
    recorded = {rule["record"] for rule in group["rules"] if "record" in rule}
    given = {sample.name for family in text_string_to_metric_families(metrics.text().decode()) for sample in family.samples}
    # A figure with labels has no sample before its first request.
    labelled = {"floracube_requests_total", "floracube_request_seconds_bucket"}
    names = {name for rule in group["rules"] for name in re.findall(r"floracube[\w:]+", rule["expr"])}
    assert names - recorded - labelled - given == set()
    assert {figure._name for figure in (metrics.REQUESTS, metrics.LATENCY)} == {"floracube_requests", "floracube_request_seconds"}
    assert sum("alert" in rule for rule in group["rules"]) == 3


def test_the_image_for_gpus_can_compile_and_a_worker_without_a_gpu_ends() -> None:
    last = (DEPLOY / "images/worker.Dockerfile").read_text(encoding="utf-8").rpartition("\nFROM ")[2]
    assert re.search(r"apt-get install .*\bpython3-dev\b.*\bgcc\b.*\blibc6-dev\b", last)
    code = (DEPLOY / "images/require_gpu.py").read_text(encoding="utf-8")
    for version, available, message in (
        ("2.13.0+cpu", False, None),
        ("2.13.0", True, None),
        ("2.13.0", False, "torch finds none"),
    ):
        fake = f"""
import importlib.metadata, sys, types
importlib.metadata.version = lambda name: {version!r}
sys.modules["torch"] = types.SimpleNamespace(cuda=types.SimpleNamespace(is_available=lambda: {available}))
"""
        done = subprocess.run([sys.executable, "-c", fake + code], capture_output=True, text=True, check=False)
        assert (done.returncode, message or "") == (1 if message else 0, message if message and message in done.stderr else "")


def test_the_image_of_the_server_takes_a_cube_alone_and_has_its_loops_compiled() -> None:
    text = (DEPLOY / "images/server.Dockerfile").read_text(encoding="utf-8")
    built, _, last = text.rpartition("\nFROM ")
    assert 'ENTRYPOINT ["serve.sh"]' in last
    compiled = re.search(r"NUMBA_CACHE_DIR=(\S+) \S+/python -I .*warm_up", built)  # of the installed package
    assert compiled is not None
    script = (DEPLOY / "images/serve.sh").read_text(encoding="utf-8")
    assert f'cp -r {compiled[1]} "$NUMBA_CACHE_DIR"' in script
    # What numba finds compiled code by must be the same in both stages.
    for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"):
        assert len(set(re.findall(rf"{name}=(\S+)", text))) == 1


def test_compose_is_valid_against_its_schema() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(DEPLOY / "compose.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["server", "worker"])
def test_images_pass_the_linter(name: str) -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, DEPLOY / f"images/{name}.Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["server", "worker"])
def test_images_run_as_nobody_in_particular_and_say_how_they_are(name: str) -> None:
    text = (DEPLOY / f"images/{name}.Dockerfile").read_text(encoding="utf-8")
    last = text.rpartition("\nFROM ")[2]
    assert re.search(r"^USER (?!0|root)\d+:\d+$", last, re.M)
    assert "HEALTHCHECK" in last
    for line in re.findall(r"pip install.*", text):
        assert "--require-hashes" in line or "--no-index" in line, line


def test_commands_in_deploy_parse() -> None:
    """Each `floracube ...` that a file of deploy/ runs or shows has options that the command line knows."""
    commands = set(re.findall(r"floracube (build|train|predict|serve|publish|gc|check|info|evaluate)\b", _all_texts()))
    assert {"build", "predict"} <= commands
    flags: dict[str, set[str]] = {}
    for command in commands | {"serve"}:
        shown = CliRunner().invoke(floracube.app, [command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
        flags[command] = set(re.findall(r"--[a-z][a-z-]+", re.sub(r"\x1b\[[0-9;]*m", "", shown)))
    seen = set()
    for line in _all_texts().splitlines():
        shown = r"(?:floracube|args: \[floracube,) ?,? ?(build|predict|serve|train|gc|publish)\b([^`|\]]*)"
        for command, rest in re.findall(shown, line):
            for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", rest.split("#")[0]):
                assert flag in flags[command], f"floracube {command} has no {flag}: {line.strip()}"
                seen.add((command, flag))
    assert {("build", "--scheduler"), ("predict", "--scheduler"), ("build", "--plan"), ("gc", "--dry-run")} <= seen


def test_reference_configurations_load(tmp_path: Path) -> None:
    for path in sorted((DEPLOY / "europe").glob("*.yaml")):
        if path.name != "kustomization.yaml":
            config = load_config(path)
            assert config.cube_url.startswith("s3://")
            assert (config.region.east_km - config.region.west_km) * 20 == 131_200
            assert config.train.members >= 2
            assert split_network_options(config)[1]["width"] >= 128
    cluster = yaml.safe_load((DEPLOY / "slurm/cluster.yaml").read_text(encoding="utf-8"))["cluster"]
    assert ClusterConfig.model_validate(cluster).kind == "jobqueue"


@pytest.mark.slow
def test_the_slurm_script_runs_a_command_on_its_workers(tmp_path: Path) -> None:
    """The script itself, where a shim stands for `srun` and another for floracube: scheduler, workers, address, exit code."""
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    here = Path(sys.executable).parent
    client = (
        "import sys, distributed as d; c = d.Client(sys.argv[2], timeout=120); c.wait_for_workers(1, 120);"
        " print('sum', c.submit(sum, [1, 2, 39]).result(), sys.argv[3:])"
    )
    shims = {
        "srun": '#!/bin/bash\n[ "$1" = --kill-on-bad-exit=0 ] && shift\nexec "$@"\n',
        "dask": f'#!/bin/bash\nexec {here}/python -m dask "$@"\n',
        "python3": f'#!/bin/bash\nexec {here}/python "$@"\n',
        "floracube": f'#!/bin/bash\nshift 2\n{here}/python -c "{client}" "$@"; exit 1\n',
    }
    for name, text in shims.items():
        (bin_ / name).write_text(text, encoding="utf-8")
        (bin_ / name).chmod(0o755)
    (tmp_path / "region.yaml").write_text("title: x\n", encoding="utf-8")
    done = subprocess.run(
        ["bash", str(DEPLOY / "slurm/run.sbatch"), "predict", "--version", "v7"],
        capture_output=True,
        text=True,
        timeout=400,
        env={**os.environ, "PATH": f"{bin_}:{os.environ['PATH']}", "SLURM_JOB_ID": "1", "CONFIG": str(tmp_path / "region.yaml")},
        check=False,
    )
    assert "sum 42 ['--version', 'v7']" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 1  # the command's own
    assert not list(tmp_path.glob(".floracube-*"))


def test_scripts_are_executable() -> None:
    for path in DEPLOY.rglob("*.sh"):
        assert path.stat().st_mode & stat.S_IXUSR
