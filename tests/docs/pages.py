"""What stands in the documentation: its fenced blocks, with their language and title."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[a-z]*)(?: title=\"(?P<title>[^\"]*)\")?\n(?P<body>.*?)^ *```$", re.M | re.S)
OURS = re.compile(r"(floracube|make) |python (-m )?(benchmarks|docs)[./]")
INLINE = re.compile(r"(?<!`)`((?:floracube [a-z-]|python (?:-m )?(?:benchmarks|docs)[./]|make [a-z])[^`\n]*)`")


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: str
    language: str
    title: str
    body: str

    def commands(self) -> Iterator[str]:
        """Its lines, comments and continuations resolved; of shell blocks alone."""
        text = self.body.replace("\\\n", " ")
        for line in text.splitlines():
            for command in line.split("#")[0].split("&&") if "://" not in line else line.split(" # ")[0].split("&&"):
                if command.strip():
                    yield command.strip()


def pages() -> list[Path]:
    """Every page of the documentation, and those at the top."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "deploy").glob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page."""
    for found in FENCE.finditer(page.read_text(encoding="utf-8")):
        body = re.sub(rf"^{found['indent']}", "", found["body"], flags=re.M)
        yield Block(str(page.relative_to(ROOT)), found["language"], found["title"] or "", body)


def commands() -> set[tuple[str, tuple[str, ...], bool]]:
    """(page, words, whether it stands in a sentence) of every command of ours: in shell blocks, in plain ones, in text."""
    out = set()
    for page in pages():
        name = str(page.relative_to(ROOT))
        for block in blocks(page):
            if block.language in ("bash", "sh", "console", ""):
                out |= {(name, tuple(shlex.split(command)), False) for command in block.commands() if OURS.match(command)}
        inline = INLINE.findall(page.read_text(encoding="utf-8"))
        out |= {(name, tuple(shlex.split(command)), True) for command in inline}
    return out
