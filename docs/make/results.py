"""The page of measured results: what the commands of benchmarks/ printed last, as they printed it."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parents[2] / "benchmarks/results"
TITLES = {  # file: (title, command), in the order of the page; files that are not named come after these
    "demo": ("The generated landscape", "floracube demo --no-serve; floracube evaluate demo-out/config.yaml"),
    "moravia": ("Species of Moravia", "floracube evaluate examples/moravia.yaml"),
    "czechia_landsat": ("Species of Czechia from Landsat and terrain", "floracube evaluate examples/czechia-landsat.yaml"),
    "denmark": ("Species of Denmark", "floracube evaluate examples/denmark.yaml"),
    "landscape_skill": ("Records beside surveys, on landscapes of known truth", "benchmarks/landscape_skill.py"),
    "landscape_embedding": (
        "An embedding beside the satellites, on landscapes of known truth",
        "benchmarks/landscape_embedding.py",
    ),
    "landscape_calibration": ("Calibration, intervals and sets", "benchmarks/landscape_calibration.py"),
    "disdat": ("Presence-only records: the NCEAS benchmark", "benchmarks/disdat.py"),
    "geoplant": ("GeoPlant's protocol", "benchmarks/geoplant.py"),
    "habitats": ("Habitats by Pl@ntBERT", "benchmarks/habitats.py"),
    "cascade": ("Speed of the cascade", "benchmarks/cascade.py"),
    "cube": ("Building the cube", "benchmarks/cube.py"),
    "kills": ("Runs with a kill each", "benchmarks/kills.py"),
    "tiles": ("Tiles", "benchmarks/tiles.py"),
    "tiles_soak": ("Tiles at full load", "benchmarks/tiles_soak.py"),
    "area": ("Reports of areas", "benchmarks/area.py"),
    "proxy": ("Tiles through nginx", "benchmarks/proxy.py"),
    "continent": ("A skeleton of the continent", "benchmarks/continent.py"),
    "page": ("The first tiles of the map page", "benchmarks/page.py"),
    "hostile": ("Hostile requests", "benchmarks/hostile.py"),
}
HEAD = """# Measured results

Each table is what the command above it printed last, kept in `benchmarks/results/` of the repository and put here when this
site was built; nothing is typed in by hand. Machines were shared and small unless a table says otherwise: compare what
stands in one table, not seconds of two. What a figure means is told in [How skill is measured](../explanation/evaluation.md).
"""


def page() -> str:
    """Markdown of the whole page."""
    path_by_stem = {path.stem: path for path in sorted(FOLDER.glob("*.txt"))}
    parts = [HEAD]
    for stem in [*(s for s in TITLES if s in path_by_stem), *(s for s in path_by_stem if s not in TITLES)]:
        title, command = TITLES.get(stem, (stem.replace("_", " ").capitalize(), f"benchmarks/results/{stem}.txt"))
        parts += [f"## {title}", f"`{command}`", f"```text\n{path_by_stem[stem].read_text(encoding='utf-8').strip()}\n```"]
    return "\n\n".join(parts) + "\n"
