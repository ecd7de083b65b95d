"""Memory that one request took is there for the system again, not only for the next request."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# glibc counts in `hblks` (the fourth field) the blocks that have pages of their own.
CODE = """
import ctypes, os, sys
import numpy as np
from server.operating import memory

class Counts(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]

count = ctypes.CDLL(None).mallinfo2
count.restype = Counts
if sys.argv[1] == "served":
    memory.give_back_large_arrays()
np.empty(16 * 2**20, np.uint8)  # freed at once: glibc takes its size for the new threshold
before = count().hblks
arrays = [np.empty(memory.MMAP_BYTES, np.uint8) for _ in range(20)]
print(count().hblks - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has another allocator")
@pytest.mark.parametrize(("kind", "apart"), [("served", 20), ("plain", 0)])
def test_large_arrays_have_pages_of_their_own_that_go_back_to_the_system(kind: str, apart: int) -> None:
    # dask sets MALLOC_TRIM_THRESHOLD_ for its workers, and glibc then leaves its thresholds alone.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", CODE, kind], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == apart
