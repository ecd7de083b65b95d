"""How much faster a dense pass is than the published way, a patch around every cell: one run, one CPU, the same species.

    python benchmarks/per_patch.py                                  # 10 km, three modalities, 100 to 5,016 species
    python benchmarks/per_patch.py --species 5016 --rounds 5 --threads 2 --json rows.json

Ours: `Ensemble.embed_window` and `probability` over a whole unit, species block by block, as `predict` runs them. Theirs:
ResNet-6 on both series and Swin-v2-T on a 128 x 128 image, a batch of cells with a patch each, from arrays in memory.
Weights are random: speed does not depend on them. Contenders alternate; figures are medians. Reading is in neither.
About a minute on two quiet cores.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

BAR = 1000  # times faster a cell


def dense_pass(species: int, members: int, cells: int, block: int) -> Callable[[], int]:
    """One pass over a unit of `cells` x `cells`; returns the cells predicted."""
    import torch

    from inference.network.deep_sdm import ModelSpec
    from inference.network.ensemble import Ensemble

    torch.manual_seed(0)
    spec = ModelSpec(("satellite", "landsat", "climate", "survey"), species, dilations=(1, 3, 8))
    ensemble = Ensemble(spec, members, [f"species {i}" for i in range(species)])
    side = 5 * (cells + spec.receptive_field - 1)
    kilometres = cells // 20 + 2
    window = {"satellite": torch.rand(4, side, side), "landsat": torch.rand(6, 84, cells, cells),
              "climate": torch.rand(4, 228, kilometres, kilometres)}  # fmt: skip

    def run() -> int:
        with torch.inference_mode():
            z = ensemble.embed_window(window, 2020).flatten(1).T.contiguous()
            for start in range(0, species, block):
                ensemble.probability(z, species=slice(start, min(start + block, species)))
        return cells * cells

    return run


def patch_pass(species: int, patches: int) -> Callable[[], int]:
    """One batch of cells through the multimodal ensemble; returns the cells predicted."""
    import torch

    from inference.evaluation.multimodal import EnsembleSpec, MultimodalEnsemble

    torch.manual_seed(0)
    net = MultimodalEnsemble(EnsembleSpec(species)).eval()
    batch = {"satellite": torch.rand(patches, 4, 128, 128), "landsat": torch.rand(patches, 6, 84),
             "climate": torch.rand(patches, 4, 228)}  # fmt: skip

    def run() -> int:
        net.probability(batch)
        return patches

    return run


def timed(run: Callable[[], int]) -> float:
    """Microseconds a cell of one pass."""
    started = time.perf_counter()
    cells = run()
    return (time.perf_counter() - started) / cells * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--species", default="100,1000,5016", help="5,016 are in GeoPlant's surveys")
    parser.add_argument("--members", type=int, default=1, help="networks of ours that are averaged")
    parser.add_argument("--cells", type=int, default=200, help="side of the unit in cells, a multiple of 20")
    parser.add_argument("--block", type=int, default=128, help="species at a time")
    parser.add_argument("--patches", type=int, default=16, help="cells in a batch of patches")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the rows here as well")
    options = parser.parse_args()
    import torch

    from inference.evaluation.tables import Table

    torch.set_num_threads(options.threads)
    rows: list[dict[str, Any]] = []
    for species in map(int, options.species.split(",")):
        contenders = {"dense": dense_pass(species, options.members, options.cells, options.block),
                      "per patch": patch_pass(species, options.patches)}  # fmt: skip
        figures: dict[str, list[float]] = {name: [] for name in contenders}
        for run in contenders.values():
            run()  # the first pass allocates and chooses kernels
        for _ in range(options.rounds):
            for name, run in contenders.items():
                figures[name].append(timed(run))
        dense, patch = (statistics.median(figures[name]) for name in contenders)
        ratios = [b / a for a, b in zip(figures["dense"], figures["per patch"], strict=True)]
        times = statistics.median(ratios)
        rows.append({"species": species, "dense us/cell": dense, "per patch us/cell": patch, "times faster": times,
                     "lowest": min(ratios), "bar": BAR, "kept": times >= BAR})  # fmt: skip
    title = (f"Dense against per patch, {options.members} network(s), {options.threads} threads, unit of {options.cells} x"
             f" {options.cells} cells, medians of {options.rounds}")  # fmt: skip
    print(Table(title, rows).text())
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
