"""The page "When something is refused", out of the code: each message of an error, its cause and its fix.

A message is what an exception of `FloracubeError`'s tree or of the server's is made with; it is read from the source, its fields
as `…`. A message is "what is wrong; what to do", so the fix is what follows the first `;`, or the last sentence.

    python -m docs.make.messages    writes the page anew
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "when-refused.md"
FOLDERS = ("cube", "inference", "server", "demo")
ROOTS = {"FloracubeError", "RequestError", "HTTPException"}  # and whatever is derived from them
PLACES = {"HTTPException": 1, "error_answer": 2}  # argument that is the message, where it is not the first
FIELD = "…"
AS_SAID = "give what the sentence asks for"
MOST = 4  # variants of one message whose parts are chosen by conditions
HEAD = """# When something is refused

A command that refuses its input ends with exit code 2 and one sentence: what is wrong, in which file and field, then what to
do. The server answers with JSON, whose `detail` is such a sentence. This page lists every one of them: search it for the words
that you see. `…` stands for a name, a number or a path.

The page is made from the code by `python -m docs.make.messages`.
"""
THEMES = (  # heading, and the start of the modules whose messages stand below it; the first that fits
    ("The command line and the configuration", ("floracube", "cube.config", "cube.console", "cube.grid")),
    ("Surveys, records, species and traits", ("cube.records", "inference.data")),
    ("Rasters, scenes and catalogues", ("cube.sources", "cube.layers.inputs")),
    ("Building, workers and clusters", ("cube.engine",)),
    ("The cube: layers, versions, releases", ("cube",)),
    ("Habitats", ("inference.plantbert", "inference.training.habitats", "inference.cascade.habitats")),
    ("Training and evaluation", ("inference.training", "inference.evaluation", "inference.calibration", "inference.explanation")),
    ("Models and prediction", ("inference",)),
    ("The generated landscape", ("demo",)),
    ("The server", ("server",)),
)


@dataclass(frozen=True, order=True)
class Message:
    """One message: the module and line that raise it, and its text with `…` for each field."""

    module: str
    line: int
    text: str

    @property
    def theme(self) -> str:
        """Heading that it stands below."""
        return next(title for title, starts in THEMES if any(f"{self.module}.".startswith(f"{start}.") for start in starts))

    @property
    def parts(self) -> tuple[str, str]:
        """(cause, fix); the fix is empty where the message names none."""
        before = re.match(r"(?:[^\s:;]+: )*", self.text)  # files and keys before the sentence are no clauses
        start = before.end() if before else 0
        keys = "".join(f"{key}: " for key in self.text[:start].split(": ") if key and not key.startswith(FIELD))
        text = self.text[start:]
        for separator in ("; ", ". ", ", expected ", ": "):
            cause, middle, fix = text.partition(separator)
            if middle and not fix.startswith("found ") and (separator == "; " or len(re.findall(rf"\w+|{FIELD}", fix)) >= 2):
                return keys + cause, f"give {fix}" if separator == ", expected " else fix
        if re.search(r"\b(must|may be|takes?|needs?|expected|give)\b", text):
            return keys + text, AS_SAID
        return keys + text, ""


def messages() -> list[Message]:
    """Every message of the code, by module and line; those of one text once."""
    trees = {_module(path): ast.parse(path.read_text(encoding="utf-8")) for path in _files()}
    names = _error_names(trees.values())
    message_by_text: dict[str, Message] = {}
    for module, tree in trees.items():
        constants = [node for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign)]
        for node, function in _calls(tree, tree):
            scope = ast.Module([*([function] if isinstance(function, ast.stmt) else tree.body), *constants], [])
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if name in names or name in PLACES:
                for text in _texts(node, name, scope):
                    message_by_text.setdefault(text, Message(module, node.lineno, text))
    return sorted(message_by_text.values())


def page() -> str:
    """Markdown of the whole page."""
    parts = [HEAD]
    every = messages()
    for title, _ in THEMES:
        messages_of_theme = [message for message in every if message.theme == title]
        if messages_of_theme:
            rows = ["| message | what to do |", "|---|---|", *(_row(message) for message in messages_of_theme)]
            parts += [f"## {title}", "\n".join(rows)]
    return "\n\n".join(parts) + "\n"


def _row(message: Message) -> str:
    cause, fix = message.parts
    return f"| {_escaped(cause)} | {_escaped(fix)} |"


def _escaped(text: str) -> str:
    """Text in a cell of a table: what Markdown would take for something else stands as it is."""
    text = " ".join(text.split())
    code = [part if i % 2 else re.sub(r"([*_<>\[\]|])", r"\\\1", part) for i, part in enumerate(text.split("`"))]
    return "`".join(part.replace("|", "\\|") if i % 2 else part for i, part in enumerate(code))


def _files() -> Iterator[Path]:
    yield ROOT / "floracube.py"
    for folder in FOLDERS:
        yield from (p for p in sorted((ROOT / folder).rglob("*.py")) if "node_modules" not in p.parts)


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _error_names(trees: Iterable[ast.Module]) -> set[str]:
    """Names of the exception classes that are derived from `ROOTS`."""
    bases = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    names = set(ROOTS)
    while more := {name for name, above in bases.items() if above & names} - names:
        names |= more
    return names


def _calls(node: ast.AST, scope: ast.AST) -> Iterator[tuple[ast.Call, ast.AST]]:
    """Every call with the innermost function around it."""
    for child in ast.iter_child_nodes(node):
        inner = child if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else scope
        if isinstance(child, ast.Call):
            yield child, inner
        yield from _calls(child, inner)


def _texts(call: ast.Call, name: str, scope: ast.AST) -> list[str]:
    """The messages that a call may make: with `…` for what is not known before it runs, none where nothing is known."""
    detail = next((k.value for k in call.keywords if k.arg == "detail"), None)
    place = PLACES.get(name, 0)
    text_node = detail or (call.args[place] if len(call.args) > place else None)
    if text_node is None:
        return []
    texts = _variants(text_node, scope, 2)
    return [text for text in dict.fromkeys(re.sub(rf"(?:{FIELD})+", FIELD, t).strip() for t in texts) if _says_something(text)]


def _says_something(text: str) -> bool:
    return len(re.findall(r"[A-Za-z]{2,}", text.replace(FIELD, ""))) >= 2


def _variants(node: ast.expr, scope: ast.AST, depth: int) -> list[str]:
    """Texts that an expression may have; conditions give both, a name what the function around assigns to it."""
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.JoinedStr):
        return _joined([_variants(part, scope, depth) for part in node.values])
    if isinstance(node, ast.FormattedValue):
        return _variants(node.value, scope, depth) if isinstance(node.value, ast.IfExp | ast.Name) and depth else [FIELD]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _joined([_variants(node.left, scope, depth), _variants(node.right, scope, depth)])
    if isinstance(node, ast.IfExp):
        return list(dict.fromkeys([*_variants(node.body, scope, depth), *_variants(node.orelse, scope, depth)]))
    if isinstance(node, ast.Name) and depth:
        values = [value for name, value in _assigned(scope) if name == node.id]
        texts = [text for value in values if _is_text(value) for text in _variants(value, scope, depth - 1)]
        return texts if any(_says_something(text) for text in texts) else [FIELD]
    return [FIELD]


def _assigned(scope: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """(name, value) of all that is assigned in a function or module."""
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign):
            yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            yield node.target.id, node.value


def _is_text(node: ast.expr) -> bool:
    if isinstance(node, ast.IfExp):
        return _is_text(node.body) or _is_text(node.orelse)
    return isinstance(node, ast.JoinedStr | ast.BinOp) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _joined(parts: list[list[str]]) -> list[str]:
    """Every combination of the parts' texts; beyond `MOST` a part with several is a field."""
    many = 1
    for i, part in enumerate(parts):
        if many * len(part) > MOST:
            parts[i] = [FIELD]
        many *= len(parts[i])
    return ["".join(combination) for combination in itertools.product(*parts)]


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
