"""What mkdocs calls while it builds the site: pages that are made from the program itself, so that they cannot lie.

The reference of commands and of the HTTP API, the measured results, and the notebooks. The reference of the configuration and the
messages are made by commands and committed (`python -m docs.make.configuration`, `python -m docs.make.messages`), so that a
clone has them without a build.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parents[2]))

from docs.make import commands, http_api, layers, notebooks, results

PAGES: dict[str, Callable[[], str]] = {
    "reference/commands.md": commands.page,
    "reference/http.md": http_api.page,
    "reference/layers.md": layers.page,
    "reference/results.md": results.page,
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    made = {path: page() for path, page in PAGES.items()} | notebooks.pages()
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    return files
