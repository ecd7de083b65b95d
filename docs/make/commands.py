"""The page of commands, out of the command line itself: its help, its options, its examples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

import floracube

EXIT_CODES = """## Exit codes

| code | means |
|---|---|
| 0 | done |
| 1 | some units failed, or a rule is broken; everything else is done, and the same command resumes |
| 2 | a mistake that you can fix: one sentence says which file, which field, and how; nothing was begun |
| 130 | interrupted (Ctrl-C); the same command resumes |
"""


def commands() -> Iterator[tuple[str, Any]]:
    """(`floracube build`, its command) for every command, in the order of `floracube --help`."""
    yield from _below("floracube", typer.main.get_command(floracube.app))


def _below(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    below = getattr(command, "commands", None)
    if below is None:
        yield path, command
        return
    for name, one in below.items():
        yield from _below(f"{path} {name}", one)


def page() -> str:
    """Markdown of the whole page."""
    parts = [
        "# Commands",
        "Taken from the program when this site was built; `floracube COMMAND --help` says the same.",
        EXIT_CODES,
    ]
    for path, command in commands():
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
        usage = " ".join([path, *(["[OPTIONS]"] if options else []), *(_usage(a) for a in arguments)])
        parts += [f"## {path}", (command.help or "").strip(), f"```text\n{usage}\n```"]
        if arguments:
            parts.append(_table(("argument", "means"), [(f"`{_usage(a)}`", getattr(a, "help", "") or "") for a in arguments]))
        if options:
            rows = [(_flags(o), getattr(o, "help", "") or "", _default(o)) for o in options]
            parts.append(_table(("option", "means", "by default"), rows))
        if command.epilog:
            parts.append(command.epilog.strip())
    return "\n\n".join(parts) + "\n"


def _usage(argument: Any) -> str:
    name = argument.metavar or (argument.name or "").upper()
    return name if argument.required or name.startswith("[") else f"[{name}]"


def _flags(option: Any) -> str:
    flags = [*option.opts, *option.secondary_opts]
    value = "" if getattr(option, "is_flag", False) else f" {option.metavar or _value(option)}"
    return ", ".join(f"`{flag}{value}`" for flag in flags)


def _value(option: Any) -> str:
    """What stands for the value of an option; how typer keeps its type has changed between its versions."""
    descriptor = getattr(option, "type_descriptor", None)
    name = descriptor.annotation.__name__ if descriptor else option.type.name
    return {"int": "NUMBER", "integer": "NUMBER", "float": "NUMBER", "integer range": "NUMBER", "path": "PATH"}.get(
        name.lower(), "TEXT"
    )


def _default(option: Any) -> str:
    default = option.default
    if getattr(option, "is_flag", False):
        return f"`{option.opts[0]}`" if default and option.secondary_opts else ""
    return "" if default is None or default == [] or callable(default) else f"`{default}`"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *([cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
