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

from cube.grid import Region
from inference.cascade.predict import predict
from tests.support import tiny_run
from tests.support.hosts import Host, hosts, possible

ROOT = Path(__file__).parents[2]
BUCKET = "several-hosts"
CUT = 5.0  # seconds that a cable is cut: connections stay open that long before they fail
REGION = Region(4700, 2850, 4720, 2860, 10)  # 2 units
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not possible(), reason="no right to make network namespaces here")]

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
        made["scheduler"].start(
            sys.executable,
            "-m",
            "dask",
            "scheduler",
            "--host",
            made["scheduler"].address,
            "--port",
            "8786",
            "--no-dashboard",
            output=log,
        )
        environment = at_store(made)
        for name in ("one", "two"):
            made[name].start(
                sys.executable,
                "-m",
                "dask",
                "worker",
                address,
                "--nthreads",
                "1",
                "--no-nanny",
                "--host",
                made[name].address,
                "--no-dashboard",
                "--local-directory",
                tmp_path / name,
                output=log,
                **environment,
            )
        create = f"import s3fs; s3fs.S3FileSystem().mkdir('{BUCKET}')"
        for _ in range(50):
            if made["desk"].run(sys.executable, "-c", create, **environment).returncode == 0:
                break
            time.sleep(0.2)
        yield made


def at_store(made: dict[str, Host]) -> dict[str, str]:
    """What a process needs to reach the store."""
    return {
        "AWS_ENDPOINT_URL": f"http://{made['store'].address}:5000",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }


def test_a_run_on_several_hosts_survives_a_cut_cable_and_gives_the_values_of_one_host(
    network: dict[str, Host], tmp_path: Path
) -> None:
    (tmp_path / "one-host").mkdir()
    one_host = tiny_run.make(tmp_path / "one-host", REGION, species=16)
    assert predict(one_host).failures == []
    document = yaml.safe_load(one_host.path.read_text())
    document |= {"cube": f"s3://{BUCKET}/cube.zarr", "reports": str(tmp_path / "reports")}
    config = one_host.path.with_name("several-hosts.yaml")
    config.write_text(yaml.safe_dump(document, sort_keys=False))
    environment = at_store(network)
    scheduler = f"tcp://{network['scheduler'].address}:8786"

    def start(command: str) -> subprocess.Popen[bytes]:
        log = (tmp_path / f"logs/{command}.log").open("wb")
        return network["desk"].start(
            sys.executable, ROOT / "floracube.py", command, config, "--scheduler", scheduler, output=log, **environment
        )

    for command, host, begun in (("build", "one", "build: 1/"), ("predict", "two", "predict: 0/")):
        run = start(command)
        log = tmp_path / f"logs/{command}.log"
        while run.poll() is None and begun not in log.read_text():  # the work is under way
            time.sleep(0.05)
        assert run.poll() is None, log.read_text()
        network[host].cut(network["store"])
        time.sleep(CUT)
        network[host].fix(network["store"])
        assert run.wait(400) == 0, log.read_text()

    checksums = [
        subprocess.run([sys.executable, "-c", CHECKSUMS, one_host.cube_url], capture_output=True, text=True, cwd=ROOT),
        network["desk"].run(sys.executable, "-c", CHECKSUMS, document["cube"], **environment),
    ]
    assert [run.returncode for run in checksums] == [0, 0], checksums
    wanted, found = (json.loads(run.stdout) for run in checksums)
    assert len(wanted) > 12
    assert found == wanted

    network["tiles"].start(sys.executable, ROOT / "floracube.py", "serve", document["cube"], "--host", "0.0.0.0", **environment)
    tile = network["desk"].run(sys.executable, "-c", TILE, f"http://{network['tiles'].address}:8000")
    assert tile.stdout.split() == ["200", "True"], tile.stderr
