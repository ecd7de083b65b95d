"""The demo's first step: a landscape's sources on disk and the configuration that the other commands then read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import yaml
from rich.console import Console

from cube.errors import ConfigError
from cube.yaml_tables import yaml_table
from demo.landscape import LandscapeSpec, make_landscape
from demo.regions import write_regions
from demo.sources import write_sources, write_truth

TITLES: Final = ("sources -> inputs", "surveys and plots -> models", "inputs -> species, indicators, habitats")


def run_steps(out: Path, spec: LandscapeSpec, steps: Iterable[Callable[[Path], None]], terminal: Console) -> Path:
    """Write the landscape and its configuration into `out` and build, train and predict by the latter; returns its path."""
    config = prepare(out, spec, lambda text: terminal.print(f"landscape: {text}", highlight=False))
    for step, title in zip(steps, TITLES, strict=True):
        terminal.rule(f"[bold]{step.__name__}[/]: {title}")
        step(config)
    return config


def prepare(out: Path, spec: LandscapeSpec, say: Callable[[str], None]) -> Path:
    """Write `out`/sources, `out`/truth and `out`/config.yaml; returns the path of the configuration.

    A landscape of the same sizes and seed that is there already is left as it is. Raises `ConfigError` for a place that
    cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{out}: the demo cannot be written there ({error.strerror}); choose another --out.") from None
    marker, fields = out / "landscape.json", asdict(spec)
    config = out / "config.yaml"
    if marker.is_file() and json.loads(marker.read_text(encoding="utf-8")) == fields:
        say("is there already")
    else:
        marker.unlink(missing_ok=True)
        say(f"{spec.size_km} x {spec.size_km} km, {spec.n_species} species, seed {spec.seed}")
        landscape = make_landscape(spec)
        write_sources(landscape, out, say)
        write_truth(landscape, out / "truth")
        write_regions(landscape.domain, out)
        marker.write_text(json.dumps(fields) + "\n", encoding="utf-8")
    config.write_text(yaml.safe_dump(configuration(spec), sort_keys=False, allow_unicode=True), encoding="utf-8")
    return config


def configuration(spec: LandscapeSpec) -> dict[str, Any]:
    """The configuration of a landscape: `demo.yaml` with its region."""
    document: dict[str, Any] = yaml_table(__file__, "demo.yaml")
    document["region"] = {
        "west_km": spec.west_km,
        "south_km": spec.south_km,
        "east_km": spec.west_km + spec.size_km,
        "north_km": spec.south_km + spec.size_km,
    }
    return document
