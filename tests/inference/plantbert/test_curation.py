"""Curation of vegetation plots: order, counts and clear sentences for bad tables."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cube.errors import TableError
from cube.records.tables import read_table
from inference.plantbert.curation import Columns, make_plots
from inference.plantbert.plots import Plots
from inference.plantbert.text import binomial, sentence
from inference.plantbert.vocabulary import make_tokenizer, species_tokens, write_tokens
from tests.support.eunis import eunis_scheme

COLUMNS = Columns("plot", "species", "cover", "habitat")


def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    plots = pd.DataFrame({"plot": [1, 2, 3, 4, 5], "habitat": ["A", "A", "~", None, "B"]})
    rows = [
        (1, "Poa annua", 5),
        (1, "Fagus sylvatica", 30),
        (1, "Fagus sylvatica_6", 20),
        (1, "Carex sp.", 1),
        (2, "Poa annua agg.", 5),
        (2, "Fagus sylvatica", 5),
        (2, "Abies alba", 50),
        (3, "Poa annua", 1),
        (3, "Fagus sylvatica", -1),
        (3, "Lilium martagon", 1),
        (4, "Fagus sylvatica", 2),
        (5, "Poa annua", 0),
        (9, "Poa annua", 3),
    ]
    return plots, pd.DataFrame(rows, columns=["plot", "species", "cover"])


def test_curation_orders_by_summed_cover_and_counts_what_it_drops() -> None:
    made, report = make_plots(*tables(), COLUMNS, min_records=2, min_plots=2)
    assert made.species == ("fagus sylvatica", "poa annua")
    assert made.habitats == ("A",)
    assert [made.sentence(i) for i in range(len(made))] == [
        "fagus sylvatica, poa annua",
        "[UNK], fagus sylvatica, poa annua",
        "[UNK], poa annua",
        "fagus sylvatica",
    ]
    assert made.sentence(0) == sentence({"poa annua": 5, "fagus sylvatica": 50})
    assert made.label.tolist() == [0, 0, -1, -1]
    assert made.presence().tolist() == [[1, 1], [1, 1], [0, 1], [1, 0]]
    assert report["duplicates_summed"] == 1
    assert report["records_without_cover"] == 2
    assert report["records_of_no_plot"] == 1
    assert report["records_without_binomial"] == 1
    assert report["names_without_binomial"] == ["Carex sp."]
    assert report["species_too_rare"] == 2
    assert report["records_of_unknown_species"] == 2
    assert report["plots_without_species"] == 1
    assert report["plots_unlabelled"] == 2


def test_rare_habitats_become_unlabelled_and_are_counted() -> None:
    plots, covers = tables()
    covers.loc[covers["plot"] == 5, "cover"] = 3.0
    made, report = make_plots(plots, covers, COLUMNS, min_records=1, min_plots=2)
    assert report["habitats_too_rare"] == {"B": 1}
    assert made.label.tolist() == [0, 0, -1, -1, -1]


@pytest.mark.parametrize("column", ["plot", "species", "cover"])
def test_missing_column_names_file_and_column(tmp_path: Path, column: str) -> None:
    plots, covers = tables()
    plots.to_csv(tmp_path / "plots.csv", index=False)
    covers.drop(columns=column).to_csv(tmp_path / "covers.csv", index=False)
    with pytest.raises(TableError, match=rf"covers\.csv: column '{column}' is missing"):
        make_plots(plots, read_table(str(tmp_path / "covers.csv")), COLUMNS, names=("plots.csv", "covers.csv"))


def test_missing_file_repeated_plot_and_empty_result_are_told(tmp_path: Path) -> None:
    plots, covers = tables()
    with pytest.raises(TableError, match=r"none\.csv: there is no such table"):
        read_table(str(tmp_path / "none.csv"))
    with pytest.raises(TableError, match="must be unique"):
        make_plots(pd.concat([plots, plots]), covers, COLUMNS)
    with pytest.raises(TableError, match=r"no species has 99 records .*; check column 'plot' in both, or give more plots"):
        make_plots(plots, covers, COLUMNS, min_records=99)


def test_latin1_and_bom_are_read(tmp_path: Path) -> None:
    plots, covers = tables()
    covers.loc[0, "species"] = "Isoëtes lacustris"
    plots.to_csv(tmp_path / "plots.csv", index=False, encoding="utf-8-sig")
    covers.to_csv(tmp_path / "covers.csv", index=False, encoding="latin-1")
    read = [read_table(str(tmp_path / name)) for name in ("plots.csv", "covers.csv")]
    made, _ = make_plots(*read, COLUMNS, min_records=1, min_plots=1)
    assert "isoetes lacustris" in made.species


def test_the_eunis_plots_are_read_and_written_as_tokens_with_their_labels(real_data: Path) -> None:
    given = pd.read_csv(real_data / "czechia" / "eunis_labelled_plots.csv", dtype={"PlotObservationID": str})
    covers = pd.read_csv(real_data / "czechia" / "plot_species.csv", dtype={"PlotObservationID": str})
    covers = covers[covers["PlotObservationID"].isin(given["PlotObservationID"])]
    columns = Columns("PlotObservationID", "species_name", "cover_perc", "eunis")
    plots, report = make_plots(given, covers, columns, min_records=1, min_plots=1)
    assert len(plots) == 61
    assert report["plots_unlabelled"] == 0
    assert [plots.habitats[i] for i in plots.label] == given["eunis"].tolist()
    assert eunis_scheme(plots.habitats).codes() == plots.habitats
    tokenizer = make_tokenizer(plots.species)
    rows = write_tokens(plots.order, plots.size, species_tokens(tokenizer, plots.species), tokenizer)
    listed = given["species_by_cover"].str.split(", ")
    for i, names in enumerate(listed):
        wanted = [binomial(name) for name in names]
        assert sorted(plots.sentence(i).split(", ")) == sorted({name for name in wanted if name})
        np.testing.assert_array_equal(rows[i][rows[i] != tokenizer.pad_token_id], tokenizer(plots.sentence(i))["input_ids"])
    # The published order descends by cover as ours does: the first species of every list is one of the largest cover.
    largest = covers.groupby("PlotObservationID")["cover_perc"].max()
    cover = covers.assign(name=covers["species_name"].map(binomial)).groupby(["PlotObservationID", "name"])["cover_perc"].sum()
    for plot, row in zip(plots.plot_id, range(61), strict=True):
        assert cover[str(plot), plots.sentence(row).split(", ")[0]] >= largest[str(plot)]


def test_incomplete_plots_are_those_that_lost_a_quarter_or_their_dominant_species() -> None:
    order = np.array([[0, 1, 2, 3], [-1, 0, 1, 2], [0, -1, 1, 2], [0, -1, -1, 1], [0, -1, -1, -1]], np.int32)
    size = np.array([4, 4, 4, 4, 1], np.int32)
    plots = Plots(np.array(list("abcde")), order, size, np.zeros(5, np.int32), tuple("pqrs"), ("H",))
    assert plots.complete().tolist() == [True, False, True, False, True]


def test_names_of_one_species_written_in_many_ways_are_one() -> None:
    plots = pd.DataFrame({"plot": [1], "habitat": ["A"]})
    noisy = [
        "Festuca ovina agg.",
        "Festuca ovina (L.) Hack.",
        "Festuca ovina subsp. guestfalica",
        "Festuca ovina_6",
        "Festuca_ovina_7",
        "FESTUCA OVINA s.lat.",
        "Festuca cf. ovina",
    ]
    covers = pd.DataFrame({"plot": 1, "species": noisy, "cover": 1.0})
    made, report = make_plots(plots, covers, COLUMNS, min_records=1, min_plots=1)
    assert made.species == ("festuca ovina",)
    assert report["duplicates_summed"] == len(noisy) - 1
