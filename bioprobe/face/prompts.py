"""Which texts to ask by: template sets and ways to write a taxon, measured and listed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from bioprobe.face.opened import Opened
from bioprobe.options import Level, Option, Part, Taxa, question, split_names
from bioprobe.result import Note

if TYPE_CHECKING:
    from bioprobe.prompts import Shipped
    from bioprobe.zeroshot.comparison import Compared, ComparedPrompts

# Of the ways of asking that are as good as the best, those that are named.
_SHOWN = 5


class Texts(Opened):
    """Which texts serve best."""

    @question
    def prompts(
        self,
        level: Level = "species",
        *,
        taxa: Taxa = None,
        text_types: Annotated[
            str | Sequence[str],
            Option("Text types to compare, separated by commas.", shell=str),
        ] = "sci,com,taxon,sci_com,taxon_com",
        template_sets: Annotated[
            str | Sequence[str],
            Option("Template sets to compare, separated by commas; all for every one.", shell=str),
        ] = "plain,bare,field",
        split: Part = None,
    ) -> ComparedPrompts:
        """Measure text types and template sets on labelled images, and recommend one.

        Parameters
        ----------
        level : str
            Rank of the classes.
        taxa : str or Path, optional
            Classes; by default the labels.
        text_types : str or sequence of str
            Text types to compare; as one text, separated by commas.
        template_sets : str or sequence of str
            Template sets to compare; as one text, separated by commas; ``"all"`` for every one.
        split : str, optional
            Part of a split to measure on, ``NAME:PART``: not the one that judges in the end.

        Returns
        -------
        ComparedPrompts
            Best first.
        """
        from bioprobe.prompts import TextType, read_all_templates, read_templates
        from bioprobe.taxonomy import Rank
        from bioprobe.zeroshot.candidates import find_candidates
        from bioprobe.zeroshot.comparison import ComparedPrompts, compare_prompts

        rank = Rank.parse(level)
        asked = self.where(split=split)
        sets, missing = (
            read_all_templates()
            if template_sets == "all"
            else ({name: read_templates(name) for name in split_names(template_sets)}, ())
        )
        kinds = [TextType.parse(one) for one in split_names(text_types)]
        classes = find_candidates(self._view.store, None if taxa is None else str(taxa), rank)
        found = compare_prompts(
            asked._view, classes, self._texts.encode_text, rank=rank, text_types=kinds,
            template_sets=sets,
        )  # fmt: skip
        compared = _test_against_best(found)
        options = {"rank": rank.value, "text_types": [*map(str, kinds)], "template_sets": [*sets]}
        said: Sequence[Note | str] = _recommend(compared)
        if split is not None:
            name, _, part = split.partition(":")
            said = (
                f"images of the part {part.strip()} of the split {name.strip()}: {len(asked):,}",
                *said,
            )
        result = ComparedPrompts(compared, asked._view.describe({**options, "split": split}))
        return result.say((*self._notes, *missing, *said))


@question
def shipped() -> Shipped:
    """List the template sets and taxon lists that ship with bioprobe or that packages add.

    Examples
    --------
    >>> shipped().templates["plain"]
    ('a photo of {}.',)
    """
    from bioprobe.prompts import Shipped, read_all_templates
    from bioprobe.taxonomy.lists import read_taxonomy, shipped_taxonomies

    templates, missing = read_all_templates()
    taxonomies = {name: read_taxonomy(name) for name in shipped_taxonomies()}
    return Shipped(templates, taxonomies, missing)


def _test_against_best(found: Sequence[Compared]) -> tuple[Compared, ...]:
    """Test each against the best; those that repeat another's texts are tested once."""
    from bioprobe.evaluation.paired import compare_with_best

    distinct = [one for one in found if not one.same_texts_as]
    against = compare_with_best([one.right for one in distinct])
    tests = {one.name: test for one, test in zip(distinct[1:], against, strict=True)}
    compared = []
    for one in found:
        test = tests.get(one.same_texts_as or one.name)
        if test is None:
            compared.append(one)
        else:
            compared.append(
                dataclasses.replace(
                    one, difference=test.difference, p_value=test.p_value, is_worse=test.is_worse
                )
            )
    return tuple(compared)


def _recommend(compared: Sequence[Compared]) -> Sequence[str]:
    from bioprobe.intervals import SIGNIFICANCE_LEVEL

    best = compared[0]
    said = [
        f"recommended: --text-type {best.text_type.value} --templates {best.templates} "
        f"({best.accuracy}, {best.accuracy.n_images:,} images, 95% interval)"
    ]
    others = [one for one in compared if not math.isnan(one.p_value) and not one.same_texts_as]
    close = [one for one in others if not one.is_worse]
    if close:
        named = [f"{one.name} (p = {one.p_value:.2g})" for one in close[:_SHOWN]]
        if len(close) > _SHOWN:
            named.append(f"and {len(close) - _SHOWN} more")
        said.append(f"not distinguishable from it on these images: {', '.join(named)}")
    if others:
        said.append(
            f"worse than it, by more than chance explains: {len(others) - len(close)} of "
            f"{len(others)} others (p < {SIGNIFICANCE_LEVEL}; exact McNemar, Holm over all pairs)"
        )
    said += [
        f"{one.name} asks by the same texts as {one.same_texts_as}"
        for one in compared
        if one.same_texts_as
    ]
    return (*said, "it was chosen on these images, so measure it on others")
