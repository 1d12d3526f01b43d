"""Taxa that are added for all stores of a user; those of one are added by its own methods."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bioprobe.errors import MisuseError, ModelUnavailableError, SourceError
from bioprobe.face.adding import (
    HEAD,
    AddedName,
    CommonName,
    Descriptions,
    LineageNames,
    ListTarget,
    OwnLineage,
    OwnParent,
    Parent,
    Synonyms,
    TaxonFile,
    TaxonName,
    add_by_text,
    complete,
    export_added,
    import_added,
    know,
    remove_added,
)
from bioprobe.face.opened import find_texts
from bioprobe.options import (
    Device,
    Model,
    Option,
    RankColumns,
    StoreFolder,
    Templates,
    TextTypeName,
    Without,
    question,
)

if TYPE_CHECKING:
    from bioprobe.encoders.text_heads import HeadDownload
    from bioprobe.progress import Progress
    from bioprobe.prompts import PromptSet
    from bioprobe.types import Vectors
    from bioprobe.zeroshot.added_taxa import Added, KnownTaxa

__all__ = ["add", "download", "export", "import_list", "list", "remove"]


@question
def add(
    name: TaxonName,
    *,
    common: CommonName = "",
    lineage: Annotated[LineageNames, Without("parent")] = "",
    parent: Parent = "",
    prompts: Descriptions = (),
    store: StoreFolder | None = None,
) -> Added:
    """Add a taxon to the list that counts in every store of this user.

    Parameters
    ----------
    name : str
        Scientific name.
    common : str
        Common name.
    lineage : str
        Names from kingdom down, separated by commas.
    parent : str
        Known taxon above it, which completes the lineage.
    prompts : sequence of str
        Texts that describe it, used instead of its names.
    store : str or Path, optional
        Folder of a store whose labels may name the parent, beside the user's taxa and the lists
        that ship.

    Raises
    ------
    TaxonomyError
        If it was added before, or contradicts the taxa that were.
    PromptError
        If nobody knows the parent.

    Examples
    --------
    >>> bp.taxa.add("Panthera uncia", common="snow leopard", parent="Felidae")  # doctest: +SKIP
    """
    from bioprobe.store import EmbeddingStore
    from bioprobe.store.added_taxa import AddedList

    labelled = EmbeddingStore.open(store) if parent and store is not None else None
    taxon = complete(name, common, lineage, parent, prompts, labelled)
    return add_by_text(AddedList.of_user(), taxon)


@question
def remove(name: AddedName, *, lineage: OwnLineage = "", parent: OwnParent = "") -> KnownTaxa:
    """Remove a taxon from the list that counts in every store of this user.

    Parameters
    ----------
    name : str
        Scientific or common name.
    lineage : str
        Names from kingdom down, separated by commas, that tell it from homonyms.
    parent : str
        Name of a taxon above it, that tells it from homonyms.

    Raises
    ------
    TaxonomyError
        If no such taxon was added, or several were.
    """
    from bioprobe.store.added_taxa import AddedList

    return remove_added(AddedList.of_user(), name, None, lineage, parent)


@question
def list() -> KnownTaxa:
    """List the taxa that count in every store of this user."""
    from bioprobe.store.added_taxa import read_user_taxa

    return know(read_user_taxa(), "user-wide")


@question
def import_list(
    file: TaxonFile, *, synonyms: Synonyms = None, rank_column: RankColumns = None
) -> KnownTaxa:
    """Add every taxon of a list to the list that counts in every store of this user.

    Parameters
    ----------
    file : str or Path
        Taxon list, or the name of one that ships.
    synonyms : str or Path, optional
        Table with the columns ``synonym`` and ``accepted``.
    rank_column : mapping of str to str, or sequence of str, optional
        Rank to column of the list.

    Returns
    -------
    KnownTaxa
        All that are added now.
    """
    from bioprobe.store.added_taxa import AddedList

    return import_added(AddedList.of_user(), file, synonyms, rank_column)


@question
def export(
    target: ListTarget,
    *,
    text_type: Annotated[TextTypeName, HEAD] = "taxon_com",
    templates: Annotated[Templates, HEAD] = "plain",
    store: StoreFolder | None = None,
    model: Annotated[Model, HEAD] = None,
    device: Annotated[Device, HEAD] = "auto",
) -> KnownTaxa:
    """Write the taxa that count in every store of this user, for another user or tool.

    Parameters
    ----------
    target : str or Path
        A ``.csv``, or a ``.npy`` of text embeddings with a ``.json`` of names beside it.
    text_type, templates : str
        How the taxa are written in a ``.npy``.
    store : str or Path, optional
        Folder of a store whose encoder embeds them, where no model is named.
    model : str, optional
        Encoder of a ``.npy``.
    device : str
        Where it runs.

    Raises
    ------
    SourceError
        If nothing was added, the target is of another kind, or no encoder is known.
    """
    from bioprobe.store.added_taxa import AddedList, read_user_taxa

    def embed(prompts: PromptSet) -> Vectors:
        from bioprobe.encoders import load_encoder
        from bioprobe.store import EmbeddingStore

        if model is not None:
            encoder = load_encoder(model, device=device, backend="auto")
            return prompts.embed(encoder.encode_text)
        if store is not None:
            texts = find_texts(EmbeddingStore.open(store), None, device)
            return prompts.embed(texts().encode_text)
        msg = f"text embeddings need an encoder; name one to write {target}: model='bioclip-2'"
        raise SourceError(msg)

    return export_added(
        Path(target), read_user_taxa(), "user-wide", AddedList.of_user().describe(), embed,
        text_type, templates,
    )  # fmt: skip


@question
def download(
    what: Annotated[
        str,
        Option(
            "treeoflife, the texts of all taxa that a model was trained with; treeoflife@REVISION "
            "for another than the newest.",
            ("-",),
            ("treeoflife",),
        ),
    ],
    *,
    to: Annotated[
        str | Path | None,
        Option(
            "Folder to fill, to be copied to a machine without a network.",
            shell=Path,
            writes="any",
        ),
    ] = None,
    model: Model = None,
    progress: Progress | None = None,
) -> HeadDownload:
    """Fetch the published text head of a model, into the Hugging Face cache or into a folder.

    Parameters
    ----------
    what : str
        ``treeoflife``, or ``treeoflife@REVISION``.
    to : str or Path, optional
        Folder to fill.
    model : str, optional
        Of which model; by default ``bioclip-2``.
    progress : callable, optional
        Told how many megabytes are here.

    Raises
    ------
    ModelUnavailableError
        If the hub cannot be reached, or the model has no published head.
    MisuseError
        If something else is asked for.
    """
    from bioprobe.encoders.catalog import DEFAULT_MODEL
    from bioprobe.encoders.hub import find_repository
    from bioprobe.encoders.text_heads import (
        TREE_OF_LIFE,
        download_head,
        find_published,
        name_published,
    )

    name, _, revision = what.partition("@")
    if name != TREE_OF_LIFE:
        msg = f"what is downloaded is {TREE_OF_LIFE}, got {what!r}"
        raise MisuseError(msg)
    published = find_published(find_repository(model or DEFAULT_MODEL))
    if published is None:
        msg = f"no text head of {model} is published; there are those of {name_published()}"
        raise ModelUnavailableError(msg)
    found = download_head(
        published, revision=revision, to=None if to is None else Path(to), progress=progress
    )
    use = f"--taxa {found.file}" if to is not None else f"--taxa {TREE_OF_LIFE}"
    return found.say(
        [
            f"{found.size_bytes / 1e6:,.0f} MB of texts for {found.model}, "
            f"{found.file.stem} of {found.repository} at {found.revision[:12]}, lie in "
            f"{found.folder}",
            f"Use it with: bioprobe zeroshot {use}",
        ]
    )


def __dir__() -> Sequence[str]:
    return __all__
