"""What a watched server opens, lists, connects to and starts, by Python's audit events, for `benchmarks.hostile`."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FILES = ("open", "os.listdir", "os.scandir", "os.remove", "os.rename", "os.mkdir", "os.chmod", "os.link", "os.symlink")
REACHING = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "subprocess.Popen", "os.system", "os.exec")


class Watch:
    """Writes down what Python opens, lists, connects to and starts; an audit hook, which cannot be taken off again."""

    def __init__(self, allowed_folders: tuple[str, ...], out: Path) -> None:
        """Everything but paths that begin with `allowed_folders` goes to `out`, once it is told to look (SIGUSR1)."""
        self._allowed_folders, self._on = allowed_folders, False
        self._out = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        signal.signal(signal.SIGUSR1, self._look)

    def _look(self, *_: object) -> None:
        self._on = True

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """The hook."""
        if not self._on:
            return
        if event in FILES:
            if event == "os.remove" and arguments[1] != -1:
                return  # a name in a folder that was opened before, and noted then
            path = os.fsdecode(arguments[0]) if isinstance(arguments[0], bytes) else arguments[0]
            if isinstance(path, str) and not os.path.abspath(path).startswith(self._allowed_folders):
                os.write(self._out, f"{event} {path[:200]!r}\n".encode())
        elif event in REACHING:
            os.write(self._out, f"{event} {str(arguments[1:])[:200]}\n".encode())


def places_allowed(cube: str) -> tuple[str, ...]:
    """Where the server may look: its cubes, the libraries that it loads, the folder of a window being written."""
    window = os.path.join(tempfile.gettempdir(), "floracube-cog-")
    libraries = (sys.prefix, sys.base_prefix, str(ROOT / "server"), str(ROOT / "cube"), os.path.expanduser("~/.cache"))
    system = ("/proc/", "/sys/", "/dev/", "/usr/lib", "/usr/share", "/lib", "/etc/localtime", "/etc/mime.types")
    return (os.path.abspath(cube), window, *libraries, *system)
