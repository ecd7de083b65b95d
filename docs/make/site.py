"""The documentation as a site: the pages of docs/ and those that are made from the program itself, so that they cannot lie.

    python -m docs.make.site FOLDER

Made here are the reference of commands, of the HTTP API and of layers, the measured results, and the notebooks. The reference of
the configuration and the messages are made by commands and committed (`python -m docs.make.configuration`,
`python -m docs.make.messages`), so that a clone has them without a build. Zensical builds the site; a warning ends the build.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import yaml

from docs.make import commands, http_api, layers, notebooks, results

ROOT = Path(__file__).parents[2]
PAGES: dict[str, Callable[[], str]] = {
    "reference/commands.md": commands.page,
    "reference/http.md": http_api.page,
    "reference/layers.md": layers.page,
    "reference/results.md": results.page,
}


def build(site: Path) -> int:
    """Build the site in a folder, which is replaced; the exit code of the builder."""
    with tempfile.TemporaryDirectory(prefix="floracube-docs-") as name:
        folder = Path(name)
        shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("*.py", "make", "__pycache__"))
        for path, text in ({path: page() for path, page in PAGES.items()} | notebooks.pages()).items():
            page = folder / "docs" / path
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(text, encoding="utf-8")
        settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
        settings["plugins"][-1]["mkdocstrings"]["handlers"]["python"]["paths"] = [str(ROOT)]
        (folder / "mkdocs.yml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
        command = [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", "mkdocs.yml"]
        process = subprocess.run(command, cwd=folder, check=False)
        if process.returncode == 0:
            shutil.rmtree(site, ignore_errors=True)
            shutil.copytree(folder / "site", site)
        return process.returncode


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the site goes; what is there is replaced")
    raise SystemExit(build(parser.parse_args().folder))
