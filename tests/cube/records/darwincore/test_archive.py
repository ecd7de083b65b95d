"""Archives of strangers: what would fill the memory or lead out of the archive is refused with one sentence."""

from __future__ import annotations

import json
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from cube.errors import TableError
from cube.records.darwincore.archive import DESCRIPTION_BYTES, META, PACKAGE, open_archive
from cube.records.darwincore.package import package_tables

LOCATION = "occurrence.txt"
CORE = """<archive xmlns="http://rs.tdwg.org/dwc/text/"><core rowType="http://rs.tdwg.org/dwc/terms/Occurrence"
 fieldsTerminatedBy="\\t" linesTerminatedBy="\\n" ignoreHeaderLines="1"><files><location>LOCATION</location></files>
 <id index="0"/><field index="1" term="http://rs.tdwg.org/dwc/terms/scientificName"/></core></archive>"""
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))


def zipped(folder: Path, **files: str | bytes) -> str:
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in files.items():
            out.writestr(name.replace("__", "."), data)
    return str(folder / "a.zip")


@pytest.mark.parametrize("name", [META, PACKAGE])
def test_a_description_that_unpacks_to_gigabytes_is_not_read(tmp_path: Path, name: str) -> None:
    path = zipped(tmp_path, **{name.replace(".", "__"): b" " * (DESCRIPTION_BYTES * 4)})
    archive = open_archive(path)
    tracemalloc.start()
    with pytest.raises(TableError, match=rf"a\.zip: its {name} has more than 16,777,216 bytes.*; export the archive again\.$"):
        archive.tables() if name == META else package_tables(archive)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * DESCRIPTION_BYTES


@pytest.mark.parametrize(
    "entities",
    [f'<!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]>', '<!DOCTYPE a [<!ENTITY l11 SYSTEM "file:///etc/passwd">]>'],
    ids=["a billion laughs", "a file of the machine"],
)
def test_entities_of_a_description_are_not_followed(tmp_path: Path, entities: str) -> None:
    path = zipped(tmp_path, meta__xml=entities + CORE.replace("LOCATION", "&l11;"))
    with pytest.raises(TableError, match=r"a\.zip: its meta\.xml does not describe a core data file"):
        open_archive(path).tables()


@pytest.mark.parametrize("name", ["../secret.txt", "/etc/passwd", "a/../../secret.txt"])
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_data_file_outside_of_the_archive_is_refused(tmp_path: Path, kind: str, name: str) -> None:
    (tmp_path / "secret.txt").write_text("id\tscientificName\n1\tFagus\n")
    (tmp_path / "inside").mkdir()
    meta = CORE.replace("LOCATION", name)
    if kind == "zip":
        path = zipped(tmp_path, meta__xml=meta)
    else:
        (tmp_path / "inside/meta.xml").write_text(meta)
        path = str(tmp_path / "inside")
    core, _ = open_archive(path).tables()
    with pytest.raises(TableError, match="names a file outside the archive"), core.open(core.files[0]):
        pass
    (tmp_path / "inside/meta.xml").unlink(missing_ok=True)
    (tmp_path / "inside/datapackage.json").write_text(json.dumps({"resources": [{"name": "event", "path": name}]}))
    with pytest.raises(TableError, match="names a file outside the archive"):
        package_tables(open_archive(str(tmp_path / "inside")))
