"""First-run manners of every command: help with examples that are valid, errors of one sentence, JSON, completion, exit codes."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer

import floracube
from benchmarks.ports import free_port
from cube import console
from cube.errors import CubeError
from cube.storage.store import CubeStore
from docs.make.commands import commands
from tests.support.good_cube import copy_of

ROOT = Path(__file__).parents[2]
TRUNK = typer.main.get_command(floracube.app)


COMMANDS = {tuple(path.split()[1:]): command for path, command in commands()}  # words after `floracube`
WITHOUT_RESULTS = {("demo",), ("serve",), ("try",)}
EXAMPLES = [
    (words, line) for words, command in COMMANDS.items() for line in re.findall(r"`(floracube [^`]+)`", command.epilog or "")
]


class Said:
    """How a command ended and what it said."""

    def __init__(self, code: object, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run `floracube ARGUMENTS` in this process, through the very entry point that is installed."""

    def run(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["floracube", *arguments])
        try:
            floracube.main()
            code: object = 0
        except SystemExit as end:
            code = end.code
        return Said(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def cube(good_cube: CubeStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(copy_of(good_cube, tmp_path_factory.mktemp("manners")).url)


def test_the_help_of_all_names_every_command_and_the_exit_codes(say: Any) -> None:
    told = say("--help")
    assert (told.code, told.err) == (0, "")
    for name in TRUNK.commands:  # type: ignore[attr-defined]
        assert re.search(rf"\b{name}\b", told.out), name
    for code in ("0 done", "1 done but", "2 a", "130 interrupted"):
        assert code in " ".join(told.out.replace("│", " ").split()), code


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_help_of_a_command_says_what_every_word_means(say: Any, words: tuple[str, ...]) -> None:
    command = COMMANDS[words]
    told = say(*words, "--help")
    assert (told.code, told.err) == (0, "")
    assert command.help
    for part in command.params:
        assert part.name == "help" or part.help, part.name
        assert part.param_type_name == "argument" or max(part.opts, key=len) in told.out, part.name
    assert any(own == words for own, _ in EXAMPLES), "no example"
    assert " ".join(words) in told.out


@pytest.mark.parametrize(("words", "line"), EXAMPLES, ids=[line for _, line in EXAMPLES])
def test_every_example_of_a_help_is_a_valid_call_of_that_command(words: tuple[str, ...], line: str) -> None:
    said = shlex.split(line)
    assert tuple(said[1 : 1 + len(words)]) == words
    COMMANDS[words].make_context(" ".join(words), said[1 + len(words) :])  # parses and checks, runs nothing


def test_whatever_prints_results_prints_them_as_json_too() -> None:
    without = {words for words, command in COMMANDS.items() if not any("--json" in part.opts for part in command.params)}
    assert without == WITHOUT_RESULTS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (["info", "CUBE"], {"region_km", "inputs", "products", "current"}),
        (["check", "CUBE"], {"kept", "promises"}),
        (["gc", "CUBE", "--dry-run"], {"dry_run", "garbage", "in_use"}),
        (["publish", "CUBE", "first"], {"cube", "release", "followed", "broken"}),
        (["export", "CUBE", "inputs.slope", "OUT/slope.tif"], {"file", "bands", "style"}),
        (["build", "examples/europe.yaml", "--plan"], {"units"}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_json_is_all_that_standard_output_holds(
    say: Any, cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], keys: set[str]
) -> None:
    monkeypatch.chdir(ROOT)
    told = say(*(a.replace("CUBE", str(cube)).replace("OUT", str(tmp_path)) for a in arguments), "--json")
    assert told.code == 0, told.err
    assert keys <= set(json.loads(told.out))


def named(cube: object) -> str:
    """A configuration that names a cube."""
    return f"{{title: t, cube: {cube}, region: {{bbox: [8, 47, 9, 48]}}, unit_km: 10, sources: []}}"


OF_A_CUBE = [words for words, command in COMMANDS.items() if any(part.name == "cube" for part in command.params)]


@pytest.mark.parametrize("words", OF_A_CUBE, ids=" ".join)
def test_a_configuration_stands_for_the_cube_that_it_names(say: Any, cube: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    slope = str(tmp_path / "slope.tif")
    rest = {"publish": ["first"], "gc": ["--dry-run"], "export": ["inputs.slope", slope]}.get(words[0], [])
    (tmp_path / "c.yaml").write_text(named(cube))
    direct, by_name = (say(*words, str(place), *rest, "--json") for place in (cube, tmp_path / "c.yaml"))
    assert (direct.code, by_name.code) == (0, 0), by_name.err
    assert json.loads(by_name.out) == json.loads(direct.out)


WRONG: list[tuple[list[str], str]] = [
    (["build", "nothing.yaml"], r"nothing.yaml: there is no such configuration file; check the path"),
    (["train", "folder"], r"folder: is a folder; name a configuration file, in it are here.yaml"),
    (["evaluate", "text.yaml"], r"text.yaml: expected keys such as title, cube, region, sources; found a line of text"),
    (["predict", "empty.yaml"], r"empty.yaml: expected keys .* found nothing"),
    (["habitats", "train", "broken.yaml"], r"broken.yaml: line 1 is not YAML"),
    (["build", "typo.yaml"], r"typo.yaml: regoin: is not a key that is known here; .*did you mean region\?"),
    (["info", "nothing.zarr"], r"nothing.zarr: there is no cube here"),
    (["info", "empty"], r"empty: there is no cube here"),
    (["check", "text.txt"], r"text.txt: is a file; a cube is a folder"),
    (["gc", "text.txt"], r"text.txt: is a file; a cube is a folder"),
    (["publish", "text.txt", "r1"], r"text.txt: is a file; a cube is a folder"),
    (["gc", "text.yaml"], r"text.yaml: expected keys such as title, cube, region, sources; found a line of text"),
    (["publish", "CUBE"], r"publish: give either the name of a release or --rollback"),
    (["publish", "CUBE", "v9"], r"Unknown release 'v9'\. Choose one of: first"),
    (["export", "CUBE", "slop", "o.tif"], r"there is no layer 'slop'; did you mean inputs.slope\?"),
    (["export", "CUBE", "species.nobody", "o.tif"], r"there is no species 'nobody'; there are species\.fagus_sylvatica, "),
    (["export", "CUBE", "inputs.slope", "text.yaml/o.tif"], r"o.tif: cannot be written .* check the folder, its permissions"),
    (["export", "CUBE", "inputs.slope", "o.tif", "--bbox", "1,2"], r"--bbox is '1,2'; write four numbers in degrees, W,S,E,N"),
    (["serve", "empty"], r"empty: there is no cube here"),
    (["serve", "unbuilt.yaml"], r"unbuilt.zarr: there is no cube here; run `floracube build` first"),
    (["serve", "CUBE", "--port", "BUSY"], r"cannot be served on: the port is taken; choose another with --port"),
    (["serve", "CUBE", "--host", "192.0.2.1"], r"this machine has no such address; choose another with --host"),
    (["demo", "--out", "text.yaml", "--no-serve"], r"text.yaml: .* choose another --out"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG, ids=[" ".join(a) for a, _ in WRONG])
def test_a_mistake_is_one_sentence_on_standard_error_and_exit_code_2(
    say: Any, cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    good = (ROOT / "examples/europe.yaml").read_text()
    texts = {
        "text.yaml": "hello",
        "text.txt": "hello",
        "empty.yaml": "",
        "broken.yaml": "a: [1",
        "folder/here.yaml": "",
        "unbuilt.yaml": named("unbuilt.zarr"),
        "typo.yaml": re.sub(r"(?m)^region:", "regoin:", good),
    }
    for name, text in texts.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    monkeypatch.setenv("FLORACUBE_DATA", str(tmp_path))
    Path("empty").mkdir()
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = str(busy.getsockname()[1])
        told = say(*(a.replace("CUBE", str(cube)).replace("BUSY", port) for a in arguments))
    assert told.code == 2
    assert told.out == ""
    assert told.err.count("\n") == 1, told.err
    assert told.err.startswith("floracube: ")
    assert re.search(words, told.err), told.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["buidl"], "No such command 'buidl'"),
        (["build"], "Missing argument 'CONFIG'"),
        (["predict", "c.yaml", "--workers", "0"], "--workers"),
        (["predict", "c.yaml", "--wrkers", "2"], "No such option: --wrkers"),
        (["serve", "c.zarr", "--port", "99999"], "--port"),
        (["export", "c.zarr", "inputs.slope", "o.tif", "--level", "-1"], "--level"),
        (["demo", "--size-km", "2"], "--size-km"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_word_or_number_is_told_before_anything_runs(say: Any, arguments: list[str], words: str) -> None:
    told = say(*arguments)
    assert (told.code, told.out) == (2, "")
    assert words in told.err
    assert "--help" in told.err


def test_an_extra_that_is_missing_is_named_with_the_command_that_installs_it(say: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'uvicorn'", name="uvicorn")

    monkeypatch.setattr("cube.check.info.describe", gone)
    told = say("info", "anything")
    assert told.code == 2
    assert told.err == "floracube: 'uvicorn' is not installed; run `pip install 'floracube[server]'`.\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_completes_commands_and_options(shell: str) -> None:
    def completed(typed: str) -> str:
        asked = {
            "_FLORACUBE_COMPLETE": f"complete_{shell}",
            "COMP_WORDS": typed,
            "COMP_CWORD": str(typed.count(" ")),
            "_TYPER_COMPLETE_ARGS": typed,
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        }
        command = [sys.executable, "-c", "import floracube; floracube.app(prog_name='floracube')"]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, **asked}, timeout=120
        ).stdout

    assert "evaluate" in completed("floracube ev")
    assert "--rollback" in completed("floracube publish --ro")


def test_lines_of_progress_have_units_and_a_time_left_of_their_own_stage(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(console.time, "monotonic", lambda: float(next(clock)))
    with console.bar("train") as move:
        for done in range(5):
            move(done, 4, "sampling")
        for done in range(0, 201, 50):
            move(done, 200, "loss 0.2")
    lines = capsys.readouterr().err.splitlines()
    assert lines[:3] == [
        "train: 0/4 steps, sampling",
        "train: 1/4 steps, sampling, 0:00:30 left",
        "train: 2/4 steps, sampling, 0:00:20 left",
    ]
    # 50 steps in the first ten seconds of the second stage, however long the first one took.
    assert lines[5:7] == ["train: 0/200 steps, loss 0.2", "train: 50/200 steps, loss 0.2, 0:00:30 left"]
    assert lines[-1] == "train: 200/200 steps, loss 0.2"


def test_figures_are_read_and_not_dumped(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_metrics({"surveys": 3000.0, "auc": 0.8976336808, "habitats": {"plots": 2500, "loss": 1.78289}})
    assert capsys.readouterr().err.splitlines() == [
        "  surveys: 3,000",
        "  auc: 0.8976",
        "  habitats: plots: 2,500",
        "  habitats: loss: 1.783",
    ]


def hears_interrupts() -> None:
    """What a shell runs in the background ignores SIGINT, and so does all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
@pytest.mark.parametrize("long", [["demo", "--no-serve", "--size-km", "10", "--out"], ["export", "CUBE", "inputs.slope"]])
def test_an_interrupt_is_exit_code_130_and_no_traceback(cube: Path, tmp_path: Path, long: list[str]) -> None:
    # The export of so small a cube is over before anybody could interrupt it.
    code = """
import time, floracube, cube.export.cog
cube.export.cog.export = lambda *a: (print("on", flush=True), time.sleep(60))
floracube.main()"""
    arguments = [*(a.replace("CUBE", str(cube)) for a in long), str(tmp_path / "out")]
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hears_interrupts,
    ) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        first = (run.stdout if long[0] == "export" else run.stderr).readline()
        assert first
        run.send_signal(signal.SIGINT)
        rest = run.stderr.read()
        assert run.wait(60) == 130, rest
    assert "Traceback" not in rest
    assert "Interrupted; run the same command again to resume." in rest


@pytest.mark.slow
def test_a_server_ends_by_ctrl_c_without_a_word(cube: Path) -> None:
    port = free_port()
    command = [sys.executable, str(ROOT / "floracube.py"), "serve", str(cube), "--port", str(port)]
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=hears_interrupts
    ) as run:
        assert run.stderr is not None
        assert run.stderr.readline() == f"The map is at http://127.0.0.1:{port}/ (Ctrl-C ends).\n"
        end = time.monotonic() + 120
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=60)
        assert (run.returncode, out, err) == (0, "", "")


def test_an_error_of_ours_is_never_a_traceback(say: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(url: str) -> None:
        raise CubeError(f"{url}: is [red]damaged[/]; fix it.")

    monkeypatch.setattr("cube.check.info.describe", broken)
    told = say("info", "c.zarr")
    assert (told.code, told.out, told.err) == (2, "", "floracube: c.zarr: is [red]damaged[/]; fix it.\n")
