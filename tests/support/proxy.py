"""nginx with the configuration of deploy/proxy in front of a server on loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from string import Template

from benchmarks.ports import free_port

TEMPLATE = Path(__file__).parents[2] / "deploy/proxy/floracube.conf.template"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def configuration(upstream: str, port: int, folder: Path, rate: str = "1000r/s", **settings: str) -> str:
    """A whole nginx.conf around the template, filled in as the official image does; everything it writes is in `folder`.

    `others`: variables of the template in place of their defaults.
    """
    # Only names of ours are filled in: nginx has variables of the same form.
    values = {
        "FLORACUBE_UPSTREAM": upstream,
        "PROXY_PORT": f"127.0.0.1:{port}",
        "PROXY_CACHE_DIR": str(folder / "cache"),
        "PROXY_CACHE_SIZE": "200m",
        "PROXY_RATE": rate,
        "PROXY_TRUSTED": "192.0.2.1",
        "FLORACUBE_TRUSTED_HEADER": "X-Forwarded-User",
        "NGINX_LOCAL_RESOLVERS": "127.0.0.1",
        **settings,
    }
    site = Template(TEMPLATE.read_text(encoding="utf-8")).safe_substitute(values)
    temp_paths = "\n".join(
        f'  {kind}_temp_path "{folder}/{kind}";' for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # Its workers would become nobody, who may not enter the folder of a test.
    user = "user root;" if os.getuid() == 0 else ""
    return (
        f'{user} daemon off; worker_processes 1; pid "{folder}/nginx.pid"; error_log "{folder}/error.log" warn;\n'
        f"events {{ worker_connections 512; }}\nhttp {{\n  access_log off;\n{temp_paths}\n{site}\n}}\n"
    )


@contextmanager
def proxied(upstream: str, folder: Path, rate: str = "1000r/s", **settings: str) -> Iterator[str]:
    """The URL of nginx in front of `upstream` (host:port). Raises `RuntimeError` with its own words if it does not start."""
    assert NGINX is not None
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    (folder / "nginx.conf").write_text(configuration(upstream, port, folder, rate, **settings), encoding="utf-8")
    process = subprocess.Popen([NGINX, "-c", str(folder / "nginx.conf"), "-p", str(folder)], stderr=subprocess.PIPE)
    try:
        for _ in range(200):
            if process.poll() is not None:
                assert process.stderr is not None
                raise RuntimeError(process.stderr.read().decode())
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)
