"""The rule of the house: imports run one way, and the server runs without torch, the workers without titiler."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = {"cube": set(), "inference": {"cube"}, "server": {"cube"}, "demo": {"cube"}}  # type: dict[str, set[str]]


def imported_rooms(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.split(".")[0] for name in names} & {*ROOMS, "floracube"}


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_one_way(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        if "node_modules" in path.parts:
            continue
        wrong = imported_rooms(path) - ROOMS[room] - {room}
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


def test_imports_of_the_server_run_one_way() -> None:
    order = (
        "errors",
        "metrics",
        "palettes",
        "reading",
        "drawing",
        "dependencies",
        "tileroute",
        "describing",
        "queries",
        "operating",
        "factory",
        "front",
        "waiting",
        "start",
        "main",
    )
    wrong = []
    for path in (ROOT / "server").rglob("*.py"):
        own = path.relative_to(ROOT / "server").parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "server":
                below = [a.name for a in node.names] if node.module == "server" else [node.module.split(".")[1]]
                wrong += [f"{path.name}: {name}" for name in below if name != own and order.index(name) > order.index(own)]
    assert not wrong


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import server.main, cube.reader, cube.engine.build", ("torch", "transformers", "sklearn", "distributed", "stackstac")),
        ("import inference.cascade.predict, inference.training.learn", ("titiler", "fastapi", "uvicorn", "morecantile")),
        ("import floracube", ("torch", "transformers", "titiler", "fastapi", "rasterio")),
    ],
)
def test_a_room_does_not_pull_in_what_another_needs(statement: str, forbidden: tuple[str, ...]) -> None:
    code = f"import sys; {statement}; print([m for m in {forbidden!r} if m in sys.modules])"
    seen = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "[]"


def test_no_file_outgrows_its_room() -> None:
    long = {
        str(p.relative_to(ROOT)): n
        for room in (*ROOMS, ".")
        for p in ((ROOT / room).rglob("*.py") if room != "." else [ROOT / "floracube.py"])
        if "node_modules" not in p.parts
        and (n := len(p.read_text(encoding="utf-8").splitlines())) > 390  # as the formatter lays them out
    }
    assert not long
