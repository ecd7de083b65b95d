"""Kubernetes resources that kustomize made, as `podman kube play` takes them: standard input to standard output.

kubectl kustomize FOLDER | python deploy/try/playable.py [--region FILE] [--secret K=V ...] [--replace OLD=NEW ...]

Deployments become their pods, one each, and so do Jobs; ConfigMaps stay. `NOT_PLAYED` names the kinds that podman cannot play.
Of pods, probes, sizes, ports and GPUs are left out.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

NOT_PLAYED = {
    "Service": "names of pods stand in",
    "HorizontalPodAutoscaler": "one machine",
    "PodDisruptionBudget": "one machine",
    "PriorityClass": "one machine",
    "NetworkPolicy": "podman has networks instead",
    "Ingress": "nginx is asked directly",
    "ServiceAccount": "podman knows no clouds",
    "PersistentVolumeClaim": "podman makes volumes by name",
    "Namespace": "podman has none",
}
NOTHING_FOR = (
    "serviceAccountName",
    "automountServiceAccountToken",
    "topologySpreadConstraints",
    "tolerations",
    "priorityClassName",
)


def pod(document: dict[str, Any], maps: dict[str, dict[str, str]]) -> dict[str, Any]:
    """The pod of a Deployment or a Job.

    `maps`: values of ConfigMaps and Secrets by name, written out since podman 4 fills them into no argument.
    """
    template = document["spec"]["template"]
    spec = {key: value for key, value in template["spec"].items() if key not in NOTHING_FOR}
    for container in spec["containers"]:
        container.pop("resources", None)
        container.pop("ports", None)  # podman would publish them on this machine
        for source in container.pop("envFrom", []):
            (reference,) = source.values()
            values = maps.get(reference["name"], {})
            container["args"] = [_filled(word, values) for word in container.get("args", [])]
            container.setdefault("env", []).extend({"name": name, "value": value} for name, value in values.items())
        for probe in ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle"):
            container.pop(probe, None)
    labels = template["metadata"]["labels"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": document["metadata"]["name"], "labels": labels}, "spec": spec}


def _filled(word: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        word = word.replace(f"$({name})", value)
    return word


def main() -> None:
    """Read, change, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--region", type=Path, help="a configuration for the ConfigMap floracube-region")
    parser.add_argument("--secret", nargs="*", default=[], metavar="KEY=VALUE", help="what the Secret floracube-store holds")
    parser.add_argument("--replace", nargs="*", default=[], metavar="OLD=NEW", help="text to replace")
    options = parser.parse_args()
    text = sys.stdin.read()
    for change in options.replace:
        old, _, new = change.partition("=")
        if old not in text:
            raise SystemExit(f"there is no '{old}' in what is played")
        text = text.replace(old, new)
    documents = [document for document in yaml.safe_load_all(text) if document]
    maps = {document["metadata"]["name"]: document["data"] for document in documents if document["kind"] == "ConfigMap"}
    maps["floracube-store"] = dict(pair.split("=", 1) for pair in options.secret)
    played = [pod(document, maps) if document["kind"] in ("Deployment", "Job") else document for document in documents]
    for document in played:
        if document["kind"] not in ("Pod", "ConfigMap", *NOT_PLAYED):
            raise SystemExit(f"{document['kind']} is neither played nor named in NOT_PLAYED")
    played = [document for document in played if document["kind"] not in NOT_PLAYED]
    if options.region:
        data = {"region.yaml": options.region.read_text(encoding="utf-8")}
        played.insert(0, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "floracube-region"}, "data": data})
    yaml.safe_dump_all(played, sys.stdout, sort_keys=False)


if __name__ == "__main__":
    main()
