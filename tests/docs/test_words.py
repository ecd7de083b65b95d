"""Words of a private English, which nobody searches for, stand neither in the code nor in the documentation."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What to write instead: fix; permissions; common species or another name; retry.
WORDS = re.compile(r"\b(mend(s|ed|ing)?|your rights|witness(es)?|patiently|quickened|unsaid)\b", re.IGNORECASE)
TEXTS = ("*.py", "*.md", "*.yaml", "*.html", "*.js", "*.sh", "*.ipynb", "*.toml")


def test_no_word_of_a_private_english_is_used() -> None:
    files = subprocess.run(["git", "ls-files", *TEXTS], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert len(files) > 500
    found = [
        f"{file}:{number}: {match[0]}"
        for file in files
        if file != "CHANGELOG.md" and Path(ROOT / file) != Path(__file__)
        for number, line in enumerate((ROOT / file).read_text(encoding="utf-8").splitlines(), 1)
        if (match := WORDS.search(line))
    ]
    assert not found, "\n".join(found)


def test_the_formatter_decides_the_layout_of_every_line() -> None:
    opted_out = "fmt: " + "(skip|off)"
    found = subprocess.run(["git", "grep", "-nE", opted_out, "--", "*.py"], cwd=ROOT, capture_output=True, text=True)
    assert found.stdout == ""
