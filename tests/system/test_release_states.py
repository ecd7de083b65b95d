"""Publish, roll back, write releases, collect garbage, build versions and read, in any order: a reader sees one whole release."""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from cube.check import garbage
from cube.errors import CubeError
from cube.grid import Region
from cube.layers import Layer
from cube.reader import Cube, open
from cube.storage import lock, releases
from cube.storage.store import CubeStore, create_cube
from tests.support.s3 import FaultyS3

PRODUCTS = ("species", "indicators")
PARTS = ("table", *PRODUCTS)


def write_part(cube: CubeStore, version: str, part: str) -> None:
    """One of the parts of a version, all of whose values are its number."""
    number = int(version.removeprefix("v"))
    if part == "table":
        releases.ensure_table(cube, "species", version, {"number": np.full(3, number)})
        return
    layer = Layer("value", releases.group_of(part, version), "uint16", 65535, "Number of the version", "1")
    cube.ensure_group(layer.group, [layer])
    cube.array(layer.path)[:] = number


def numbers(cube: Cube) -> dict[str, set[int]]:
    """The numbers that a reader finds in each part of the release that it reads."""
    seen = {product: {int(n) for n in np.unique(cube.product(product)["value"].values)} for product in PRODUCTS}
    return {**seen, "table": {int(n) for n in cube.table("species")["number"]}}


