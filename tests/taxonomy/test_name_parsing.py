from __future__ import annotations

import random
import time
from pathlib import Path

import pandas as pd
import pytest

import bioprobe as bp
from bioprobe.taxonomy.name_parsing import parse_name, write_plainly

# Published cases that are read otherwise, and why.
DIFFERENCES = {
    # An author without a dot or a year may be the second word of Red Fox, which is no name.
    "Qu Durkoop": "",
    # The part of a genus behind a hyphen is written in plain letters as all names are.
    "Ambrysus-St\u00e5l, 1862": "Ambrysus-staol",
}


@pytest.mark.shared
def test_published_cases_are_read_as_published(shared_dir: Path) -> None:
    table = pd.read_csv(shared_dir / "data" / "names" / "names.csv", dtype=str).fillna("")
    read = [parse_name(name) for name in table["name"]]
    table["read"] = [one.canonical for one in read]
    differs = table[table["read"] != table["canonical"]]
    assert dict(zip(differs["name"], differs["read"], strict=True)) == DIFFERENCES
    assert (table["read"] == table["canonical"]).mean() > 0.995
    assert not table["read"][table["parsed"] != "True"].any()
    authors = [one.authorship for one in read]
    assert (table["authorship"] == authors).mean() > 0.99
    words = [str(one.cardinality) for one in read]
    assert (table["cardinality"] == words).mean() > 0.99
    kinds = {"": "", "NAMED_HYBRID": "named", "HYBRID_FORMULA": "formula", "NOTHO_HYBRID": "notho"}
    assert (table["hybrid"].map(kinds) == [one.hybrid for one in read]).mean() > 0.99


@pytest.mark.parametrize(
    ("text", "canonical", "rank", "authorship"),
    [
        ("Vulpes vulpes (Linnaeus, 1758)", "Vulpes vulpes", "species", "(Linnaeus 1758)"),
        ("Vulpes vulpes, Linnaeus 1758", "Vulpes vulpes", "species", "Linnaeus 1758"),
        ("VULPES VULPES (LINNAEUS, 1758)", "Vulpes vulpes", "species", "(Linnaeus 1758)"),
        ("VULPES VULPES LINNAEUS, 1758", "Vulpes vulpes", "species", "Linnaeus 1758"),
        ("<i>Vulpes vulpes</i> L.", "Vulpes vulpes", "species", "L."),
        ("vulpes_vulpes", "Vulpes vulpes", "species", ""),
        ("acinonyx-jubatus", "Acinonyx jubatus", "species", ""),
        ("Cervus (Rusa) unicolor Kerr 1792", "Cervus unicolor", "species", "Kerr 1792"),
        ("Canis lupus familiaris", "Canis lupus familiaris", "subspecies", ""),
        ("Acer campestre ssp. leiocarpum (Opiz) Pax", "Acer campestre subsp. leiocarpum",
         "subspecies", "(Opiz) Pax"),
        ("Acer campestre L. var. hebecarpum DC.", "Acer campestre var. hebecarpum", "variety",
         "DC."),
        ("Acer platanoides L. f. crispum Rehd.", "Acer platanoides f. crispum", "form", "Rehd."),
        ("Acer sect. Palmata Pax", "Acer sect. Palmata", "section", "Pax"),
        ("Acer \u00d7 zoeschense Pax", "Acer \u00d7 zoeschense", "species", "Pax"),
        ("X Fatshedera lizei", "\u00d7 Fatshedera lizei", "species", ""),
        ("Anas crecca x A. carolinensis", "Anas crecca \u00d7 Anas carolinensis",
         "hybrid formula", ""),
        ("Equus quagga x asinus", "Equus quagga \u00d7 Equus asinus", "hybrid formula", ""),
        ("Bufo m\u00fclleri Foo, Bar & Baz in Qux, 1901 [1902]", "Bufo muelleri", "species",
         "Foo, Bar & Baz in Qux 1901"),
        ("Bufo bufo auct. non L.", "Bufo bufo", "species", ""),
        ("Bufo bufo s. str. (Linnaeus)", "Bufo bufo", "species", ""),
        ("Bufo 5-punctatus Foo, 1901", "Bufo quinquepunctatus", "species", "Foo 1901"),
        ("Bufo o'shaughnessyi de la Foo y Bar, 1901-02", "Bufo oshaughnessyi", "species",
         "de la Foo & Bar (1901)"),
        ("Hilara vector Miller, 1923", "Hilara vector", "species", "Miller 1923"),
        ("Candidatus Liberibacter", "Candidatus Liberibacter", "uninomial", ""),
        ("Felidae Fischer von Waldheim, 1817", "Felidae", "family", "Fischer von Waldheim 1817"),
    ],
)  # fmt: skip
def test_a_name_is_taken_apart(text: str, canonical: str, rank: str, authorship: str) -> None:
    found = bp.parse_name(text)
    assert (found.canonical, found.rank, found.authorship) == (canonical, rank, authorship)
    assert found.text == text


