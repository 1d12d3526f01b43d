from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioprobe.errors import MisuseError, SelectionError, TaxonomyError
from bioprobe.learning.fit import fit_probe
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.task.prior import Prior, Weighed, read_prior
from bioprobe.task.target import Classes
from bioprobe.task.task import Task
from bioprobe.taxonomy import Rank, Taxon
from tests.conftest import PlainEncoder

CATS = {"kingdom": "Animalia", "order": "Carnivora", "family": "Felidae"}
DOGS = {"kingdom": "Animalia", "order": "Carnivora", "family": "Canidae"}
LEO, LYNX, LUPUS = ("Panthera leo", "Lynx lynx", "Canis lupus")
TAXA = tuple(
    Taxon.from_names({**above, "species": name}, common_name=common)
    for above, name, common in ((CATS, LEO, "lion"), (CATS, LYNX, "lynx"), (DOGS, LUPUS, "wolf"))
)
SPECIES = Classes.of(TAXA, Rank.SPECIES)
Write = Callable[..., Prior]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(text: str, name: str = "prior.csv", *, floor: float = 0.01) -> Prior:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return read_prior(path, floor=floor)

    return make


@pytest.fixture
def view(make_store: Callable[..., EmbeddingStore]) -> View:
    """Return four pictures: two of one site, one of another, one of none."""
    frame = pd.DataFrame(
        {
            "path": [f"{number}.jpg" for number in range(4)],
            "sha256": [str(number) for number in range(4)],
            "Site": ["A", "A", "b ", ""],
            "captured_at": ["2024-05-01T08:00:00", "2024-06-01", "2024-05-09", ""],
            **{name: [value] * 4 for name, value in CATS.items()},
            "genus": "Lynx",
            "species": LYNX,
        }
    )
    return View.of(make_store(PlainEncoder(dim=4)).append(frame, np.eye(4)))


def weigh(prior: Prior, view: View, classes: Classes = SPECIES) -> list[list[float]]:
    found = prior.weigh(classes, view)
    rows: list[list[float]] = np.round(found.lines[found.kinds].astype(np.float64), 4).tolist()
    return rows


@pytest.mark.parametrize(
    "text",
    [
        f"taxon,weight\n{LEO},1\n{LYNX},0.25\n",
        f"species;frequency\n{LEO};0,8\n{LYNX};0,2\n",
        f"scientificName\tcount\n{LEO}\t40\n{LYNX}\t10\n",
        "name,percent\nlion,80%\nLYNX,0.2\n",
        f"species,numberOfOccurrences,taxonomicStatus\n{LEO},40,ACCEPTED\n{LYNX},10,ACCEPTED\n"
        f"{LUPUS},90,SYNONYM\n",
        f"taxon,n,season\n{LEO},40,wet\n{LYNX},4,wet\n{LYNX},6,dry\n",
    ],
)
def test_weights_are_read_as_people_write_them(text: str, write: Write, view: View) -> None:
    assert weigh(write(text), view) == [[1, 0.25, 0.01]] * 4


def test_json_is_read_too(write: Write, view: View) -> None:
    text = f'[{{"species": "{LEO}", "weight": 2}}, {{"species": "{LYNX}", "weight": 1}}]'
    assert weigh(write(text, "prior.json"), view)[0] == [1, 0.5, 0.01]


def test_the_floor_is_of_the_greatest_class_that_is_asked(write: Write, view: View) -> None:
    prior = write(f"taxon,weight\nParus major,1000\n{LEO},4\n{LYNX},1\n{LUPUS},0\n", floor=0.5)
    assert weigh(prior, view)[0] == [1, 0.5, 0.5]
    for floor in (0.0, -1.0, 2.0, float("nan")):
        with pytest.raises(MisuseError, match="never forbids"):
            write(f"taxon,weight\n{LEO},1\n", floor=floor)


def test_the_lowest_listed_taxon_above_counts(write: Write, view: View) -> None:
    prior = write(f"taxon,weight\nCarnivora,4\nFelidae,2\n{LYNX},1\n")
    assert weigh(prior, view)[0] == [0.5, 0.25, 1]


def test_what_lies_below_a_class_adds_up(write: Write, view: View) -> None:
    families = Classes.of([Taxon.from_names(CATS), Taxon.from_names(DOGS)], Rank.FAMILY)
    prior = write(f"family,species,weight\nFelidae,{LEO},1\nFelidae,{LYNX},3\nCanidae,{LUPUS},8\n")
    assert weigh(prior, view, families)[0] == [0.5, 1]
    # What labels know of a species is known of one without a lineage.
    assert weigh(write(f"taxon,weight\n{LYNX},2\n"), view, families)[0] == [1, 0.01]


