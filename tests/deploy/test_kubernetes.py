"""What kustomize makes of deploy/kubernetes: valid against the schemas of Kubernetes, and what it promises to an operator."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

kubernetes_validate = pytest.importorskip("kubernetes_validate")
ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"
SERVING = ("overlays/local", "overlays/cloud")
STEPS = ("build", "train", "predict")
FOLDERS = ("namespace", "base", *SERVING, "identity", "jobs/common", *(f"jobs/{step}" for step in STEPS))
PROCESS_MB = 600  # of one server process beside its cache, see deploy/RUNBOOK.md


def _kustomize_is_here() -> bool:
    """Whether kubectl is here and its kustomize reads what we write; that of Debian 12 is of 2020 and does not."""
    if shutil.which("kubectl") is None:
        return False
    said = subprocess.run(["kubectl", "version", "--client"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"Kustomize Version: v(\d+)", said)
    return version is not None and int(version[1]) >= 5


pytestmark = pytest.mark.skipif(not _kustomize_is_here(), reason="no kubectl with kustomize 5 here")


@cache
def _rendered(folder: str) -> str:
    made = subprocess.run(["kubectl", "kustomize", str(KUBERNETES / folder)], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return made.stdout


def rendered(folder: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(_rendered(folder)) if document]


def named(folder: str, kind: str, name: str) -> dict[str, Any]:
    (document,) = (d for d in rendered(folder) if d["kind"] == kind and d["metadata"]["name"] == name)
    return document


def settings(folder: str, name: str) -> dict[str, str]:
    """The values of a ConfigMap whose name begins so; kustomize adds a hash to it."""
    (document,) = (
        d for d in rendered(folder) if d["kind"] == "ConfigMap" and re.fullmatch(rf"{name}-\w{{10}}", d["metadata"]["name"])
    )
    return dict(document["data"])


def pod_specs(node: Any) -> list[dict[str, Any]]:
    """Every pod specification below a node: what has containers."""
    if isinstance(node, list):
        return [spec for part in node for spec in pod_specs(part)]
    if not isinstance(node, dict):
        return []
    own = [node] if isinstance(node.get("containers"), list) else []
    return own + [spec for part in node.values() for spec in pod_specs(part)]


def mebibytes(size: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", size).groups()  # type: ignore[union-attr]
    return int(number) * (1024 if unit == "Gi" else 1)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_resource_is_valid_against_its_schema(folder: str) -> None:
    documents = rendered(folder)
    assert documents
    for document in documents:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_a_misspelt_field_would_be_found() -> None:
    workers = named("jobs/build", "Deployment", "floracube-workers")
    workers["spec"]["replicaz"] = 3
    with pytest.raises(kubernetes_validate.ValidationError, match="replicaz"):
        kubernetes_validate.validate(workers, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_pod_runs_as_root_or_writes_its_root_or_mounts_what_is_not_there(folder: str) -> None:
    documents = rendered(folder)
    applied = documents + (rendered("jobs/common") if folder.startswith("jobs/") else [])
    names = {d["metadata"]["name"] for d in applied if d["kind"] in ("ConfigMap", "PersistentVolumeClaim", "ServiceAccount")}
    for spec in pod_specs(documents):
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec.get("serviceAccountName", "") in names | {""}
        volumes = {v["name"] for v in spec.get("volumes", [])}
        for volume in spec.get("volumes", []):
            for kind, key in (("configMap", "name"), ("persistentVolumeClaim", "claimName")):
                assert kind not in volume or volume[kind][key] in names
        for container in spec["containers"]:
            rights = container["securityContext"]
            assert rights["readOnlyRootFilesystem"] is True
            assert rights["allowPrivilegeEscalation"] is False
            assert rights["capabilities"] == {"drop": ["ALL"]}
            assert ":" in container["image"], "an image without a version"
            assert container["resources"]["limits"]["memory"]
            assert {m["name"] for m in container.get("volumeMounts", [])} <= volumes


@pytest.mark.parametrize("folder", [*SERVING, "jobs/build", "jobs/predict"])
def test_selectors_find_their_pods(folder: str) -> None:
    documents = rendered(folder)
    labels = [d["spec"]["template"]["metadata"]["labels"] for d in documents if d["kind"] == "Deployment"]
    for document in documents:
        if document["kind"] in ("Service", "PodDisruptionBudget"):
            wanted = document["spec"]["selector"]
            wanted = wanted.get("matchLabels", wanted)
            assert any(wanted.items() <= own.items() for own in labels), document["metadata"]["name"]


def test_secrets_are_only_referred_to() -> None:
    for folder in FOLDERS:
        assert not [d for d in rendered(folder) if d["kind"] == "Secret"]


def test_what_is_deleted_with_a_map_or_a_run_takes_nothing_of_another_along() -> None:
    """The namespace is in one layer alone, and no resource is in two."""
    owners: dict[tuple[str, str], str] = {}
    for folder in ("namespace", "overlays/cloud", "identity", "jobs/common"):
        for document in rendered(folder):
            key = (document["kind"], document["metadata"]["name"])
            assert key not in owners, f"{key} is in {folder} and in {owners[key]}"
            owners[key] = folder
    assert [folder for (kind, _), folder in owners.items() if kind == "Namespace"] == ["namespace"]
    kept = {key for key, folder in owners.items() if folder == "jobs/common"}
    for step in STEPS:  # what a step takes away at its end
        assert not {(d["kind"], d["metadata"]["name"]) for d in rendered(f"jobs/{step}")} & kept


def test_everything_lies_in_the_namespace() -> None:
    for folder in FOLDERS:
        for document in rendered(folder):
            if document["kind"] not in ("Namespace", "PriorityClass"):
                assert document["metadata"]["namespace"] == "floracube", f"{folder}: {document['metadata']['name']}"


def test_one_edit_moves_every_image_to_another_registry(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    file = tmp_path / "deploy/kubernetes/images/kustomization.yaml"
    file.write_text(re.sub("newName: ", "newName: registry.example.org/", file.read_text()), encoding="utf-8")
    for folder in (*SERVING, *(f"jobs/{step}" for step in STEPS)):
        made = subprocess.run(["kubectl", "kustomize", file.parents[1] / folder], capture_output=True, text=True, check=True)
        images = re.findall(r"image: (\S+)", made.stdout)
        assert images
        assert all(image.startswith("registry.example.org/") for image in images), images


def test_who_computes_on_a_gpu_has_the_image_for_it_and_refuses_without_one() -> None:
    for step in ("train", "predict"):
        documents = rendered(f"jobs/{step}")
        images = {container["image"] for spec in pod_specs(documents) for container in spec["containers"]}
        assert images == {"floracube/worker:0.2.0-cuda"}, "Python and dask must be the same everywhere"
        limits = [c["resources"]["limits"] for spec in pod_specs(documents) for c in spec["containers"]]
        assert [limit["nvidia.com/gpu"] for limit in limits if "nvidia.com/gpu" in limit] == ["1"]
    (spec,) = pod_specs(rendered("jobs/train"))
    assert spec["containers"][0]["args"][2].startswith("python3 /opt/floracube/require_gpu.py && exec ")
    text = (ROOT / "deploy/images/worker.Dockerfile").read_text(encoding="utf-8")
    assert "DASK_DISTRIBUTED__WORKER__PRELOAD=/opt/floracube/require_gpu.py" in text
    build = {container["image"] for spec in pod_specs(rendered("jobs/build")) for container in spec["containers"]}
    assert build == {"floracube/worker:0.2.0"}


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_a_person_must_look_at_is_not_begun_again(step: str) -> None:
    spec = named(f"jobs/{step}", "Job", f"floracube-{step}")["spec"]
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    failed, disrupted = spec["podFailurePolicy"]["rules"]
    assert failed["action"] == "FailJob"
    assert failed["onExitCodes"] == {"containerName": step, "operator": "In", "values": [1, 2]}
    assert disrupted["onPodConditions"][0]["type"] == "DisruptionTarget"
    assert spec["backoffLimit"] > 0
    args = spec["template"]["spec"]["containers"][0]["args"]
    assert f"floracube {step} /config/region.yaml" in " ".join(args)
    if step != "train":
        service = named(f"jobs/{step}", "Service", "floracube-scheduler")
        assert args[-1] == f"tcp://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"


KUBECTL = """#!/usr/bin/env python3
import json, sys
from pathlib import Path
log = Path(__file__).with_name("log")
words = [word for word in sys.argv[1:] if not word.startswith("--")]
log.open("a").write(" ".join(words[:3]) + "\\n")
if words[0] == "get":
    step = words[2].removeprefix("floracube-")
    asked = log.read_text().count("get job " + words[2])
    ends = "Failed" if step == FAILS else "Complete"
    print(f"SuccessCriteriaMet {ends}" if asked > 1 else "Suspended")