@pytest.mark.parametrize(
    ("text", "certain", "qualifier", "rank"),
    [
        ("Alces sp.", "Alces", "sp.", "genus"),
        ("Alces spp", "Alces", "spp", "genus"),
        ("Alces ?", "Alces", "?", "genus"),
        ("Alces ? alces", "Alces", "? alces", "genus"),
        ("Alces aff. alces", "Alces", "aff. alces", "genus"),
        ("Alces nr. alces L.", "Alces", "nr. alces L.", "genus"),
        ("Alces cf. alces", "Alces", "cf. alces", "species"),
        ("Alces alces cf. gigas", "Alces alces", "cf. gigas", "subspecies"),
        ("Alces indet.", "Alces", "indet.", "genus"),
        ("Alces sp. BOLD:AAV0432", "Alces", "sp. BOLD:AAV0432", "genus"),
    ],
)
def test_what_is_not_sure_is_kept_apart(text: str, certain: str, qualifier: str, rank: str) -> None:
    found = parse_name(text)
    assert (found.certain, found.qualifier, found.rank) == (certain, qualifier, rank)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "Red Fox", "Red fox", "red fox", "American Robin", "Tiger", "Polar Bear",
        "Canada Goose", "Snow Leopard", "not recorded", "None", "Incertae sedis",
        "unidentified bat",
        "Foo mosaic virus", "Foo phage 7", "Bar NPV", "ssRNA", "Abbott's eel",
        "Crataegus + Mespilus",
        "PomaTomus", "Foo bacterium B12", "Bar baz symbiont", "+ Crataegomespilus", "A" * 2000,
        "123", "\u30ad\u30c4\u30cd",
    ],
)  # fmt: skip
def test_what_is_no_name_makes_no_taxon(text: str) -> None:
    found = parse_name(text)
    assert (found.canonical, found.certain, found.rank, found.parsed) == ("", "", "", False)


def test_letters_are_written_plainly() -> None:
    assert write_plainly("Aer\u00f8\u00e6") == "Aeroeae"
    assert write_plainly("nicae\u00ebnsis") == "nicaeensis"
    assert write_plainly("13.punctatus") == "tredecimpunctatus"
    # The name that pictures are sorted by keeps its letters.
    assert parse_name("Bufo m\u00fclleri").certain == "Bufo m\u00fclleri"


def test_changed_letters_never_break_or_stall_it() -> None:
    names = [
        "Acer campestre L. subsp. leiocarpum (Opiz) Pax",
        "Anas x Aix (Foo, 1901) & Bar ex Baz",
    ]
    draw = random.Random(3)
    started = time.process_time()
    for _ in range(800):
        letters = list(draw.choice(names))
        for _ in range(draw.randint(1, 5)):
            letters[draw.randrange(len(letters))] = draw.choice("aZ .,()\u00d7?&-'_0\u00e9\n;/x")
        found = parse_name("".join(letters))
        assert found.parsed is bool(found.certain)
    for text in ("Aus bus " + "A. " * 300, "Aus bus (" * 100, "Aus " + "a-" * 400, "Ab" * 490):
        parse_name(text)
    assert time.process_time() - started < 5
