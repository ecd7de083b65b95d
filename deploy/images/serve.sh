#!/bin/sh
# The entry point of the server's image: `floracube serve` with the loops that were compiled into the image. numba takes a cache
# only where it may write. Processors without AVX2 (before 2013) compile for themselves, which takes some seconds.
if grep -q -m1 avx2 /proc/cpuinfo; then
  cp -r /opt/floracube/compiled "$NUMBA_CACHE_DIR"
else
  export NUMBA_CPU_NAME=generic
fi
exec floracube serve --host 0.0.0.0 --port 8000 "$@"