def test_homonyms_are_told_apart(write: Write, view: View) -> None:
    genera = [{"kingdom": one, "genus": "Morus"} for one in ("Animalia", "Plantae")]
    classes = Classes.of(map(Taxon.from_names, genera), Rank.GENUS)
    assert weigh(write("kingdom,genus,weight\nPlantae,Morus,3\n"), view, classes)[0] == [0.01, 1]


def test_a_subspecies_that_is_no_class_counts_for_its_species(write: Write, view: View) -> None:
    assert weigh(write("taxon,weight\nPanthera leo persica,2\n"), view)[0] == [1, 0.01, 0.01]


def test_each_place_has_its_own_weights(write: Write, view: View) -> None:
    prior = write(f"taxon,site,weight\n{LEO},a,8\n{LYNX},a,2\n{LYNX},B,5\n{LUPUS},c,1\n")
    found = prior.weigh(SPECIES, view)
    assert weigh(prior, view) == [[1, 0.25, 0.01]] * 2 + [[0.01, 1, 0.01], [1, 1, 1]]
    assert found.has_prior.tolist() == [True, True, True, False]
    assert found.describe()["by"] == ["site"]
    said = [str(note) for note in found.list_notes(SPECIES.names)]
    assert any("1 of 4 images have no prior" in one and "not known (1)" in one for one in said)


def test_an_empty_cell_is_any_place_and_narrower_rows_win(write: Write, view: View) -> None:
    prior = write(f"taxon,site,month,weight\n{LEO},,,2\n{LEO},a,,4\n{LYNX},,,4\n{LEO},a,6,8\n")
    assert weigh(prior, view) == [[1, 1, 0.01], [1, 0.5, 0.01], [0.5, 1, 0.01], [0.5, 1, 0.01]]


def test_the_month_is_that_of_the_picture(write: Write, view: View) -> None:
    prior = write(f"taxon,month,weight\n{LEO},May,2\n{LYNX},05,1\n{LUPUS},June,1\n{LEO},13,1\n")
    found = prior.weigh(SPECIES, view)
    assert weigh(prior, view) == [[1, 0.5, 0.01], [0.01, 0.01, 1], [1, 0.5, 0.01], [1, 1, 1]]
    said = " ".join(str(note) for note in found.list_notes(SPECIES.names))
    assert "the month of each picture is that of captured_at" in said
    assert "line 5: '13' is no month" in said


def test_a_column_that_the_pictures_lack_is_said(write: Write, view: View) -> None:
    prior = write(f"taxon,region,weight\n{LEO},N,1\n{LEO},S,1\n{LYNX},N,4\n")
    assert weigh(prior, view)[0] == [0.5, 1, 0.01]
    notes = prior.weigh(SPECIES, view).list_notes(SPECIES.names)
    assert any("the pictures no such column" in str(note) for note in notes)
    wide = write(f"taxon,region,weight\n{LEO},N,9\n{LEO},,1\n{LYNX},S,2\n{LYNX},N,2\n")
    assert weigh(wide, view)[0] == [0.25, 1, 0.01]
    other = write(f"taxon,collector,weight\n{LEO},N,1\n{LEO},S,1\n{LYNX},N,4\n")
    said = other.weigh(SPECIES, view).list_notes(SPECIES.names)
    assert "rows of a taxon that differ in collector are added up" in said


def test_rows_and_taxa_that_do_not_count_are_named(write: Write, view: View) -> None:
    prior = write(f"taxon,weight\n{LEO},1\n{LYNX},many\n{LUPUS},-2\n,3\nPanthera leoo,2\nPinus,1\n")
    said = " ".join(str(note) for note in prior.weigh(SPECIES, view).list_notes(SPECIES.names))
    assert "3 rows of" in said
    assert "line 3: the weight 'many' is no number" in said
    assert "line 5: no taxon" in said
    assert "2 taxa of" in said
    assert "Panthera leoo (near: Panthera leo), Pinus" in said


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (f"taxon,site\n{LEO},a\n", "no column of weights among taxon, site"),
        ("place,weight\na,1\n", "no column of taxa among place"),
        (f"taxon,weight\n{LEO},x\n", "no row that counts"),
        ("taxon,weight\n", "it is empty"),
    ],
)
def test_what_is_no_table_of_weights_is_refused(text: str, error: str, write: Write) -> None:
    with pytest.raises(TaxonomyError, match=error):
        write(text)


