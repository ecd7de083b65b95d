"""The plots that the benchmark of habitats scores are those that its tables name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.habitats_skill import denmark_plots


def test_danish_types_are_those_of_fifty_plots_and_more_without_covers(real_data: Path) -> None:
    plots, x, y = denmark_plots(real_data)
    labelled = plots.label >= 0
    assert (int(labelled.sum()), len(plots.habitats)) == (31_616, 32)  # as counted by others, see the data's own index
    assert np.bincount(plots.label[labelled]).min() >= 50
    assert "91D0" in plots.habitats
    assert "9998" not in plots.habitats
    assert plots.cover is None
    assert 430_000 < x.min() < x.max() < 620_000  # western Denmark, UTM 32
    assert 6_000_000 < y.min() < y.max() < 6_450_000
