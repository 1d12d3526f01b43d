from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

from bioprobe.errors import PromptError
from bioprobe.prompts import PromptSet, TextType
from bioprobe.taxonomy import Taxon, Taxonomy

if TYPE_CHECKING:
    from tests.conftest import PlainEncoder

LION = Taxon.from_names({"species": "Panthera leo"}, common_name="lion")
PUMA = Taxon.from_names({"species": "Puma concolor"})
BLANK = Taxon.from_names({"species": "Blank"}, prompts=("an empty scene", "only grass"))
TEMPLATES = ("a photo of {}.", "{} at night")


def test_texts_are_templates_times_taxa() -> None:
    prompts = PromptSet(Taxonomy((LION, PUMA)), TextType.COM, TEMPLATES)
    assert prompts.texts == (
        ("a photo of lion.", "lion at night"),
        ("a photo of Puma concolor.", "Puma concolor at night"),
    )


def test_prompts_of_its_own_describe_a_taxon_instead_of_its_name() -> None:
    prompts = PromptSet(Taxonomy((BLANK,)), TextType.SCI, TEMPLATES)
    assert prompts.texts == (
        (
            "a photo of an empty scene.",
            "an empty scene at night",
            "a photo of only grass.",
            "only grass at night",
        ),
    )


def test_a_class_is_the_unit_mean_of_its_unit_texts() -> None:
    directions = {"a": (1.0, 0.0), "b": (0.0, 1.0), "c": (0.6, 0.8)}

    def encode_text(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return np.array([directions[text] for text in texts], dtype=np.float32)

    taxa = Taxonomy(
        (
            Taxon.from_names({"species": "X"}, prompts=("a", "b")),
            Taxon.from_names({"species": "Y"}, prompts=("c",)),
        )
    )
    classes = PromptSet(taxa, TextType.SCI, ("{}",)).embed(encode_text)
    # The mean of (1, 0) and (0, 1) points to 45 degrees.
    np.testing.assert_allclose(classes, [[0.5**0.5, 0.5**0.5], [0.6, 0.8]], atol=1e-7)
    assert classes.dtype == np.float32


def test_the_embedding_is_that_of_a_plain_loop(encoder: PlainEncoder) -> None:
    prompts = PromptSet(Taxonomy((LION, PUMA, BLANK)), TextType.SCI_COM, TEMPLATES)
    expected = []
    for texts in prompts.texts:
        vectors = [encoder.encode_text([text])[0].astype(float) for text in texts]
        mean = sum(vectors) / len(vectors)
        expected.append(mean / np.sqrt((mean**2).sum()))
    np.testing.assert_allclose(prompts.embed(encoder.encode_text), expected, atol=1e-6)


def test_each_distinct_text_is_encoded_once(encoder: PlainEncoder) -> None:
    same = Taxon.from_names({"kingdom": "Plantae", "genus": "Prunella"})
    other = Taxon.from_names({"kingdom": "Animalia", "genus": "Prunella"})
    PromptSet(Taxonomy((same, other)), TextType.SCI, TEMPLATES).embed(encoder.encode_text)
    assert encoder.texts_seen == ["a photo of Prunella.", "Prunella at night"]


@pytest.mark.parametrize(
    ("text_type", "unnamed"),
    [
        (TextType.SCI, ()),
        (TextType.TAXON, ()),
        (TextType.COM, (PUMA,)),
        (TextType.SCI_COM, (PUMA,)),
        (TextType.TAXON_COM, (PUMA,)),
    ],
)
def test_taxa_without_the_common_name_asked_for_are_told(
    text_type: TextType, unnamed: tuple[Taxon, ...]
) -> None:
    assert PromptSet(Taxonomy((LION, PUMA, BLANK)), text_type, TEMPLATES).unnamed == unnamed


@pytest.mark.parametrize(
    ("taxa", "text_type", "templates", "problem"),
    [
        ((), TextType.SCI, TEMPLATES, "no class to ask for: the list of taxa is empty"),
        ((LION,), TextType.SCI, (), "there is no template; give one at least, such as 'a photo"),
        ((PUMA,), TextType.COM, TEMPLATES, "no species in the list has a common name; use --text-"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    taxa: tuple[Taxon, ...], text_type: TextType, templates: tuple[str, ...], problem: str
) -> None:
    with pytest.raises(PromptError, match=problem):
        PromptSet(Taxonomy(taxa), text_type, templates)