def test_a_table_of_other_taxa_is_refused(write: Write, view: View, tmp_path: Path) -> None:
    with pytest.raises(SelectionError, match=r"none of the 1 taxa .*Lynx lynxx is near Lynx lynx"):
        write("taxon,weight\nLynx lynxx,1\n").weigh(SPECIES, view)
    with pytest.raises(TaxonomyError, match="no table of weights at"):
        read_prior(tmp_path / "gone.csv")


def test_what_is_no_taxon_keeps_its_probability(write: Write, view: View) -> None:
    classes = Classes(("deer", "fox", "blank"), level="label")
    prior = write("label,weight\nDeer,1\nfox,4\n")
    found = prior.weigh(classes, view)
    asked = np.array([[0.4, 0.1, 0.5]] * 4, dtype=np.float32)
    np.testing.assert_allclose(found.apply(asked)[0], [0.25, 0.25, 0.5], atol=1e-6)
    top = np.tile(np.arange(3), (4, 1))
    assert np.isnan(found.list_weights(top)[:, 2]).all()
    assert np.isfinite(found.list_weights(top)[:, :2]).all()
    listed = write("label,weight\ndeer,1\nblank,1\n").weigh(classes, view)
    assert listed.moved.all()


def test_classes_that_stand_for_taxa_have_their_weights(write: Write, view: View) -> None:
    meant = ((TAXA[0], TAXA[1]), (TAXA[2],))
    classes = Classes(("a big cat", "a wolf"), meant=meant)
    assert weigh(write(f"taxon,weight\n{LEO},1\n{LYNX},1\n{LUPUS},4\n"), view, classes)[0] == [
        0.5,
        1,
    ]


@pytest.fixture
def weighed(write: Write, view: View) -> Weighed:
    return write(f"taxon,site,weight\n{LEO},a,1\n{LYNX},a,2\n").weigh(SPECIES, view)


def test_probabilities_are_multiplied_and_add_up_to_one(weighed: Weighed) -> None:
    asked = np.array([[0.6, 0.3, 0.1]] * 4, dtype=np.float32)
    found = weighed.apply(asked)
    by_hand = np.array([0.6 * 0.5, 0.3, 0.1 * 0.01])
    np.testing.assert_allclose(found[0], by_hand / by_hand.sum(), rtol=1e-5)
    np.testing.assert_array_equal(found[2], asked[2])  # no prior there
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(weighed.apply(asked[1:3], slice(1, 3)), found[1:3])


def test_a_certain_answer_stays_where_all_others_are_impossible(weighed: Weighed) -> None:
    asked = np.array([[0, 0, 1]] * 4, dtype=np.float32)
    np.testing.assert_array_equal(weighed.apply(asked), asked)


def test_a_group_has_the_greatest_weight_of_its_classes(weighed: Weighed) -> None:
    grouped = weighed.group(np.array([0, 0, -1]), 2)
    assert grouped.lines[:, 0].max() == 1
    assert grouped.moved.tolist() == [True, False]


def test_a_prior_acts_before_the_best_are_cut(families: EmbeddingStore, tmp_path: Path) -> None:
    probe = fit_probe(Task.of(families, Rank.FAMILY, split=None), "lda")
    path = tmp_path / "prior.csv"
    names = probe.classes.short_names
    path.write_text(
        "family,weight\n" + "".join(f"{name},{1 + n}\n" for n, name in enumerate(names))
    )
    prior = read_prior(path)
    view = View.of(families)
    weights = np.arange(1, len(names) + 1) / len(names)
    dense = probe.ask(view, len(names)).to_dense() * np.maximum(weights, 0.01)
    best = probe.with_prior(prior).ask(view, 1)
    np.testing.assert_array_equal(best.top_classes[:, 0], dense.argmax(axis=1))
    np.testing.assert_allclose(
        best.scores[:, 0], (dense / dense.sum(axis=1, keepdims=True)).max(axis=1), rtol=1e-4
    )
    np.testing.assert_allclose(best.columns["prior"], weights[best.top_classes], rtol=1e-6)
    assert best.provenance.options["prior"]["sha256"] == prior.sha256
    assert dataclasses.replace(probe, prior=None).ask(view, 1).columns == {}
