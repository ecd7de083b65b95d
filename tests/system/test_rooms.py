"""The rule of the house: imports run one way, and the server runs without torch, the workers without titiler."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tokenize
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


def code_lines(source: str) -> set[int]:
    """The numbers of the lines that hold code; a docstring counts, a comment and a blank line do not."""
    layout = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {n for token in tokens if token.type not in layout for n in range(token.start[0], token.end[0] + 1)}


def test_no_function_does_more_than_one_page() -> None:
    long = {}
    for path in [ROOT / "floracube.py", *(path for room in (*ROOMS, "benchmarks") for path in (ROOT / room).rglob("*.py"))]:
        if "node_modules" in path.parts:
            continue
        source = path.read_text(encoding="utf-8")
        with_code = code_lines(source)
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                text = node.body[0] if ast.get_docstring(node) is not None else None
                docstring = set() if text is None else set(range(text.lineno, (text.end_lineno or text.lineno) + 1))
                lines = with_code & set(range(node.lineno, (node.end_lineno or node.lineno) + 1)) - docstring
                if len(lines) > 80:
                    long[f"{path.relative_to(ROOT)}: {node.name}"] = len(lines)
    assert not long


def test_no_file_outgrows_its_room() -> None:
    long = {
        str(p.relative_to(ROOT)): n
        for room in (*ROOMS, ".")
        for p in ((ROOT / room).rglob("*.py") if room != "." else [ROOT / "floracube.py"])
        if "node_modules" not in p.parts
        and (n := len(p.read_text(encoding="utf-8").splitlines())) > 390  # as the formatter lays them out
    }
    assert not long
