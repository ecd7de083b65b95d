"""Is what would be released whole? Builds wheel and sdist and uses them alone, the way the images install them.

    python -m deploy.try_release                 # everything, some ten minutes
    python -m deploy.try_release --only build    # the wheel and the sdist, twice, byte for byte

Clean virtual environments, a folder away from the checkout: the server's by the steps of server.Dockerfile (no torch),
the worker's by those of worker.Dockerfile (no titiler), and one with every extra. Then `floracube demo` with all extras,
`floracube predict` with the worker's, `floracube serve` with the server's, each on what the one before made. Prints a
table; exit code 1 if a step fails.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from benchmarks.ports import free_port

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "deploy/images"
ABSENT = {"server": ("torch", "transformers"), "worker": ("titiler", "fastapi", "uvicorn")}


def run(*command: object, cwd: Path, **environment: str) -> str:
    """Run a command that must succeed, away from the checkout; its standard output."""
    environment_before = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    completed = subprocess.run(
        [str(c) for c in command], cwd=cwd, env={**environment_before, **environment}, capture_output=True, text=True, check=False
    )
    if completed.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{(completed.stdout + completed.stderr)[-3000:]}")
    return completed.stdout


def build(work: Path) -> Path:
    """Wheel and sdist from a copy of what git tracks, twice; the wheel. Fails if the bytes differ."""
    files = run("git", "ls-files", "-z", cwd=ROOT).split("\0")
    epoch = run("git", "log", "-1", "--format=%ct", cwd=ROOT).strip()
    builder = work / "builder"
    run(sys.executable, "-m", "venv", builder, cwd=work)
    run(
        builder / "bin/python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--require-hashes",
        "--only-binary",
        ":all:",
        "--requirement",
        IMAGES / "build.lock",
        cwd=work,
    )
    sums = []
    for attempt in ("first", "second"):
        source, out = work / attempt, work / f"dist-{attempt}"
        for name in filter(None, files):
            if (ROOT / name).is_file():
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, source / name)
        library = ROOT / "server/page/node_modules/maplibre-gl"
        if library.is_dir():
            shutil.copytree(library, source / "server/page/node_modules/maplibre-gl")
        code = f"import hatchling.build as b; print(b.build_wheel({str(out)!r})); print(b.build_sdist({str(out)!r}))"
        out.mkdir()
        run(builder / "bin/python", "-c", code, cwd=source, SOURCE_DATE_EPOCH=epoch)
        sums.append({p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(out.iterdir())})
    if sums[0] != sums[1] or len(sums[0]) != 2:
        raise SystemExit(f"the build is not reproducible: {sums}")
    return next((work / "dist-first").glob("*.whl"))


def installed_as_image(name: str, wheel: Path, work: Path) -> Path:
    """A virtual environment made by the pip steps of an image's Dockerfile; its folder."""
    text = (IMAGES / f"{name}.Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    place = work / name
    run(sys.executable, "-m", "venv", place, cwd=work)
    for step in re.findall(r"/opt/floracube/bin/python -m (pip install [^&\n]*)", text):
        line = step.replace("/wheels/floracube-*.whl", str(wheel)).replace("${LOCK}", "worker-cpu.lock")
        line = line.replace("${TORCH_INDEX:+--extra-index-url ${TORCH_INDEX}} ", "")  # pip finds torch as it is configured here
        line = re.sub(r"(\S+\.lock)", lambda m: str(IMAGES / m[1]), line)
        run(place / "bin/python", "-m", *line.split(), "--quiet", cwd=work)
    code = f"import importlib.util as u; print([m for m in {ABSENT[name]!r} if u.find_spec(m)])"
    if (missing_files := run(place / "bin/python", "-c", code, cwd=work).strip()) != "[]":
        raise SystemExit(f"the {name}'s environment holds {missing_files}")
    return place


def installed_with_all(wheel: Path, work: Path) -> Path:
    """A virtual environment with every extra that a user of one machine wants, as the lock of the tests pins them."""
    place = work / "all"
    run(sys.executable, "-m", "venv", place, cwd=work)
    run(
        place / "bin/python",
        "-m",
        "pip",
        "install",
        "--quiet",
        f"{wheel}[build,fast,inference,server]",
        "--constraint",
        ROOT / "requirements.lock",
        cwd=work,
    )
    return place


def served(place: Path, cube: Path, work: Path) -> None:
    """Serve the cube and read the page, the catalogue and a tile."""
    port = free_port()
    process = subprocess.Popen(
        [place / "bin/floracube", "serve", str(cube), "--port", str(port)], cwd=work, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            with suppress(OSError):
                urllib.request.urlopen(f"{url}/healthz").read()
                break
            time.sleep(0.2)
        page = urllib.request.urlopen(f"{url}/").read().decode()
        layer = json.load(urllib.request.urlopen(f"{url}/layers/indicators.richness/WebMercatorQuad/tilejson.json"))
        lon, lat, zoom = layer["center"]
        n = 2 ** int(zoom)
        x, y = int((lon + 180) / 360 * n), int((1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * n)
        with urllib.request.urlopen(layer["tiles"][0].format(z=int(zoom), x=x, y=y)) as answer:
            tile = answer.read()
        if "<html" not in page or not tile.startswith(b"\x89PNG"):
            raise SystemExit("the page or the tile is not one")
    finally:
        process.terminate()
        process.wait(30)


def main() -> None:
    """Run the steps in their order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("build",), help="stop after this step")
    parser.add_argument("--size-km", type=int, default=10, help="side of the demo's landscape")
    options = parser.parse_args()
    rows: list[tuple[str, str, float]] = []

    def step(name: str, what: str, function: Callable[[], object]) -> object:
        started = time.perf_counter()
        result = function()
        rows.append((name, what, time.perf_counter() - started))
        print(f"ok  {name:22} {what:60} {rows[-1][2]:7.0f} s", flush=True)
        return result

    with tempfile.TemporaryDirectory(prefix="floracube-release-") as folder:
        work = Path(folder)
        wheel = step("build", "wheel and sdist, the same bytes twice", lambda: build(work))
        assert isinstance(wheel, Path)
        if options.only == "build":
            return
        every = step("install all", "wheel[build,fast,inference,server]", lambda: installed_with_all(wheel, work))
        server = step(
            "install server", "server.Dockerfile's steps, hashes, no torch", lambda: installed_as_image("server", wheel, work)
        )
        worker = step(
            "install worker", "worker.Dockerfile's steps, hashes, no titiler", lambda: installed_as_image("worker", wheel, work)
        )
        assert isinstance(every, Path)
        assert isinstance(server, Path)
        assert isinstance(worker, Path)
        demo = work / "demo"
        sizes = ("--size-km", options.size_km, "--species", 30, "--no-serve")
        step("demo", "all extras: sources to maps", lambda: run(every / "bin/floracube", "demo", "--out", demo, *sizes, cwd=work))
        again = (worker / "bin/floracube", "predict", demo / "config.yaml", "--version", "again")
        step("predict", "worker: the same model, a second version", lambda: run(*again, cwd=work))
        step("serve", "server: page, TileJSON, a tile", lambda: served(server, demo / "cube.zarr", work))
        step("version", run(server / "bin/floracube", "--version", cwd=work).strip(), lambda: None)


if __name__ == "__main__":
    main()
