"""A data package is read whatever its resources and columns are called, zipped or not."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cube.errors import TableError
from cube.records.darwincore import raw_surveys, stream_records
from cube.records.darwincore.events import EVENTS
from cube.records.report import Report

EVENTS_CSV = (
    "event_id,decimal_latitude,decimal_longitude,event_date,sample_size_value,sample_size_unit\n"
    'a,49.2,16.6,2015-06-01,4,"square metre"\nb,49.3,16.7,2016,4,m2\nc,49.4,16.8,2017,4,m2\n'
)
OCCURRENCES_CSV = "occurrence_id;event_id;occurrence_status\n1;a;present\n2;a;absent\n3;b;present\n4;a;present\n5;c;present\n"
IDENTIFICATIONS_CSV = (
    "identification_id,identification_based_on_occurrence_id,scientific_name,is_accepted_identification\n"
    "i1,1,Fagus sylvatica L.,t\ni2,2,Abies alba,t\ni3,3,Quercus robur,f\ni4,3,Abies alba Mill.,t\ni5,4,Carex,t\n"
    "i6,5,Acer campestre,t\n"
)
SURVEYS_CSV = "survey_id,event_id\ns1,a\ns2,b\ns3,c\n"
TARGETS_CSV = (
    "survey_target_id,survey_id,survey_target_type,survey_target_value,include_or_exclude,is_survey_target_fully_reported\n"
    "t1,s1,taxon,Plantae,include,true\nt2,s2,taxon,Tracheophyta,include,t\nt3,s3,taxon,Plantae,include,false\n"
    "t4,s3,life stage,adult,include,true\n"
)


def resource(name: str, path: str, schema: str = "", **dialect: Any) -> dict[str, Any]:
    identifier = {"identifier": f"http://rs.tdwg.org/dwc/dwc-dp/{schema}"} if schema else {}
    return {"name": name, "path": path, "schema": {"fields": [], **identifier}, "dialect": dialect}


def package(folder: Path, resources: list[dict[str, Any]], *, zipped: bool = False) -> str:
    files = {
        "datapackage.json": json.dumps({"name": "p", "resources": resources}),
        "data/x1.csv": EVENTS_CSV,
        "data/x2.csv": OCCURRENCES_CSV,
        "data/x3.csv": IDENTIFICATIONS_CSV,
        "data/x4.csv": SURVEYS_CSV,
        "data/x5.csv": TARGETS_CSV,
    }
    if zipped:
        with zipfile.ZipFile(folder / "p.zip", "w") as out:
            for name, text in files.items():
                out.writestr(f"package/{name}", text)
        return str(folder / "p.zip")
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return str(folder)


NAMED = [
    resource("plots", "data/x1.csv", "event"),
    resource("finds", "data/x2.csv", "occurrence"),
    resource("names", "data/x3.csv", "identification"),
    resource("visits", "data/x4.csv", "survey"),
    resource("scopes", "data/x5.csv", "survey-target"),
]
UNNAMED = [resource(f"r{i}", f"data/x{i}.csv") for i in range(1, 6)]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("resources", [NAMED, UNNAMED])
def test_renamed_resources_are_known_by_their_schema_or_their_columns(
    tmp_path: Path, resources: list[dict[str, Any]], zipped: bool
) -> None:
    path = package(tmp_path, resources, zipped=zipped)
    report = Report("surveys")
    raw = raw_surveys(path, report)
    report.check()
    assert list(raw.surveys["survey"]) == ["a", "b"]
    np.testing.assert_array_equal(raw.surveys["area_m2"], [4, 4])
    assert [tuple(row) for row in raw.occurrences[["survey", "name"]].to_numpy()] == [
        ("a", "Fagus sylvatica"),
        ("b", "Abies alba"),
    ]
    assert report.tallies[EVENTS].left_out == {"events that state an incomplete list": 1}
    records = pd.concat(stream_records(path, Report("records")))
    assert list(records["record"]) == ["1", "3", "5"]
    np.testing.assert_array_equal(records["longitude"], [16.6, 16.7, 16.8])


def test_a_package_that_is_none_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "datapackage.json").write_text("{}")
    with pytest.raises(TableError, match=r"its datapackage\.json lists no resources"):
        raw_surveys(str(tmp_path), Report("r"))
    (tmp_path / "datapackage.json").write_text(json.dumps({"resources": [resource("event", "gone.csv")]}))
    with pytest.raises(TableError, match=r"datapackage\.json names gone\.csv, which is not in the archive"):
        raw_surveys(str(tmp_path), Report("r"))
    (tmp_path / "datapackage.json").write_text(json.dumps({"resources": [resource("event", "../x.csv")]}))
    with pytest.raises(TableError, match=r"datapackage\.json names a file outside the archive"):
        raw_surveys(str(tmp_path), Report("r"))
    (tmp_path / "event.csv").write_text(EVENTS_CSV)
    (tmp_path / "datapackage.json").write_text(json.dumps({"resources": [resource("event", "event.csv")]}))
    with pytest.raises(TableError, match="holds Event; expected a core of Occurrence, or of Event with"):
        raw_surveys(str(tmp_path), Report("r"))
