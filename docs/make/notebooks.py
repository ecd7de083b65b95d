"""Notebooks with their outputs, and as pages of the site.

    floracube demo --size-km 10 --no-serve; python -m docs.make.notebooks demo-out/cube.zarr

runs every notebook on a copy of that cube and writes its outputs into it: text, small tables, pictures as palette PNGs. What
differs from run to run (addresses, times) and xarray's HTML, which is as large as a picture, is left out.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parents[1] / "notebooks"
ROOT: Final = Path(__file__).parents[2]
COLOURS: Final = 64  # of a picture
INLINE: Final = "module://matplotlib_inline.backend_inline"  # pictures become outputs
SOURCE: Final = "floracube_source"  # in the metadata: a hash of the code that the outputs are of
SHOWN_HTML: Final = ('class="floracube"', 'class="dataframe"')


def pages() -> dict[str, str]:
    """Markdown by the name of the page: `notebooks/plain-xarray.md`."""
    return {f"notebooks/{path.stem}.md": page(path) for path in sorted(FOLDER.glob("*.ipynb"))}


def page(path: Path) -> str:
    """Markdown of one notebook with its outputs, and a link to the file."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    parts = []
    for cell in cells:
        text = "".join(cell["source"]).strip()
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
        parts += [part for output in cell.get("outputs", ()) if (part := _output_text(output))]
    head, *rest = parts
    return "\n\n".join([head, f"[Download this notebook]({path.name}){{ download }}", *rest]) + "\n"


def _output_text(output: dict[str, Any]) -> str:
    """An output as Markdown: a picture before HTML before text."""
    data = output.get("data", {})
    if "image/png" in data:
        return f'<img alt="Picture that the code above draws" src="data:image/png;base64,{"".join(data["image/png"]).strip()}">'
    if "text/html" in data:
        return re.sub(r"<style.*?</style>|\n\s*", "", "".join(data["text/html"]), flags=re.S)
    text = "".join(output.get("text") or data.get("text/plain", "")).rstrip()
    return f"```text\n{text}\n```" if text else ""


def code_hash(notebook: Any) -> str:
    """A hash of the code of a notebook: outputs belong to it."""
    code = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return hashlib.sha256("\0".join(map("".join, code)).encode()).hexdigest()[:16]


def small(output: Any) -> Any:
    """An output without what differs from run to run or is as large as a picture; pictures with a palette."""
    data = output.get("data")
    if data is None:
        return output
    if "text/html" in data and not any(mark in data["text/html"] for mark in SHOWN_HTML):
        del data["text/html"]
    if "image/png" in data:
        data["image/png"] = _palette(data["image/png"])
    if "text/plain" in data:
        data["text/plain"] = re.sub(r" at 0x[0-9a-f]+", "", data["text/plain"])
    output["metadata"] = {}
    return output


def _palette(picture: str) -> str:
    from PIL import Image

    out = io.BytesIO()
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return base64.b64encode(out.getvalue()).decode()


def run(path: Path, folder: Path) -> None:
    """Execute a notebook in `folder` and write its outputs into it."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=1500, startup_timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    for cell in notebook.cells:
        cell.metadata = nbformat.NotebookNode()
        if cell.cell_type == "code":
            cell.outputs = [small(output) for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata[SOURCE] = code_hash(notebook)
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, path)


def main() -> None:
    """Run the notebooks that the command line names, all by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("cube", type=Path, help="the cube that stands in for demo-out/cube.zarr")
    parser.add_argument("notebooks", nargs="*", type=Path, default=sorted(FOLDER.glob("*.ipynb")))
    arguments = parser.parse_args()
    os.environ.update(MPLBACKEND=INLINE, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(arguments.cube, Path(folder) / "demo-out/cube.zarr")
        for path in arguments.notebooks:
            run(path, Path(folder))
            print(path)


if __name__ == "__main__":
    main()
