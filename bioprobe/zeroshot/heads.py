"""Any text head that is asked for: of the store, published, or a file; converted once and kept."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bioprobe.access import exists, is_file, list_names
from bioprobe.cache import CACHE_VARIABLE, find_cache
from bioprobe.encoders.catalog import is_same_model
from bioprobe.encoders.hub import find_repository
from bioprobe.encoders.text_heads import (
    TREE_OF_LIFE,
    HeadFiles,
    PublishedHead,
    describe_files,
    fetch_head,
    find_cached_head,
    find_published,
    name_published,
)
from bioprobe.errors import MismatchError, PromptError, StoreError
from bioprobe.files import remove_folder, replacing_folder
from bioprobe.progress import Progress, Step
from bioprobe.store.view import View
from bioprobe.taxonomy.lists import shipped_taxonomies
from bioprobe.types import Vectors
from bioprobe.zeroshot.head_files import is_text_head, iter_blocks, read_text_head
from bioprobe.zeroshot.text_head import (
    TextHead,
    fill_head,
    list_heads,
    read_head,
    read_head_folder,
)

_PART = "heads"
# Of a commit, as the hub shows it.
_SHORT = 12


def names_head(name: object) -> bool:
    """Tell whether what is given as a taxon list is a text head: published, or a file of one.

    Examples
    --------
    >>> names_head("treeoflife"), names_head("treeoflife@main"), names_head("list.csv")
    (True, True, False)
    """
    if not isinstance(name, (str, Path)):
        return False
    path, (published, _, _) = Path(name), str(name).partition("@")
    if published == TREE_OF_LIFE:
        return not exists(path)
    return path.suffix == ".npy"


def find_published_of(view: View, model: str | None = None) -> PublishedHead | None:
    """Return the published head of the model that made the vectors, None where there is none.

    Parameters
    ----------
    view : View
        That holds the vectors.
    model : str, optional
        What the user says that it is, which counts where its folder does not tell.
    """
    stored = find_repository(view.manifest.encoder.model)
    return find_published(stored or (find_repository(model) if model else ""))


def open_head(view: View, name: str | Path, *, model: str | None = None) -> TextHead:
    """Open a text head for the vectors of a view.

    Parameters
    ----------
    view : View
        Whose vectors are to be asked. Its ``progress`` is told of what is fetched.
    name : str or Path
        ``treeoflife``, with ``@revision`` for another than the one that is here or the newest; a
        ``.npy`` with a ``.json`` beside it; or a head that the view's store keeps.
    model : str, optional
        Encoder of the vectors and of the head, on the word of the user; by default what the folder
        of the encoder, and the place and name of the file, tell.

    Returns
    -------
    TextHead
        Memory-mapped; a published one or a file is converted into the cache where it is new.

    Raises
    ------
    StoreError
        If the store has no such head, or the cache cannot be written.
    SourceError
        If the files do not fit each other or the layout.
    MismatchError
        If it is of another encoder.
    ModelUnavailableError
        If it is not on this machine and cannot be fetched.
    PromptError
        If no head of the view's encoder is published, or a file's encoder is not known.
    """
    if str(name) in list_heads(view.store):
        return read_head(view.store, str(name))
    if not names_head(name):
        return read_head(view.store, str(name))
    if str(name).partition("@")[0] == TREE_OF_LIFE:
        return _open_published(view, str(name).partition("@")[2], model)
    return _open_file(view, Path(name), model)


def _open_published(view: View, revision: str, model: str | None) -> TextHead:
    published = find_published_of(view, model)
    if published is None:
        raise PromptError(_explain_unpublished(view))
    files = _find_beside(view, published, revision) or find_cached_head(published, revision)
    if files is None:
        # The hub's files may go once they are converted.
        folder = _find_converted(published, revision)
        if folder is not None and (head := _read(view, folder, TREE_OF_LIFE)) is not None:
            return head
        files = fetch_head(published, revision=revision, progress=view.progress)
    return _convert(view, files, _name_folder(published, files), TREE_OF_LIFE)


def _find_beside(view: View, published: PublishedHead, revision: str) -> HeadFiles | None:
    """Look for a head that was downloaded into the folder of its model."""
    _, _, folder = view.manifest.encoder.model.partition("local-dir:")
    for name in published.names if folder else ():
        path = Path(folder) / f"{name}.npy"
        if is_text_head(path):
            files = describe_files(path)
            if files.model == published.model and revision in {"", files.revision}:
                return files
    return None


def _name_folder(published: PublishedHead, files: HeadFiles) -> str:
    data_set = published.repository.rpartition("/")[2]
    commit = files.revision[:_SHORT] or "unknown"
    return f"{data_set}-{files.matrix.stem}-{commit}"


def _find_converted(published: PublishedHead, revision: str) -> Path | None:
    """Return the newest conversion of a published head, of a commit where one is given."""
    folder, data_set = find_cache(_PART), published.repository.rpartition("/")[2]
    found = [
        folder / name
        for name in list_names(folder)
        if name.startswith(tuple(f"{data_set}-{stem}-" for stem in published.names))
        and name.rpartition("-")[0].removeprefix(f"{data_set}-") in published.names
        and (not revision or revision.startswith(name.rpartition("-")[2]))
        and is_file(folder / name / "head.json")
    ]
    return max(found, key=lambda one: one.stat().st_mtime, default=None)


def _open_file(view: View, path: Path, model: str | None) -> TextHead:
    if not is_text_head(path):
        msg = (
            f"{path} is no text head: expected a .npy of shape (dim, n) with a .json of "
            "[[7 ranks], common name] beside it"
        )
        raise PromptError(msg)
    files, stored = describe_files(path), view.manifest.encoder.model
    if model is not None and not is_same_model(model, stored):
        msg = (
            f"{view.origin or view.folder} holds vectors of {stored}, got a text head of {model}: "
            "they cannot be compared"
        )
        raise MismatchError(msg)
    if model is None and not files.model:
        msg = (
            f"nothing says of which model the text head {path} is; if it was made by the weights "
            f"of the vectors, say --model {stored}"
        )
        raise PromptError(msg)
    if model is None and find_repository(stored) != files.model:
        msg = (
            f"{view.origin or view.folder} holds vectors of {stored}, {path} is the text head of "
            f"{files.model}: they cannot be compared. If both are of the same weights, say --model "
            f"{stored}"
        )
        raise MismatchError(msg)
    facts = [one.stat() for one in (files.matrix, files.names)]
    at = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
    now = hashlib.sha256(str([(one.st_size, one.st_mtime_ns) for one in facts]).encode())
    name = f"{path.stem}-{at}-{now.hexdigest()[:8]}"
    head = _convert(view, files, name, path.stem)
    for other in list_names(find_cache(_PART)):
        # What the file was before.
        if other != name and other.startswith(f"{path.stem}-{at}-"):
            with contextlib.suppress(StoreError):
                remove_folder(find_cache(_PART) / other)
    return head


def _convert(view: View, files: HeadFiles, folder_name: str, name: str) -> TextHead:
    """Open a head in the cache, made there where it is new or damaged."""
    folder = find_cache(_PART) / folder_name
    if (head := _read(view, folder, name)) is not None:
        return head
    with _holding(folder):
        # Another process may have made it meanwhile.
        if (head := _read(view, folder, name)) is not None:
            return head
        if exists(folder):
            remove_folder(folder)
        taxa, embeddings = read_text_head(files.matrix)
        dim = embeddings.shape[1]
        if dim != view.manifest.dim:
            msg = (
                f"{files.matrix} has text embeddings of dim {dim}, "
                f"{view.origin or view.folder} has vectors of dim {view.manifest.dim}; bring the "
                "head of the vectors' encoder"
            )
            raise MismatchError(msg)
        encoder = view.manifest.encoder
        about: dict[str, Any] = {
            "source": str(files.matrix.absolute()),
            "repository": files.repository,
            "revision": files.revision,
            "model": encoder.model,
            "encoder_key": encoder.key,
            "weights_sha256": encoder.weights_sha256,
        }
        with replacing_folder(folder) as temporary:
            blocks = _tell_blocks(files.matrix, len(taxa), view.progress)
            fill_head(temporary, taxa, blocks, about, dim, dtype="float16")
    head = _read(view, folder, name)
    if head is None:
        msg = f"the text head {folder} was written and cannot be read; look at that disk"
        raise StoreError(msg)
    return head


def _tell_blocks(source: Path, n_rows: int, progress: Progress | None) -> Iterator[Vectors]:
    n_done = 0
    for block in iter_blocks(source):
        yield block
        n_done += len(block)
        if progress is not None:
            progress(Step(n_done, n_rows, "texts converted"))


def _read(view: View, folder: Path, name: str) -> TextHead | None:
    """Open a converted head, None where there is none or it is damaged.

    Raises
    ------
    MismatchError
        If it was converted for vectors of other weights.
    """
    try:
        head = read_head_folder(folder, name)
    except (OSError, ValueError):
        return None
    encoder, weights = view.manifest.encoder, head.about.get("weights_sha256", "")
    is_other = encoder.weights_sha256 and weights and encoder.weights_sha256 != weights
    if is_other or head.vectors.shape[1] != view.manifest.dim:
        msg = (
            f"{view.origin or view.folder} holds vectors of {encoder.describe()}, the text head "
            f"{head.origin} was taken for those of {head.about['model']} (weights "
            f"{weights[:_SHORT] or 'unknown'}, dim {head.vectors.shape[1]}): they cannot be "
            f"compared. If it is of the former, remove {folder}, which is made again"
        )
        raise MismatchError(msg)
    return head


@contextlib.contextmanager
def _holding(folder: Path) -> Iterator[None]:
    """Wait for whoever makes the same folder of the cache, and hold it while the block runs."""
    import filelock

    lock = filelock.FileLock(f"{folder}.lock")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except NotImplementedError:
        # Of two that make it the second fails, and finds it the next time.
        yield
        return
    except OSError as error:
        msg = f"{folder.parent} cannot be written ({error}); name another place in {CACHE_VARIABLE}"
        raise StoreError(msg) from error
    try:
        yield
    except StoreError as error:
        msg = f"{error} ({folder.parent} is a cache: {CACHE_VARIABLE} names another place)"
        raise StoreError(msg) from error
    finally:
        lock.release()


def _explain_unpublished(view: View) -> str:
    """Say which models have a published head, and what to do with another."""
    stored, store = view.manifest.encoder.model, view.origin or view.folder
    known = ", or say with --model which of them it is" if stored.startswith("local-dir:") else ""
    return (
        f"the tree of life has texts for {name_published()}, and {store} holds vectors of "
        f"{stored}{known}; {advise_lists(view)}"
    )


def advise_lists(view: View) -> str:
    """Say what can be given as candidates where no published head is."""
    return (
        f"give a taxon list with --taxa: a file, one that ships "
        f"({', '.join(shipped_taxonomies())}), or a text head of your own (bioprobe taxa import "
        "LIST, then bioprobe taxa export HEAD.npy, then --taxa HEAD.npy --model "
        f"{view.manifest.encoder.model})"
    )
