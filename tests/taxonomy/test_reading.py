from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bioprobe.errors import SourceError, TaxonomyError
from bioprobe.taxonomy import Rank
from bioprobe.taxonomy.lists import read_taxonomy, shipped_taxonomies

TABLE = "family,species,common_name\nFelidae,Panthera leo,lion\nCanidae,Canis lupus,\n"


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_a_table_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"taxa{suffix}"
    (tmp_path / "taxa.csv").write_text(TABLE)
    frame = pd.read_csv(tmp_path / "taxa.csv")
    if suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    taxa = read_taxonomy(path)
    assert [(t.lineage[4], t.name, t.common_name) for t in taxa] == [
        ("Felidae", "Panthera leo", "lion"),
        ("Canidae", "Canis lupus", ""),
    ]


@pytest.mark.parametrize("name", ["names.txt", "names.TXT"])
def test_a_text_file_has_one_species_a_line(tmp_path: Path, name: str) -> None:
    text = "\ufeff# Source: us\n\nPanthera leo\n  Canis lupus \nPanthera leo\n"
    (tmp_path / name).write_text(text, encoding="utf-8")
    taxa = read_taxonomy(tmp_path / name)
    assert [(t.rank, t.name) for t in taxa] == [
        (Rank.SPECIES, "Panthera leo"),
        (Rank.SPECIES, "Canis lupus"),
    ]


def test_prompts_stand_in_as_many_rows(tmp_path: Path) -> None:
    path = tmp_path / "taxa.csv"
    path.write_text("species,prompt\nPuma concolor,a tan cat\nPuma concolor,a long tail\nLynx,\n")
    puma, lynx = read_taxonomy(path)
    assert puma.prompts == ("a tan cat", "a long tail")
    assert lynx.prompts == ()


def test_every_shipped_taxonomy_can_be_read_by_its_name() -> None:
    assert "sketch" in shipped_taxonomies()
    for name in shipped_taxonomies():
        assert len(read_taxonomy(name)) > 0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("note\nx\n", "has no rank column among note; expected one at least of kingdom, phylum"),
        ("class\nAves\n", "has no rank column among class"),
        ("common_name\nlion\n", "has no rank column among common_name"),
        ("family,note\nFelidae,x\n,y\n", "line 3: no name at any rank; fill one in or remove"),
    ],
)
def test_a_table_without_names_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "taxa.csv").write_text(text)
    with pytest.raises(TaxonomyError, match=problem):
        read_taxonomy(tmp_path / "taxa.csv")


def test_a_text_file_without_names_is_refused(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("# nothing yet\n\n")
    with pytest.raises(TaxonomyError, match=r"names\.txt holds no name; write one a line"):
        read_taxonomy(tmp_path / "names.txt")


def test_a_missing_list_is_refused_with_those_that_ship(tmp_path: Path) -> None:
    with pytest.raises(
        TaxonomyError, match=r"no taxon list at .*none; .* one that ships: .*sketch"
    ):
        read_taxonomy(str(tmp_path / "none"))


def test_a_text_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_bytes("ñandú\n".encode("latin-1"))
    with pytest.raises(SourceError, match=r"names\.txt is not UTF-8 text .*; save it as UTF-8"):
        read_taxonomy(tmp_path / "names.txt")
