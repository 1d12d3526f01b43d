"""The tree that the sketch model is taught is real and rich, and holds unseen species out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bioprobe.errors import TaxonomyError
from bioprobe.files import prompts_dir
from bioprobe.sketch.drawing import FORMS
from bioprobe.sketch.tree import COLOURS, PATTERNS, RANKS, Look, SketchSpecies, read_species
from scripts.sketch.captions import NOUNS, caption_look
from scripts.sketch.chimeras import draw_chimera_look, find_lineages

SPECIES = read_species()
TRAINED = [one for one in SPECIES if one.role == "trained"]
UNSEEN = [one for one in SPECIES if one.role == "unseen"]


def test_the_tree_spans_five_phyla_and_enough_families() -> None:
    assert {one.at("phylum") for one in SPECIES} == {
        "Chordata",
        "Arthropoda",
        "Cnidaria",
        "Mollusca",
        "Echinodermata",
    }
    assert len(TRAINED) >= 28
    assert len(UNSEEN) >= 8
    assert len({one.at("family") for one in TRAINED}) >= 12


def test_the_table_starts_with_the_ranks() -> None:
    path = prompts_dir() / "taxonomies" / "sketch.csv"
    header = path.read_text(encoding="utf-8").splitlines()[0].split(",")
    assert header[:8] == [*RANKS, "common_name"]
    assert {"description", "role"} <= set(header)


def test_names_and_looks_are_unique() -> None:
    assert len({one.name for one in SPECIES}) == len(SPECIES)
    assert len({one.common_name for one in SPECIES}) == len(SPECIES)
    assert len({one.look for one in SPECIES}) == len(SPECIES)


@pytest.mark.parametrize("one", SPECIES, ids=lambda one: one.name)
def test_a_lineage_is_whole_and_its_binomial_starts_with_the_genus(one: SketchSpecies) -> None:
    assert len(one.lineage) == len(RANKS)
    assert all(one.lineage)
    assert one.name.split()[0] == one.at("genus")
    assert len(one.name.split()) == 2


@pytest.mark.parametrize("rank", RANKS[1:-1])
def test_a_taxon_has_one_parent(rank: str) -> None:
    level = RANKS.index(rank)
    parents: dict[str, set[str]] = {}
    for one in SPECIES:
        parents.setdefault(one.lineage[level], set()).add(one.lineage[level - 1])
    assert all(len(found) == 1 for found in parents.values())


def test_a_form_belongs_to_one_family() -> None:
    families: dict[str, set[str]] = {}
    for one in SPECIES:
        families.setdefault(one.look.form, set()).add(one.at("family"))
    assert all(len(found) == 1 for found in families.values())
    assert set(families) == set(FORMS) == set(NOUNS)


@pytest.mark.parametrize("one", UNSEEN, ids=lambda one: one.name)
def test_an_unseen_species_is_a_new_combination_of_known_parts(one: SketchSpecies) -> None:
    trained = {other.look for other in TRAINED}
    assert one.look not in trained
    assert one.at("family") in {other.at("family") for other in TRAINED}
    elsewhere = [look for look in trained if look.form != one.look.form]
    assert one.look.colour in {look.colour for look in elsewhere}
    assert one.look.pattern in {look.pattern for look in elsewhere}


def test_chimeras_never_look_like_a_real_species() -> None:
    rng = np.random.default_rng(0)
    real = {one.look for one in SPECIES}
    drawn = {draw_chimera_look(rng, real) for _ in range(5_000)}
    assert not drawn & real
    assert {look.form for look in drawn} == set(FORMS)
    assert {look.colour for look in drawn} == set(COLOURS)
    assert {look.second_colour for look in drawn} == {*COLOURS, ""}
    assert {look.pattern for look in drawn} == set(PATTERNS)


def test_chimera_sampler_skips_the_only_look_it_would_draw() -> None:
    rng = np.random.default_rng(0)
    banned = {Look("cat", colour, "", "plain") for colour in COLOURS}
    drawn = [draw_chimera_look(rng, banned, "cat") for _ in range(200)]
    assert all(look.pattern != "plain" for look in drawn)


def test_a_full_description_claims_the_whole_look() -> None:
    lineages, rng = find_lineages(SPECIES), np.random.default_rng(0)
    for one in SPECIES:
        facts = caption_look(one.look, lineages[one.look.form], rng, full=True).facts
        assert facts["colour"] == one.look.colour
        assert facts["pattern"] == one.look.pattern
        assert facts.get("second_colour", "") == one.look.second_colour


@pytest.mark.parametrize(
    ("colour", "second_colour", "pattern", "message"),
    [
        ("mauve", "", "plain", "colour 'mauve' is unknown"),
        ("red", "mauve", "spots", "colour 'mauve' is unknown"),
        ("red", "", "tartan", "pattern 'tartan' is unknown"),
        ("red", "blue", "plain", "only a plain animal"),
        ("red", "", "spots", "only a plain animal"),
    ],
)
def test_a_look_that_cannot_be_drawn_is_refused(
    colour: str, second_colour: str, pattern: str, message: str
) -> None:
    with pytest.raises(TaxonomyError, match=message):
        Look("cat", colour, second_colour, pattern)


def test_an_unknown_role_is_refused(tmp_path: Path) -> None:
    path = prompts_dir() / "taxonomies" / "sketch.csv"
    header, first = path.read_text(encoding="utf-8").splitlines()[:2]
    table = tmp_path / "tree.csv"
    table.write_text(f"{header}\n{first.replace(',trained', ',tested')}\n", encoding="utf-8")
    with pytest.raises(TaxonomyError, match="expected trained or unseen"):
        read_species(table)