"""


@pytest.mark.parametrize(("fails", "code", "begun"), [("", 0, ["build", "train", "predict"]), ("train", 1, ["build", "train"])])
def test_steps_run_one_after_the_other_and_end_with_one_that_fails(
    tmp_path: Path, fails: str, code: int, begun: list[str]
) -> None:
    (tmp_path / "kubectl").write_text(KUBECTL.replace("FAILS", repr(fails)), encoding="utf-8")
    (tmp_path / "kubectl").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "RUN_SECONDS": "0"}
    done = subprocess.run([KUBERNETES / "jobs/run.sh"], env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stderr
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.removeprefix("apply ") for line in lines if line.startswith("apply ")] == ["common", *begun]
    finished = [step for step in begun if step != fails]
    assert [line.removeprefix("delete ") for line in lines if re.fullmatch(r"delete \w+", line)] == finished
    assert ("train failed" in done.stderr) is bool(fails)


@pytest.mark.parametrize("folder", ["base", *SERVING])
def test_memory_of_a_server_adds_up(folder: str) -> None:
    """Workers times what each may take, its cache and its process, stay below the limit."""
    values = settings(folder, "floracube-server")
    container = named(folder, "Deployment", "floracube-server")["spec"]["template"]["spec"]["containers"][0]
    needed = int(values["SERVER_WORKERS"]) * (int(values["FLORACUBE_CACHE_MB"]) + PROCESS_MB)
    assert needed <= mebibytes(container["resources"]["limits"]["memory"])


def test_a_volume_of_several_machines_says_its_class() -> None:
    claims = [d for folder in FOLDERS for d in rendered(folder) if d["kind"] == "PersistentVolumeClaim"]
    assert [claim["spec"]["accessModes"] for claim in claims] == [["ReadWriteMany"]]
    assert claims[0]["spec"]["storageClassName"]


def egress(folder: str) -> list[tuple[dict[str, str], str, int]]:
    """(selector, CIDR, port) of every way out to an address."""
    return [
        (policy["spec"]["podSelector"].get("matchLabels", {}), to["ipBlock"]["cidr"], port["port"])
        for policy in rendered(folder)
        if policy["kind"] == "NetworkPolicy"
        for rule in policy["spec"].get("egress", [])
        for to in rule.get("to", [])
        if "ipBlock" in to
        for port in rule["ports"]
    ]


def test_who_reads_or_writes_a_cube_reaches_its_store_and_on_demand_the_identity_of_the_cloud() -> None:
    ways = egress("namespace")
    store = {"floracube/store": "yes"}
    for port in (443, 9000, 8333):  # https, MinIO, SeaweedFS
        assert (store, "0.0.0.0/0", port) in ways
    assert not [way for way in ways if way[1].startswith("169.254.") and way[2] != 53]
    assert (store, "169.254.169.254/32", 80) in egress("identity")
    for folder in ("overlays/cloud", "jobs/build", "jobs/train", "jobs/predict"):
        for document in rendered(folder):
            for spec in pod_specs(document):
                if any("floracube-store" in str(container.get("envFrom")) for container in spec["containers"]):
                    assert store.items() <= document["spec"]["template"]["metadata"]["labels"].items()


def test_behind_an_ingress_each_visitor_has_limits_of_their_own_and_links_of_https() -> None:
    """What nginx makes of PROXY_TRUSTED is in `test_proxy`; here it is set where there is an ingress, and reaches nginx."""
    assert settings("overlays/cloud", "floracube-proxy-settings")["PROXY_TRUSTED"] != "127.0.0.1"
    for folder in SERVING:
        container = named(folder, "Deployment", "floracube-proxy")["spec"]["template"]["spec"]["containers"][0]
        given = {entry["name"]: entry["value"] for entry in container["env"]} | settings(folder, "floracube-proxy-settings")
        assert container["envFrom"][0]["configMapRef"]["name"].startswith("floracube-proxy-settings-")
        template = (ROOT / "deploy/proxy/floracube.conf.template").read_text(encoding="utf-8")
        filled = set(re.findall(r"^[^#]*\$\{([A-Z_]+)\}", template, re.M))
        given["NGINX_LOCAL_RESOLVERS"] = "of the image"
        assert filled <= set(given)
        assert all(re.search(given["NGINX_ENVSUBST_FILTER"], name) for name in filled)


def test_pods_without_a_cube_do_not_die_again_and_again() -> None:
    for folder in SERVING:
        assert settings(folder, "floracube-server")["FLORACUBE_WAIT"] == "1"
        container = named(folder, "Deployment", "floracube-server")["spec"]["template"]["spec"]["containers"][0]
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
        assert container["livenessProbe"]["httpGet"]["path"] == container["startupProbe"]["httpGet"]["path"] == "/healthz"
