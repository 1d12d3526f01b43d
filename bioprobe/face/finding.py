"""A search of one species is begun: from a text, a picture, or a row."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bioprobe.errors import MisuseError, SourceError
from bioprobe.face.annotations import Corrects, Person
from bioprobe.face.written import FOUND, find_person
from bioprobe.names import unify
from bioprobe.options import RANK_NAMES, Option, SeedOption, WhichLabels, question
from bioprobe.result import Note

if TYPE_CHECKING:
    from bioprobe.face.find import Find
    from bioprobe.index import Terms
    from bioprobe.store.view import View

_PICTURES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif"}


class Finds(Corrects):
    """What people seek in a store."""

    @question
    def find(
        self,
        sought: Annotated[
            str | Path | int,
            Option(
                "Find one species: a text, a picture file, or a row by its number. What is shown "
                "first is the nearest to it; then a head of this one class learns from each batch.",
                ("--find",),
                shell=str,
                metavar="TEXT|FILE|ROW",
            ),
        ],
        *,
        level: Annotated[
            str,
            Option(
                "What is said of those that are it: a rank, or a column of the image table.",
                ("--level", "--rank", "-l"),
                RANK_NAMES,
            ),
        ] = FOUND,
        value: Annotated[
            str | None,
            Option(
                "Class that is written, where it is not the text itself. At a rank a text that is "
                "a common name becomes the scientific one that the store knows it by.",
                metavar="CLASS",
            ),
        ] = None,
        by: Person = None,
        mix: Annotated[
            Mapping[str, float] | str | None,
            Option(
                "What is shown: top (the likeliest), margin (the least certain), band (see "
                "--band), audit (drawn at random, for the number in all); each with its share. By "
                "default from the top, with the more random draws, 5% to 50%, the less the top "
                "yields.",
                shell=str,
                metavar="NAME=SHARE,…",
            ),
        ] = None,
        band: Annotated[
            tuple[float, float] | str | None,
            Option(
                "Show pictures that have a probability between these two, too; half of them, where "
                "--mix does not say.",
                shell=str,
                metavar="LOW,HIGH",
            ),
        ] = None,
        batch: Annotated[int, Option("Pictures that are shown together.", least=1)] = 20,
        recall: Annotated[
            float,
            Option("Share of all that is to be found before it is said to stop.", least=0, most=1),
        ] = 0.9,
        labels: WhichLabels = None,
        seed: Annotated[int, SeedOption("Seed of what is drawn.")] = 0,
    ) -> Find:
        """Begin to look for one species, from one question and without labels.

        Pictures are shown, the likeliest first; a person says which of them are it; after each
        batch a head of one class, with all unlabelled pictures as weak negatives, ranks the rest
        anew. Some pictures are drawn at random with known chances, and say how many there are in
        all.

        Parameters
        ----------
        sought : str, Path or int
            A text; a picture file; or a row of the store, as a number or its digits.
        level : str
            Rank or column that is written. By default ``found``, a column of its own.
        value : str, optional
            Class that is written; by default the text, and of a picture or row its name.
        by : str, optional
            Who answers; by default ``$BIOPROBE_PERSON``, or the name that this machine knows.
        mix : mapping of str to float, or str, optional
            Shares of ``top``, ``margin``, ``band`` and ``audit``.
        band : (float, float) or str, optional
            Lower and upper probability.
        batch : int
            Pictures that are shown together.
        recall : float
            Share of all that is to be found.
        labels : {"both", "given", "confirmed"}, optional
            Whether labels at that level that came with the pictures count; what people said does.
        seed : int
            Of what is drawn.

        Returns
        -------
        Find
            ``next()`` shows a batch, ``answer()`` writes what is said of it, ``progress()`` says
            how much is found.

        Raises
        ------
        MisuseError
            If nothing says which class is written, or shares or a band cannot be.
        SelectionError
            If there is no such level, or no image is left.
        SourceError
            If there is no such picture.

        References
        ----------
        perch-hoplite, agile modelling: one question, search, label, a small classifier, again.

        Examples
        --------
        >>> find = store.find("pangolin", by="anna")  # doctest: +SKIP
        >>> batch = find.next()  # doctest: +SKIP
        >>> find.answer([{"row": batch.rows[0], "verdict": "is"}])  # doctest: +SKIP
        >>> find.progress().recall_low  # doctest: +SKIP
        """
        from bioprobe.face.find import Find, read_verdicts
        from bioprobe.index import compose_question
        from bioprobe.reviewing.find import Finder
        from bioprobe.reviewing.find_head import PICTURE_WEIGHT, TEXT_WEIGHT
        from bioprobe.store.view import View

        chosen = self if labels is None else self.where(labels=labels)
        view = View.of(chosen._view)
        terms, words = _read_sought(view, sought)
        where = self._find_level(level)
        named = _name_class(view, where, value, words)
        asked = compose_question(view.store, self._texts, terms)
        finder = Finder(
            view, asked.vector[0], read_verdicts(view, where, named), mix=_read_mix(mix),
            band=_read_band(band), seed=seed,
            question_weight=TEXT_WEIGHT if len(terms.texts) else PICTURE_WEIGHT,
        )  # fmt: skip
        said = [
            *chosen._notes,
            Note(
                f"looking for {asked.text} among {len(view):,} pictures; written as {where} {named}"
            ),
        ]
        if finder.n_looked:
            said.append(
                Note(f"{finder.n_looked:,} of them are known already, {finder.n_found:,} are it")
            )
        return Find(
            chosen, where, named, by=find_person(by), finder=finder, batch=batch, recall=recall,
            notes=tuple(said),
        )  # fmt: skip

    def _find_level(self, level: str) -> str:
        """Return a rank or column, or the column of what is sought, which need not be there."""
        from bioprobe.images.image_table import read_level

        return level if level == FOUND else read_level(level, self._view.store.given)


def _read_sought(view: View, sought: str | Path | int) -> tuple[Terms, str]:
    """Return what is sought as terms of a question, and the words that name it, if it has some."""
    from bioprobe.index import Terms
    from bioprobe.upkeep import find_rows

    text = str(sought)
    if isinstance(sought, int) or (text.strip().isdigit() and not os.path.lexists(text)):
        row = int(text)
        find_rows(view.store, [row])
        return Terms(rows=[row]), ""
    if isinstance(sought, Path) or os.path.lexists(text):
        return Terms(images=[Path(text)]), ""
    if Path(text).suffix.casefold() in _PICTURES:
        msg = f"there is no picture {text}; what is sought is a text, a picture file or a row"
        raise SourceError(msg)
    if not text.strip():
        msg = "nothing is sought; give a text, a picture file, or a row of the store"
        raise MisuseError(msg)
    return Terms(texts=[text]), text


def _name_class(view: View, level: str, value: str | None, words: str) -> str:
    """Return the class that is written.

    Raises
    ------
    MisuseError
        If nothing says which.
    """
    named = unify(value or words).strip()
    if not named:
        msg = (
            "say what those that are like the picture are called: --value CLASS, such as --value "
            "pangolin"
        )
        raise MisuseError(msg)
    if level not in RANK_NAMES or value:
        return named
    from bioprobe.taxonomy import Rank, Taxonomy
    from bioprobe.zeroshot.added_taxa import list_known

    known = Taxonomy.merge(one.taxon for one in list_known(view.store))
    depth = Rank(level).depth
    found = {taxon.lineage[depth] for taxon in known.find_listed(named) if taxon.depth >= depth}
    found |= {one for one in set(view.labels(level).tolist()) if one.casefold() == named.casefold()}
    if len(found - {""}) != 1:
        what = "several classes" if found else "no class that this store knows"
        msg = (
            f"{named!r} names {what} at {level}; say which is written: --value CLASS, or leave "
            "--level out, and it is written as found"
        )
        raise MisuseError(msg)
    return found.pop()


def _read_mix(given: Mapping[str, float] | str | None) -> dict[str, float] | None:
    """Read shares such as ``top=.7,audit=.3``; a name alone is all of it."""
    if given is None or isinstance(given, Mapping):
        return None if given is None else dict(given)
    shares = {}
    for part in given.split(","):
        name, between, share = part.strip().partition("=")
        try:
            shares[name.strip()] = float(share) if between else 1.0
        except ValueError:
            msg = f"a mix gives each its share, such as top=.7,audit=.3; got {part.strip()!r}"
            raise MisuseError(msg) from None
    return shares


def _read_band(given: tuple[float, float] | str | None) -> tuple[float, float] | None:
    if given is None:
        return None
    parts = given.split(",") if isinstance(given, str) else list(given)
    try:
        low, high = (float(one) for one in parts)
    except ValueError:
        msg = f"a band is two probabilities, the lower first, such as 0.2,0.6; got {given!r}"
        raise MisuseError(msg) from None
    return low, high
