"""The published text heads: which model has one, and how it is brought to this machine."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioprobe.access import is_file
from bioprobe.encoders.catalog import CARDS
from bioprobe.encoders.hub import (
    HUB_TIMEOUT_S,
    explain_reason,
    find_cached_repository,
    read_origin,
    write_origin,
)
from bioprobe.encoders.loading import silence_libraries
from bioprobe.errors import BioprobeError, ModelUnavailableError
from bioprobe.files import check_target, write_text
from bioprobe.progress import Progress, Step
from bioprobe.result import Notes, Record

if TYPE_CHECKING:
    from tqdm import tqdm

#: Name under which the published heads are asked for.
TREE_OF_LIFE = "treeoflife"

_FOLDER = "embeddings"
_ORIGIN_SUFFIX = ".origin.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedHead:
    """Where the texts of all taxa lie that a model was trained with.

    Parameters
    ----------
    model : str
        Repository of the model.
    repository : str
        Data set that holds the head, in its folder ``embeddings``.
    names : tuple of str
        Names of the two files without their endings, the preferred first: a ``.npy`` of shape
        (dim, n) and a ``.json`` of names.
    """

    model: str
    repository: str
    names: tuple[str, ...]

    @property
    def short_name(self) -> str:
        """Name of the model that ``--model`` takes."""
        source = f"hf-hub:{self.model}"
        return next((card.short_name for card in CARDS if card.source == source), source)


# Before each model had a file of its name, txt_emb_species was the one of its data set's model.
_SPECIES = "txt_emb_species"
#: The heads that are published.
PUBLISHED = (
    PublishedHead(
        model="imageomics/bioclip-2",
        repository="imageomics/TreeOfLife-200M",
        names=("txt_emb_bioclip-2", _SPECIES),
    ),
    PublishedHead(
        model="imageomics/bioclip-2.5-vith14",
        repository="imageomics/TreeOfLife-200M",
        names=("txt_emb_bioclip-2.5-vith14",),
    ),
    PublishedHead(
        model="imageomics/bioclip",
        repository="imageomics/TreeOfLife-10M",
        names=("txt_emb_bioclip", _SPECIES),
    ),
    PublishedHead(
        model="imageomics/biocap",
        repository="imageomics/TreeOfLife-10M",
        names=("txt_emb_biocap",),
    ),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadFiles:
    """The two files of a head on this machine, and where they come from.

    Parameters
    ----------
    matrix : Path
        The ``.npy``; the ``.json`` of names lies beside it.
    repository, revision : str
        Data set and commit at the hub, ``""`` where neither is known.
    model : str
        Repository of the model, ``""`` where it is not known.
    """

    matrix: Path
    repository: str = ""
    revision: str = ""
    model: str = ""

    @property
    def names(self) -> Path:
        """The file of names."""
        return self.matrix.with_suffix(".json")


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class HeadDownload(Record):
    """What the download of a head brought.

    Parameters
    ----------
    folder : Path
        Folder that holds it.
    file : Path
        The ``.npy``, which ``--taxa`` takes.
    model : str
        Model that it is for.
    repository, revision : str
        Data set and commit at the hub.
    size_bytes : int
        Size of both files.
    notes : tuple of Note
        What is to be said of it.
    """

    folder: Path
    file: Path
    model: str
    repository: str
    revision: str
    size_bytes: int
    notes: Notes = ()


def find_published(repository: str) -> PublishedHead | None:
    """Return the published head of a model's repository, None where there is none.

    Examples
    --------
    >>> find_published("imageomics/biocap").repository
    'imageomics/TreeOfLife-10M'
    """
    return next((one for one in PUBLISHED if one.model == repository), None)


def name_published() -> str:
    """Return the short names of the models that have a published head, for a sentence."""
    return ", ".join(one.short_name for one in PUBLISHED)


def describe_files(matrix: Path) -> HeadFiles:
    """Tell where a head's files come from: by what a download wrote, or by their place and name.

    Parameters
    ----------
    matrix : Path
        A ``.npy``.
    """
    origin = read_origin(matrix.with_name(matrix.stem + _ORIGIN_SUFFIX))
    if origin.get("model"):
        return HeadFiles(
            matrix=matrix, repository=origin.get("repository", ""),
            revision=origin.get("revision", ""), model=origin["model"],
        )  # fmt: skip
    repository = find_cached_repository(matrix.absolute(), "datasets")
    fitting = [
        one
        for one in PUBLISHED
        # Two data sets have the older name.
        if matrix.stem in one.names and (one.repository == repository or matrix.stem != _SPECIES)
    ]
    return HeadFiles(
        matrix=matrix, repository=repository, model=fitting[0].model if fitting else ""
    )


def find_cached_head(published: PublishedHead, revision: str = "") -> HeadFiles | None:
    """Look for a head in the Hugging Face cache without touching the network.

    Parameters
    ----------
    published : PublishedHead
        Which.
    revision : str
        Branch, tag or commit; ``""`` is the newest that was cached.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    for name in published.names:
        try:
            paths = [
                Path(
                    hf_hub_download(
                        published.repository, f"{name}{suffix}", subfolder=_FOLDER,
                        repo_type="dataset", revision=revision or None, local_files_only=True,
                    )
                )
                for suffix in (".json", ".npy")
            ]  # fmt: skip
        except (EntryNotFoundError, LocalEntryNotFoundError):
            continue
        return HeadFiles(
            matrix=paths[1], repository=published.repository, model=published.model,
            revision=paths[1].parent.parent.name,
        )  # fmt: skip
    return None


