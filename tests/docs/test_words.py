"""Words that nobody searches for stand neither in the code nor in the documentation, and each name says what it holds."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What to write instead: fix; permissions; common species or another name; retry; compared with.
WORDS = re.compile(
    r"\b(mend(s|ed|ing)?|your rights|witness(es)?|patiently|quickened|unsaid|that is none\b(?! of)|beside (us|ours))\b"
    r"|\d beside [.\d]|beside it \|",
    re.IGNORECASE,
)
TEXTS = ("*.py", "*.md", "*.yaml", "*.html", "*.js", "*.sh", "*.ipynb", "*.toml")


ROOMS = ("cube", "inference", "server", "demo", "benchmarks", "docs", "deploy", "floracube.py")
# A variable, an attribute, a class and a module say what they hold, in a noun; what a function returns may be named by a
# participle, as in `sorted(values)`.
EMPTY = re.compile(
    r"anew|asked|astray|done|drawn|elsewhere|everywhere|found|given|handed|have|held|here|kept|known|like|made|meant|"
    r"mine|nobody|nothing|nowhere|ours|own|said|seen|shown|some|soon|taken|theirs|there|told|us|whole|written"
)
PARTICIPLES = re.compile(
    r"added|allowed|averaged|bounded|built|carried|chosen|coded|collected|compared|computed|covered|dealt|declared|"
    r"decoded|defined|derived|described|determined|ended|excluded|extrapolated|fetched|filed|filled|fitted|fixed|"
    r"flagged|folded|foreseen|forgotten|framed|gathered|grouped|grown|halved|hashed|inherited|judged|killed|learned|"
    r"listed|lost|mapped|marked|matched|measured|merged|mixed|moved|named|narrowed|ordered|packed|padded|planned|"
    r"pooled|probed|projected|reached|rejected|removed|reported|resolved|rolled|saved|scored|settled|shared|shifted|"
    r"signed|sited|stored|surveyed|swapped|thinned|torn|trained|undefined|unseen|valued|wanted|widened|withheld|worked"
)
# Keys of documents and parts of file names that users and other programs read.
KEYS = {
    ("cube/check/rules.py", "found"),
    ("cube/config/sources.py", "stored"),
    ("cube/engine/inspect_config.py", "covered"),
    ("cube/engine/inspect_config.py", "derived"),
    ("cube/engine/report.py", "built"),
    ("server/queries/area_models.py", "listed"),
    ("server/queries/sheet_models.py", "learned"),
    ("server/queries/sheet_models.py", "listed"),
}


def test_no_word_of_a_private_english_is_used() -> None:
    files = subprocess.run(["git", "ls-files", *TEXTS], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert len(files) > 500
    found = [
        f"{file}:{number}: {match[0]}"
        for file in files
        if file != "CHANGELOG.md" and Path(ROOT / file) != Path(__file__)
        for number, line in enumerate((ROOT / file).read_text(encoding="utf-8").splitlines(), 1)
        if (match := WORDS.search(line))
    ]
    assert not found, "\n".join(found)


def test_the_formatter_decides_the_layout_of_every_line() -> None:
    opted_out = "fmt: " + "(skip|off)"
    found = subprocess.run(["git", "grep", "-nE", opted_out, "--", "*.py"], cwd=ROOT, capture_output=True, text=True)
    assert found.stdout == ""


def names_of(tree: ast.AST) -> Iterator[tuple[str, int, bool]]:
    """(name, line, whether it is a function's) of everything that a module defines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno, not isinstance(node, ast.ClassDef)
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno, False
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno, False
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno, False
        elif isinstance(node, ast.alias | ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
            name = node.asname if isinstance(node, ast.alias) else node.name
            if name is not None:
                yield name, getattr(node, "lineno", 0), False


def says_nothing(name: str, is_function: bool) -> bool:
    """Whether a name is an empty word or, of a value, a participle that qualifies nothing."""
    word = name.strip("_").lower()
    return bool(EMPTY.fullmatch(word) or (not is_function and PARTICIPLES.fullmatch(word)))


def python_files() -> Iterator[Path]:
    for room in ROOMS:
        path = ROOT / room
        yield from [path] if path.is_file() else (p for p in path.rglob("*.py") if "node_modules" not in p.parts)


@pytest.mark.parametrize(
    ("name", "is_function", "expected"),
    [
        ("stored", False, True),
        ("_stored", True, False),
        ("stored_values", False, False),
        ("known_species", False, False),
        ("KNOWN", False, True),
        ("everywhere", True, True),
    ],
)
def test_a_participle_that_qualifies_a_noun_is_a_name(name: str, is_function: bool, expected: bool) -> None:
    assert says_nothing(name, is_function) == expected


def test_each_name_says_what_it_holds() -> None:
    files = list(python_files())
    assert len(files) > 350
    empty_names = [
        f"{place}:{line}: {name}"
        for file in files
        for place in [file.relative_to(ROOT).as_posix()]
        for name, line, is_function in names_of(ast.parse(file.read_text(encoding="utf-8")))
        if says_nothing(name, is_function) and (place, name) not in KEYS
    ]
    assert not empty_names, "\n".join(empty_names)


def test_each_module_and_folder_says_what_is_in_it() -> None:
    modules = {*python_files(), *(ROOT / "tests").rglob("*.py"), *(ROOT / "server/page/js").glob("*.js")}
    stems = {part for path in modules for part in path.relative_to(ROOT).with_suffix("").parts}
    words = {stem: re.sub(r"^test_", "", stem) for stem in stems}
    assert not [stem for stem, word in words.items() if says_nothing(word, False) or word == "asking"]
