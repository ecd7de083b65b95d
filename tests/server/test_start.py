"""`floracube serve` with two workers: up in seconds, one answer from both, their figures in one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from benchmarks.ports import free_port
from cube.storage.store import CubeStore

ROOT = Path(__file__).parents[2]


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


@pytest.mark.slow
def test_two_workers_answer_and_count_as_one(cube: CubeStore) -> None:
    port = free_port()
    command = [sys.executable, str(ROOT / "floracube.py"), "serve", cube.url, "--port", str(port), "--workers", "2"]
    environment = {k: v for k, v in os.environ.items() if k != "PROMETHEUS_MULTIPROC_DIR"}
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    base = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                get(f"{base}/healthz")
                break
            except OSError:
                assert server.poll() is None
                time.sleep(0.1)
        for _ in range(40):
            get(f"{base}/about.json")
        figure = re.compile(r'floracube_requests_total\{route="/about.json",status="200"\} (\S+)')
        assert {figure.findall(get(f"{base}/metrics"))[0] for _ in range(5)} == {"40.0"}
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(30) in (0, 130, -signal.SIGINT)
