# syntax=docker/dockerfile:1
# The tile server, without torch; its loops are compiled in the image.
#
#   docker build -f deploy/images/server.Dockerfile -t floracube/server .
#   docker run -p 8000:8000 -v "$PWD/cube.zarr:/cube.zarr:ro" floracube/server /cube.zarr
#
# The arguments are those of `floracube serve`. It runs as any user, on a read-only root (--read-only --tmpfs /tmp) and for a cube
# that does not exist yet (-e FLORACUBE_WAIT=1).
#
# Layers, from the one that changes least to the one that changes most: system, packages (by the hashes of the lock),
# our own wheel. A change of code rebuilds the last one, some megabytes.
ARG BASE=python:3.11-slim-bookworm
ARG NODE=node:22-bookworm-slim

# The map library of the page, so that a browser needs no CDN, and its scripts in one file.
FROM ${NODE} AS page
WORKDIR /page
COPY server/page/package.json server/page/package-lock.json ./
RUN npm ci --no-audit --no-fund --ignore-scripts
COPY server/page ./
RUN npm run build

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /source
COPY deploy/images/server.lock deploy/images/build.lock ./
RUN python3 -m venv /opt/floracube \
 && /opt/floracube/bin/python -m pip install --require-hashes --only-binary :all: --requirement server.lock
# What builds the wheel stays in this stage.
RUN python3 -m venv /opt/build \
 && /opt/build/bin/python -m pip install --require-hashes --only-binary :all: --requirement build.lock
COPY . .
COPY --from=page /page/node_modules server/page/node_modules
COPY --from=page /page/dist server/page/dist
RUN /opt/build/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/floracube/bin/python -m pip install --no-deps --no-index /wheels/floracube-*.whl \
 && /opt/floracube/bin/python -m pip uninstall --yes setuptools pip
# Tests of packages, and descriptions of those services of the cloud that are not its object store.
RUN find /opt/floracube/lib -type d -name tests -prune -exec rm -r {} + \
 && find /opt/floracube/lib/python3*/site-packages/botocore/data -mindepth 1 -maxdepth 1 -type d \
    ! -name s3 ! -name sts ! -name "sso*" -exec rm -r {} +
# For processors with AVX2, whatever this one is; numba finds compiled code by the path and the content of its source and these two
# names. Isolated (-I), or the package of this folder would be compiled instead of the installed one.
ENV NUMBA_CPU_NAME=x86-64-v3 NUMBA_CPU_FEATURES=""
RUN NUMBA_CACHE_DIR=/opt/floracube/compiled /opt/floracube/bin/python -I -c "from server.drawing import resample; resample.warm_up()"
COPY deploy/images/serve.sh /opt/floracube/bin/

FROM ${BASE}
LABEL org.opencontainers.image.title="floracube server" \
      org.opencontainers.image.description="Tiles, queries and the map page of a floracube cube" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/floracube /opt/floracube
# Everything that is written goes to /tmp: compiled loops, the figures that workers share. So the root can be read-only.
ENV PATH=/opt/floracube/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    NUMBA_CACHE_DIR=/tmp/numba \
    NUMBA_CPU_NAME=x86-64-v3 \
    NUMBA_CPU_FEATURES="" \
    FLORACUBE_ACCESS_LOG=1
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
# Liveness answers without the store: a store that is away for a minute must not restart the server.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["serve.sh"]
CMD ["--help"]
