"""Garbage collection removes what no release names and no run holds, and nothing that a release names, whatever there is."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import floracube
from cube.check import check, garbage
from cube.check.garbage import collect
from cube.check.publishing import broken_rules, publish
from cube.errors import CubeError, WorkersError
from cube.grid import Region
from cube.pyramids import figures
from cube.pyramids.facts import APPLICABILITY, all_facts, make_facts, measured, read_facts, stored_figures, write_square
from cube.pyramids.squares import tree
from cube.storage import lock, releases
from cube.storage.store import CubeStore, create_cube
from tests.cube.check.damage import measure
from tests.support.good_cube import copy_of
from tests.support.s3 import FaultyS3

REGION = Region(4450, 2650, 4460, 2660, 10)
VERSIONS = ("v1", "v2", "v3")
SOME = st.dictionaries(st.sampled_from(releases.PRODUCTS), st.sampled_from(VERSIONS), min_size=1)


def files(cube: CubeStore) -> dict[str, Any]:
    """Every file of a cube with its content."""
    filesystem, base = cube._files
    return {str(p).split(f"{base}/", 1)[-1]: filesystem.cat_file(p) for p in filesystem.find(base)}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(SOME, max_size=3),
    st.sets(st.tuples(st.sampled_from(releases.PRODUCTS), st.sampled_from(VERSIONS))),
    st.sets(st.sampled_from(VERSIONS)),
    st.sets(st.sampled_from(VERSIONS)),
    st.sets(st.sampled_from(VERSIONS)),
)
def test_what_a_release_names_or_a_run_holds_stays_and_the_rest_goes(
    named: list[dict[str, str]], held: set[tuple[str, str]], ledgers: set[str], running: set[str], dead: set[str]
) -> None:
    cube = create_cube(f"memory://{uuid.uuid4().hex}.zarr", REGION, "t")
    for product, version in held | {pair for release in named for pair in release.items()}:
        for part in ("zarr.json", "0/occurrence/zarr.json", "0/occurrence/c/0/0/0"):
            cube.write_json(f"products/{product}/{version}/{part}", [product, version])
    for version in ledgers:
        cube.write_json(f"ledger/predict/{version}/10kmE445N265.json", {"inputs": "x"})
        cube.write_json(f"ledger/predict/{version}/overviews/20kmE444N264.json", {"inputs": "x"})
    cube.write_json("ledger/inputs/elevation/10kmE445N265.json", {})
    for number, release in enumerate(named):
        cube.write_json(f"releases/r{number}.json", {"name": f"r{number}", "products": release})
    for version in running | dead:
        owner = lock._document()
        cube.write_json(f"locks/predict/{version}.json", owner if version in running else {**owner, "born": "another boot 7"})
    before = files(cube)

    told = collect(cube, dry_run=True)
    assert files(cube) == before
    done = collect(cube)
    after = files(cube)
    assert [one.path for one in told.garbage] == [one.path for one in done.garbage]
    pairs = {pair for release in named for pair in release.items()}

    def stays(path: str) -> bool:
        parts = path.split("/")
        if parts[0] == "products" and len(parts) > 3:
            return (parts[1], parts[2]) in pairs or parts[2] in running
        if parts[:2] == ["ledger", "predict"]:
            return parts[2] in {v for _, v in pairs} or parts[2] in running
        return True

    wanted = {path: content for path, content in before.items() if stays(path) and not path.startswith("locks/")}
    assert {path: content for path, content in after.items() if not path.startswith("locks/")} == wanted
    assert {p for p in before if p.startswith("locks/") and p.split("/")[-1][:2] in running} <= set(after)
    assert done.size == sum(len(before[p]) for p in set(before) - set(wanted) if not p.startswith("locks/"))


def test_a_damaged_release_lets_nothing_be_removed(tmp_path: Path) -> None:
    cube = create_cube(str(tmp_path / "c.zarr"), REGION, "t")
    cube.write_json("products/species/v1/zarr.json", {})
    cube.write_json("releases/a.json", {})
    (tmp_path / "c.zarr/releases/a.json").write_text('{"products": {"spec')
    with pytest.raises(CubeError, match=r"a\.json: this is no whole JSON"):
        collect(cube)
    assert (tmp_path / "c.zarr/products/species/v1/zarr.json").exists()


def test_what_kills_left_goes_and_the_good_cube_stays(good_cube: CubeStore, tmp_path: Path) -> None:
    cube = copy_of(good_cube, tmp_path)
    root = Path(cube.url)
    before = files(cube)
    assert collect(cube).garbage == []
    old, fresh = root / "inputs/50m/.slope.partial", root / "products/species/v1/.x.partial"
    for orphan in (old, fresh):
        orphan.write_bytes(b"12345")
    os.utime(old, (time.time() - 3600,) * 2)
    # A unit that a kill cut off: no receipt, half a shard. Another has a receipt: that is damage, and not garbage.
    half, damaged = root / "inputs/50m/elevation/c/0/1", root / "inputs/50m/footprint/c/0/0/1"
    shutil.copy(half, tmp_path / "whole")
    receipt = next((root / "ledger/inputs/elevation").glob("10kmE481*.json"))
    receipt.unlink()
    assert [one.path for one in collect(cube, dry_run=True).garbage] == ["inputs/50m/.slope.partial"]
    for shard in (half, damaged):
        shard.write_bytes(shard.read_bytes()[:-3])
    with lock.hold(cube, "inputs"):
        assert collect(cube).garbage == []
    done = collect(cube)
    assert {one.path: one.size for one in done.garbage} == {
        "inputs/50m/.slope.partial": 5,
        "inputs/50m/elevation/c/0/1": (tmp_path / "whole").stat().st_size - 3,
    }
    gone = {"inputs/50m/elevation/c/0/1", str(receipt.relative_to(root))}
    changed = {"inputs/50m/footprint/c/0/0/1", "products/species/v1/.x.partial"}
    after = files(cube)
    assert {p: c for p, c in after.items() if p not in changed} == {p: c for p, c in before.items() if p not in changed | gone}


def test_a_release_is_forgotten_unless_readers_may_need_it(good_cube: CubeStore, tmp_path: Path) -> None:
    cube = copy_of(good_cube, tmp_path)
    shutil.copytree(Path(cube.url) / "products/indicators/v1", Path(cube.url) / "products/indicators/v2")
    releases.write_release(cube, "second", {"indicators": "v2"}, {})
    run = CliRunner().invoke(floracube.app, ["gc", cube.url, "--forget", "second", "--dry-run"])
    assert run.exit_code == 0, run.output
    assert "products/indicators/v2" in run.output
    assert "dry run" in run.output
    assert cube.list_json("releases") == ["first", "second"]
    assert collect(cube, keep=("v2",), forget=("second",)).garbage == []
    assert [one.path for one in collect(cube).garbage] == ["products/indicators/v2"]
    with pytest.raises(CubeError, match="'first' is the release which readers follow"):
        collect(cube, forget=("first",))


def with_applicability(cube: CubeStore) -> None:
    """Give the good cube a map of applicability, and facts that count the species where the model applies."""
    root, versions = Path(cube.url), dict.fromkeys(releases.PRODUCTS, "v1")
    for level in (0, 1):
        group = root / f"products/indicators/v1/{level}"
        shutil.copytree(group / "richness", group / APPLICABILITY)
        zarr.consolidate_metadata(cube.root.store, path=f"products/indicators/v1/{level}")
    stored = cube.array(f"products/indicators/v1/0/{APPLICABILITY}")
    stored[..., ::2] = 1  # in every other column it applies
    for product in versions:
        cube.remove_tree(f"products/{product}/v1/facts")
    (root / "ledger/predict/v1").rename(root / "receipts")  # a version that has receipts is given no facts
    make_facts(cube, "predict/v1", versions)
    (root / "receipts").rename(root / "ledger/predict/v1")
    facts, units = all_facts(cube, versions), list(cube.region.units())
    for unit in units:
        measured(cube, facts, unit).write()
    for square in tree(cube.region, units):
        write_square(cube, facts, square)
    measure(cube)


def test_what_is_left_of_a_version_passes_its_check_and_is_published(good_cube: CubeStore, tmp_path: Path) -> None:
    cube = copy_of(good_cube, tmp_path)
    with_applicability(cube)
    counted = read_facts(cube, "species", "v1")
    assert counted is not None
    row = counted.statistics.index(figures.APPLICABLE[0])
    assert stored_figures(cube, counted, next(cube.region.units()))[row].any()
    about = {"region_km": [4803, 2894, 4815, 2900], "reference_area_m2": 100.0}
    for name in ("second", "third"):
        releases.write_release(cube, name, {"species": "v1"}, about)
        releases.publish(cube, name)
    removed = {one.path for one in collect(cube, forget=("first",)).garbage}
    assert removed == {f"products/{product}/v1" for product in releases.PRODUCTS if product != "species"}
    assert broken_rules(check(cube.url, values=True)) == []
    assert publish(cube.url, "second", values=True)[0]
    cube.array("products/species/v1/facts/0")[1, 2, 0, 0] = 7
    assert [one for one in broken_rules(check(cube.url, values=True)) if "figures that differ" in one]


@pytest.mark.slow
def test_garbage_of_a_bucket_is_collected_as_that_of_a_disk(s3: FaultyS3) -> None:
    cube = create_cube(f"{s3.url}/c.zarr", REGION, "t")
    for version in VERSIONS:
        for path in (f"products/species/{version}/0/c/0", f"products/indicators/{version}/0/c/0", f"ledger/predict/{version}/u"):
            cube.write_json(f"{path}.json", {"version": version})
    cube.write_json("releases/a.json", {"name": "a", "products": {"species": "v1", "indicators": "v2"}})
    before = set(files(cube))
    with lock.hold(cube, "predict/v3"):
        done = collect(cube)
    assert [one.path for one in done.garbage] == ["products/indicators/v1", "products/species/v2"]
    assert ["v3" in sentence for sentence in done.in_use] == [True]
    gone = {"products/indicators/v1/0/c/0.json", "products/species/v2/0/c/0.json"}
    assert {p for p in files(cube) if not p.startswith("locks/")} == before - gone


def test_no_build_can_sign_a_shard_that_is_being_removed(
    good_cube: CubeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cube = copy_of(good_cube, tmp_path)
    unit = next(unit for unit in cube.region.units() if unit.name.startswith("10kmE481"))
    cube.remove_json(f"ledger/inputs/elevation/{unit.name}.json")
    shard = Path(cube.url) / "inputs/50m/elevation/c/0/1"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-3])
    refused: list[str] = []
    judged = garbage.is_whole_shard

    def build_meanwhile(file: Path, chunks: int) -> bool:
        verdict = judged(file, chunks)
        if file == shard and not refused:  # judged, and not removed yet
            try:
                with lock.hold(cube, "inputs"):
                    shard.write_bytes(whole)
                    cube.write_json(f"ledger/inputs/elevation/{unit.name}.json", {"inputs": "now", "checksums": {}})
            except WorkersError as error:
                refused.append(str(error))
        return verdict

    monkeypatch.setattr(garbage, "is_whole_shard", build_meanwhile)
    collect(cube)
    assert shard.exists() or cube.read_json(f"ledger/inputs/elevation/{unit.name}.json") is None
    assert len(refused) == 1


def test_no_prediction_loses_what_it_writes_while_its_version_is_walked(
    good_cube: CubeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cube = copy_of(good_cube, tmp_path)
    cut = Path(cube.url) / "products/species/v1/.x.partial"
    cut.write_bytes(b"1")
    os.utime(cut, (time.time() - 3600,) * 2)
    refused: list[str] = []
    real = type(cube).remove_tree

    def predict_meanwhile(self: CubeStore, path: str) -> None:
        with pytest.raises(WorkersError, match="is writing predict/v1 here"), lock.hold(cube, "predict/v1"):
            pass
        refused.append(path)
        real(self, path)

    monkeypatch.setattr(type(cube), "remove_tree", predict_meanwhile)
    collect(cube)
    assert refused == ["products/species/v1/.x.partial"]
