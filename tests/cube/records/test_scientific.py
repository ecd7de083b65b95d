"""One spelling of each scientific name, as the Code writes it; published cases of another parser are the yardstick."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cube.records.scientific import binomial, match_key, scientific_name

PUBLISHED = Path(__file__).with_name("published_names.tsv")


@pytest.mark.parametrize(
    ("canonical", "spellings"),
    [
        (
            "Carex nigra",
            "Carex nigra|carex nigra|CAREX NIGRA|CAREX NIGRA L.|Carex_nigra|Carex.nigra"
            "|Carex\xa0nigra"
            "|Ca\xadrex nigra|Carex  nigra |Carex nigra (L.) Reichard|Carex.nigra.1|Carex nigra s. str.|\ufeffCarex nigra"
            "|Carex (Vignea) nigra"
            "|Carex.nigra..L...Reichard|Carex nigra L. f.|Carex nigra Reichard, 1778|\u201cCarex nigra\u201d|Carex nigra.",
        ),
        ("Dryopteris affinis", "Dryopteris affinis (Lowe) Fraser-Jenk.|DRYOPTERIS AFFINIS|Dryopteris.affinis"),
        ("Dryopteris affinis subsp. borreri", "Dryopteris affinis ssp. borreri (Newman) Fraser-Jenk."),
        ("Carex hoestii", "Carex höstii|Carex ho\u0308stii|Carex hoestii"),
        ("Carex nigra agg.", "Carex nigra agg.|Carex nigra aggr.|Carex.nigra.agg.|Carex nigra (L.) Reichard agg."),
        ("Carex nigra s. l.", "Carex nigra s.l.|Carex nigra s. lat.|Carex nigra sensu lato|Carex nigra L. s. l."),
        (
            "Carex nigra subsp. juncea",
            "Carex nigra ssp. juncea|Carex nigra subsp juncea (Fr.) Soó|Carex.nigra.subsp..juncea"
            "|Carex nigra L. subsp. juncea|Carex_nigra_ssp._juncea",
        ),
        ("Carex nigra var. alba f. minor", "Carex nigra var alba forma minor|Carex nigra var.alba f.minor"),
        (
            "Quercus × rosacea",
            "Quercus x rosacea|Quercus X rosacea|Quercus ×rosacea|Quercus × rosacea Bechst.|Quercus×rosacea"
            "|Quercus.x.rosacea|Quercus xrosacea|Quercus_x_rosacea|QUERCUS X ROSACEA",
        ),
        ("× Cupressocyparis leylandii", "x Cupressocyparis leylandii|×Cupressocyparis leylandii|XCupressocyparis leylandii"),
        (
            "Quercus petraea × Quercus robur",
            "Quercus robur × petraea|Quercus robur x Q. petraea|Quercus petraea L. x robur"
            "|Quercus robur L. × Quercus petraea (Matt.) Liebl.",
        ),
        ("Taraxacum sect. Ruderalia", "Taraxacum sect. Ruderalia|Taraxacum sect Ruderalia Kirschner"),
        ("Capsella bursa-pastoris", "Capsella bursa\u2010pastoris|Capsella bursa-pastoris (L.) Medik."),
    ],
)
def test_spellings_of_a_name_are_one(canonical: str, spellings: str) -> None:
    for spelling in spellings.split("|"):
        assert scientific_name(spelling).canonical == canonical, spelling
        assert match_key(spelling) == match_key(canonical), spelling


@pytest.mark.parametrize(
    "text",
    [
        "Carex sp.",
        "Carex sp",
        "Carex spp.",
        "Carex spec.",
        "Carex.sp.",
        "Carex sp. 1",
        "Carex cf. nigra",
        "Carex aff nigra",
        "cf. Carex nigra",
        "Bare ground",
        "Litter",
        "CF Carex nigra",
        "Carex (cf.) nigra",
        "indet",
        "Carex indet.",
        "Unknown",
        "Carex",
        "Carex L.",
        "Poaceae",
        "Protosialis van der Weele",
        "Quercus x",
        "x Quercus",
        "Q. robur",
        "Q. robur x petraea",
        "?Carex nigra",
        "Viola riviniana/reichenbachiana",
        "Carex nigra?",
        "Carex dilatata et carthusiana",
        "Carex species",
        "Crataegus species",
    ],
)
def test_what_names_no_species_gives_none(text: str) -> None:
    assert not scientific_name(text).names_a_taxon
    assert binomial(text) is None


@pytest.mark.parametrize("text", ["species 6118", "nz01", "FAGSYL", "moss layer 2"])
def test_codes_stay_as_they_are(text: str) -> None:
    assert scientific_name(text).canonical == text
    assert scientific_name(text).names_a_taxon


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Fagus silvatica", "Fagus sylvatica"),
        ("Carex nigra", "Carex nigra agg."),
        ("Quercus robur", "Quercus robur × petraea"),
        ("Carex nigra", "Carex nigra subsp. juncea"),
        ("Carex flava", "Carex flava auct."),
    ],
)
def test_other_plants_have_other_names(one: str, other: str) -> None:
    assert match_key(one) != match_key(other)


@settings(deadline=None, max_examples=60)
@given(
    st.text(st.characters(codec="utf-8"), max_size=20)
    | st.sampled_from([line.split("\t")[0] for line in PUBLISHED.read_text(encoding="utf-8").splitlines()])
)
def test_a_canonical_name_is_its_own(text: str) -> None:
    name = scientific_name(text)
    if name.names_a_taxon and name.kind != "code":
        assert scientific_name(name.canonical) == name
    assert match_key(match_key(text)) == match_key(text)


def test_published_cases_are_parsed_alike(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line.split("\t") for line in PUBLISHED.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    alike = 0
    for text, expected in lines:
        name = scientific_name(text)
        plain = name.canonical.removesuffix(" agg.").removesuffix(" s. l.").removesuffix(" auct.")
        same = sorted(plain.split(" × ")) == sorted(expected.split(" × ")) or plain == expected
        alike += same if expected else not name.names_a_taxon
    with capsys.disabled():
        print(f" {alike} of {len(lines)} published names parsed alike ({100 * alike / len(lines):.1f} %) ", end="")
    assert alike >= 0.92 * len(lines)