def fetch_head(
    published: PublishedHead,
    *,
    revision: str = "",
    to: Path | None = None,
    progress: Progress | None = None,
) -> HeadFiles:
    """Fetch a head from the hub, into its cache or into a folder.

    A connection that breaks off goes on where it was. The commit that is fetched is the one of both
    files.

    Parameters
    ----------
    published : PublishedHead
        Which.
    revision : str
        Branch, tag or commit; ``""`` for the newest.
    to : Path, optional
        Folder to fill; by default the Hugging Face cache.
    progress : callable, optional
        Told how many megabytes are here; by default the hub's library shows a bar of its own.

    Raises
    ------
    ModelUnavailableError
        If the hub cannot be reached, or refuses, or has no such file.
    StoreError
        If the folder cannot be written.
    """
    from huggingface_hub import hf_hub_download

    if to is not None:
        check_target(to, is_file=False)
    try:
        with silence_libraries():
            name, commit = _find_name(published, revision)
            paths = [
                Path(
                    hf_hub_download(
                        published.repository, f"{name}{suffix}", subfolder=_FOLDER,
                        repo_type="dataset", revision=commit, local_dir=to,
                        tqdm_class=_tell_bytes(f"{name}{suffix}", progress),
                    )
                )
                for suffix in (".json", ".npy")
            ]  # fmt: skip
    except BioprobeError:
        raise
    except Exception as error:
        # Each version of huggingface_hub has another HTTP client with its own errors.
        raise ModelUnavailableError(_explain_missing_head(published, error)) from error
    found = HeadFiles(
        matrix=paths[1], repository=published.repository, revision=commit, model=published.model
    )
    if to is not None:
        return _flatten(found, to)
    if revision != commit:
        # The cache knows a branch by the commit that it was.
        write_text(paths[1].parents[3] / "refs" / (revision or "main"), commit)
    return found


def _find_name(published: PublishedHead, revision: str) -> tuple[str, str]:
    """Return the name under which the hub has a head, and the commit that a revision is there."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    for name in published.names:
        url = hf_hub_url(
            published.repository, f"{name}.npy", subfolder=_FOLDER, repo_type="dataset",
            revision=revision or None,
        )  # fmt: skip
        try:
            # Unlike a download, this gives up at once where no hub can be reached.
            found = get_hf_file_metadata(url, timeout=HUB_TIMEOUT_S)
        except EntryNotFoundError:
            continue
        return name, found.commit_hash or revision
    msg = (
        f"{published.repository} has no {' or '.join(published.names)} in {_FOLDER}/"
        f"{f' at {revision}' if revision else ''}; say another revision with --taxa "
        f"{TREE_OF_LIFE}@REVISION, or give a taxon list with --taxa"
    )
    raise ModelUnavailableError(msg)


def _flatten(found: HeadFiles, to: Path) -> HeadFiles:
    """Move the files out of the folder that they have at the hub, and say where they come from."""
    moved = to / found.matrix.name
    for path in (found.names, found.matrix):
        path.replace(to / path.name)
    (to / _FOLDER).rmdir()
    write_origin(
        moved.with_name(moved.stem + _ORIGIN_SUFFIX), model=found.model,
        repository=found.repository, revision=found.revision,
    )  # fmt: skip
    return dataclasses.replace(found, matrix=moved)


def _tell_bytes(what: str, progress: Progress | None) -> type[tqdm[Any]] | None:
    """Return a bar that tells a progress how many megabytes of a file are here."""
    if progress is None:
        return None
    from huggingface_hub.utils.tqdm import tqdm as hub_bar

    tell, first = progress, list[object]()

    class Told(hub_bar):
        def __init__(self, *args: Any, **given: Any) -> None:  # noqa: ANN401 - tqdm's own
            super().__init__(*args, **{**given, "disable": True})  # type: ignore[no-untyped-call]
            # Where a file comes in pieces, a second bar counts these.
            first.append(self)

        def update(self, n: float | None = 1) -> None:
            self.n += n or 0
            if self is first[0] and self.total:
                total = max(1, round(self.total / 1e6))
                tell(Step(min(round(self.n / 1e6), total), total, f"MB of {what}"))

    return Told


def _explain_missing_head(published: PublishedHead, error: Exception) -> str:
    """Return the one message for a head that is not here: what happened and the remedies."""
    name = published.short_name
    return (
        f"the text head of {name} ({published.names[0]} of {published.repository}) is not on this "
        f'machine and could not be fetched ({explain_reason(error)}). Either run "bioprobe taxa '
        f'download {TREE_OF_LIFE} --model {name} --to DIR" on a machine with a network, copy DIR '
        f'here and use "--taxa DIR/{published.names[0]}.npy" (or point HF_HUB_CACHE at a cache '
        "that holds it); or name classes with --classes, or give a taxon list with --taxa"
    )


def download_head(
    published: PublishedHead,
    *,
    revision: str = "",
    to: Path | None = None,
    progress: Progress | None = None,
) -> HeadDownload:
    """Fetch a head, and say what came; as :func:`fetch_head`."""
    found = fetch_head(published, revision=revision, to=to, progress=progress)
    size = sum(path.stat().st_size for path in (found.matrix, found.names) if is_file(path))
    return HeadDownload(
        folder=found.matrix.parent,
        file=found.matrix,
        model=published.short_name,
        repository=found.repository,
        revision=found.revision,
        size_bytes=size,
    )
