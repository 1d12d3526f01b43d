"""Class embeddings: templates times a text type times taxa."""

from __future__ import annotations

import dataclasses
import enum
import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.access import is_file
from bioprobe.errors import LongTextError, PromptError
from bioprobe.files import prompts_dir, read_lines
from bioprobe.names import shorten
from bioprobe.registry import TEMPLATES
from bioprobe.result import PROBLEM, WARNING, Note, Notes, Result
from bioprobe.taxonomy import Rank, Taxon, Taxonomy
from bioprobe.taxonomy.lists import collecting_later

if TYPE_CHECKING:
    import pandas as pd


class TextType(enum.StrEnum):
    """How a taxon is written, by the names that BioCLIP gave them.

    ``sci`` is the scientific name, a species with its genus; ``com`` the common name; ``taxon``
    the lineage; ``sci_com`` and ``taxon_com`` add the common name. ``asis`` is the name at the
    lowest rank as it was listed, in whatever language: no genus and no common name is added.

    References
    ----------
    Stevens et al. 2024, *BioCLIP: A Vision Foundation Model for the Tree of Life*, section 3.2;
    ``asis`` as in its evaluation (``naming_eval.to_classes``), where it is the class name given.
    """

    SCI = "sci"
    COM = "com"
    TAXON = "taxon"
    SCI_COM = "sci_com"
    TAXON_COM = "taxon_com"
    ASIS = "asis"

    @property
    def uses_common_name(self) -> bool:
        """Whether the common name is part of the text."""
        return self in {TextType.COM, TextType.SCI_COM, TextType.TAXON_COM}

    @classmethod
    def parse(cls, text: str) -> TextType:
        """Read a text type.

        Raises
        ------
        PromptError
            If the text names none.
        """
        try:
            return cls(text.strip().lower())
        except ValueError:
            msg = f"{text!r} is not a text type; expected one of {', '.join(cls)}"
            raise PromptError(msg) from None

    def write(self, taxon: Taxon) -> str:
        """Write a taxon as text, without a template.

        A taxon without a common name is written by its scientific name, as in BioCLIP's
        training; ``asis`` asks for none.

        Examples
        --------
        >>> snow_leopard = Taxon.from_names(
        ...     {"kingdom": "Animalia", "family": "Felidae", "species": "Panthera uncia"},
        ...     common_name="snow leopard",
        ... )
        >>> TextType.TAXON_COM.write(snow_leopard)
        'Animalia Felidae Panthera uncia with common name snow leopard'
        >>> TextType.COM.write(snow_leopard)
        'snow leopard'
        >>> TextType.ASIS.write(snow_leopard)
        'Panthera uncia'
        """
        return _WRITERS[self](taxon)


_GENUS, _SPECIES = Rank.GENUS.depth, Rank.SPECIES.depth


def _write_name(taxon: Taxon) -> str:
    genus, species = taxon.lineage[_GENUS], taxon.lineage[_SPECIES]
    if " " in species:
        return species
    # Only what is an epithet for sure: an informal name, or one of an older genus, stays.
    return f"{genus} {species}" if genus and species.islower() else taxon.name


def _write_lineage(taxon: Taxon) -> str:
    genus, species = taxon.lineage[_GENUS], taxon.lineage[_SPECIES]
    # The binomial begins with the genus, which is not said twice.
    last = (species,) if species.startswith(f"{genus} ") else (genus, species)
    return " ".join(name for name in (*taxon.lineage[:_GENUS], *last) if name)


def _write_common(taxon: Taxon) -> str:
    return taxon.common_name or _write_name(taxon)


def _add_common(write: Callable[[Taxon], str], taxon: Taxon) -> str:
    base = write(taxon)
    return f"{base} with common name {taxon.common_name}" if taxon.common_name else base


