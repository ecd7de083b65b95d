"""Several hosts on one machine: network namespaces on a bridge, each with its own address, and cables that can be cut.

Needs the right to make namespaces (root, or a container with CAP_SYS_ADMIN and CAP_NET_ADMIN) and iproute2.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

NETWORK = "10.77.0"


def _ip(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=check, timeout=20)


def possible() -> bool:
    """Whether namespaces can be made here."""
    if shutil.which("ip") is None:
        return False
    name = f"fc{uuid.uuid4().hex[:6]}"
    succeeded = _ip("netns", "add", name, check=False).returncode == 0
    if succeeded:
        _ip("netns", "del", name, check=False)
    return succeeded


@dataclass
class Host:
    """One host: a namespace with a loopback and a cable to the switch."""

    name: str
    namespace: str
    address: str
    running: list[subprocess.Popen[Any]] = field(default_factory=list)

    def start(
        self, *command: object, output: IO[bytes] | int = subprocess.DEVNULL, **environment: str
    ) -> subprocess.Popen[bytes]:
        """Start a command on this host; it is ended with the hosts."""
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, *map(str, command)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        self.running.append(process)
        return process

    def run(self, *command: object, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command on this host to its end."""
        return subprocess.run(
            ["ip", "netns", "exec", self.namespace, *map(str, command)],
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **environment},
            check=False,
        )

    def cut(self, peer: Host) -> None:
        """Nothing that this host sends to `peer` arrives any more, and nobody is told: frames go to a card that is not there."""
        _ip(
            "-n",
            self.namespace,
            "neigh",
            "replace",
            peer.address,
            "lladdr",
            "02:00:00:00:00:01",
            "nud",
            "permanent",
            "dev",
            "eth0",
        )

    def fix(self, peer: Host) -> None:
        """Take `cut` back."""
        _ip("-n", self.namespace, "neigh", "del", peer.address, "dev", "eth0")


@contextmanager
def hosts(names: Sequence[str], logs: Path) -> Iterator[dict[str, Host]]:
    """Hosts on one switch, which is a namespace of its own: nothing of it touches the machine's network."""
    tag = f"fc{uuid.uuid4().hex[:5]}"
    switch = f"{tag}-switch"
    by_name: dict[str, Host] = {}
    logs.mkdir(parents=True, exist_ok=True)
    try:
        _ip("netns", "add", switch)
        _ip("-n", switch, "link", "add", "br0", "type", "bridge")
        _ip("-n", switch, "link", "set", "br0", "up")
        for number, name in enumerate(names, start=1):
            host = Host(name, f"{tag}-{name}", f"{NETWORK}.{number}")
            by_name[name] = host
            _ip("netns", "add", host.namespace)
            _ip("-n", switch, "link", "add", f"p{number}", "type", "veth", "peer", "name", "eth0", "netns", host.namespace)
            _ip("-n", switch, "link", "set", f"p{number}", "master", "br0", "up")
            _ip("-n", host.namespace, "link", "set", "lo", "up")
            _ip("-n", host.namespace, "addr", "add", f"{host.address}/24", "dev", "eth0")
            _ip("-n", host.namespace, "link", "set", "eth0", "up")
        yield by_name
    finally:
        for host in by_name.values():
            for process in host.running:
                if process.poll() is None:
                    os.killpg(process.pid, 15)
            for process in host.running:
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, 9)
                    process.wait(10)
            _ip("netns", "del", host.namespace, check=False)
        _ip("netns", "del", switch, check=False)
