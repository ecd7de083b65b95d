"""Pages that a clone has without a build are those of the code, and each message of an error says what to do."""

from __future__ import annotations

import ast

import pytest

from docs.make import configuration, messages
from docs.make.messages import Message
from tests.docs.pages import ROOT

# Their fix stands in a field: a hint or a sentence made elsewhere.
FIX_IN_A_FIELD = {
    "'…' fills …, not the layer …",
    "scenes … to …: …",
    "http://…:… cannot be served on: ….",
    "…: no survey is left: ….",
}
# Of arrays that a program passes in: no command of ours can make them.
MISTAKES_OF_A_PROGRAM = (
    "inference.data.samples",
    "inference.data.records",
    "inference.evaluation.protocol",
    "inference.evaluation.benchmark",
    "inference.network",
    "inference.training.assembly",
    "inference.training.fit",
    "inference.training.joint",
    "inference.training.objective",
    "inference.training.site_softmax",
)
TO_BE_REPAIRED = {
    "…: cannot be read as a table (…).",
    "…: the truth of the landscape cannot be read (…).",
}


def test_the_page_of_the_configuration_is_that_of_the_code() -> None:
    assert configuration.PAGE.read_text(encoding="utf-8") == configuration.page(), "run `python -m docs.make.configuration`"


def test_each_message_of_the_code_stands_in_the_page() -> None:
    assert messages.PAGE.read_text(encoding="utf-8") == messages.page(), "run `python -m docs.make.messages`"


def test_both_pages_are_in_the_navigation_and_linked_from_the_index() -> None:
    for page in (configuration.PAGE, messages.PAGE):
        name = str(page.relative_to(ROOT / "docs"))
        assert f": {name}\n" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
        assert f"]({name})" in (ROOT / "docs/index.md").read_text(encoding="utf-8")


def test_each_message_names_its_fix() -> None:
    silent = [
        f"{message.module}:{message.line}: {message.text}"
        for message in messages.messages()
        if not message.parts[1]
        and message.text not in FIX_IN_A_FIELD | TO_BE_REPAIRED
        and not message.module.startswith(MISTAKES_OF_A_PROGRAM)
    ]
    assert not silent, "write `what is wrong; what to do`:\n" + "\n".join(silent)


def test_nearly_every_raise_of_our_errors_is_found() -> None:
    """Counted by the text of the source, which knows nothing of how messages are read."""
    sources = [path.read_text(encoding="utf-8") for path in messages._files()]
    raised = sum(
        text.count(f"raise {name}(") for text in sources for name in ("ConfigError", "CubeError", "ModelError", "TableError")
    )
    found = [m for m in messages.messages() if not m.module.startswith("server")]
    assert len(found) > 0.85 * raised > 100, (len(found), raised)


SOURCE = """
FIX: Final = "train again"
def f(path, n):
    what = "a column of numbers" if n else "a column of names"
    raise ModelError(f"{path}: has {n} rows, and needs {what}; {FIX}.")
def g(error):
    message = "is missing; add it"
    raise ConfigError(f"{error}: {message}") from None
def h(error):
    raise ConfigError(str(error))
def k():
    return HTTPException(404, detail="There is no page " + "of that name; see /docs.")
"""


def test_fields_conditions_constants_and_variables_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    file = tmp_path / "cube" / "made.py"
    file.parent.mkdir()
    file.write_text(SOURCE)
    monkeypatch.setattr(messages, "ROOT", tmp_path)
    monkeypatch.setattr(messages, "ROOTS", {"ModelError", "ConfigError", "HTTPException"})
    monkeypatch.setattr(messages, "_files", lambda: [file])
    assert [message.text for message in messages.messages()] == [
        "…: has … rows, and needs a column of names; train again.",
        "…: has … rows, and needs a column of numbers; train again.",
        "…: is missing; add it",
        "There is no page of that name; see /docs.",
    ]
    assert ast.parse(SOURCE)


@pytest.mark.parametrize(
    ("text", "cause", "fix"),
    [
        ("…: is damaged (…); copy it anew.", "is damaged (…)", "copy it anew."),
        ("The body is too large. Send less.", "The body is too large", "Send less."),
        ("train.x is …, expected 1 or more.", "train.x is …", "give 1 or more."),
        ("width must be at least 1.", "width must be at least 1.", messages.AS_SAID),
        ("…: is damaged (…).", "is damaged (…).", ""),
        ("…: region: E … leaves the grid.", "region: E … leaves the grid.", ""),
        ("…: region: is missing; add it.", "region: is missing", "add it."),
        ("…: expected a number; found ….", "expected a number; found ….", messages.AS_SAID),
    ],
)
def test_cause_and_fix(text: str, cause: str, fix: str) -> None:
    assert Message("cube.x", 1, text).parts == (cause, fix)
