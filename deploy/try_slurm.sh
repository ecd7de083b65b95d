#!/usr/bin/env bash
# Does the SLURM script run? One node of Debian's SLURM on this machine, and the demo's build and predict submitted to it.
#
#     deploy/try_slurm.sh [FOLDER]           # FOLDER: where the demo is made, by default ~/.cache/floracube/slurm
#
# Needs root, `make setup` and Debian; slurm-wlm and munge are installed where apt-get may, else one sentence says so and nothing is tried
# (exit code 0). The node has no GPU: the script is told so as its head shows.
set -euo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/floracube/slurm}
environment=${FLORACUBE_ENV:-$checkout/.venv}
skip() { echo "try_slurm.sh: $1; nothing was tried."; exit 0; }

[ "$(id -u)" -eq 0 ] || skip "the daemons of SLURM need root"
if ! command -v slurmctld slurmd munged >/dev/null; then
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge; } >/dev/null 2>&1 \
    || skip "there is no SLURM here and it cannot be installed"
fi
mkdir -p "$folder/state" "$folder/spool" "$folder/demo" /run/munge
chown munge:munge /run/munge
if ! munge --no-input >/dev/null 2>&1; then su -s /bin/sh munge -c /usr/sbin/munged; fi
cat >"$folder/slurm.conf" <<CONF
ClusterName=try
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmUser=root
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
NodeName=$(hostname) NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=4000
PartitionName=cpu Nodes=ALL Default=YES
CONF
export SLURM_CONF=$folder/slurm.conf
slurmctld
slurmd
# shellcheck disable=SC2317  # called by the trap
end() { for daemon in slurmd slurmctld; do kill "$(cat "$folder/$daemon.pid")" 2>/dev/null || true; done; }
trap end EXIT

cd "$folder"
[ -d demo/model ] || "$environment/bin/floracube" demo --out demo --size-km 10 --species 30 --no-serve >demo.log 2>&1
rm -rf demo/cube.zarr # the model stays
for command in build predict; do
  # Nothing of this shell's environment: the script activates its own.
  env --ignore-environment HOME="$HOME" SLURM_CONF="$SLURM_CONF" PATH=/usr/sbin:/usr/bin:/sbin:/bin sbatch --quiet --wait \
    --export="ALL,CONFIG=$folder/demo/config.yaml,FLORACUBE_ENV=$environment" --output="$folder/$command.log" --open-mode=truncate \
    --gpus-per-task=0 --partition=cpu --nodes=1 --ntasks-per-node=2 --cpus-per-task=1 --mem-per-cpu=0 \
    "$checkout/deploy/slurm/run.sbatch" "$command" && code=0 || code=$?
  echo "$command by SLURM: exit code $code, $(grep -c 'Registered to' "$folder/$command.log") workers; $(grep -E '^(Inputs are complete|Release)' "$folder/$command.log")"
  [ "$code" -eq 0 ] || exit 1
done
