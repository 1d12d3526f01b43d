"""What the sketch model is shown in training, and what it is told of each picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bioprobe.sketch.drawing import FORMS
from bioprobe.sketch.tree import RANKS, Look, SketchSpecies
from scripts.sketch.captions import (
    ATTRIBUTES,
    Caption,
    Facts,
    caption_generic,
    caption_look,
    caption_scene,
    caption_species,
)
from scripts.sketch.chimeras import caption_chimera, draw_chimera_look


@dataclass(frozen=True)
class Subject:
    """Say what a training picture shows.

    Parameters
    ----------
    look : Look, optional
        The animal's look; none for a scene.
    species : SketchSpecies, optional
        The species, where the animal exists.
    scene : str, default ""
        A key of ``bioprobe.sketch.scenes.SCENES``, where there is no animal.
    """

    look: Look | None = None
    species: SketchSpecies | None = None
    scene: str = ""


class Teacher:
    """Choose pictures and say things about them.

    Parameters
    ----------
    subjects : list of Subject
        What the pictures show.
    lineages : dict of str to tuple
        Kingdom to family by form.
    rng : numpy.random.Generator
        Source of every choice.
    held_out : frozenset of Look, optional
        Looks that are not described either, not even where the description is false.
    """

    def __init__(
        self,
        subjects: list[Subject],
        lineages: dict[str, tuple[str, ...]],
        rng: np.random.Generator,
        held_out: frozenset[Look] = frozenset(),
    ) -> None:
        self._held_out = held_out
        self._subjects = subjects
        self._lineages = lineages
        self.rng = rng
        self._codes: dict[tuple[str, str], int] = {}
        self.facts = np.stack([self._encode(self._facts_of(one), absent=-2) for one in subjects])
        forms = np.array([one.look.form if one.look else "" for one in subjects])
        self._by_form = [np.flatnonzero(forms == form) for form in FORMS]
        self._species_rows = np.flatnonzero([one.species is not None for one in subjects])

    def choose(self, batch_size: int) -> NDArray[np.int64]:
        """Choose a batch.

        Parameters
        ----------
        batch_size : int
            Pictures wanted.

        Returns
        -------
        ndarray of int64, shape (batch_size,)
            Rows of the subjects: a third from three forms in every colour, which are hard to tell
            apart; a third species; the rest anything.
        """
        near = self.rng.choice(len(self._by_form), 3, replace=False)
        pool = np.concatenate([self._by_form[int(i)] for i in near])
        third = batch_size // 3
        rows = [self.rng.choice(pool, third), self.rng.choice(self._species_rows, third)]
        rows.append(self.rng.integers(0, len(self._subjects), batch_size - 2 * third))
        return np.concatenate(rows)

    def say(
        self, rows: NDArray[np.int64]
    ) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
        """Say things about a batch of pictures.

        Parameters
        ----------
        rows : ndarray of int64, shape (n_images,)
            Rows of the subjects.

        Returns
        -------
        texts : list of str
            Captions, several a picture.
        places : ndarray of int64, shape (n_texts,)
            Place in the batch of the picture that each was said of; -1 for a false description.
        facts : ndarray of int64, shape (n_texts, n_attributes)
            What each claims; see ``match``.
        """
        texts: list[str] = []
        places: list[int] = []
        facts: list[NDArray[np.int64]] = []
        for place, row in enumerate(rows):
            for caption, own in self._captions(self._subjects[int(row)]):
                texts.append(caption.text)
                places.append(place if own else -1)
                facts.append(self._encode(caption.facts, absent=-1))
        return texts, np.array(places), np.stack(facts)

    def _captions(self, subject: Subject) -> list[tuple[Caption, bool]]:
        rng = self.rng
        if subject.scene:
            return [(caption_scene(subject.scene, rng), True) for _ in range(2)]
        look = subject.look
        if look is None:
            return []
        lineage = self._lineages[look.form]
        full = caption_look(look, lineage, rng, full=True)
        wrong = caption_look(self._change(look), lineage, rng, full=True)
        name = self._name(subject, look, lineage)
        return [(name, True), (self._part(look, lineage), True), (full, True), (wrong, False)]

    def _name(self, subject: Subject, look: Look, lineage: tuple[str, ...]) -> Caption:
        if subject.species:
            return caption_species(subject.species, self.rng)
        return self._name_chimera(look, lineage)

    def _part(self, look: Look, lineage: tuple[str, ...]) -> Caption:
        if self.rng.random() < 0.25:
            return caption_generic(lineage[2], lineage[1], self.rng)
        return caption_look(look, lineage, self.rng)

    def _name_chimera(self, look: Look, lineage: tuple[str, ...]) -> Caption:
        if self.rng.random() < 0.6:
            return caption_chimera(look, lineage, self.rng)
        level = int(self.rng.integers(1, 5))
        text = lineage[level] if self.rng.random() < 0.5 else " ".join(lineage[: level + 1])
        return Caption(text, {RANKS[level]: lineage[level]})

    def _change(self, look: Look) -> Look:
        """Return a look that differs in colour or pattern: what the picture is told from."""
        barred = self._held_out | {look}
        other = draw_chimera_look(self.rng, barred, look.form)
        if look.pattern == "plain" or other.pattern == "plain" or self.rng.random() < 0.2:
            return other
        changed = [look.colour, look.second_colour, look.pattern]
        part = int(self.rng.integers(3))
        changed[part] = (other.colour, other.second_colour, other.pattern)[part]
        near = Look(look.form, *changed)
        return other if near in barred or near.colour == near.second_colour else near

    def _facts_of(self, subject: Subject) -> Facts:
        look = subject.look
        if look is None:
            return {"kind": "not_animal", "scene": subject.scene}
        facts = dict(zip(RANKS, self._lineages[look.form], strict=False))
        facts |= {"form": look.form, "colour": look.colour, "pattern": look.pattern}
        facts |= {"second_colour": look.second_colour, "kind": "animal"}
        if subject.species:
            facts |= {"genus": subject.species.at("genus"), "species": subject.species.name}
        return facts

    def _encode(self, facts: Facts, absent: int) -> NDArray[np.int64]:
        codes = [
            self._codes.setdefault((name, facts[name]), len(self._codes))
            if name in facts
            else absent
            for name in ATTRIBUTES
        ]
        return np.array(codes, dtype=np.int64)


def match(pictures: NDArray[np.int64], captions: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say which captions are true of which pictures.

    Parameters
    ----------
    pictures : ndarray of int64, shape (n_images, n_attributes)
        Codes of what is so; -2 where nothing is.
    captions : ndarray of int64, shape (n_texts, n_attributes)
        Codes of what is claimed; -1 where nothing is.

    Returns
    -------
    ndarray of bool, shape (n_images, n_texts)
    """
    same = pictures[:, None, :] == captions[None, :, :]
    return np.asarray((same | (captions[None, :, :] == -1)).all(axis=2))
