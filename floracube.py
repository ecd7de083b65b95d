"""The front door: the command line, one function per command, and `floracube.open(url)`; no logic of its own."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

# Machines are shared: a numeric thread that waits should sleep, not spin. Read when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import typer

from cube import console
from cube.console import ENDS, EXPORT, PREDICT, bar, fail_if, run, say

__version__ = "0.2.0"
__all__ = ["open"]

if TYPE_CHECKING:
    from cube.config import Config
    from cube.reader import Cube


def open(url: str, release: str | None = None) -> Cube:
    """Open the cube at a path or any fsspec URL for reading, at `release` or the one that readers follow now.

    Raises `CubeError` if there is no cube, `UnknownNameError` (a `KeyError`, too) if it has no such release.
    """
    # Imported here: xarray is a second and 60 MB that the server and most commands need not pay.
    from cube import reader

    return reader.open(url, release)


app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Maps of plant species, biodiversity indicators and habitats at 50 m, in one Zarr cube.",
    epilog=ENDS,
)
habitats_app = typer.Typer(no_args_is_help=True, help="Pl@ntBERT: habitats read from species lists.")
app.add_typer(habitats_app, name="habitats")

LOCKED = Annotated[bool, typer.Option("--locked", help="Read the locked third of the blocks, for a published table.")]
CONFIG = Annotated[Path, typer.Argument(help="Configuration (YAML).", metavar="CONFIG")]
CUBE = Annotated[str, typer.Argument(help="Path or URL of a cube, or a configuration that names one.", metavar="CUBE")]
WORKERS = Annotated[int | None, typer.Option(help="Workers of the configured cluster; 1 local one is this process.", min=1)]
SCHEDULER = Annotated[str | None, typer.Option(help="Address of a running dask scheduler, instead.", metavar="ADDRESS")]
HTML = Annotated[Path | None, typer.Option(help="Also write a page: map, thumbnails, histograms.", metavar="FILE")]
JSON = Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")]
HOST = Annotated[str, typer.Option(help="Address to serve on.")]
PORT = Annotated[int, typer.Option(help="Port to serve on.", min=1, max=65535)]


def _read(config: str | Path, habitats_alone: bool = False) -> Config:
    """The configuration, before torch is imported: a mistake in it need not wait for that."""
    from cube.config import load_config

    return load_config(config, habitats_alone)


def _url(cube: str) -> str:
    """The path or URL of a cube, where a configuration is given of the one that it names."""
    return _read(cube).cube_url if cube.endswith((".yaml", ".yml")) else cube


def _make_demo(out: Path, size_km: int, species: int, seed: int) -> Path:
    """Make a landscape in the folder `out`, its cube, models and maps; returns its configuration."""
    from demo import journey
    from demo.landscape import LandscapeSpec

    spec = LandscapeSpec(size_km=size_km, n_species=species, seed=seed)
    return journey.run_steps(out, spec, (build, train, predict), say)


@app.command(epilog="Example: `floracube demo --out demo-out --size-km 10 --no-serve`")
def demo(
    out: Annotated[Path, typer.Option(help="Folder for sources, cube and models.")] = Path("demo-out"),
    size_km: Annotated[int, typer.Option(help="Side of the landscape in km.", min=4)] = 20,
    species: Annotated[int, typer.Option(help="Number of species.", min=10)] = 100,
    seed: Annotated[int, typer.Option(help="Seed of the landscape.")] = 20,
    port: PORT = 8000,
    host: HOST = "127.0.0.1",
    serve: Annotated[bool, typer.Option("--serve/--no-serve", help="Serve the map at the end.")] = True,
) -> None:
    """Make a landscape, build its cube, train, predict and serve it: the whole story in minutes."""
    config = _make_demo(out, size_km, species, seed)
    hint = f"Compare its skill with a forest's and with the truth: floracube evaluate {config}"
    say.print(f"The cube is {out / 'cube.zarr'}, its configuration {config}.\n{hint}", highlight=False)
    if serve:
        _serve([str(out / "cube.zarr")], host, port, 1, [f"districts={out / 'regions.geojson'}"])


@app.command("try", epilog="Example: `floracube try --port 8000`")
def try_demo(
    url: Annotated[
        str | None, typer.Option(help="Zip archive of a finished cube to download instead.", envvar="FLORACUBE_TRY_URL")
    ] = None,
    port: PORT = 8000,
    host: HOST = "127.0.0.1",
    serve: Annotated[bool, typer.Option("--serve/--no-serve", help="Serve the map at the end.")] = True,
) -> None:
    """Serve a finished small cube: the demo of 10 km, downloaded or made once, then cached."""
    from demo import ready_cube

    make = partial(_make_demo, size_km=ready_cube.SIZE_KM, species=100, seed=20)
    folder = ready_cube.cached_demo(ready_cube.cache_folder(__version__), url, make, partial(say.print, highlight=False))
    say.print(f"The cube is {folder / ready_cube.CUBE}.", highlight=False)
    if serve:
        _serve([str(folder / ready_cube.CUBE)], host, port, 1, [f"districts={folder / ready_cube.REGIONS}"])


@app.command(epilog="Example: `floracube inspect examples/moravia.yaml --html inputs.html`")
def inspect(config: CONFIG, html: HTML = None, as_json: JSON = False) -> None:
    """Show what is understood of the sources and tables of CONFIG; nothing is written. Exit code 2 where a build would refuse."""
    from cube.engine.inspect_config import inspect_config

    console.print_understood(inspect_config(_read(config)), html, as_json)


@app.command(epilog="Example: `floracube build examples/moravia.yaml`")
def build(
    config: CONFIG,
    workers: WORKERS = None,
    scheduler: SCHEDULER = None,
    retries: Annotated[int, typer.Option(help="Tries after the first, for errors that pass by themselves.", min=0)] = 4,
    plan: Annotated[bool, typer.Option("--plan", help="Say what it will take, what is missing and what is built.")] = False,
    land: Annotated[float, typer.Option(help="With --plan: the share of units that are not all sea.", min=0, max=1)] = 1.0,
    as_json: JSON = False,
) -> None:
    """Harmonise the sources of CONFIG into the inputs of its cube; run again, it resumes."""
    from cube.engine.build import build as build_inputs
    from cube.engine.cluster import with_flags
    from cube.engine.workers import Workers

    config_ = _read(config)
    if plan:
        from cube.engine import plan as planning

        return console.print_plan(planning.plan(config_, land), *planning.problems(config_), as_json)
    if config_.missing_terms():
        say.print(config_.missing_terms(), style="yellow", highlight=False, markup=False)
    with bar("build") as progress:
        failures = build_inputs(
            config_, progress, Workers(retries=retries, cluster=with_flags(config_.cluster, workers, scheduler))
        )
    console.print_built(config_.report_path / "build.json", config_.cube_url, failures, as_json)
    fail_if(failures, f"Fix the sources and run `floracube build {config}` again.")
    say.print(f"Inputs are complete in {config_.cube_url}.", highlight=False)


@app.command(epilog="Example: `floracube train examples/moravia.yaml`")
def train(config: CONFIG, as_json: JSON = False) -> None:
    """Train the deep-SDM on surveys, and Pl@ntBERT where CONFIG names vegetation plots."""
    config_ = _read(config)
    from inference.training.learn import learn

    with bar("train") as progress:
        result = learn(config_, progress)
    console.print_result(result, as_json, f"Models are in {config_.model_path}.")


@habitats_app.command("train", epilog="Example: `floracube habitats train examples/moravia.yaml`")
def habitats_train(config: CONFIG, as_json: JSON = False) -> None:
    """Train the reader of habitats alone on the vegetation plots of CONFIG, beside naive Bayes and logistic regression."""
    config_ = _read(config, habitats_alone=True)
    from inference.training.learn import learn_habitats

    with bar("habitats") as progress:
        result = learn_habitats(config_, progress)
    console.print_result(result, as_json, f"The model is in {config_.model_path / 'habitats'}.")


@app.command(epilog="Example: `floracube evaluate examples/moravia.yaml --json`")
def evaluate(config: CONFIG, locked: LOCKED = False, as_json: JSON = False) -> None:
    """Compare the skill that `train` has printed with peers on the same folds; our network is not trained again."""
    config_ = _read(config)
    from inference.evaluation.assess import assess

    with bar("evaluate") as progress:
        result = assess(config_, progress, locked)
    print(json.dumps(result.document(), indent=1) if as_json else result.text())


@app.command(epilog=PREDICT)
def predict(
    config: CONFIG,
    workers: WORKERS = None,
    scheduler: SCHEDULER = None,
    version: Annotated[str | None, typer.Option(help="Version and release to write; default: the next vN.")] = None,
    products: Annotated[str | None, typer.Option(help="Some alone, beside the others of the release.", metavar="A,B")] = None,
    publish: Annotated[bool, typer.Option("--publish/--no-publish", help="Let readers follow the release.")] = True,
    plan: Annotated[bool, typer.Option("--plan", help="Say what it will take; nothing is written.")] = False,
    as_json: JSON = False,
) -> None:
    """Predict species, indicators and habitats of every unit; killed and run again, it resumes."""
    config_, only = _read(config), products.split(",") if products else None
    from cube.check.receipts import warning_of
    from inference.cascade.predict import predict as predict_units

    if plan:
        from inference.cascade.plan import plan as plan_prediction

        return console.print_plan(plan_prediction(config_, version, only), [], [], as_json)
    with bar("predict") as progress:
        outcome = predict_units(
            config_, workers, scheduler, version, publish, progress, only, partial(say.print, highlight=False)
        )
    if as_json:
        print(json.dumps(asdict(outcome), indent=1, default=str))
    say.print(f"Report: {outcome.report}", highlight=False)
    fail_if(outcome.failures, f"Run `floracube predict {config}` again when the cause is fixed.")
    if warning := warning_of(outcome.clipped_shares):
        say.print(warning, style="yellow", highlight=False)
    say.print(f"Release {outcome.release}: {outcome.units} units, {outcome.cells:,} cells now.", highlight=False)


@app.command(epilog="Example: `floracube publish demo-out/cube.zarr v2` or `--rollback`")
def publish(
    cube: CUBE,
    release: Annotated[str | None, typer.Argument(help="Release to follow.")] = None,
    rollback: Annotated[bool, typer.Option("--rollback", help="Go back to the release before.")] = False,
    values: Annotated[bool, typer.Option("--values", help="Read all values first, as `check --values` does.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Check what has not changed since the last publication too.")] = False,
    as_json: JSON = False,
) -> None:
    """Let readers follow a release of CUBE if it keeps the rules; exit code 1, and nothing changed, if one is broken."""
    from cube.check import publishing
    from cube.errors import CubeError
    from cube.storage import releases
    from cube.storage.store import open_cube

    if (release is None) == (not rollback):
        raise CubeError("publish: give either the name of a release or --rollback.")
    cube, is_current, broken_rules = _url(cube), True, list[str]()
    if release is None:
        release = releases.rollback(open_cube(cube, writable=True))
    else:
        is_current, document = publishing.publish(cube, release, values, everything)
        broken_rules = publishing.broken_rules(document)
    console.print_published(cube, release, is_current, broken_rules, as_json)


@app.command(epilog="Example: `floracube gc demo-out/cube.zarr --dry-run`")
def gc(
    cube: CUBE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell, and remove nothing.")] = False,
    keep: Annotated[list[str] | None, typer.Option(help="A version to keep though no release names it; may repeat.")] = None,
    forget: Annotated[list[str] | None, typer.Option(help="First remove this release; may repeat.")] = None,
    as_json: JSON = False,
) -> None:
    """Remove versions and receipts of CUBE that no release names and no run holds, and what kills left."""
    from cube.check import garbage
    from cube.storage.store import open_cube

    collection = garbage.collect(open_cube(_url(cube), writable=True), dry_run, tuple(keep or ()), tuple(forget or ()))
    summary = collection.text() + ("\nA dry run: nothing was removed." if dry_run else "")
    print(json.dumps({"dry_run": dry_run, **asdict(collection)}, indent=1) if as_json else summary)


@app.command(epilog="Example: `floracube info demo-out/cube.zarr --json`")
def info(cube: CUBE, as_json: JSON = False) -> None:
    """What is in CUBE: region, inputs and their units, products, releases."""
    from cube.check.info import describe, text

    document = describe(_url(cube))
    print(json.dumps(document, indent=1) if as_json else text(document))


@app.command(epilog="Example: `floracube check demo-out/cube.zarr --values`")
def check(
    cube: CUBE,
    values: Annotated[bool, typer.Option("--values", help="Read all values too: checksums, pyramids, rankings.")] = False,
    as_json: JSON = False,
) -> None:
    """Verify every rule of the data model on CUBE; exit code 1 if one is broken."""
    from cube.check import check as verify
    from cube.check import text

    document = verify(_url(cube), values)
    print(json.dumps(document, indent=1) if as_json else text(document))
    if not document["kept"]:
        raise typer.Exit(1)


@app.command(epilog=EXPORT)
def export(
    cube: CUBE,
    layer: Annotated[
        str, typer.Argument(help="An id or a name: `inputs.slope`, `Fagus sylvatica`; `species` is all of them.", metavar="LAYER")
    ],
    out: Annotated[Path, typer.Argument(help="GeoTIFF to write.", metavar="OUT.tif")],
    level: Annotated[int, typer.Option(help="Pyramid level: 0 is the finest, each other half as fine.", min=0)] = 0,
    bbox: Annotated[str | None, typer.Option(help="A window in degrees.", metavar="W,S,E,N")] = None,
    as_json: JSON = False,
) -> None:
    """Write a layer of CUBE, cut to its region, as a Cloud Optimized GeoTIFF; without a band named, all of its bands."""
    from cube.export.cog import as_text, parse_bbox
    from cube.export.cog import export as write

    document = write(_url(cube), layer, out, level, parse_bbox(bbox))
    print(json.dumps(document, indent=1) if as_json else as_text(document))


@app.command(epilog="Example: `floracube serve demo-out/cube.zarr --port 8000`")
def serve(
    cubes: Annotated[list[str], typer.Argument(help="Cubes, or configurations that name one.", metavar="CUBE...")],
    host: HOST = "127.0.0.1",
    port: PORT = 8000,
    workers: Annotated[int, typer.Option(help="Server processes.", min=1)] = 1,
    regions: Annotated[list[str] | None, typer.Option(help="GeoJSON of named regions, FILE or KIND=FILE; may repeat.")] = None,
) -> None:
    """Serve map tiles, queries, reports of areas and the map page of CUBE."""
    _serve([_url(cube) for cube in cubes], host, port, workers, regions or [])


def _serve(urls: list[str], host: str, port: int, workers: int, regions: list[str]) -> None:
    from server import start

    start.prepare(urls, host, port, regions)
    say.print(f"The map is at http://{host}:{port}/ (Ctrl-C ends).", highlight=False)
    start.serve(host, port, workers)


def _version(show: bool) -> None:
    if show:
        print(f"floracube {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line: exit code 0 done, 1 some units failed, 2 a mistake that the user can fix, 130 interrupted."""
    run(app)


if __name__ == "__main__":
    main()
