# syntax=docker/dockerfile:1
# Builds, trains and predicts: dask scheduler, workers and the floracube commands, with torch and without titiler.
#
#   docker build -f deploy/images/worker.Dockerfile -t floracube/worker .                            # for processors
#   docker build -f deploy/images/worker.Dockerfile -t floracube/worker:cuda \
#     --build-arg BASE=nvidia/cuda:13.0.1-base-ubuntu24.04 --build-arg LOCK=worker-cuda.lock .       # for GPUs
#
# torch for processors is a wheel of PyTorch's own index: give its address (that of "pip, CPU" on PyTorch's page of installing) as
# `--build-arg TORCH_INDEX=...`, unless pip finds it as it is. The lock holds its hash, wherever it comes from.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG LOCK=worker-cpu.lock
ARG TORCH_INDEX=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /source
# A CUDA base brings no Python; the version that Ubuntu 24.04 has is one that the locks know.
# hadolint ignore=DL3008
RUN command -v python3 >/dev/null || (apt-get update \
 && apt-get install -y --no-install-recommends python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*)
COPY deploy/images/${LOCK} deploy/images/build.lock ./
RUN python3 -m venv /opt/floracube \
 && /opt/floracube/bin/python -m pip install --require-hashes --only-binary :all: ${TORCH_INDEX:+--extra-index-url ${TORCH_INDEX}} --requirement ${LOCK}
RUN python3 -m venv /opt/build \
 && /opt/build/bin/python -m pip install --require-hashes --only-binary :all: --requirement build.lock
COPY . .
RUN /opt/build/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/floracube/bin/python -m pip install --no-deps --no-index /wheels/floracube-*.whl

FROM ${BASE}
ARG LOCK=worker-cpu.lock
LABEL org.opencontainers.image.title="floracube worker" \
      org.opencontainers.image.description="Builds, trains and predicts floracube cubes on dask" \
      org.opencontainers.image.licenses="Apache-2.0"
# triton compiles with a C compiler and the headers of Python: without them every unit with satellite images would fail.
# hadolint ignore=DL3008
RUN if [ "${LOCK}" = worker-cuda.lock ]; then apt-get update \
 && apt-get install -y --no-install-recommends python3 python3-dev gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*; fi
COPY --from=build /opt/floracube /opt/floracube
COPY deploy/images/require_gpu.py /opt/floracube/
# One numeric thread a dask thread: the workers of a machine are as many as its cores, and share them.
ENV PATH=/opt/floracube/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    NUMBA_CACHE_DIR=/tmp/numba \
    TRITON_CACHE_DIR=/tmp/triton \
    DASK_TEMPORARY_DIRECTORY=/tmp/dask \
    DASK_DISTRIBUTED__WORKER__PRELOAD=/opt/floracube/require_gpu.py \
    OMP_NUM_THREADS=1
USER 10001:10001
WORKDIR /tmp
EXPOSE 8786 8787
# Scheduler and workers answer on their dashboard; a command that runs and ends has none, and should be started with --no-healthcheck.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=5 \
    CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8787/health', timeout=4)"]
CMD ["floracube", "--help"]
