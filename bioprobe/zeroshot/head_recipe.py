"""How the texts of a text head are written, and taxa that stand beside it by the same recipe."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache

import numpy as np

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import LongTextError, ModelUnavailableError
from bioprobe.files import prompts_dir
from bioprobe.options import RANK_NAMES
from bioprobe.prompts import describe_long, name_longest, read_templates
from bioprobe.result import WARNING, Note, Notes
from bioprobe.store import EmbeddingStore
from bioprobe.store.added_taxa import find_added_taxa
from bioprobe.taxonomy import RANKS, Rank, Taxon, Taxonomy
from bioprobe.taxonomy.columns import COMMON_NAME, LABEL_COLUMNS
from bioprobe.taxonomy.synonyms import replace_synonyms
from bioprobe.types import Rows, Scores, Vectors
from bioprobe.zeroshot.examples import Examples, is_same, read_examples
from bioprobe.zeroshot.text_head import TextHead

#: From the texts of each class to their mean embeddings, made unit, shape (n_classes, dim).
EmbedMeans = Callable[[Sequence[Sequence[str]]], Vectors]

#: Below this cosine a text embedding was made by another model, or of another text.
SAME = 0.999
# Above this one no other recipe is tried.
_SURELY_SAME = 0.9999
# Taxa of the head by which its recipe is found; 240 texts at most of a recipe.
_N_TRIED = 3
# So many are drawn that the shortest of them are no longer than any encoder reads.
_N_DRAWN = 24
_ROWS_AT_ONCE = 4096
# Names that a note shows.
_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How the texts of a head are written.

    Parameters
    ----------
    name : str
        For people.
    templates : tuple of str
        Each holds ``{}`` once.
    joint : str
        What stands between the seven names and the common name.
    without : str
        What stands there where no common name is known.

    Examples
    --------
    >>> lion = Taxon.from_names(
    ...     {"family": "Felidae", "genus": "Panthera", "species": "leo"}, common_name="lion"
    ... )
    >>> find_recipes()[1].write(lion)
    ('an image of     Felidae Panthera leo with common name lion.',)
    """

    name: str
    templates: tuple[str, ...]
    joint: str
    without: str = ""

    def write(self, taxon: Taxon) -> tuple[str, ...]:
        """Write the texts of a taxon; texts of its own stand in place of its names."""
        common = f"{self.joint}{taxon.common_name}" if taxon.common_name else self.without
        written = taxon.prompts or (" ".join(write_names(taxon)) + common,)
        return tuple(template.replace("{}", one) for one in written for template in self.templates)


@cache
def find_recipes() -> tuple[Recipe, ...]:
    """Return the recipes that heads are known to be made by; the first is that of BioCLIP 2's.

    References
    ----------
    Imageomics/TreeOfLife-toolbox, ``processing/scripts/make_txt_embedding.py`` and
    ``templates.py``: at first the 80 templates of OpenAI with the seven names, a space and the
    common name, which may be empty; since, with one template, "with common name" between them
    (so was ``txt_emb_bioclip-2.5-vith14`` made). The mean of the unit embeddings of the texts is
    made unit (pybioclip, ``CustomLabelsClassifier``).
    """
    folder = prompts_dir() / "templates"
    openai = read_templates(str(folder / "openai.txt"))
    plain = read_templates(str(folder / "plain.txt"))
    image = ("an image of {}.",)
    named = " with common name "
    return (
        Recipe(f"{len(openai)} templates, the seven names, the common name", openai, " ", " "),
        Recipe(f"'{image[0]}', the seven names{named}NAME", image, named),
        Recipe(f"{len(openai)} templates, the seven names{named}NAME", openai, named),
        Recipe(f"'{image[0]}', the seven names, the common name", image, " ", " "),
        Recipe(f"'{plain[0]}', the seven names{named}NAME", plain, named),
    )


