#!/usr/bin/env bash
# Do the images, the compose file and the Kubernetes files run? Builds all of them and drives the demo through them.
#
#     deploy/try.sh                      # everything, with a line for each step
#     deploy/try.sh images server        # some steps: images, server, compose, kube, down, clean
#
# Needs root and Debian; podman, buildah, runc and debootstrap are installed where apt-get may, else one sentence says so and
# nothing is tried (exit code 0). No registry of images is asked: a root made by debootstrap stands in for the base images, and
# Debian's nginx and Prometheus and moto for those of the compose file (deploy/try/). pip and npm are configured as on this machine.
set -euo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=${TRY_FOLDER:-${XDG_CACHE_HOME:-$HOME/.cache}/floracube/try}
python=${PYTHON:-$checkout/.venv/bin/python}
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$checkout/floracube.py")
cd "$checkout"

began=$SECONDS
step() { printf '%5d s  %s\n' $((SECONDS - began)) "$*"; }
skip() { echo "try.sh: $1; nothing was tried."; exit 0; }
fail() { echo "try.sh: $1" >&2; exit 1; }

tools() {
  [ "$(id -u)" -eq 0 ] || skip "containers and debootstrap need root"
  local missing=()
  for tool in podman buildah runc debootstrap; do command -v "$tool" >/dev/null || missing+=("$tool"); done
  if [ ${#missing[@]} -gt 0 ]; then
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      "${missing[@]}" netavark aardvark-dns nftables iptables catatonit; } >/dev/null 2>&1 || skip "there is no ${missing[*]} here and it cannot be installed"
  fi
  mkdir -p "$work"
  # Limits that a container within a container may set; a name without a registry is an image that was built here.
  cat >"$work/containers.conf" <<'CONF'
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=20000:20000"]
[engine]
runtime = "runc"
CONF
  echo 'unqualified-search-registries = ["localhost"]' >"$work/registries.conf"
  export CONTAINERS_CONF=$work/containers.conf CONTAINERS_REGISTRIES_CONF=$work/registries.conf
  "$python" -m venv "$work/compose"
  "$work/compose/bin/pip" install -qq podman-compose==1.6.0
}

configuration() { # of pip and npm on this machine, as files for the builds
  "$python" -m pip config list | "$python" -c '
import ast, sys
settings = {}  # the environment comes first and stands above the files
for line in sys.stdin:
    key, _, value = line.strip().partition("=")
    settings.setdefault(key.rsplit(".", 1)[1], " ".join(ast.literal_eval(value).split()))
print("[global]", *(f"{key} = {value}" for key, value in settings.items()), sep="\n")' >"$work/pip.conf"
  { npm config get registry 2>/dev/null | sed "s/^/registry=/"; echo cafile=/etc/ssl/certs/ca-certificates.crt; } >"$work/npmrc"
  mounts=(--volume "$work/pip.conf:/etc/pip.conf:ro" --volume "$work/npmrc:/root/.npmrc:ro")
  local certificates=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
  [ ! -f "$certificates" ] || mounts+=(--volume "$certificates:/etc/ssl/certs/ca-certificates.crt:ro")
  while IFS= read -r path; do
    if [ -e "$path" ] && [ "$path" != /etc/ssl/certs/ca-certificates.crt ]; then mounts+=(--volume "$path:$path:ro"); fi
  done < <(grep -oE '(^|[= ]|file://)/[^ ]+' "$work/pip.conf" | sed -E 's,^([= ]|file://),,; s,/simple/?$,,' | sort -u)
}

built() { # name, then arguments of buildah
  local name=$1
  shift
  buildah bud --isolation=chroot --network=host --layers=false --pull-never --quiet "${mounts[@]}" --tag "$name" "$@" . \
    >"$work/build-${name//[^a-z]/}.log" 2>&1 || { tail -n 30 "$work/build-${name//[^a-z]/}.log"; fail "the image $name was not built"; }
  step "built $name: $(podman image inspect --format '{{.Size}}' "$name" | numfmt --to=si)B"
}

images() {
  configuration
  if ! podman image exists localhost/debian; then
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$work/root" >"$work/debootstrap.log" \
      || fail "debootstrap failed, see $work/debootstrap.log"
    tar -C "$work/root" --create . | podman import --quiet - localhost/debian >/dev/null
    rm -rf "$work/root"
  fi
  podman tag localhost/debian localhost/python:3.11-slim-bookworm
  step "base image by debootstrap: $(podman image inspect --format '{{.Size}}' localhost/debian | numfmt --to=si)B"
  local standins=(--file deploy/try/standins.Dockerfile --ignorefile deploy/try/ignore)
  built localhost/node:22-bookworm-slim "${standins[@]}" --target node
  built localhost/nginxinc/nginx-unprivileged:1.28-alpine "${standins[@]}" --target nginx
  built localhost/prom/prometheus:v3.5.0 "${standins[@]}" --target prometheus
  built localhost/minio/minio:RELEASE.2025-09-07T16-13-09Z "${standins[@]}" --target store \
    --build-arg "MOTO=$("$python" -c 'from importlib.metadata import version; print(version("moto"))')"
  built localhost/floracube/server:$version --file deploy/images/server.Dockerfile
  # Where pip is told of a folder of wheels, torch for processors is there, as for `make setup`.
  local index=${TORCH_INDEX:-$(sed -n 's,^find-links = /,file:///,p' "$work/pip.conf")}
  built localhost/floracube/worker:$version --file deploy/images/worker.Dockerfile ${index:+--build-arg "TORCH_INDEX=$index"}
}

listening() { # seconds until the server at $1 is ready and has drawn a tile, through the rest of the arguments of check_server.py
  "$python" deploy/try/check_server.py "$@"
}

demo() { # sources and configuration of a generated landscape of 10 km in $1, by the worker's image
  local code="
from pathlib import Path
from demo.journey import prepare
from demo.landscape import LandscapeSpec
prepare(Path('/config'), LandscapeSpec(size_km=10, n_species=30, seed=20), print)"
  mkdir -p "$1"
  chown 10001:10001 "$1"
  podman run --rm --network=none --volume "$1:/config" floracube/worker:$version python3 -c "$code" >/dev/null
}

ticks() { # of processor time of the first process of a container
  awk '{sub(/.*\) /, ""); split($0, field, " "); print field[12] + field[13]}' "/proc/$(podman inspect --format '{{.State.Pid}}' "$1")/stat"
}

server() {
  local folder=$work/server name=floracube-try-server
  if [ ! -d "$folder/cube.zarr/products" ]; then
    demo "$folder"
    for command in build train predict; do
      podman run --rm --network=host --volume "$folder:/config" floracube/worker:$version floracube "$command" /config/config.yaml \
        >"$work/$command.log" 2>&1 || { tail -n 20 "$work/$command.log"; fail "floracube $command failed"; }
    done
    step "the demo of 10 km by the worker's image alone"
  fi
  podman rm --force --ignore "$name" >/dev/null
  podman run --detach --name "$name" --network=host --read-only --tmpfs /tmp --user 54321:54321 \
    --volume "$folder/cube.zarr:/cube.zarr:ro" floracube/server:$version /cube.zarr >/dev/null
  step "server, read-only root, any user: $(listening http://127.0.0.1:8000 --at-most "${TRY_READY:-5}" "${TRY_TILE:-0.3}")"
  step "processor time of the server until here: $(($(ticks "$name") * 10)) ms"
  [ "$(podman exec "$name" ls /tmp/numba | wc -l)" = 1 ] || fail "the server has compiled its loops again"
  local stopping=$SECONDS
  podman stop --time 20 "$name" >/dev/null
  step "stopped in $((SECONDS - stopping)) s, exit code $(podman inspect --format '{{.State.ExitCode}}' "$name")"
  podman rm "$name" >/dev/null
}

# podman 4 can neither wait for a healthy service nor start one whose dependency has ended: they are started in their order.
started() {
  quietly composed up --detach --no-deps --pull never store
  for _ in $(seq 60); do podman exec floracube_store_1 mc ready local >/dev/null 2>&1 && break; sleep 1; done
  quietly composed up --detach --no-deps --pull never bucket
  quietly podman wait floracube_bucket_1
  [ "$(podman inspect --format '{{.State.ExitCode}}' floracube_bucket_1)" = 0 ] || fail "the bucket was not made: $(podman logs floracube_bucket_1 2>&1)"
  quietly composed up --detach --no-deps --pull never server proxy prometheus
}
composed() { "$work/compose/bin/podman-compose" --file deploy/compose.yaml --env-file "$work/run/env" --profile runs "$@"; }
quietly() { # a command whose lines are shown only where it fails
  "$@" >"$work/last.log" 2>&1 || { tail -n 30 "$work/last.log"; fail "'$*' failed"; }
}
status() { curl --silent --output "$work/body" --write-out '%{http_code}' --header 'X-API-Key: try-key' "$1" || true; }
until_status() { # code, URL
  for _ in $(seq 120); do [ "$(status "$2")" = "$1" ] && return; sleep 1; done
  fail "$2 answers $(status "$2"), not $1: $(head -c 300 "$work/body")"
}
busiest() { # of the containers named, the one that computes most in a second
  local before=() best='' most=-1 spent
  for name in "$@"; do before+=("$(ticks "$name")"); done
  sleep 1
  for name in "$@"; do
    spent=$(($(ticks "$name") - before[0]))
    before=("${before[@]:1}")
    if [ "$spent" -gt "$most" ]; then most=$spent best=$name; fi
  done
  echo "$best"
}
release() { # after a request for something of the cube, by which the server looks for a new release
  status http://127.0.0.1:8080/layers >/dev/null
  curl --silent --header 'X-API-Key: try-key' http://127.0.0.1:8080/healthz | "$python" -c 'import json, sys; print(json.load(sys.stdin)["release"])'
}
until_release() {
  for _ in $(seq 60); do [ "$(release)" = "$1" ] && return; sleep 1; done
  fail "the server shows release $(release), not $1"
}

compose() {
  local run=$work/run
  [ -d "$run/config/sources" ] || demo "$run/config"
  rm -rf "$run/config/model" "$run/config/reports"
  sed 's,^cube: .*,cube: s3://floracube/cube.zarr,' "$run/config/config.yaml" >"$run/config/region.yaml"
  mkdir -p "$run/data"
  cat >"$run/env" <<ENV
STORE_KEY=try
STORE_SECRET=try-secret
CONFIG_FOLDER=$run/config
DATA_FOLDER=$run/data
WORKER_MEMORY=3GB
FLORACUBE_API_KEYS=try-key
PROXY_CACHE_SIZE=200m
ENV
  composed down --volumes >/dev/null 2>&1 || true
  started
  until_status 503 http://127.0.0.1:8080/
  grep -q "There is no map yet" "$work/body" || fail "the page does not say how to make a cube"
  step "compose up without a cube: the page says how to make one, /readyz is $(status http://127.0.0.1:8080/readyz)"
  quietly composed up --detach --no-deps --pull never scheduler workers
  for command in build train predict; do
    quietly composed run --rm --no-deps "$command"
    step "compose run $command"
  done
  step "through nginx: $(listening http://127.0.0.1:8080 --key try-key)"
  [ "$(curl --silent --output /dev/null --write-out '%{http_code}' http://127.0.0.1:8080/layers)" = 401 ] || fail "no key is asked for"
  [ "$(status http://127.0.0.1:8080/metrics)" = 404 ] || fail "nginx gives figures to strangers"
  until_status 200 http://127.0.0.1:8787/status
  step "dask's dashboard answers"
  composed run --rm --no-deps predict floracube predict /config/region.yaml --scheduler tcp://scheduler:8786 --version v2 >"$work/v2.log" 2>&1 &
  local predicting=$! victim
  for _ in $(seq 600); do
    curl --silent http://127.0.0.1:8787/metrics | grep -q '^dask_scheduler_tasks{state="processing"} [1-9]' && break
    sleep 0.2
  done
  victim=$(busiest floracube_workers_1 floracube_workers_2)
  podman kill "$victim" >/dev/null
  wait "$predicting" || { tail -n 20 "$work/v2.log"; fail "predict did not outlive the loss of a worker"; }
  until_release v2
  step "a worker was killed while it predicted v2; v2 is complete and readers follow it"
  quietly composed run --rm --no-deps predict floracube publish s3://floracube/cube.zarr --rollback
  until_release v1
  quietly composed run --rm --no-deps predict floracube publish s3://floracube/cube.zarr v2
  until_release v2
  step "rolled back to v1 and published v2 again"
  quietly composed up --detach --no-deps --scale workers=3 workers
  [ "$(podman ps --quiet --filter name=floracube_workers | wc -l)" = 3 ] || fail "there are not three workers"
  step "three workers"
  "$python" deploy/try/check_server.py http://127.0.0.1:9090 --targets floracube-server dask-scheduler dask-workers
  podman exec floracube_prometheus_1 promtool check config /etc/prometheus/prometheus.yml >/dev/null
  step "Prometheus reaches server (with a key), scheduler and workers, and takes the rules"
  quietly podman rm --force floracube_server_1
  quietly composed up --detach --no-deps server
  until_status 200 http://127.0.0.1:8080/readyz
  step "nginx finds a new container of the server"
}

down() {
  local stopping=$SECONDS
  quietly composed down --volumes
  step "stopped in $((SECONDS - stopping)) s"
}

kube() {
  if ! kubectl kustomize deploy/kubernetes/base >/dev/null 2>&1; then
    step "no kubectl with kustomize 5 here: the files of Kubernetes were not played"
    return
  fi
  podman container exists floracube_store_1 || fail "kube needs the store of the step compose; give both"
  local run=$work/run
  "$python" - "$run/config" >"$run/region.yaml" <<'PYTHON'
import sys, yaml
config = yaml.safe_load(open(f"{sys.argv[1]}/region.yaml"))
config["predict"] = {**config.get("predict", {}), "area_m2": 90.0}  # other maps than those that are there, so a version of its own
yaml.safe_dump(config | {"data": "/work/demo", "model": "/work/demo/model", "reports": "/work/demo/reports"}, sys.stdout, sort_keys=False)
PYTHON
  podman volume rm --force floracube-work >/dev/null 2>&1 || true
  podman volume create floracube-work >/dev/null
  cp -a "$run/config" "$(podman volume inspect --format '{{.Mountpoint}}' floracube-work)/demo"
  chown -R 10001:10001 "$(podman volume inspect --format '{{.Mountpoint}}' floracube-work)"

  play predict jobs/predict floracube/worker:$version-cuda=floracube/worker:$version
  [ "$(podman wait floracube-predict-predict)" = 0 ] || { podman logs floracube-predict-predict 2>&1 | tail -n 20; fail "the job predict failed"; }
  step "played scheduler, workers and the job predict: $(podman logs floracube-predict-predict 2>&1 | tail -n 1)"
  unplay predict
  play map overlays/local "floracube-server.floracube.svc.cluster.local=floracube-server" \
    "NGINX_ENTRYPOINT_LOCAL_RESOLVERS=NGINX_LOCAL_RESOLVERS" "value: \"1\"=value: $(podman network inspect floracube_inside --format '{{(index .Subnets 0).Gateway}}')"
  local infra
  infra=$(podman pod inspect floracube-proxy --format '{{.InfraContainerID}}')
  step "played server and nginx: $(listening "http://$(podman inspect "$infra" --format '{{(index .NetworkSettings.Networks "floracube_outside").IPAddress}}'):8080")"
  unplay map
  podman volume rm --force floracube-work >/dev/null
}
play() { # name, folder of deploy/kubernetes, replacements
  local name=$1 folder=$2
  shift 2
  kubectl kustomize "deploy/kubernetes/$folder" | "$python" deploy/try/playable.py --region "$work/run/region.yaml" --replace "$@" \
    --secret AWS_ENDPOINT_URL=http://store:9000 AWS_ACCESS_KEY_ID=try AWS_SECRET_ACCESS_KEY=try-secret AWS_DEFAULT_REGION=us-east-1 \
    >"$work/$name.yaml"
  quietly podman kube play --network floracube_inside --network floracube_outside "$work/$name.yaml"
}
unplay() { podman kube down "$work/$1.yaml" >/dev/null 2>&1 || true; }

clean() {
  podman rm --all --force >/dev/null
  podman rmi --all --force >/dev/null
  rm -rf "$work"
}

steps=("$@")
[ $# -gt 0 ] || steps=(images server compose kube down)
tools
for name in "${steps[@]}"; do
  case $name in images | server | compose | kube | down | clean) "$name" ;; *) fail "there is no step '$name'" ;; esac
done
step "done: ${steps[*]}"
