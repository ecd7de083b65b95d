"""Every command and every key that the documentation names exists; nothing is run here but what costs nothing."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import floracube
from cube.config import Config
from docs.make import commands as commands_page
from docs.make import configuration
from tests.docs.pages import ROOT, blocks, commands, pages

OURS = dict(commands_page.commands())
COMMANDS = sorted(commands())


def of(program: str) -> list[tuple[str, tuple[str, ...], bool]]:
    return [command for command in COMMANDS if command[1][0] == program]


def test_there_are_commands_to_test() -> None:
    assert len({words for _, words, _ in COMMANDS}) > 30


@pytest.mark.parametrize(("page", "words", "inline"), of("floracube"))
def test_a_command_of_the_documentation_parses(page: str, words: tuple[str, ...], inline: bool) -> None:
    group: Any = typer.main.get_command(floracube.app)
    rest = list(words[1:])
    while hasattr(group, "commands") and rest and rest[0] in group.commands:
        group = group.commands[rest.pop(0)]
    if hasattr(group, "commands"):  # `floracube --help`
        known = {flag for parameter in group.params for flag in parameter.opts} | {"--help", "COMMAND"}
        assert all(word in known for word in rest), f"{page}: {' '.join(words)}"
        return
    if "--help" in rest:
        return
    # Words such as CONFIG stand for something; a number does where one is asked for.
    filled = ["1" if word == "N" else word for word in rest]
    if inline:  # a sentence may name a command without what it needs
        filled += ["X"] * (sum(p.required for p in group.params) - sum(not word.startswith("-") for word in rest))
    group.make_context(group.name, filled)


@pytest.mark.parametrize(("page", "words", "inline"), of("python"))
def test_a_script_of_the_documentation_is_there_and_knows_its_options(page: str, words: tuple[str, ...], inline: bool) -> None:
    path = f"{words[2].replace('.', '/')}.py" if words[1] == "-m" else words[1]
    assert (ROOT / path).is_file(), f"{page}: {path}"
    known = _options(ROOT / path)
    for word in words[2:]:
        if word.startswith("--"):
            assert word.split("=")[0] in known, f"{page}: {' '.join(words)}; known are {sorted(known)}"


def _options(path: Path, depth: int = 0) -> set[str]:
    """Flags in a script and in the modules of benchmarks/ that it imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    out = {
        n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str) and n.value.startswith("--")
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("benchmarks") and depth < 2:
            names = [node.module or ""] if node.module != "benchmarks" else [f"benchmarks.{a.name}" for a in node.names]
            for name in names:
                below = ROOT / f"{name.replace('.', '/')}.py"
                out |= _options(below, depth + 1) if below.is_file() else set()
    return out


@pytest.mark.parametrize(("page", "words", "inline"), of("make"))
def test_a_target_of_make_is_there(page: str, words: tuple[str, ...], inline: bool) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert words[1] in targets, f"{page}: make {words[1]}"


YAML = [
    (f"{block.page}, block {i}", block.body)
    for page in pages()
    for i, block in enumerate(blocks(page))
    if block.language == "yaml"
]


@pytest.mark.parametrize(("where", "text"), YAML, ids=[where for where, _ in YAML])
def test_configurations_of_the_documentation_are_valid(where: str, text: str) -> None:
    smallest = {"title": "t", "cube": "c.zarr", "region": {"bbox": [8, 47, 9, 48]}, "unit_km": 10, "sources": []}
    # A block may show several ways of one key, one after the other.
    for part in re.split(r"^(?=cluster:)", text, flags=re.M):
        document = yaml.safe_load(part)
        if document is None:
            continue
        Config.model_validate(smallest | document)
        known = set(configuration.keys())
        for key in ("train", "network"):
            for name in document.get(key, {}):
                assert f"{key}.{name}" in known, f"{where}: {key}.{name}"
        for key in ("habitats", "evaluate"):
            for name in (document.get(key) or {}).get("options", {}):
                assert f"{key}.options.{name}" in known, f"{where}: {key}.options.{name}"


def test_every_key_of_a_configuration_has_a_meaning() -> None:
    told = configuration.page()
    for key in list(configuration.keys()):
        assert f"`{key.rsplit('.', 1)[-1]}`" in told, key
    sections = re.split(r"^## ", told, flags=re.M)
    for section in sections:
        silent = [line for line in section.splitlines() if line.startswith("| `") and line.endswith("|  |")]
        assert not silent, silent


def test_the_page_of_commands_names_every_command_and_option() -> None:
    told = commands_page.page()
    for path, command in OURS.items():
        section = told.split(f"## {path}\n")[1].split("\n## ")[0]
        for parameter in command.params:
            if parameter.name != "help":
                words = parameter.opts if parameter.param_type_name == "option" else [parameter.metavar or parameter.name.upper()]
                assert all(word in section for word in words), f"{path}: {parameter.name}"
