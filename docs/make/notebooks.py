"""Notebooks as pages: their text as it is, their code as blocks. They are kept without outputs and run by the tests."""

from __future__ import annotations

import json
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "notebooks"


def pages() -> dict[str, str]:
    """Markdown by the name of the page: `notebooks/plain-xarray.md`."""
    return {f"notebooks/{path.stem}.md": page(path) for path in sorted(FOLDER.glob("*.ipynb"))}


def page(path: Path) -> str:
    """Markdown of one notebook, with a link to the file."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    parts = []
    for cell in cells:
        text = "".join(cell["source"]).strip()
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    head, *rest = parts
    return "\n\n".join([head, f"[Download this notebook]({path.name}){{ download }}", *rest]) + "\n"
