"""Class embeddings: templates times a text type times taxa."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from bioprobe.errors import PromptError
from bioprobe.prompts.text_type import TextType
from bioprobe.taxonomy import Taxon, Taxonomy


@dataclasses.dataclass(frozen=True)
class PromptSet:
    """What is asked of the images: one class a taxon, several texts a class.

    Parameters
    ----------
    taxa : Taxonomy
        The classes, at any rank.
    text_type : TextType
        How each taxon is written. A taxon that has prompts of its own is described by these
        instead of its names.
    templates : tuple of str
        Each holds ``{}`` once.

    Raises
    ------
    PromptError
        If there is no taxon or no template, or the text type is ``com`` and no taxon has a
        common name.

    Examples
    --------
    >>> cats = Taxonomy((Taxon.from_names({"family": "Felidae"}),))
    >>> PromptSet(cats, TextType.SCI, ("a photo of {}.",)).texts
    (('a photo of Felidae.',),)
    """

    taxa: Taxonomy
    text_type: TextType
    templates: tuple[str, ...]

    def __post_init__(self) -> None:
        if not len(self.taxa):
            msg = "there is no class to ask for: the list of taxa is empty at this rank"
            raise PromptError(msg)
        if not self.templates:
            msg = "there is no template; give one at least, such as 'a photo of {}.'"
            raise PromptError(msg)
        if self.text_type is TextType.COM and len(self.unnamed) == len(self.taxa):
            rank = self.taxa.taxa[0].rank.value
            msg = (
                f"no {rank} in the list has a common name; use --text-type sci or taxon, or a "
                "taxon list with a common_name column"
            )
            raise PromptError(msg)

    @property
    def texts(self) -> tuple[tuple[str, ...], ...]:
        """Texts of each class, in the order of the taxa."""
        return tuple(
            tuple(
                template.replace("{}", name)
                for name in (taxon.prompts or (self.text_type.write(taxon),))
                for template in self.templates
            )
            for taxon in self.taxa
        )

    @property
    def unnamed(self) -> tuple[Taxon, ...]:
        """Taxa that lack the common name which the text type asks for.

        They are written by their scientific name; a face says so.
        """
        if not self.text_type.uses_common_name:
            return ()
        return tuple(t for t in self.taxa if not t.common_name and not t.prompts)

    def embed(
        self, encode_text: Callable[[Sequence[str]], npt.NDArray[np.float32]]
    ) -> npt.NDArray[np.float32]:
        """Embed every class: the mean of its unit text embeddings, made unit again.

        Parameters
        ----------
        encode_text : callable
            From texts to an ndarray of float32, shape (n_texts, dim), unit rows. Each distinct
            text is encoded once.

        Returns
        -------
        ndarray of float32, shape (n_classes, dim), unit rows

        References
        ----------
        Radford et al. 2021 (CLIP), section 3.1.4, prompt ensembling in embedding space.
        """
        texts = self.texts
        distinct = list(dict.fromkeys(text for of_class in texts for text in of_class))
        embeddings = encode_text(distinct)
        position = {text: row for row, text in enumerate(distinct)}
        classes = np.stack(
            [embeddings[[position[text] for text in of_class]].mean(axis=0) for of_class in texts]
        )
        norms = np.linalg.norm(classes, axis=1, keepdims=True)
        return np.asarray(classes / norms, dtype=np.float32)
