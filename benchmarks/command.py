"""What the command lines of benchmarks have in common: their help is the docstring, and `--json` writes flat records."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """A parser with the option `--json`, whose help begins with the docstring of a benchmark."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write what is printed to this file as flat records")
    return parser


def write_rows(path: Path | None, rows: Any) -> None:
    """Write records as JSON; nothing where no `path` is given."""
    if path is not None:
        path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