class Releases(RuleBasedStateMachine):
    """A cube and what its readers should see."""

    def __init__(self, url: str, s3: FaultyS3 | None = None) -> None:
        super().__init__()
        self.s3 = s3
        self.cube = create_cube(f"{url}/{uuid.uuid4().hex}.zarr", Region(4450, 2650, 4460, 2660, 10), "t")
        self.number = 0
        self.building: dict[str, tuple[ExitStack, list[str]]] = {}  # by version: its lock, the parts that are missing
        self.releases: dict[str, dict[str, str]] = {}
        self.release: str | None = None
        self.previous: str | None = None
        self.readers: list[tuple[Cube, str]] = []
        for _ in range(2):  # most rules are about something that is there
            version = self._new()
            for part in PARTS:
                write_part(self.cube, version, part)
            self.releases[version] = dict.fromkeys(PRODUCTS, version)
            releases.write_release(self.cube, version, self.releases[version], {})

    def _new(self) -> str:
        self.number += 1
        return f"v{self.number}"

    def teardown(self) -> None:
        for stack, _ in self.building.values():
            stack.close()

    @rule()
    def begin(self) -> None:
        """A run takes the lock of a new version."""
        version, stack = self._new(), ExitStack()
        stack.enter_context(lock.hold(self.cube, f"predict/{version}"))
        self.building[version] = (stack, list(PARTS))

    @precondition(lambda self: self.building)
    @rule(data=st.data())
    def build(self, data: st.DataObject) -> None:
        """A run writes a part of its version; after the last one its release."""
        version = data.draw(st.sampled_from(sorted(self.building)))
        stack, parts = self.building[version]
        write_part(self.cube, version, parts.pop(0))
        if not parts:
            products = dict.fromkeys(PRODUCTS, version)
            releases.write_release(self.cube, version, products, {})
            self.releases[version] = products
            self.building.pop(version)
            stack.close()

    @precondition(lambda self: self.building)
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        """A run ends before its version is whole."""
        self.building.pop(data.draw(st.sampled_from(sorted(self.building))))[0].close()

    @precondition(lambda self: self.releases)
    @rule(data=st.data())
    def combine(self, data: st.DataObject) -> None:
        """A release of versions of others; of a name that is taken only the same one."""
        products = {p: data.draw(st.sampled_from(sorted(r[p] for r in self.releases.values()))) for p in PRODUCTS}
        name = data.draw(st.sampled_from([*sorted(self.releases), self._new()]))
        if name in self.releases and self.releases[name] != products:
            with pytest.raises(CubeError, match="Releases are immutable"):
                releases.write_release(self.cube, name, products, {})
        else:
            releases.write_release(self.cube, name, products, {})
            self.releases[name] = products

    @precondition(lambda self: self.releases)
    @rule(data=st.data())
    def publish(self, data: st.DataObject) -> None:
        """Only what a release names can be followed."""
        name = data.draw(st.sampled_from([*sorted(self.releases), "v0"]))
        if name == "v0":
            with pytest.raises(KeyError):
                releases.publish(self.cube, name)
            return
        releases.publish(self.cube, name)
        if name != self.release:
            self.release, self.previous = name, self.release

    @rule()
    def rollback(self) -> None:
        """Back to the release before, and from there to the one after."""
        if self.previous is None:
            with pytest.raises(CubeError, match="no earlier release"):
                releases.rollback(self.cube)
            return
        assert releases.rollback(self.cube) == self.previous
        self.release, self.previous = self.previous, self.release

    @rule(data=st.data())
    def collect(self, data: st.DataObject) -> None:
        """What no release names goes; of the releases one is given up first, unless readers may need it."""
        name = data.draw(st.sampled_from([None, *sorted(self.releases)]))
        if name is not None and name in (self.release, self.previous):
            with pytest.raises(CubeError, match="publish another first"):
                garbage.collect(self.cube, forget=(name,))
            return
        garbage.collect(self.cube, forget=() if name is None else (name,))
        if name is not None:
            self.releases.pop(name)
            self.readers = [reader for reader in self.readers if reader[1] != name]

    @precondition(lambda self: self.release)
    @rule(data=st.data())
    def open(self, data: st.DataObject) -> None:
        """A reader opens the cube at the release of now, or at any other."""
        name = data.draw(st.sampled_from([None, *sorted(self.releases)]))
        self.readers.append((open(self.cube.url, name), name or str(self.release)))

    @precondition(lambda self: self.readers)
    @rule(data=st.data())
    def refresh(self, data: st.DataObject) -> None:
        """A reader moves on."""
        at = data.draw(st.integers(0, len(self.readers) - 1))
        self.readers[at] = (self.readers[at][0].refresh(), str(self.release))

    @precondition(lambda self: self.s3)
    @rule(kind=st.sampled_from(["status", "lost", "drop"]), path=st.sampled_from(["current", "releases/", "locks/", "value"]))
    def fail(self, kind: Any, path: str) -> None:
        """The store fails once: an error, or a write that is done and whose answer gets lost."""
        assert self.s3 is not None
        self.s3.inject(
            kind, method="PUT" if kind == "lost" else ".*", path=path, times=1, **({"status": 503} if kind == "status" else {})
        )

    @invariant()
    def readers_see_one_whole_release(self) -> None:
        """Those that have just come, and those that came before."""
        fresh = open(self.cube.url)
        assert fresh.release["name"] == self.release
        for reader, name in [*self.readers, *([(fresh, self.release)] if self.release else [])]:
            products = self.releases[name]
            assert reader.release["products"] == products
            expected = {part: {int(version.removeprefix("v"))} for part, version in products.items()}
            assert numbers(reader) == {**expected, "table": expected["species"]}


def rules(examples: int, steps: int) -> settings:
    """A failure is printed as it was found: to make it shorter would take minutes."""
    phases = (Phase.reuse, Phase.generate)
    return settings(max_examples=examples, stateful_step_count=steps, phases=phases, suppress_health_check=list(HealthCheck))


@pytest.mark.slow
def test_on_a_disk_a_reader_sees_one_whole_release_whatever_happens(tmp_path: Path) -> None:
    run_state_machine_as_test(lambda: Releases(str(tmp_path)), settings=rules(25, 30))


@pytest.mark.slow
def test_on_s3_with_faults_a_reader_sees_one_whole_release_whatever_happens(s3: FaultyS3) -> None:
    run_state_machine_as_test(lambda: Releases(s3.url, s3), settings=rules(2, 12))
