#!/usr/bin/env bash
# Pin what the images install, with hashes: from pyproject.toml to server.lock, worker-cpu.lock, worker-cuda.lock, build.lock.
# Needs uv. TORCH_CPU names the folder or index where torch for CPUs lies, if pip does not find it by itself.
set -euo pipefail
cd "$(dirname "$0")/../.."
torch=2.13.0
pin() { # name, then what is pinned and how
  local name=$1
  shift
  uv pip compile --quiet --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url --no-header --no-annotate \
    "$@" --output-file "deploy/images/$name.lock"
}
pin build <(echo hatchling)
# Arrow reads tables of surveys and records, which the server never does: 170 MB.
pin server --universal --extra server --extra fast --no-emit-package pyarrow pyproject.toml
# Schedulers and workers of both images talk to one another: the same versions in both, dask's are those that dask-cuda allows.
# A scheduler needs bokeh for its dashboard and prometheus-client for its figures.
workers=(--extra build --extra inference --extra fast pyproject.toml --python-platform x86_64-manylinux_2_28)
figures=$'bokeh\nprometheus-client\n'
pin worker-cuda "${workers[@]}" --extra cuda <(echo "$figures") --constraint <(echo "torch==$torch")
pin worker-cpu "${workers[@]}" --extra kubernetes <(echo "$figures") ${TORCH_CPU:+--find-links "$TORCH_CPU"} \
  --constraint <(echo "torch==$torch+cpu"; grep -oE '^[a-z0-9_.-]+(\[[a-z,-]+\])?==[^ ]+' deploy/images/worker-cuda.lock | grep -v ^torch=)
