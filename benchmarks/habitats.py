"""Pl@ntBERT compared with its baselines: skill on real and generated plots, the whole cascade, and cells a second.

    python -m benchmarks.habitats formations --data FOLDER    nine Czech formations (FLORACUBE_DATA); 30 minutes on one free core
    python -m benchmarks.habitats denmark --data FOLDER       Annex I types of 31,616 Danish plots from presence alone
    python -m benchmarks.habitats landscape                   12,000 plots of a generated landscape, EUNIS levels 3, 2, 1
    python -m benchmarks.habitats cascade --demo DIR          habitats of a demo's cells from predicted lists, from true ones,
                                                              and direct
    python -m benchmarks.habitats cells --demo DIR            cells a second, hours for Europe
    --seeds 0,1,2   --readers plantbert,transformer,linear   --baselines naive_bayes,gradient_boosting   --json FILE

DIR is what `floracube demo --out DIR --no-serve` made. Methods: `plantbert` as it ships and its parts, `transformer` and `linear`
path; naive Bayes, logistic regression and boosting on the vector of species, `_cover` with log covers in place of presence;
`direct` from image and environment without species, `naive_loop` one cell at a time by `transformers`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from benchmarks.command import parser_of, write_rows
from benchmarks.habitats_cascade import cascade
from benchmarks.habitats_skill import Methods, denmark, formations, landscape
from benchmarks.habitats_speed import speed
from inference.plantbert.baselines import BASELINES

READERS = ("plantbert", "transformer", "linear")
CASES = ("formations", "denmark", "landscape", "cascade", "cells")


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("cases", nargs="+", choices=CASES)
    parser.add_argument("--data", type=Path, default=os.environ.get("FLORACUBE_DATA"), help="folder of the real files")
    parser.add_argument("--demo", type=Path, help="folder that `floracube demo --no-serve` wrote")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--baselines", default=",".join(BASELINES))
    parser.add_argument("--readers", default=",".join(READERS), help="Pl@ntBERT as it ships, and its two parts alone")
    parser.add_argument("--locked", action="store_true", help="score the locked third of the Danish blocks too")
    args = parser.parse_args()
    if {"formations", "denmark"} & set(args.cases) and args.data is None:
        parser.error("formations and denmark need --data or FLORACUBE_DATA")
    if {"cascade", "cells"} & set(args.cases) and args.demo is None:
        parser.error("cascade and cells need --demo")
    seeds = [int(s) for s in args.seeds.split(",")]
    methods = Methods(tuple(args.readers.split(",")), tuple(args.baselines.split(",")))
    for given_names, available in ((methods.readers, READERS), (methods.baselines, tuple(BASELINES))):
        if set(given_names) - set(available):
            parser.error(f"{','.join(given_names)}: expected any of {', '.join(available)}")

    def say(line: str) -> None:
        print(line, flush=True)

    records: list[dict[str, Any]] = []
    if "formations" in args.cases:
        records += formations(args.data, seeds, methods, say)
    if "denmark" in args.cases:
        records += denmark(args.data, seeds, methods, say, args.locked)
    if "landscape" in args.cases:
        records += landscape(seeds, methods, say)
    if "cascade" in args.cases:
        records += cascade(args.demo, seeds, methods, say)
    if "cells" in args.cases:
        records += speed(args.demo, say)
    write_rows(args.json, records)


if __name__ == "__main__":
    main()