def write_names(taxon: Taxon) -> list[str]:
    """Return the seven names as heads have them: of a species the epithet; ``""`` in holes.

    References
    ----------
    pybioclip, ``create_classification_dict``: the binomial is made of the sixth and seventh name.

    Examples
    --------
    >>> write_names(Taxon.from_names({"species": "Canis lupus familiaris"}))[5:]
    ['Canis', 'lupus familiaris']
    """
    *above, genus, species = taxon.lineage
    first, _, rest = species.partition(" ")
    if rest and genus in ("", first):
        return [*above, first, rest]
    return [*above, genus, species]


@dataclasses.dataclass(frozen=True, eq=False)
class HeadCheck:
    """How near the vectors of a head are to those that a model makes of its taxa.

    Parameters
    ----------
    head : str
        Its name.
    recipe : Recipe
        By which the texts were written: the one that comes nearest.
    taxa : tuple of Taxon
        What was drawn, the worst first.
    cosines : ndarray of float32, shape (n_taxa,)
        Of the head's vector with the model's.
    """

    head: str
    recipe: Recipe
    taxa: tuple[Taxon, ...]
    cosines: Scores

    @property
    def is_same(self) -> bool:
        """Whether the head is this model's, as far as one in two of its taxa tell."""
        return bool(len(self.cosines)) and float(np.median(self.cosines)) >= SAME

    def describe(self) -> Notes:
        """Say whether the head is this model's."""
        if not len(self.cosines):
            said = f"warning: the text head {self.head} has no taxon that this model can be asked"
            return (Note(f"{said} for, so nobody knows whether it is this model's", WARNING),)
        figures = f"median cosine {np.median(self.cosines):.3f}, least {self.cosines[0]:.3f}"
        worst = ", ".join(
            f"{taxon.name} {cosine:.3f}"
            for taxon, cosine in zip(self.taxa[:_SHOWN], self.cosines[:_SHOWN], strict=True)
        )
        compared = (
            f"{len(self.taxa):,} taxa of the text head {self.head} and the texts that this model "
            f"reads ({self.recipe.name}): {figures}"
        )
        n_below = int((self.cosines < SAME).sum())
        if not n_below:
            return (Note(f"{compared}; the head is this model's"),)
        if self.is_same:
            said = (
                f"warning: {compared}; {n_below:,} are below {SAME:g}, the worst {worst}: the head "
                "is not this model's there, or was made of other names than it gives; bring it anew"
            )
        else:
            said = (
                f"warning: {compared}; the worst are {worst}: below {SAME:g} the head is not this "
                "model's, or was made by a recipe that is not known here; bring the head of this "
                "model"
            )
        return (Note(said, WARNING),)


def check_head(
    head: TextHead, embed_means: EmbedMeans, *, n: int = 200, seed: int = 0
) -> HeadCheck:
    """Embed taxa that a head has as its own texts were, and compare.

    Parameters
    ----------
    head : TextHead
        As it lies in the store.
    embed_means : callable
        From the texts of each class to their mean embeddings.
    n : int
        Taxa, ≥ 1.
    seed : int
        Of the draw.
    """
    recipe = find_recipe(head, embed_means).recipe
    rows = np.sort(_draw(head, n, seed))
    return _compare(head, rows, recipe, embed_means)


def find_recipe(head: TextHead, embed_means: EmbedMeans) -> HeadCheck:
    """Find the recipe that a few taxa of a head were embedded by.

    Returns
    -------
    HeadCheck
        By the nearest recipe; by the first where none is near, as nothing speaks for another.
    """
    rows = _choose_short(head, _draw(head, _N_DRAWN, 0, with_common_name=True))
    tried: list[HeadCheck] = []
    for recipe in find_recipes():
        tried.append(_compare(head, rows, recipe, embed_means))
        if len(tried[-1].cosines) and tried[-1].cosines[0] >= _SURELY_SAME:
            return tried[-1]
    # One that is no nearer than rounding allows does not take the place of an earlier one.
    best = max(tried, key=lambda one: round(float(np.median(one.cosines)), 4) if one.taxa else -1)
    return best if best.is_same else tried[0]


