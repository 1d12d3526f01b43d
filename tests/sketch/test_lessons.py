"""What is said of a training picture is true of it, and is known to be true of others too."""

from __future__ import annotations

import numpy as np

from bioprobe.sketch.scenes import SCENES
from bioprobe.sketch.tree import COLOURS, Look, read_species
from scripts.sketch.chimeras import find_lineages
from scripts.sketch.lessons import Subject, Teacher, match

SPECIES = read_species()
LINEAGES = find_lineages(SPECIES)


def _teacher() -> Teacher:
    trained = [one for one in SPECIES if one.role == "trained"]
    subjects = [Subject(one.look, one) for one in trained]
    subjects += [Subject(Look("cat", "pink", "", "plain")), Subject(scene="map")]
    return Teacher(subjects, LINEAGES, np.random.default_rng(0))


def test_a_caption_is_true_where_all_its_claims_hold() -> None:
    pictures = np.array([[1, 5], [1, 6], [2, -2]])
    captions = np.array([[1, -1], [1, 6], [-1, -1], [-1, 5]])
    expected = [
        [True, False, True, True],
        [True, True, True, False],
        [False, False, True, False],
    ]
    assert match(pictures, captions).tolist() == expected


def test_what_is_said_of_a_picture_is_true_and_the_rest_is_false() -> None:
    teacher = _teacher()
    rows = np.arange(len(teacher.facts))
    for _ in range(20):
        texts, places, claims = teacher.say(rows)
        true = match(teacher.facts[rows], claims)
        said = places >= 0
        assert len(texts) == len(places) == len(claims)
        assert true[places[said], np.flatnonzero(said)].all()
        assert all(isinstance(text, str) and text for text in texts)


def test_a_false_description_is_false_of_its_own_picture() -> None:
    teacher = Teacher([Subject(SPECIES[0].look, SPECIES[0])], LINEAGES, np.random.default_rng(0))
    for _ in range(50):
        _, places, claims = teacher.say(np.array([0]))
        false = match(teacher.facts, claims)[0, places == -1]
        assert len(false) == 1
        assert not false.any()


def test_unseen_names_are_never_said() -> None:
    teacher = _teacher()
    rows = np.arange(len(teacher.facts))
    said = " | ".join(text for _ in range(30) for text in teacher.say(rows)[0])
    unseen = [one for one in SPECIES if one.role == "unseen"]
    assert all(one.name not in said for one in unseen)
    assert all(one.name in said for one in SPECIES if one.role == "trained")


def test_a_scene_is_only_said_not_to_be_an_animal() -> None:
    teacher = Teacher([Subject(scene=kind) for kind in SCENES], LINEAGES, np.random.default_rng(0))
    texts, places, _ = teacher.say(np.arange(len(SCENES)))
    assert len(texts) == 2 * len(SCENES)
    assert (places >= 0).all()


def test_held_out_looks_are_never_described() -> None:
    lion = SPECIES[2]
    others = {Look("cat", colour, "", "plain") for colour in COLOURS} - {lion.look}
    rng = np.random.default_rng(0)
    teacher = Teacher([Subject(lion.look, lion)], LINEAGES, rng, frozenset(others))
    texts = [
        text
        for _ in range(100)
        for text, place in zip(*teacher.say(np.array([0]))[:2], strict=True)
        if place == -1
    ]
    assert len(texts) == 100
    marks = ("with", "-spotted", "-striped", "-banded", "-patched", "-edged", "-lined", "-b")
    assert all(any(mark in text for mark in marks) for text in texts)
