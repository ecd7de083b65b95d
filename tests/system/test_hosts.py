"""Several hosts for real: scheduler, two workers, an object store and a tile server with an address each, and a cut cable."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from tests.support.hosts import Host, hosts, possible

ROOT = Path(__file__).parents[2]
BUCKET = "several-hosts"
pytestmark = pytest.mark.skipif(not possible(), reason="no right to make network namespaces here")

CHECKSUMS = """
import json, sys, zlib, zarr
from cube.storage.backends import zarr_store
root = zarr.open_group(zarr_store(sys.argv[1], read_only=True), mode="r")
found = {}
def walk(group, path):
    for name, node in group.members():
        if isinstance(node, zarr.Array):
            if node.dtype.kind in "iuf":
                found[path + name] = zlib.crc32(node[...].tobytes())
        else:
            walk(node, path + name + "/")
for part in ("inputs", "products"):
    walk(root[part], part + "/")
print(json.dumps(found))
"""
TILE = """
import json, sys, time, urllib.request, urllib.error
url = sys.argv[1]
for _ in range(200):
    try:
        layer = json.load(urllib.request.urlopen(url + "/layers/indicators.richness/WebMercatorQuad/tilejson.json", timeout=20))
        break
    except (OSError, urllib.error.URLError):
        time.sleep(0.2)
import morecantile
tile = morecantile.tms.get("WebMercatorQuad").tile(*layer["center"][:2], layer["maxzoom"])
with urllib.request.urlopen(layer["tiles"][0].format(z=tile.z, x=tile.x, y=tile.y), timeout=20) as answer:
    print(answer.status, answer.read()[:4] == b"\\x89PNG")
"""


@pytest.fixture
def network(tmp_path: Path) -> Iterator[dict[str, Host]]:
    """The hosts, the store and dask running on them."""
    with ExitStack() as stack:
        made = stack.enter_context(hosts(["store", "scheduler", "one", "two", "desk", "tiles"], tmp_path / "logs"))
        log = stack.enter_context((tmp_path / "logs/all.log").open("wb"))
        made["store"].start(sys.executable, "-m", "moto.server", "-H", "0.0.0.0", "-p", "5000")
        address = f"tcp://{made['scheduler'].address}:8786"
        made["scheduler"].start(sys.executable, "-m", "dask", "scheduler", "--host", made["scheduler"].address, "--port", "8786",
                                "--no-dashboard", output=log)  # fmt: skip
        environment = at_store(made)
        for name in ("one", "two"):
            made[name].start(
                sys.executable, "-m", "dask", "worker", address, "--nthreads", "1", "--no-nanny", "--host", made[name].address,
                "--no-dashboard", "--local-directory", tmp_path / name, output=log, **environment,
            )  # fmt: skip
        create = f"import s3fs; s3fs.S3FileSystem().mkdir('{BUCKET}')"
        for _ in range(50):
            if made["desk"].run(sys.executable, "-c", create, **environment).returncode == 0:
                break
            time.sleep(0.2)
        yield made


def at_store(made: dict[str, Host]) -> dict[str, str]:
    """What a process needs to reach the store."""
    return {
        "AWS_ENDPOINT_URL": f"http://{made['store'].address}:5000", "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
    }  # fmt: skip


def test_a_run_on_several_hosts_survives_a_cut_cable_and_gives_the_values_of_one_host(
    network: dict[str, Host], landscape: Path, predicted: Path, tmp_path: Path
) -> None:
    document = yaml.safe_load(landscape.read_text())
    document["cube"] = f"s3://{BUCKET}/cube.zarr"
    document["reports"] = str(tmp_path / "reports")
    config = landscape.with_name("several-hosts.yaml")
    config.write_text(yaml.safe_dump(document, sort_keys=False))
    environment = at_store(network)
    scheduler = f"tcp://{network['scheduler'].address}:8786"

    def start(command: str) -> subprocess.Popen[bytes]:
        log = (tmp_path / f"logs/{command}.log").open("wb")
        return network["desk"].start(sys.executable, ROOT / "floracube.py", command, config, "--scheduler", scheduler,
                                     output=log, **environment)  # fmt: skip

    build = start("build")
    told = tmp_path / "logs/build.log"
    while build.poll() is None and "build: 3/" not in told.read_text():  # a few units of many are done
        time.sleep(0.05)
    assert build.poll() is None, told.read_text()
    network["one"].cut(network["store"])
    time.sleep(8)
    network["one"].mend(network["store"])
    assert build.wait(400) == 0, told.read_text()

    predict = start("predict")
    said = tmp_path / "logs/predict.log"
    while predict.poll() is None and "predict: 0/" not in said.read_text():  # units are on their way to the workers
        time.sleep(0.05)
    time.sleep(0.5)
    assert predict.poll() is None, said.read_text()
    network["two"].cut(network["store"])
    time.sleep(5)
    network["two"].mend(network["store"])
    assert predict.wait(400) == 0, said.read_text()

    one_host = subprocess.run(
        [sys.executable, "-c", CHECKSUMS, str(predicted)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    several = network["desk"].run(sys.executable, "-c", CHECKSUMS, document["cube"], **environment)
    assert several.returncode == 0, several.stderr
    found = json.loads(several.stdout)
    # Other journeys add releases to the cube that all share: here it is the first one that was made again.
    wanted = {
        path: value for path, value in json.loads(one_host.stdout).items() if not path.startswith("products") or "/v1/" in path
    }
    assert len(wanted) > 30
    assert found == wanted

    network["tiles"].start(sys.executable, ROOT / "floracube.py", "serve", document["cube"], "--host", "0.0.0.0", **environment)
    tile = network["desk"].run(sys.executable, "-c", TILE, f"http://{network['tiles'].address}:8000")
    assert tile.stdout.split() == ["200", "True"], tile.stderr