def _draw(head: TextHead, n: int, seed: int, *, with_common_name: bool = False) -> Rows:
    """Draw rows of a head that have a name at a rank, and a common name too where any has one."""
    order = np.random.default_rng(seed).permutation(len(head))
    found = np.zeros(0, dtype=np.int64)
    # A head has hundreds of thousands of rows: no more of them are read than are needed.
    for start in range(0, len(order), _ROWS_AT_ONCE):
        rows = order[start : start + _ROWS_AT_ONCE]
        block = head.taxa.iloc[rows]
        usable = (block[list(RANK_NAMES)] != "").any(axis=1)
        if with_common_name:
            usable &= block[COMMON_NAME] != ""
        found = np.concatenate([found, rows[usable.to_numpy()]])
        if len(found) >= n:
            break
    return found[:n] if len(found) or not with_common_name else _draw(head, n, seed)


def _choose_short(head: TextHead, rows: Rows) -> Rows:
    lengths = [sum(map(len, names)) for names in head.taxa.iloc[rows].itertuples(index=False)]
    return rows[np.argsort(lengths, kind="stable")[:_N_TRIED]]


def _compare(head: TextHead, rows: Rows, recipe: Recipe, embed_means: EmbedMeans) -> HeadCheck:
    cells = head.taxa.iloc[rows][list(LABEL_COLUMNS)].itertuples(index=False, name=None)
    taxa = [Taxon(tuple(names), common) for *names, common in cells]
    kept, made = _embed_short([recipe.write(taxon) for taxon in taxa], embed_means)
    # Rows in half precision are unit only nearly.
    own = normalise_rows(np.asarray(head.vectors[rows[kept]], dtype=np.float32))
    cosines = np.einsum("ij,ij->i", own, made).astype(np.float32)
    order = np.argsort(cosines, kind="stable")
    return HeadCheck(head.name, recipe, tuple(taxa[kept[place]] for place in order), cosines[order])


def _embed_short(texts: Sequence[Sequence[str]], embed_means: EmbedMeans) -> tuple[Rows, Vectors]:
    """Embed the classes whose texts are no longer than the encoder reads.

    Returns
    -------
    kept : ndarray of int64, shape (n_kept,)
        Positions of these classes.
    vectors : ndarray of float32, shape (n_kept, dim), unit rows
    """
    try:
        return np.arange(len(texts)), embed_means(texts)
    except LongTextError as error:
        long = set(error.texts)
    kept = [place for place, of_class in enumerate(texts) if long.isdisjoint(of_class)]
    return np.array(kept, dtype=np.int64), embed_means([texts[place] for place in kept])


@dataclasses.dataclass(frozen=True, eq=False)
class Beside:
    """A head with the taxa that were added by a person beside its own.

    Parameters
    ----------
    head : TextHead
        With them; the same as before where there is none.
    notes : tuple of Note
        What is to be said of it.
    taxa : tuple of Taxon
        Those that stand beside it.
    """

    head: TextHead
    notes: Notes = ()
    taxa: tuple[Taxon, ...] = ()

    def name_rows(self, wanted: Taxonomy) -> Taxonomy:
        """Return classes that are to be found in the head; those beside it by their lineages.

        The prompts of a taxon list name rows of a head, those of an added taxon are its texts.
        """
        names = {(taxon.depth, taxon.name) for taxon in self.taxa if taxon.prompts}
        return Taxonomy(
            tuple(
                dataclasses.replace(taxon, prompts=())
                if (taxon.depth, taxon.name) in names
                and any(is_same(taxon, one) for one in self.taxa if one.prompts)
                else taxon
                for taxon in wanted
            )
        )


