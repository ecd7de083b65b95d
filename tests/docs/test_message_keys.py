"""A message that names a configuration key names one that exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from docs.make import configuration

ROOT = Path(__file__).parents[2]
KEYS = set(configuration.keys())
NO_KEYS = {"species.fagus_sylvatica", "species.csv"}  # a layer's id, a file


def texts(source: str) -> Iterator[tuple[int, str]]:
    """(line, text) of every string that is a sentence or a part of one; docstrings are none."""
    tree = ast.parse(source)
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs else ""
        if len(text.split()) > 1 or text.startswith(" ") or text.endswith((" ", ":")):
            yield node.lineno, text


def unknown(text: str, keys: set[str]) -> list[str]:
    """What looks like a key below one of the configuration's and is none."""
    roots = "|".join(sorted({key.split(".")[0] for key in keys if "." in key}))
    return [
        m[0]
        for m in re.finditer(rf"(?<![\w./{{}}])(?:{roots})(?:\.[a-z_0-9]+)+\b(?![\w(/])", text)
        if m[0] not in keys and not m[0].endswith((".csv", ".tif"))
    ]


def test_every_key_named_in_a_message_exists() -> None:
    assert unknown("lower evaluate.fewest_records or train.epochs.", KEYS) == ["evaluate.fewest_records"]
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {key}"
        for folder in ("cube", "inference", "demo", "server")
        for path in (ROOT / folder).rglob("*.py")
        if "node_modules" not in path.parts
        for line, text in texts(path.read_text(encoding="utf-8"))
        for key in unknown(text, KEYS)
        if key not in NO_KEYS
    ]
    assert not wrong, wrong
