#!/usr/bin/env bash
# One step of a run after the other: each is applied, waited for and taken away, so that its workers cost nothing afterwards.
#
#   deploy/kubernetes/jobs/run.sh                    # build, train, predict
#   deploy/kubernetes/jobs/run.sh train predict      # from a step that failed: fix the cause, resume with it
#
# Needs kubectl and the namespace (../namespace). Ends with the first step that fails (exit code 1), whose pods stay for `kubectl logs`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
namespace=floracube
[ $# -gt 0 ] || set -- build train predict

condition() { # of the job of a step: Complete or Failed, nothing while it runs
  kubectl get job "floracube-$1" --namespace "$namespace" \
    --output jsonpath='{.status.conditions[?(@.status=="True")].type}' | tr ' ' '\n' | grep -xE 'Complete|Failed' | head -n 1 || true
}

kubectl apply --kustomize common
for step in "$@"; do
  [ -d "$step" ] || { echo "run.sh: there is no step '$step'; steps are build, train, predict." >&2; exit 2; }
  kubectl delete job "floracube-$step" --namespace "$namespace" --ignore-not-found
  kubectl apply --kustomize "$step"
  while state=$(condition "$step"); [ -z "$state" ]; do sleep "${RUN_SECONDS:-10}"; done
  if [ "$state" = Failed ]; then
    echo "run.sh: $step failed; see: kubectl logs --namespace $namespace job/floracube-$step" >&2
    exit 1
  fi
  kubectl delete --kustomize "$step"
done
