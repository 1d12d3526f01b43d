from __future__ import annotations

from pathlib import Path

import pytest

from bioprobe.errors import TaxonomyError
from bioprobe.taxonomy import Taxon
from bioprobe.taxonomy.lists import read_taxonomy, write_taxonomy
from bioprobe.taxonomy.synonyms import accept_names, read_synonyms, replace_synonyms


def _read(tmp_path: Path, rows: str) -> dict[str, str]:
    path = tmp_path / "synonyms.csv"
    path.write_text(f"synonym,accepted\n{rows}")
    return read_synonyms(path)


def test_a_chain_ends_at_the_accepted_name(tmp_path: Path) -> None:
    assert _read(tmp_path, "A a,B b\nB b,C c\nC c,C c\n") == {
        "A a": "C c",
        "B b": "C c",
        "C c": "C c",
    }


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("A,B\nB,A\n", "the synonyms A, B stand for each other"),
        ("A,B\nA,C\n", "line 3: 'A' stands for 'B' and 'C'; keep one"),
        ("A,\n", "line 2: a synonym and its accepted name are needed"),
    ],
)
def test_synonyms_that_lead_nowhere_are_refused(tmp_path: Path, rows: str, problem: str) -> None:
    with pytest.raises(TaxonomyError, match=problem):
        _read(tmp_path, rows)


def test_other_columns_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("from,to\nA,B\n")
    with pytest.raises(TaxonomyError, match="has the columns from, to; expected synonym and acc"):
        read_synonyms(tmp_path / "x.csv")


def test_a_genus_takes_its_species_along() -> None:
    lineage = ("", "", "", "", "", "Felis", "Felis concolor")
    assert accept_names(lineage, {"Felis": "Puma"})[5:] == ("Puma", "Puma concolor")
    assert accept_names(lineage, {"Lynx": "Puma"}) == lineage


def test_a_synonym_joins_its_accepted_taxon() -> None:
    taxa = [
        Taxon.from_names({"species": "Felis concolor"}, common_name="cougar"),
        Taxon.from_names({"family": "Felidae", "species": "Puma concolor"}),
    ]
    (puma,) = replace_synonyms(taxa, {"Felis concolor": "Puma concolor"})
    assert (puma.lineage[4], puma.name, puma.common_name) == ("Felidae", "Puma concolor", "cougar")


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    taxa = (
        Taxon.from_names({"species": "Puma concolor"}, common_name="puma", prompts=("a", "b")),
        Taxon.from_names({"family": "Canidae"}),
    )
    write_taxonomy(tmp_path / "taxa.csv", taxa)
    assert read_taxonomy(tmp_path / "taxa.csv").taxa == taxa


def test_synonyms_compare_as_names(tmp_path: Path) -> None:
    path = tmp_path / "synonyms.csv"
    path.write_text('Synonym,Accepted Name\nfelis_concolor,"Puma concolor (Linnaeus, 1771)"\n')
    synonyms = read_synonyms(path)
    assert synonyms == {"Felis concolor": "Puma concolor"}
    lineage = ("", "", "", "", "Felidae", "felis", "felis concolor")
    assert accept_names(lineage, synonyms)[5:] == ("Puma", "Puma concolor")
