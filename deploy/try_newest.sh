#!/usr/bin/env bash
# Do the reader and the server run with Debian's Python 3.13 and the newest release of all that they need?
#
#     deploy/try_newest.sh                               # the tests of cube and server, in ~/.cache/floracube/newest
#     deploy/try_newest.sh ROOT tests/cube -x -k view    # another root, and arguments of pytest
#
# Makes a root of Debian trixie with debootstrap and a virtual environment in it, installs the extras server, fast,
# jobqueue and kubernetes and what the tests import, and runs the tests of this checkout. Without torch, and without
# stackstac, which excludes pandas 3: tests that need one of them skip themselves. Prints versions and counts; the
# exit code is pytest's. Run again, it reuses the root and makes the environment anew. pip is configured as on this machine.
set -euo pipefail

tools=(pytest pytest-xdist filelock hypothesis openpyxl pyogrio httpx jsonschema pillow "moto[server]" schemathesis scipy zarr-cm)
shown="floracube zarr pandas numpy xarray dask titiler.core rasterio pyarrow pydantic s3fs zarrs obstore numba"

fail() { echo "try_newest: $1" >&2; exit 2; }

if [ -z "${TRY_NEWEST_MOUNTS:-}" ]; then
  [ "$(id -u)" -eq 0 ] || fail "debootstrap and chroot need root; run it with sudo."
  command -v debootstrap >/dev/null || fail "debootstrap is not installed; run 'apt-get install debootstrap'."
  unshare --mount true 2>/dev/null || fail "this machine forbids mounts; run it where root may mount (in a container: CAP_SYS_ADMIN)."
  # Mounts live in a namespace of their own and vanish with it.
  TRY_NEWEST_MOUNTS=1 exec unshare --mount --propagation private bash "${BASH_SOURCE[0]}" "$@"
fi

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/floracube/newest}
[ $# -eq 0 ] || shift
case ${1:--} in -*) set -- tests/cube tests/server "$@" ;; esac

# debootstrap takes no path with blanks: the folder is mounted where there are none.
root=$(mktemp --directory /tmp/try-newest-XXXXXX)
mkdir -p "$folder"
mount --bind "$folder" "$root"
trap 'cd / && umount --lazy "$root" && rmdir "$root"' EXIT

if [ ! -e "$root/.complete" ]; then
  debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates trixie "$root" \
    || fail "debootstrap failed, see the lines above; empty $folder and run the same command again."
  touch "$root/.complete"
fi

bound() { # a file or folder of this machine, read-only at a path of the root; nothing where it does not exist or is bound
  if [ ! -e "$1" ] || [ "$1" -ef "$root$2" ]; then return 0; fi
  if [ -d "$1" ]; then mkdir -p "$root$2"; else mkdir -p "$(dirname "$root$2")" && : >>"$root$2"; fi
  mount --bind --options ro "$1" "$root$2"
}
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
bound /sys /sys
for path in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt /etc/pip.conf /etc/xdg/pip; do bound "$path" "$path"; done
bound "$HOME/.config/pip" /root/.config/pip
# Local wheels, indexes and certificates that pip's configuration names.
while IFS= read -r path; do bound "$path" "$path"; done < <(
  { cat /etc/pip.conf /etc/xdg/pip/pip.conf "$HOME/.config/pip/pip.conf" 2>/dev/null; env | grep '^PIP_'; } \
    | grep -oE '(^|[=, ]|file://)/[^[:space:]",]+' | sed -E 's,^([=\, ]|file://),,; s,/simple/?$,,' | sort -u
)
[ -z "${FLORACUBE_DATA:-}" ] || { bound "$FLORACUBE_DATA" /data && export FLORACUBE_DATA=/data; }

# The working tree as it lies, tracked files and new ones: nothing is written into the checkout.
rm -rf "$root/src"
mkdir "$root/src"
git -C "$checkout" ls-files -z --cached --others --exclude-standard \
  | tar -C "$checkout" --null --files-from=- --ignore-failed-read --create --file=- | tar -C "$root/src" --extract --file=-

inside() { # a command in the root, below /src
  env --unset PYTHONPATH --unset VIRTUAL_ENV --unset TMPDIR --unset TRY_NEWEST_MOUNTS HOME=/root LANG=C.UTF-8 \
    PATH=/venv/bin:/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" sh -c 'cd /src && exec "$@"' sh "$@"
}
inside python3 -m venv --clear /venv
# By uv: pip had not chosen among releases of botocore and fsspec after ten minutes. uv does not read pip's index by itself.
index=${PIP_INDEX_URL:-$(inside pip config get global.index-url 2>/dev/null || true)}
[ -z "$index" ] || export UV_DEFAULT_INDEX=$index
export SSL_CERT_FILE=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
inside pip install -qq uv
inside uv pip install --quiet --python /venv/bin/python "/src[server,fast,jobqueue,kubernetes]" "${tools[@]}"
inside python - $shown <<'PYTHON'
import platform, sys
from importlib.metadata import version
print("python", platform.python_version(), *(f"| {name} {version(name)}" for name in sys.argv[1:]))
PYTHON
inside python -m pytest -q -p no:cacheprovider "$@"
