"""What stands in the documentation: its fenced blocks, with their language and title."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[a-z]*)(?: title=\"(?P<title>[^\"]*)\")?\n(?P<body>.*?)^ *```$", re.M | re.S)
INLINE = re.compile(r"(?<!`)`((?:floracube|python (?:-m )?(?:benchmarks|docs)[./]\S+|make) [^`\n]+)`")


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
    """Every page of the documentation, and the README."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "deploy").glob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page."""
    for found in FENCE.finditer(page.read_text(encoding="utf-8")):
        body = re.sub(rf"^{found['indent']}", "", found["body"], flags=re.M)
        yield Block(str(page.relative_to(ROOT)), found["language"], found["title"] or "", body)


def commands() -> list[tuple[str, list[str]]]:
    """(page, words) of every command of ours in a shell block, a block without a language, or a table of results."""
    out = []
    for page in pages():
        for block in blocks(page):
            if block.language in ("bash", "sh", "console", ""):
                out += [(block.page, shlex.split(command)) for command in block.commands() if _is_ours(command)]
        for inline in re.findall(
            r"(?<!`)`((?:floracube|python (?:-m )?(?:benchmarks|docs)[./]\S+|make) [^`\n]+)`", page.read_text()
        ):
            out.append((str(page.relative_to(ROOT)), shlex.split(inline)))
    return out


def _is_ours(command: str) -> bool:
    return bool(re.match(r"(floracube|make|python (-m )?(benchmarks|docs)[./])\b", command))
