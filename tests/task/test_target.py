from __future__ import annotations

from bioprobe.task.target import find_classes
from bioprobe.taxonomy import Rank, Taxon


def _lineage(species: str, genus: str = "") -> tuple[str, ...]:
    return ("", "", "", "", "", genus, species)


def test_a_label_is_a_class_in_any_capitals() -> None:
    classes = [Taxon.from_names({"genus": "Diplodocus"}), Taxon.from_names({"genus": "diplodocus"})]
    lineages = [_lineage("", name) for name in ("diplodocus", "Diplodocus", "DIPLODOCUS", "Other")]
    assert find_classes(lineages, classes[:1], Rank.GENUS).tolist() == [0, 0, 0, -1]
    # Where both forms are classes each label is its own.
    assert find_classes(lineages[:2], classes, Rank.GENUS).tolist() == [1, 0]


def test_a_subspecies_counts_as_its_species_where_it_is_no_class() -> None:
    dog, wolf = (
        Taxon.from_names({"species": name}) for name in ("Canis lupus familiaris", "Canis lupus")
    )
    asked = [_lineage("Canis lupus familiaris", "Canis"), _lineage("Canis lupus lupus", "Canis")]
    assert find_classes(asked, [wolf], Rank.SPECIES).tolist() == [0, 0]
    assert find_classes(asked, [wolf, dog], Rank.SPECIES).tolist() == [1, 0]
