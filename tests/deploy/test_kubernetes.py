"""What kustomize makes of deploy/kubernetes is valid against the schemas of Kubernetes and of the dask operator."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

kubernetes_validate = pytest.importorskip("kubernetes_validate")
ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"
FOLDERS = ("base", "overlays/local", "overlays/cloud", "jobs")


def _kustomize_is_here() -> bool:
    """Whether kubectl is here and its kustomize reads what we write; that of Debian 12 is of 2020 and does not."""
    if shutil.which("kubectl") is None:
        return False
    said = subprocess.run(["kubectl", "version", "--client"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"Kustomize Version: v(\d+)", said)
    return version is not None and int(version[1]) >= 5


pytestmark = pytest.mark.skipif(not _kustomize_is_here(), reason="no kubectl with kustomize 5 here")


def rendered(folder: str) -> list[dict[str, Any]]:
    made = subprocess.run(["kubectl", "kustomize", str(KUBERNETES / folder)], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return [document for document in yaml.safe_load_all(made.stdout) if document]


def _operator() -> Path:
    package = pytest.importorskip("dask_kubernetes")
    return Path(package.__file__).parent / "operator/customresources"


def dask_schema(kind: str) -> dict[str, Any]:
    """The operator's own definition of a resource, as its package ships it."""
    definition = _operator() / f"{kind.lower()}.yaml"
    schema = yaml.safe_load(definition.read_text(encoding="utf-8"))["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return dict(_json_schema(schema))


def _json_schema(schema: Any) -> Any:
    """Kubernetes' OpenAPI as JSON Schema: numbers or strings where it says so, no fields that are not named."""
    if isinstance(schema, list):
        return [_json_schema(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    if "$ref" in schema:
        file, _, name = schema["$ref"].partition("#/definitions/")
        if not file.endswith("customresources/templates.yaml"):
            return {"type": "object"}  # a pod or a service of Kubernetes itself, which is looked at as such
        templates = yaml.safe_load((_operator() / "templates.yaml").read_text(encoding="utf-8"))
        return _json_schema(templates["definitions"][name])
    out = {k: _json_schema(v) for k, v in schema.items()}
    if isinstance(out.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        out.setdefault("additionalProperties", False)
    return out


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_resource_is_valid_against_its_schema(folder: str) -> None:
    documents = rendered(folder)
    assert len(documents) > 5
    for document in documents:
        if document["apiVersion"].startswith("kubernetes.dask.org/"):
            schema = dask_schema(document["kind"])
            schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {}}
            jsonschema.validate(document, schema)
            inner = [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec} for spec in pod_specs(document)]
            service = document["spec"]["cluster"]["spec"]["scheduler"]["service"]
            inner.append({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": service})
            assert len(inner) == 4
        else:
            inner = [document]
        for resource in inner:
            kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)


def test_a_misspelt_field_would_be_found() -> None:
    job = next(d for d in rendered("jobs") if d["kind"] == "DaskJob")
    job["spec"]["cluster"]["spec"]["worker"]["replicaz"] = 3
    schema = dask_schema("DaskJob")
    schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {}}
    with pytest.raises(jsonschema.ValidationError, match="replicaz"):
        jsonschema.validate(job, schema)


def pod_specs(node: Any) -> list[dict[str, Any]]:
    """Every pod specification below a node: what has containers."""
    if isinstance(node, list):
        return [spec for part in node for spec in pod_specs(part)]
    if not isinstance(node, dict):
        return []
    own = [node] if isinstance(node.get("containers"), list) else []
    return own + [spec for part in node.values() for spec in pod_specs(part)]


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_pod_runs_as_root_or_writes_its_root_or_mounts_what_is_not_there(folder: str) -> None:
    documents = rendered(folder)
    specs = pod_specs(documents)
    assert specs
    held = {d["metadata"]["name"] for d in documents if d["kind"] in ("ConfigMap", "PersistentVolumeClaim")}
    for spec in specs:
        assert spec["securityContext"]["runAsNonRoot"] is True
        volumes = {v["name"] for v in spec.get("volumes", [])}
        for volume in spec.get("volumes", []):
            for kind, key in (("configMap", "name"), ("persistentVolumeClaim", "claimName")):
                assert kind not in volume or volume[kind][key] in held
        for container in spec["containers"]:
            own = container["securityContext"]
            assert own["readOnlyRootFilesystem"] is True
            assert own["allowPrivilegeEscalation"] is False
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert ":" in container["image"], "an image without a version"
            assert container["resources"]["limits"]["memory"]
            assert {m["name"] for m in container.get("volumeMounts", [])} <= volumes


def test_selectors_find_their_pods() -> None:
    documents = rendered("base")
    labels = [d["spec"]["template"]["metadata"]["labels"] for d in documents if d["kind"] == "Deployment"]
    for document in documents:
        if document["kind"] in ("Service", "PodDisruptionBudget"):
            wanted = document["spec"]["selector"]
            wanted = wanted.get("matchLabels", wanted)
            assert any(wanted.items() <= own.items() for own in labels), document["metadata"]["name"]


def test_secrets_are_only_referred_to() -> None:
    for folder in FOLDERS:
        assert not [d for d in rendered(folder) if d["kind"] == "Secret"]