_WRITERS: dict[TextType, Callable[[Taxon], str]] = {
    TextType.SCI: _write_name,
    TextType.COM: _write_common,
    TextType.TAXON: _write_lineage,
    TextType.SCI_COM: partial(_add_common, _write_name),
    TextType.TAXON_COM: partial(_add_common, _write_lineage),
    TextType.ASIS: attrgetter("name"),
}


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

    @cached_property
    @collecting_later()
    def texts(self) -> tuple[tuple[str, ...], ...]:
        """Texts of each class, in the order of the taxa."""
        templates = [template.split("{}") for template in self.templates]
        write = _WRITERS[self.text_type]
        if not any(taxon.prompts for taxon in self.taxa):
            names = list(map(write, self.taxa))
            # A million taxa have as many texts.
            return tuple(
                zip(*([name.join(one) for name in names] for one in templates), strict=True)
            )
        return tuple([
            tuple([
                name.join(template)
                for name in taxon.prompts or (write(taxon),)
                for template in templates
            ])
            for taxon in self.taxa
        ])  # fmt: skip

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
        return embed_means(self.texts, encode_text)


def embed_means(
    texts: Sequence[Sequence[str]],
    encode_text: Callable[[Sequence[str]], npt.NDArray[np.float32]],
) -> npt.NDArray[np.float32]:
    """Embed classes by the texts of each, as :meth:`PromptSet.embed` does.

    Returns
    -------
    ndarray of float32, shape (n_classes, dim), unit rows
        Not to be written to: where each class has a text of its own, it may be what was encoded.
    """
    listed = list(itertools.chain.from_iterable(texts))
    distinct = list(dict.fromkeys(listed))
    embeddings = encode_text(distinct)
    is_distinct = len(distinct) == len(listed)
    if is_distinct and len(listed) == len(texts) and _are_unit(embeddings):
        return embeddings
    row_of = {text: row for row, text in enumerate(distinct)}
    rows = np.array([row_of[text] for text in listed], dtype=np.int64)
    ends = np.cumsum([len(of_class) for of_class in texts], dtype=np.int64)
    starts = np.append(0, ends[:-1])
    classes = np.empty((len(texts), embeddings.shape[1]), dtype=np.float32)
    for first in range(0, len(texts), _CLASSES_AT_ONCE):
        part = slice(first, first + _CLASSES_AT_ONCE)
        begin, end = starts[part][0], ends[part][-1]
        # Where no text is written twice, they stand as they are listed.
        sums = embeddings[begin:end] if is_distinct else embeddings[rows[begin:end]]
        if len(sums) > len(starts[part]):
            sums = np.add.reduceat(sums, starts[part] - begin, axis=0)
        np.divide(sums, np.linalg.norm(sums, axis=1, keepdims=True), out=classes[part])
    return classes


def _are_unit(vectors: npt.NDArray[np.float32]) -> bool:
    """Return whether rows are as long as rounding lets them be, in single precision."""
    squares = np.einsum("ij,ij->i", vectors, vectors)
    return vectors.dtype == np.float32 and bool((np.abs(squares - 1) <= _UNIT).all())


# Squared lengths of unit rows of single precision are no farther from 1.
_UNIT = np.float32(1e-6)
# With 80 templates and 512 numbers each, 42 MB.
_CLASSES_AT_ONCE = 256


def find_long(
    texts: Sequence[Sequence[str]],
    encode_text: Callable[[Sequence[str]], npt.NDArray[np.float32]],
) -> list[bool]:
    """Tell of each class whether one of its texts is longer than the encoder reads.

    Parameters
    ----------
    texts : sequence of sequence of str
        Of each class.
    encode_text : callable
        As for :meth:`PromptSet.embed`; what it encodes, it should keep.

    Raises
    ------
    LongTextError
        If none of the classes can be asked for.
    """
    try:
        encode_text(list(dict.fromkeys(text for of_class in texts for text in of_class)))
    except LongTextError as error:
        long = set(error.texts)
        found = [not long.isdisjoint(of_class) for of_class in texts]
        if all(found):
            raise
        return found
    return [False] * len(texts)


def name_longest(taxon: Taxon) -> str:
    """Return the longest text that a taxon is called by, which makes it too long to be asked for.

    Examples
    --------
    >>> name_longest(Taxon.from_names({"species": "Panthera leo"}, common_name="lion"))
    'Panthera leo'
    """
    return max((*taxon.lineage, taxon.common_name, *taxon.prompts), key=len)