def put_beside(
    store: EmbeddingStore,
    head: TextHead,
    rank: Rank | None,
    find_means: Callable[[], EmbedMeans],
    *,
    synonyms: Mapping[str, str] | None = None,
) -> Beside:
    """Put the taxa that were added to a store, and by its user, beside those of a head.

    Each is embedded by the head's own recipe, so that it is asked for as the others are. A taxon
    that the head has is not doubled, unless it has texts or example pictures of its own: these
    are the user's word, and stand in place of the head's rows. Texts of its own are put into the
    head's templates where the names would stand. A taxon is the head's where its name at its rank
    is and no rank tells the two apart: homonyms are others.

    Parameters
    ----------
    store : EmbeddingStore
        That keeps the head.
    head : TextHead
        As it lies in the store.
    rank : Rank or None
        Of the classes that are asked for: an added taxon that has no name there takes no part.
        None where each row of the head is a class at its own rank; what lies above rows of the
        head is no such class.
    find_means : callable
        Returns what embeds; not called where nothing stands beside the head.
    synonyms : mapping of str to str, optional
        Synonym to accepted name.

    Raises
    ------
    ModelUnavailableError
        If texts are to be embedded and the model is not to be had.
    """
    added = find_added_taxa(store)
    added = replace_synonyms(added, synonyms) if synonyms else added
    taking = [one for one in added if rank is None or one.lineage[rank.depth]]
    notes = [] if rank is None else list(_tell_unranked(added, rank))
    pictured = read_examples(store) if taking else ()
    sorted_ = _sort(head, taking, pictured, with_lower=rank is not None)
    notes += sorted_.describe(head.name)
    taxa = [*sorted_.new, *sorted_.own]
    if not taxa:
        return Beside(head, tuple(notes))
    try:
        embed_means = find_means()
        found = find_recipe(head, embed_means)
        kept, vectors = _embed_short([found.recipe.write(taxon) for taxon in taxa], embed_means)
    except ModelUnavailableError as error:
        msg = (
            f"added taxa that are to stand beside the text head {head.name} ({_name_some(taxa)}) "
            f"cannot be embedded: {error}. To ask the head alone, remove them with: bioprobe taxa "
            "remove"
        )
        raise ModelUnavailableError(msg) from error
    standing = [taxa[place] for place in kept]
    long = [taxa[place] for place in sorted({*range(len(taxa))} - {*kept.tolist()})]
    notes += describe_long([name_longest(taxon) for taxon in long], [0] * len(long))
    if not standing:
        return Beside(head, tuple(notes))
    offsets = np.zeros(len(standing), dtype=np.float32)
    for place, taxon in enumerate(standing):
        for examples in (one for one in pictured if one.is_of(taxon)):
            vectors[place] = examples.blend(vectors[place])
            offsets[place] = examples.offset
    own = [taxon for taxon in standing if taxon in sorted_.rows]
    if own:
        text = "added taxa whose own texts or pictures stand in place of what the text head "
        notes.append(Note(f"{text}{head.name} has of them: {_name_some(own)}"))
    beside = {
        "beside_head": len(standing),
        "beside_head_recipe": found.recipe.name,
        "beside_head_replaced": len(own),
    }
    rows = np.unique(
        np.array([row for taxon in own for row in sorted_.rows[taxon]], dtype=np.int64)
    )
    together = head.with_taxa(standing, vectors, offsets, replaced=rows, beside=beside)
    return Beside(together, (*notes, *_tell_standing(standing, head.name, found)), tuple(standing))


@dataclasses.dataclass(frozen=True)
class _Sorted:
    """Added taxa by what the head has of them."""

    new: tuple[Taxon, ...]
    own: tuple[Taxon, ...]
    there: tuple[Taxon, ...]
    unclear: tuple[Taxon, ...]
    rows: Mapping[Taxon, Rows]

    def describe(self, name: str) -> list[Note]:
        said = []
        if self.there:
            said.append(
                Note(
                    f"added taxa that the text head {name} has already, and answers for by itself: "
                    f"{_name_some(self.there)}"
                )
            )
        if self.unclear:
            said.append(
                Note(
                    "warning: added taxa are left out that have texts or pictures of their own and "
                    f"a lineage that fits several taxa of the text head {name}: "
                    f"{_name_some(self.unclear)}; remove each, and add it again with --lineage",
                    WARNING,
                )
            )
        return said


