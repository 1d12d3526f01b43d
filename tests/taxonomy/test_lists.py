"""Taxon lists of other tools."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from bioprobe.errors import TaxonomyError
from bioprobe.taxonomy import Rank
from bioprobe.taxonomy.lists import read_taxonomy
from bioprobe.taxonomy.scientific_names import read_name

LION = ["Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Panthera", "leo"]


def _write(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_list_of_treeoflife_is_read(tmp_path: Path) -> None:
    entries = [[LION, "lion"], [[*LION[:5], "", ""], ""]]
    taxa = read_taxonomy(_write(tmp_path, "taxa.json", json.dumps(entries)))
    assert [(taxon.name, taxon.common_name) for taxon in taxa] == [
        ("Panthera leo", "lion"),
        ("Felidae", ""),
    ]
    assert taxa.taxa[0].lineage == (*LION[:6], "Panthera leo")


def test_names_that_are_null_in_the_list_of_treeoflife_are_holes(tmp_path: Path) -> None:
    entries = [[[None, *LION[1:]], None], [[*LION[:5], None, None], "cats"]]
    lion, cats = read_taxonomy(_write(tmp_path, "taxa.json", json.dumps(entries)))
    assert lion.lineage == ("", *LION[1:6], "Panthera leo")
    assert (lion.common_name, cats.name, cats.common_name) == ("", "Felidae", "cats")


@pytest.mark.parametrize(
    "entry",
    [{}, [], LION, [LION], [LION, "lion", ""], [LION[:6], "lion"], [LION, 1], [[1, *LION[1:]], ""]],
)
def test_the_first_entry_that_is_something_else_is_named(tmp_path: Path, entry: object) -> None:
    path = _write(tmp_path, "taxa.json", json.dumps([[LION, "lion"], entry, entry]))
    with pytest.raises(TaxonomyError, match=r"taxa\.json entry 2 is "):
        read_taxonomy(path)


def test_records_in_json_are_read(tmp_path: Path) -> None:
    path = _write(tmp_path, "taxa.json", '[{"family": "Felidae", "species": "Lynx lynx"}]')
    (lynx,) = read_taxonomy(path)
    assert lynx.lineage == ("", "", "", "", "Felidae", "Lynx", "Lynx lynx")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "is not JSON"),
        ("[]", "holds no list of taxa"),
        ("{}", "holds no list of taxa"),
        ('[[["a"], "b"]]', r"entry 1 is \[\['a'\], 'b'\]; expected \[\[7 ranks\], common name\]"),
    ],
)
def test_other_json_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(TaxonomyError, match=problem):
        read_taxonomy(_write(tmp_path, "taxa.json", text))


def test_the_labels_of_speciesnet_are_read_without_those_that_are_no_taxa(tmp_path: Path) -> None:
    text = (
        "f1856211;;;;;;blank\n"
        "ddf59264;mammalia;carnivora;felidae;panthera;leo;lion\n"
        "a1b2c3d4;mammalia;carnivora;felidae;;;cat family\n"
        "e2895ed5;;;;;;vehicle\n"
    )
    lion, cats = read_taxonomy(_write(tmp_path, "labels.txt", text))
    assert lion.lineage == ("", "", *LION[2:6], "Panthera leo")
    assert (cats.rank, cats.name, cats.common_name) == (Rank.FAMILY, "Felidae", "cat family")


def test_darwin_core_places_names_at_their_rank(tmp_path: Path) -> None:
    text = (
        "taxonID\tscientificName\ttaxonRank\tfamily\tvernacularName\ttaxonomicStatus\n"
        "1\tPanthera leo (Linnaeus, 1758)\tspecies\tFelidae\tlion\taccepted\n"
        "2\tPanthera Oken, 1816\tgenus\tFelidae\t\taccepted\n"
        "3\tFelidae Fischer, 1817\tfamily\t\tcats\taccepted\n"
        "4\tPantherinae Pocock, 1917\tsubfamily\tFelidae\t\taccepted\n"
        "5\tFelis leo Linnaeus, 1758\tspecies\tFelidae\t\tsynonym\n"
        "6\tCanis lupus familiaris Linnaeus, 1758\tsubspecies\tCanidae\tdog\taccepted\n"
    )
    taxa = read_taxonomy(_write(tmp_path, "taxon.txt", text))
    assert [(taxon.rank.value, taxon.name, taxon.common_name) for taxon in taxa] == [
        ("species", "Panthera leo", "lion"),
        ("genus", "Panthera", ""),
        ("family", "Felidae", "cats"),
        ("species", "Canis lupus familiaris", "dog"),
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Felidae", "Felidae"),
        ("Felidae G.Fischer, 1817", "Felidae"),
        ("Lynx lynx", "Lynx lynx"),
        ("Lynx lynx (Linnaeus, 1758)", "Lynx lynx"),
        ("Sterna hirundo Linnaeus 1758", "Sterna hirundo"),
        ("Polygonia c-album (L.)", "Polygonia c-album"),
        ("Aedes (Stegomyia) aegypti L.", "Aedes aegypti"),
        ("Mus musculus domesticus Schwarz & Schwarz, 1943", "Mus musculus domesticus"),
        ("Quercus robur L. var. fastigiata (Lam.) DC.", "Quercus robur fastigiata"),
        ("Rosa canina de Vries", "Rosa canina"),
        ("Aus de Winton, 1900", "Aus"),
        ("Rosa \u00d7 alba L.", "Rosa \u00d7 alba"),
        ("Pieris rapae (Linnaeus, in Smith)", "Pieris rapae"),
    ],
)
def test_authors_are_no_part_of_a_name(name: str, expected: str) -> None:
    parsed = read_name(name)
    assert parsed is not None
    assert parsed.certain == expected


def test_epithets_of_a_subspecies_follow_the_genus(tmp_path: Path) -> None:
    path = _write(tmp_path, "taxa.csv", "genus,species\nCanis,lupus familiaris\nCanis,lupus\n")
    assert [t.name for t in read_taxonomy(path)] == ["Canis lupus familiaris", "Canis lupus"]


HEADER = "kingdom,phylum,order,family,genus,species\n"


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (
            ",,,Felidae,Panthera,\n,,,Lycosidae,Lycosa,\n,,,Canidae,Panthera,\n",
            r'line 4: genus "Panthera" has two families \(Felidae on line 2, Canidae\); keep one$',
        ),
        (
            ",,Carnivora,Felidae,Felis,\n,,,Felidae,Lynx,\n,,Primates,Felidae,Puma,\n",
            r'line 4: family "Felidae" has two orders \(Carnivora on line 2, Primates\); keep one',
        ),
        (
            ",,,Felidae,Panthera,Felis leo\n",
            r'line 2: species "Felis leo" stands beside the genus "Panthera"; make them the same',
        ),
        (
            "Animalia,Chordata,,A,X,\nAnimalia,Chordata,,B,X,\n",
            r"line 3: genus \"X\" has two families \(A on line 2, B\)",
        ),
        (
            "Animalia,,,A,X,\n,,,B,X,\n",
            r"line 3: genus \"X\" has two families",
        ),
        (
            ",,,A,X,\n,,,B,X,\n,,,A,Y,\n,,,C,Y,\n",
            r"line 3: .*\(1 more contradictions follow\)",
        ),
    ],
)
def test_contradictions_are_refused_with_their_lines(
    tmp_path: Path, rows: str, problem: str
) -> None:
    with pytest.raises(TaxonomyError, match=rf"taxa\.csv {problem}"):
        read_taxonomy(_write(tmp_path, "taxa.csv", HEADER + rows))


@pytest.mark.parametrize(
    "rows",
    [
        "Animalia,,,Prunellidae,Prunella,\nPlantae,,,Lamiaceae,Prunella,\n",
        "Animalia,Chordata,,A,X,\nAnimalia,Mollusca,,B,X,\n",
        ",,,Felidae,Panthera,\n,,Carnivora,,Panthera,\n",
        ",,,,Rosa,\u00d7 Rosa alba\n",
        ",,,,panthera,Panthera leo\n",
        ",,,Felidae,Panthera,\n,,,Felidae,Panthera,Panthera leo\n",
    ],
)
def test_homonyms_and_holes_are_no_contradiction(tmp_path: Path, rows: str) -> None:
    assert len(read_taxonomy(_write(tmp_path, "taxa.csv", HEADER + rows)))


def test_entries_are_counted_in_json(tmp_path: Path) -> None:
    other = [*LION[:4], "Canidae", "Panthera", "tigris"]
    path = _write(tmp_path, "taxa.json", json.dumps([[LION, ""], [other, ""]]))
    with pytest.raises(TaxonomyError, match=r"entry 2: genus .* \(Felidae on entry 1, Canidae\)"):
        read_taxonomy(path)


def test_the_shipped_rare_species_have_the_ranks_of_the_benchmark() -> None:
    taxa = read_taxonomy("rare-species")
    assert list(taxa.count().values()) == [1, 5, 15, 85, 202, 316, 400]
    assert len({taxon.common_name for taxon in taxa}) == 398


@pytest.mark.shared
def test_the_table_of_the_benchmark_has_the_ranks_of_the_list(shared_dir: Path) -> None:
    taxa = read_taxonomy(shared_dir / "data" / "rare-species" / "rare_species.csv")
    assert list(taxa.count().values()) == [1, 5, 15, 85, 202, 316, 400]
    assert set(taxa) == set(read_taxonomy("rare-species"))


CIRCLE = [{"family": "Felidae", "genus": "Panthera"}, {"family": "Panthera", "genus": "Felidae"}]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            CIRCLE,
            r'(line 3|entry 2): "Felidae" is named at the rank family \(.*\) and at the rank genus',
        ),
        (
            [{"order": "A", "family": "A"}],
            r'(line 2|entry 1): "A" is named at the rank order .* rank family',
        ),
        (
            [{"order": "A", "family": "B"}, {"order": "B", "family": "C"}, {"order": "C"}],
            r"\(1 more contradictions follow\)",
        ),
        (
            [{"phylum": "P", "genus": "A"}, {"family": "A"}, {"phylum": "Q", "genus": "A"}],
            r'"A" is named at the rank family .* at the rank genus',
        ),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
def test_a_name_at_two_ranks_is_refused(
    tmp_path: Path, rows: list[dict[str, str]], message: str, suffix: str
) -> None:
    frame, path = pd.DataFrame(rows, dtype=object), tmp_path / f"list{suffix}"
    if suffix == ".csv":
        frame.to_csv(path, index=False)
    elif suffix == ".json":
        path.write_text(json.dumps([{k: v or "" for k, v in row.items()} for row in rows]))
    else:
        frame.to_parquet(path)
    with pytest.raises(TaxonomyError, match=message):
        read_taxonomy(path)


def test_homonyms_at_two_ranks_are_no_contradiction(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("phylum,genus\nCtenophora,Beroe\nArthropoda,Ctenophora\n")
    assert len(read_taxonomy(path)) == 2