def describe_long(names: Sequence[str], n_images: Sequence[int]) -> Notes:
    """Say which classes are left out because they are too long to be asked for.

    Parameters
    ----------
    names : sequence of str
        The names.
    n_images : sequence of int
        Images that have each as their label; 0 for a name that only a list has.
    """
    if not names:
        return ()
    shown = [
        f"{shorten(name)!r} ({len(name):,} characters, "
        f"{f'the label of {n:,} images' if n else 'of the list'})"
        for name, n in zip(names[:_SHOWN], n_images, strict=False)
    ]
    more = ", …" if len(names) > _SHOWN else ""
    text = (
        f"{len(names):,} classes are left out, as their texts are longer than the encoder reads: "
        f"{', '.join(shown)}{more}; {sum(n_images):,} images have such a label: correct it"
    )
    return (Note(text, PROBLEM),)


# Names that a note shows.
_SHOWN = 3
_PLACEHOLDER = "{}"


def shipped_templates() -> list[str]:
    """Return the names of the template sets that can be asked for by name."""
    return sorted(path.stem for path in (prompts_dir() / "templates").glob("*.txt"))


def read_all_templates() -> tuple[dict[str, tuple[str, ...]], Notes]:
    """Return all template sets that have a name, and why any that a package adds is missing."""
    added, broken = TEMPLATES.load_added()
    sets = {name: read_templates(name) for name in sorted({*shipped_templates(), *added})}
    return sets, tuple(Note(reason, WARNING) for reason in broken.values())


def read_templates(source: str) -> tuple[str, ...]:
    """Read a set of templates.

    Parameters
    ----------
    source : str
        A shipped set (``plain``) or one that another package adds, a text file with one template
        a line, or one template that holds ``{}``.

    Returns
    -------
    tuple of str
        At least one; each holds ``{}`` once.

    Raises
    ------
    PromptError
        If there is no such set, or a line has no placeholder or several.
    SourceError
        If the file is not text.

    Examples
    --------
    >>> read_templates("plain")
    ('a photo of {}.',)
    >>> read_templates("a drawing of {}")
    ('a drawing of {}',)
    """
    if _PLACEHOLDER in source:
        return (_check(source, "the template"),)
    path = Path(source)
    if not is_file(path):
        path = prompts_dir() / "templates" / f"{source}.txt"
    if not is_file(path) and source in TEMPLATES.added:
        given = TEMPLATES.load(source)
        if not isinstance(given, (str, Path)):
            return tuple(_check(one, f"the template set {source}") for one in given)
        path = Path(given)
    if not is_file(path):
        known = ", ".join((*shipped_templates(), *TEMPLATES.added))
        msg = (
            f"no template set {source!r}; expected one of {known}, a text file, or a template "
            "with {} where the name goes"
        )
        raise PromptError(msg)
    templates = tuple(
        _check(line, f"{path.name} line {number}")
        for number, line in enumerate(read_lines(path), start=1)
        if line and not line.startswith("#")
    )
    if not templates:
        msg = f"{path} holds no template; write one a line, with {{}} where the name goes"
        raise PromptError(msg)
    return templates


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Shipped(Result):
    """The template sets and taxon lists that have a name.

    Parameters
    ----------
    templates : mapping of str to tuple of str
        Template sets by name.
    taxonomies : mapping of str to Taxonomy
        Taxon lists by name.
    notes : tuple of Note
        What is to be said of them.
    """

    templates: Mapping[str, tuple[str, ...]]
    taxonomies: Mapping[str, Taxonomy]
    notes: Notes = ()

    def to_frame(self) -> pd.DataFrame:
        """Return one row a set or list, with its length and its first template or taxon."""
        import pandas as pd

        sets = [("templates", name, len(texts), texts[0]) for name, texts in self.templates.items()]
        lists = [
            ("taxonomy", name, len(listed), listed.taxa[0].name)
            for name, listed in self.taxonomies.items()
        ]
        return pd.DataFrame([*sets, *lists], columns=["kind", "name", "n", "first"])


def _check(template: str, where: str) -> str:
    if template.count(_PLACEHOLDER) != 1:
        msg = f"{where} must hold {{}} once, where the name goes; got {template!r}"
        raise PromptError(msg)
    return template