def _sort(
    head: TextHead, taxa: Sequence[Taxon], pictured: Sequence[Examples], *, with_lower: bool
) -> _Sorted:
    new, own, there, unclear = [], [], [], []
    rows: dict[Taxon, Rows] = {}
    for taxon, (found, is_one) in zip(taxa, _find_in_head(head, taxa), strict=True):
        is_own = bool(taxon.prompts) or any(one.is_of(taxon) for one in pictured)
        below = head.taxa[list(RANK_NAMES[taxon.depth + 1 :])].iloc[found]
        is_own &= with_lower or not (below != "").any(axis=None)
        if not len(found):
            new.append(taxon)
        elif not is_own:
            there.append(taxon)
        elif not is_one:
            unclear.append(taxon)
        else:
            own.append(taxon)
            rows[taxon] = found
    return _Sorted(tuple(new), tuple(own), tuple(there), tuple(unclear), rows)


def _find_in_head(head: TextHead, taxa: Sequence[Taxon]) -> list[tuple[Rows, bool]]:
    """Find the rows of a head that are each taxon or lie below it, and whether they are of one."""
    names = head.taxa[list(RANK_NAMES)]
    by_name: dict[tuple[int, str], list[int]] = {}
    for depth in {taxon.depth for taxon in taxa}:
        wanted = {taxon.name for taxon in taxa if taxon.depth == depth}
        column = names.iloc[:, depth]
        hits = np.flatnonzero(column.isin(wanted).to_numpy())
        for row, name in zip(hits.tolist(), column.iloc[hits], strict=True):
            by_name.setdefault((depth, name), []).append(row)
    found = []
    for taxon in taxa:
        rows = np.array(by_name.get((taxon.depth, taxon.name), []), dtype=np.int64)
        if not len(rows):
            found.append((rows, False))
            continue
        upper = names.iloc[rows, : taxon.depth + 1].to_numpy(dtype=object)
        own = np.array(taxon.lineage[: taxon.depth + 1], dtype=object)
        agree = ((upper == "") | (own == "") | (upper == own)).all(axis=1)
        below = ("",) * (len(RANKS) - taxon.depth - 1)
        lineages = sorted({(*one, *below) for one in upper[agree]})
        found.append((rows[agree], len(Taxonomy.merge(map(Taxon, lineages))) == 1))
    return found


def _tell_unranked(taxa: Iterable[Taxon], rank: Rank) -> Notes:
    unranked = [taxon for taxon in taxa if not taxon.lineage[rank.depth]]
    if not unranked:
        return ()
    said = f"added taxa that have no name at {rank.value} and take no part there: "
    return (Note(said + _name_some(unranked)),)


def _tell_standing(taxa: Sequence[Taxon], name: str, found: HeadCheck) -> Notes:
    said = (
        f"added taxa that stand beside the text head {name}, by its own recipe "
        f"({found.recipe.name}): {_name_some(taxa)}"
    )
    if found.is_same:
        return (Note(said),)
    nearest = f"{float(np.median(found.cosines)):.3f}" if len(found.cosines) else "none"
    warning = (
        f"warning: whether that is the recipe of the text head {name} is not sure: of taxa that it "
        f"has, this model makes embeddings of cosine {nearest} with its own, {SAME:g} is expected; "
        f"see: bioprobe taxa check --head {name}"
    )
    return Note(said), Note(warning, WARNING)


def _name_some(taxa: Sequence[Taxon]) -> str:
    more = f" and {len(taxa) - _SHOWN:,} more" if len(taxa) > _SHOWN else ""
    return ", ".join(taxon.name for taxon in taxa[:_SHOWN]) + more
