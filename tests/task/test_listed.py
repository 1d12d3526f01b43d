"""What lists allow: SpeciesNet's published cases, rules at any rank, and the files people have."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from bioprobe.errors import PromptError, TaxonomyError
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.task.also import Wanted
from bioprobe.task.leaves import Leaves
from bioprobe.task.listed import Listed, restrict
from bioprobe.task.tree import Tree
from bioprobe.taxonomy import RANKS, Rank, Taxon, Taxonomy
from bioprobe.taxonomy.checklists import Checklist, read_checklist, read_checklists, read_place
from bioprobe.zeroshot.question import (
    Question,
    answer_at_rank,
    answer_deepest,
    answer_every_rank,
)
from tests.open_document import write_workbook

if TYPE_CHECKING:
    from tests.conftest import PlainEncoder


def _species(kingdom: str, class_: str, order: str, family: str, name: str, common: str) -> Taxon:
    ranks = {"kingdom": kingdom, "phylum": "Chordata", "class": class_, "order": order,
             "family": family, "genus": name.split()[0], "species": name}  # fmt: skip
    return Taxon.from_names(ranks, common_name=common)


MAMMALS = ("Animalia", "Mammalia", "Carnivora")
TAXA = Taxonomy(
    (
        _species(*MAMMALS, "Felidae", "Panthera leo", "lion"),
        _species(*MAMMALS, "Felidae", "Puma concolor", "puma"),
        _species(*MAMMALS, "Felidae", "Felis margarita", "sand cat"),
        _species(*MAMMALS, "Ursidae", "Ursus arctos", "brown bear"),
        _species(*MAMMALS, "Ursidae", "Ursus maritimus", "polar bear"),
        _species(*MAMMALS, "Ursidae", "Ailuropoda melanoleuca", "giant panda"),
        _species("Animalia", "Aves", "Galliformes", "Phasianidae", "Gallus gallus", "hen"),
    )
)
SCALE = 100.0
GEOFENCE = {
    "mammalia;carnivora;felidae;panthera;leo": {"allow": {"KEN": [], "TZA": []}},
    "mammalia;carnivora;felidae;panthera;": {"allow": {"KEN": [], "TZA": [], "USA": ["AK", "CA"]}},
    "mammalia;carnivora;felidae;;": {
        "allow": {"FRA": [], "KEN": [], "TZA": [], "USA": []},
        "block": {"FRA": [], "USA": ["NY"]},
    },
    "mammalia;carnivora;felidae;felis;margarita": {"block": {"AUS": []}},
    "mammalia;carnivora;ursidae;;": {"block": {"GBR": []}},
}


@pytest.fixture
def view(make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder) -> View:
    return _make_view(make_store, encoder, np.full((1, len(TAXA)), 1 / len(TAXA)))


def _make_view(
    make_store: Callable[..., EmbeddingStore],
    encoder: PlainEncoder,
    shares: np.ndarray[tuple[int, int], np.dtype[np.float64]],
    **columns: list[str],
) -> View:
    """Return images whose softmax over the seven species, at the scale, is as asked."""
    vectors = np.zeros((len(shares), 16))
    vectors[:, : shares.shape[1]] = np.log(np.maximum(shares, 1e-6)) / SCALE
    vectors[:, 15] = np.sqrt(1 - (vectors**2).sum(axis=1))
    frame = pd.DataFrame({"path": [f"{n}.jpg" for n in range(len(shares))], **columns})
    return View.of(make_store(encoder).append(frame, vectors))


def _ask(view: View, lists: list[Checklist], rank: Rank = Rank.SPECIES, **place: str) -> Question:
    tree = Tree(TAXA, rank)
    texts = np.eye(len(TAXA), 16, dtype=np.float32)
    leaves = Leaves(texts, np.arange(len(TAXA)), np.arange(len(TAXA)))
    listed, _ = restrict(view, lists, tree, TAXA, place=place)
    return Question(tree, leaves, SCALE, {}, listed=listed)


def _may(listed: Listed, name: str, kind: int = 0) -> bool:
    for level, allowed in zip(listed.tree.levels, listed.levels, strict=True):
        for taxon, may in zip(level, allowed[kind], strict=True):
            if taxon.name == name:
                return bool(may)
    raise AssertionError(name)


def _geofence(tmp_path: Path) -> list[Checklist]:
    (tmp_path / "geofence.json").write_text(json.dumps(GEOFENCE))
    return [read_checklist(tmp_path / "geofence.json")]


@pytest.mark.parametrize(
    ("name", "country", "admin1", "may"),
    [
        ("Panthera leo", "", "", True),
        ("Puma concolor", "USA", "", True),
        ("Puma concolor", "USA", "CA", True),
        ("Panthera leo", "GBR", "", False),
        ("Panthera leo", "KEN", "", True),
        ("Panthera", "USA", "", True),
        ("Panthera", "USA", "NY", False),
        ("Panthera", "USA", "CA", True),
        ("Felidae", "FRA", "", False),
        ("Felidae", "TZA", "", True),
        ("Felidae", "USA", "CA", True),
        ("Felidae", "USA", "NY", False),
        ("Felis margarita", "GBR", "", True),
        ("Felis margarita", "AUS", "", False),
    ],
)
def test_a_geofence_allows_what_speciesnet_does(
    view: View, tmp_path: Path, name: str, country: str, admin1: str, *, may: bool
) -> None:
    lists = _geofence(tmp_path)
    if not country:
        with pytest.raises(PromptError, match="says nothing of where the 1 images were taken"):
            _ask(view, lists)
        return
    listed = _ask(view, lists, country=country, admin1=admin1).listed
    assert listed is not None
    assert _may(listed, name) == may


# Shares of lion, puma, sand cat, brown bear, polar bear, panda and hen.
ROLLED_UP = [
    ("TZA", "", [0.4, 0.1, 0, 0, 0.3, 0, 0.2], "", ""),
    ("USA", "", [0.4, 0.1, 0, 0, 0.3, 0, 0.2], "Felidae", "family Felidae 0.500"),
    ("USA", "NY", [0.4, 0.1, 0, 0, 0.3, 0, 0.2], "Carnivora", "order Carnivora 0.800"),
]


@pytest.mark.parametrize(("country", "admin1", "shares", "rolled", "said"), ROLLED_UP)
def test_what_may_not_occur_is_rolled_up_as_speciesnet_does(
    make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder, tmp_path: Path,
    country: str, admin1: str, shares: list[float], rolled: str, said: str,
) -> None:  # fmt: skip
    view = _make_view(make_store, encoder, np.array([shares]))
    question = _ask(view, _geofence(tmp_path), country=country, admin1=admin1)
    found = answer_at_rank(view, question, 1)
    assert found.columns["rolled_up_to"].tolist() == [rolled]
    assert found.names[0, 0] == rolled or not rolled
    reason = found.columns["reason"][0]
    assert reason == (f"the list leaves out species Panthera leo 0.400; {said}" if said else "")
    decided = answer_deepest(view, question, 0.39)
    assert decided.names == (rolled or "Panthera leo",)
    if rolled:
        assert (
            decided.reason(0) == f"{said} >= 0.39; the list leaves out species Panthera leo 0.400"
        )


@pytest.mark.parametrize(
    ("country", "threshold", "shares", "answer"),
    [
        ("DEU", 0.9, [0, 0, 0, 0.8, 0.2, 0, 0], "Ursus"),
        ("DEU", 0.9, [0, 0, 0, 1, 0, 0, 0], "Ursus arctos"),
        ("DEU", 0.9, [0.01, 0, 0, 0.7, 0.25, 0.01, 0.03], "Ursus"),
        ("DEU", 0.8, [0.1, 0, 0, 0.4, 0.21, 0.2, 0.09], "Ursidae"),
        ("DEU", 0.8, [0.23, 0, 0, 0.3, 0.2, 0.1, 0.17], "Carnivora"),
        # Sums that pass below: bears may not occur here.
        ("GBR", 0.4, [0, 0, 0, 0.1, 0.2, 0.2, 0.5], "Gallus gallus"),
        ("GBR", 0.4, [0.15, 0, 0, 0.1, 0.2, 0.2, 0.35], "Carnivora"),
    ],
)
def test_sums_that_pass_are_those_of_what_may_occur(
    make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder, tmp_path: Path,
    country: str, threshold: float, shares: list[float], answer: str,
) -> None:  # fmt: skip
    view = _make_view(make_store, encoder, np.array([shares]))
    question = _ask(view, _geofence(tmp_path), country=country)
    assert answer_deepest(view, question, threshold).names == (answer,)


def test_a_hen_is_no_dog_where_only_carnivores_may_occur(
    make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder
) -> None:
    shares = np.array([[0.02, 0.01, 0, 0.02, 0, 0, 0.95], [0.9, 0.05, 0, 0, 0.03, 0, 0.02]])
    view = _make_view(make_store, encoder, shares)
    question = _ask(view, read_checklists("Carnivora"))
    decided = answer_deepest(view, question, 0.65)
    assert decided.names == ("Chordata", "Panthera leo")
    np.testing.assert_allclose(decided.columns["share_outside"], [0.95, 0.02], atol=1e-4)
    assert decided.columns["best_outside"].tolist() == ["Gallus gallus"] * 2
    frame = decided.to_frame()
    assert frame["order"].tolist() == ["", "Carnivora"]
    assert frame["reason"].tolist() == [
        "phylum Chordata 1.000 >= 0.65; the list leaves out species Gallus gallus 0.950",
        "species Panthera leo 0.900 >= 0.65",
    ]
    found = answer_at_rank(view, _ask(view, read_checklists("Carnivora"), Rank.CLASS), 2)
    # Of birds nothing may occur, so one class is left.
    assert found.names.tolist() == [["Chordata", "Mammalia"], ["Mammalia", ""]]
    frame = found.to_frame()
    assert frame["class"].tolist() == ["", "Mammalia", "Mammalia"]
    np.testing.assert_allclose(frame["score"], [1, 0.05, 0.98], atol=1e-4)
    assert found.to_lines()["answer"].tolist() == ["Chordata", "Mammalia"]
    assert found.accuracy() == []


def test_the_rule_of_the_lowest_taxon_counts(view: View) -> None:
    listed = _ask(view, read_checklists("Carnivora, !Felidae, Panthera leo, hen")).listed
    assert listed is not None
    may = [_may(listed, taxon.name) for taxon in TAXA]
    assert may == [True, False, False, True, True, True, True]
    # What stands above something that may occur may be answered.
    assert _may(listed, "Felidae")
    blocked = _ask(view, read_checklists(["!Ursidae"])).listed
    assert blocked is not None
    assert [_may(blocked, taxon.name) for taxon in TAXA] == [True, True, True, *[False] * 3, True]
    assert not _may(blocked, "Ursus")


def test_images_of_different_places_have_different_lists(
    make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder, tmp_path: Path
) -> None:
    shares = np.tile([0.5, 0, 0, 0.3, 0, 0, 0.2], (4, 1))
    view = _make_view(
        make_store, encoder, shares, countryCode=["KE", "US", "", "FR"],
        stateProvince=["", "CA", "", ""],
    )  # fmt: skip
    path = tmp_path / "list.csv"
    path.write_text(
        "taxon,rule,country,admin1\nPanthera leo,allow,Kenya,\nUrsus arctos,allow,USA,US-CA\n"
        "Gallus gallus,allow,USA,\nGallus gallus,block,USA,CA\n"
    )
    tree = Tree(TAXA, Rank.SPECIES)
    listed, notes = restrict(view, [read_checklist(path)], tree, TAXA)
    texts = np.eye(len(TAXA), 16, dtype=np.float32)
    leaves = Leaves(texts, np.arange(len(TAXA)), np.arange(len(TAXA)))
    found = answer_at_rank(view, Question(tree, leaves, SCALE, {}, listed=listed), 3)
    assert found.names[:2].tolist() == [
        ["Panthera leo", "", ""], ["Carnivora", "Ursus arctos", ""]
    ]  # fmt: skip
    # Of an unknown place all that is allowed anywhere counts; of France the list says nothing.
    assert found.names[2].tolist() == ["Panthera leo", "Ursus arctos", "Gallus gallus"]
    assert "" not in found.names[3]
    np.testing.assert_allclose(found.columns["share_outside"], [0.5, 0.7, 0, 0], atol=1e-4)
    said = " ".join(map(str, notes))
    assert "says nothing of where 1 images were taken (FRA): everything may occur there" in said
    taken = found.take(np.array([1]))
    assert taken.listed is not None
    assert taken.listed.admits(taken.top_classes[:, 0]).all()


def test_names_that_no_candidate_has_are_told_with_near_ones(view: View, tmp_path: Path) -> None:
    path = tmp_path / "park.txt"
    path.write_text("Panthera leo\nPuma concolr\nDodo\n")
    _, notes = restrict(view, [read_checklist(path)], Tree(TAXA, Rank.SPECIES), TAXA)
    said = [str(note) for note in notes]
    assert said[0].startswith("warning: no candidate is or lies below 2 of the 3 names of ")
    assert said[0].endswith("Puma concolr (near: Puma concolor), Dodo")
    assert said[1].endswith("park.txt, 1 of 7 classes may occur")
    path.write_text("Dodo\nMoa\n")
    with pytest.raises(PromptError, match="none allows a candidate, such as 'Dodo'"):
        restrict(view, [read_checklist(path)], Tree(TAXA, Rank.SPECIES), TAXA)


GBIF = (
    "taxonKey\tscientificName\tacceptedTaxonKey\tacceptedScientificName\tnumberOfOccurrences\t"
    "taxonRank\ttaxonomicStatus\tkingdom\tclass\torder\tfamily\tgenus\tspecies\n"
    "1\tFelis leo Linnaeus, 1758\t2\tPanthera leo (Linnaeus, 1758)\t9\tSPECIES\tSYNONYM\tAnimalia\t"
    "Mammalia\tCarnivora\tFelidae\tPanthera\tPanthera leo\n"
    "3\tUrsus Linnaeus, 1758\t3\tUrsus Linnaeus, 1758\t2\tGENUS\tACCEPTED\tAnimalia\tMammalia\t"
    "Carnivora\tUrsidae\tUrsus\t\n"
)
EBIRD = (
    "TAXON_ORDER,CATEGORY,SPECIES_CODE,PRIMARY_COM_NAME,SCI_NAME,ORDER,FAMILY\n"
    '1,species,redjun,Red Junglefowl,Gallus gallus,Galliformes,"Phasianidae (Pheasants)"\n'
    "2,spuh,x,bird sp.,Aves sp.,,\n"
)
MY_EBIRD = (
    "Submission ID,Common Name,Scientific Name,Taxonomic Order,Count,State/Province,Location\n"
    "S1,Red Junglefowl,Gallus gallus,9,2,KE-110,Somewhere\n"
)
BAR_CHART = (
    "\nFrequency of observations in the selected location(s).:\t\nNumber of taxa: \t2\n\n"
    '\tJan\t\t\t\nRed Junglefowl (<em class="sci">Gallus gallus</em>)\t0.1\t0.2\n'
    'junglefowl sp. (<em class="sci">Gallus sp.</em>)\t0.1\t0.2\n'
)
PLAIN = "# our park\n1. Lion (Panthera leo)\npuma\n!Felis margarita\nUrsus maritimus - Polar bear\n"
LION, PUMA, BROWN, POLAR, HEN = (
    "Panthera leo", "Puma concolor", "Ursus arctos", "Ursus maritimus", "Gallus gallus"
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("gbif.csv", GBIF, {LION, BROWN, POLAR}),
        ("ebird.csv", EBIRD, {HEN}),
        ("MyEBirdData.csv", MY_EBIRD, {HEN}),
        ("chart.txt", BAR_CHART, {HEN}),
        ("park.txt", PLAIN, {LION, PUMA, POLAR}),
        ("bullets.txt", "- Panthera leo\n- puma\n", {LION, PUMA}),
        ("strokes.txt", "Ursidae\n-Ursus\n", {"Ailuropoda melanoleuca"}),
        ("dwc.csv", "scientificName,taxonRank,occurrenceStatus\nFelidae,family,present\n"
                    "\"Panthera leo (L., 1758)\",species,absent\n", {PUMA, "Felis margarita"}),
        ("any.csv", "scientificName\nAves\nPanthera leo persica\n", {HEN, LION}),
        ("common.csv", "common_name\nLion\nBROWN  BEAR\n", {LION, BROWN}),
        ("bare.csv", "Panthera leo\nUrsus arctos\n", {LION, BROWN}),
        ("fixes.csv", "species,rule,country_code,admin1_region_code\n"
                      "mammalia;carnivora;felidae;;,allow,,\n"
                      "mammalia;carnivora;felidae;panthera;leo,block,,\n",
         {PUMA, "Felis margarita"}),
        ("entries.json", '["Panthera leo", "!puma"]', {LION}),
        ("table.txt", "# ours\ntaxon,rule\nPanthera leo,block\nFelidae,allow\n",
         {PUMA, "Felis margarita"}),
        ("header.txt", "Scientific name\nUrsus arctos\n", {BROWN}),
        ("pairs.txt", "Ursus arctos, Brown bear\nUrsus maritimus, IUCN\n", {BROWN, POLAR}),
        ("reversed.csv", "species,block\nUrsus arctos,TRUE\nPanthera leo,FALSE\n", {LION}),
        ("floats.csv", "species,present\nUrsus arctos,0.0\nPanthera leo,1.0\n", {LION}),
        ("gone.csv", "species,status\nUrsus arctos,Locally extinct\nPuma concolor,not present\n"
                     "Panthera leo,Not Evaluated\n", {LION}),
        ("synonyms.csv", "taxonID,scientificName,acceptedNameUsage,taxonomicStatus\n"
                         "1,Felis leo Linnaeus,\"Panthera leo (L., 1758)\",synonym\n", {LION}),
        ("ids.csv", "taxonID,scientificName,acceptedNameUsageID,genus,taxonRank\n"
                    "1,Felis leo,2,Felis,species\n2,Panthera leo,2,Panthera,species\n", {LION}),
        # The candidates may have the older name.
        ("newer.csv", "scientificName,acceptedNameUsage\nFelis margarita,Otocolobus margarita\n",
         {"Felis margarita"}),
        # A record of a bear, and the rows of a tree, are of what was found below.
        ("records.csv", "gbifID,class,order,family,genus,species,taxonRank\n"
                        "1,Mammalia,Carnivora,Ursidae,Ursus,Ursus arctos,SPECIES\n"
                        "2,Mammalia,Carnivora,Ursidae,,,FAMILY\n3,Mammalia,,,,,CLASS\n", {BROWN}),
        ("tree.csv", "taxonID,parentNameUsageID,scientificName,taxonRank\n1,,Felidae,family\n"
                     "2,1,Puma,genus\n3,2,Puma concolor,species\n", {PUMA}),
        ("breed.csv", "taxon,rule\nUrsidae,allow\nUrsus arctos horribilis,block\n",
         {BROWN, POLAR, "Ailuropoda melanoleuca"}),
        ("marks.txt", "Panthera leo*\nUrsus arctos ?\n\u2020Puma concolor\n", {LION, BROWN, PUMA}),
        ("marks.csv", "scientificName,n\nUrsus arctos*,1\nPanthera leo\u00b2,2\n", {LION, BROWN}),
        ("MyOther.csv", "Submission ID,Common Name,Scientific Name\nS1,Brown Bear,Ursus arctos\n"
                        "S1,bear sp.,Ursus sp.\nS1,cats,Felis margarita/silvestris\n", {BROWN}),
        ("records.json", '[{"family": "Ursidae"}]', {BROWN, POLAR, "Ailuropoda melanoleuca"}),
    ],
)  # fmt: skip
def test_lists_are_read_as_people_have_them(
    view: View, tmp_path: Path, name: str, text: str, allowed: set[str]
) -> None:
    path = tmp_path / name
    path.write_text(text)
    lists = [read_checklist(path)]
    if name.endswith(".csv"):
        packed = tmp_path / "list.zip"
        with zipfile.ZipFile(packed, "w") as made:
            made.write(path, name)
        lists.append(read_checklist(packed))
    for one in lists:
        listed, _ = restrict(view, [one], Tree(TAXA, Rank.SPECIES), TAXA)
        assert {t.name for t, may in zip(TAXA, listed.leaves[0], strict=True) if may} == allowed


def test_a_darwin_core_archive_says_where(view: View, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as made:
        made.writestr("meta.xml", "<archive/>")
        made.writestr("taxon.txt", "taxonID\tscientificName\ttaxonRank\n1\tPanthera leo\tspecies\n"
                                   "2\tGallus gallus\tspecies\n")  # fmt: skip
        made.writestr("distribution.txt", "taxonID\tcountryCode\toccurrenceStatus\n"
                                          "1\tKE\tpresent\n2\tKE\tabsent\n"
                                          "2\tIN\tpresent\n")  # fmt: skip
    lists = [read_checklist(tmp_path / "archive.zip")]
    for country, name in (("KEN", "Panthera leo"), ("IND", "Gallus gallus")):
        listed = _ask(view, lists, country=country).listed
        assert listed is not None
        assert [t.name for t, may in zip(TAXA, listed.leaves[0], strict=True) if may] == [name]


def test_a_taxon_above_what_was_found_may_be_answered_itself(view: View, tmp_path: Path) -> None:
    path = tmp_path / "gbif.csv"
    path.write_text("gbifID,order,family,species\n1,Carnivora,Ursidae,Ursus arctos\n"
                    "2,Carnivora,Ursidae,\n")  # fmt: skip
    listed = _ask(view, [read_checklist(path)]).listed
    assert listed is not None
    assert _may(listed, "Ursidae")
    assert not _may(listed, "Ursus maritimus")


@pytest.mark.parametrize("ending", ["xlsx", "xlsm", "ods"])
def test_a_workbook_is_a_list_and_no_zip_of_one(tmp_path: Path, ending: str) -> None:
    path, names = tmp_path / f"list.{ending}", ["Panthera leo", "Ursus arctos"]
    if ending == "ods":
        write_workbook(path, {"list": [["species"], *([name] for name in names)]})
    else:
        pd.DataFrame({"species": names}).to_excel(path, index=False, engine="xlsxwriter")
    assert [rule.names[0] for rule in read_checklist(path).rules] == names


def test_countries_are_read_as_people_write_them() -> None:
    written = [
        "tz",
        "TZA",
        "Tanzania",
        "the United States",
        "UK",
        "Côte d'Ivoire",
        "Viet Nam",
        "Congo",
    ]
    assert [read_place(one)[0] for one in written] == [
        "TZA", "TZA", "TZA", "USA", "GBR", "CIV", "VNM", "COG",
    ]  # fmt: skip
    assert read_place("Korea")[0] == "korea"


def test_a_cell_of_several_countries_counts_in_each(view: View, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text('species,country\nPanthera leo,"Kenya; Tanzania"\nGallus gallus,IN|KE\n')
    lists = [read_checklist(path)]
    listed = _ask(view, lists, country="TZ").listed
    assert listed is not None
    assert [t.name for t, may in zip(TAXA, listed.leaves[0], strict=True) if may] == [LION]


def test_a_list_that_blocks_all_that_it_allows_says_so(view: View) -> None:
    with pytest.raises(PromptError, match=r"leaves nothing that may occur: 2 of its 2 rules name"):
        _ask(view, read_checklists("Felidae,!Felidae"))


def test_what_is_no_list_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    for text, message in [
        ("a,b\n1,2\n", "has no column of names among a, b"),
        ("species\n", "names no taxon"),
        ("taxon,rule\nFelidae,perhaps\n", "row 1: the rule is 'perhaps'; expected allow or block"),
    ]:
        path.write_text(text)
        with pytest.raises(TaxonomyError, match=message):
            read_checklist(path)
    (tmp_path / "odd.json").write_text('{"lion": {"permit": {}}}')
    with pytest.raises(TaxonomyError, match=r"the entry 'lion' is .*expected a geofence"):
        read_checklist(tmp_path / "odd.json")
    with pytest.raises(TaxonomyError, match=r"no list at gone\.csv, given by --within"):
        read_checklists(["Felidae", "gone.csv"])
    with pytest.raises(TaxonomyError, match="--within names no taxon"):
        read_checklists(" , ")


def test_a_list_of_species_allows_the_families_that_are_asked_for(view: View) -> None:
    families = TAXA.at(Rank.FAMILY)
    lists = read_checklists(["Panthera leo", "!Ursus arctos"])
    listed, _ = restrict(view, lists, Tree(families, Rank.FAMILY), TAXA)
    assert [t.name for t, may in zip(families, listed.leaves[0], strict=True) if may] == ["Felidae"]
    assert len(listed.levels) == len(RANKS[: Rank.FAMILY.depth + 1])


def test_taxa_are_given_always_and_at_every_rank(
    make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder
) -> None:
    shares = np.array([[0.5, 0.2, 0.1, 0.1, 0.05, 0.03, 0.02], [0.02, 0, 0, 0, 0, 0.03, 0.95]])
    view = _make_view(make_store, encoder, shares)
    question = _ask(view, read_checklists("Animalia"))
    wanted, _ = Wanted.of(read_checklists("Ursidae, hen, lion", "--also"), question.tree)
    question = dataclasses.replace(question, wanted=wanted, listed=None)
    found = answer_every_rank(view, question, 1)
    frame = found.to_frame()
    first = frame[frame["row"] == 0]
    assert first["rank"].tolist() == [*map(str, RANKS), "family", "species"]
    assert first["also"].tolist() == [False] * 6 + [True] * 3
    assert first["score"].tolist() == pytest.approx(
        [1, 1, 0.98, 0.98, 0.8, 0.5, 0.5, 0.18, 0.02], abs=1e-4
    )
    # What is among the best is marked, and not given twice.
    second = frame[frame["row"] == 1]
    assert second["species"].tolist()[-3:] == ["Gallus gallus", "", "Panthera leo"]
    assert len(found.take(np.array([1])).to_frame()) == 9
    decided = answer_deepest(view, question, 0.6).to_frame()
    names = ["family", "species", "family", "species", "species", "family", "species"]
    assert decided["rank"].tolist() == names
    assert decided["score"].tolist() == pytest.approx(
        [0.8, 0.5, 0.18, 0.02, 0.95, 0.03, 0.02], abs=1e-4
    )


def test_ranks_without_a_name_are_passed_over(view: View) -> None:
    taxa = Taxonomy(tuple(Taxon(("", "", "", *taxon.lineage[3:])) for taxon in TAXA))
    listed, _ = restrict(view, read_checklists("Felidae"), Tree(taxa, Rank.SPECIES), taxa)
    assert listed.leaves[0].tolist() == [True] * 3 + [False] * 4
    to, _ = listed.climb(np.array([6, 6]), np.array([3, 6]), np.array([0, 0]))
    # Above the bear is what holds a cat; above the hen nothing is.
    assert to.tolist() == [Rank.ORDER.depth, -1]
