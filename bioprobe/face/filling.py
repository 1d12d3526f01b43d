"""A store is filled: pictures are listed, read, embedded and kept, and the run is told of."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from bioprobe.access import exists
from bioprobe.errors import MisuseError, SourceError
from bioprobe.face.lists import open_names, read_rank_columns
from bioprobe.face.opened import tell_emptied, tell_placeholders
from bioprobe.face.pictures import count_outcomes
from bioprobe.face.store import DEFAULT_STORE, Store
from bioprobe.files import check_new_folder, remove_folder
from bioprobe.options import (
    BOTH,
    ENGINES,
    LOCAL,
    RANK_NAMES,
    RAY,
    AllowOutside,
    Backend,
    Device,
    Exclude,
    Include,
    Model,
    NoLabel,
    Option,
    Precision,
    RankColumns,
    StoreFolder,
    Unless,
    With,
    list_given,
    question,
    split_names,
    write_flag,
)
from bioprobe.progress import Progress, Step
from bioprobe.result import FACT, PROBLEM, WARNING, Note

if TYPE_CHECKING:
    from bioprobe.embedding import EmbedSummary
    from bioprobe.embedding.on_ray import Settings
    from bioprobe.encoders.encoder import Encoder
    from bioprobe.images.camera import CameraCounts
    from bioprobe.sources.files import SourceOptions
    from bioprobe.sources.listing import Listing
    from bioprobe.store.view import View
    from bioprobe.taxonomy.matching import NameList


# That of bioprobe.images, which the command line does not import to show its help.
MAX_PIXELS_PX = 178_956_970


@question
def embed(
    sources: Annotated[
        str | Path | Sequence[str | Path],
        Option(
            "Folders; image files; tables that name files (CSV and its kin, Parquet, JSON Lines, "
            "workbooks); lists of paths "
            "(.txt, one a line; .json, an array); any of these at an address, s3://BUCKET/FOLDER, "
            "gs:// or hf://; - for a list on standard input; folders of "
            "save_to_disk and Parquet files that hold pictures; "
            "dataset:ORG/NAME[@REVISION][#SPLIT] on the Hugging Face hub.",
            ("-",),
            shell=list[Path],
        ),
    ],
    *,
    store: StoreFolder = DEFAULT_STORE,
    model: Model = None,
    device: Device = "auto",
    precision: Precision = None,
    backend: Backend = "auto",
    views: Annotated[
        int | None,
        Option(
            "Times that each picture is seen, the mean being kept: 2 (and mirrored), 4 (and its "
            "middle, mirrored too) or 10 (four corners, mirrored too). The store's model is then "
            "MODEL+views4, and pictures that it is asked about are seen as often. By default as "
            "the store was begun, a new one once.",
            choices=("2", "4", "10"),
        ),
    ] = None,
    batch_size: Annotated[
        int | None, Option("Images that the encoder sees at once; by default by device.", least=1)
    ] = None,
    threads: Annotated[
        int | None,
        Option(
            "Threads that read and decode; by default one a core, for pictures at addresses at "
            "least 16.",
            least=1,
        ),
    ] = None,
    decoding: Annotated[
        str | None,
        Option(
            "fast: large JPEGs are decoded at a fraction of their size, at least twice what the "
            "model sees. exact: whole, as the model's own library does. By default as the store "
            "was begun, a new one fast.",
            choices=("fast", "exact"),
        ),
    ] = None,
    max_pixels: Annotated[
        int, Option("Images of more pixels fail before they fill the memory.", least=1)
    ] = MAX_PIXELS_PX,
    memory: Annotated[
        float | None,
        Option(
            "Gigabytes for what all threads decode at one time; a picture that needs more is "
            "decoded alone. By default half of this machine's.",
            least=0.001,
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        Option(
            "How a new store keeps vectors: float32, or float16 for half the space.",
            choices=("float32", "float16"),
        ),
    ] = None,
    keep: Annotated[
        str | Sequence[str] | None,
        Option(
            "Kept beside the vectors, of the same pass of the encoder; both with a comma between. "
            "projection-input: what the visual projection takes, for probe fit prolip. tokens: "
            "those of the last block, or the places of the last map, in half precision, for probe "
            "fit attentive. Pictures that the store has are read again for it. By default what the "
            "store keeps.",
            shell=str,
            metavar="KINDS",
        ),
    ] = None,
    root: Annotated[
        str | Path | None,
        Option(
            "Folder or address that the paths of a table or list start from; by default the "
            "table's own, for a list the current one.",
            shell=Path,
        ),
    ] = None,
    path_column: Annotated[
        str | None,
        Option(
            "Column of a table that names the file, FOLDER/FILE where two do; in a data set, the "
            "column of pictures."
        ),
    ] = None,
    delimiter: Annotated[
        str | None,
        Option(
            "What stands between the cells of a text table: comma, semicolon, tab, pipe, or any "
            "character; by default it is found out."
        ),
    ] = None,
    encoding: Annotated[
        str | None,
        Option("Encoding of a text table, such as cp1252 or utf-16; by default it is found out."),
    ] = None,
    decimal: Annotated[
        str | None,
        Option(
            "Decimal mark of the numbers of a text table; by default it is found out.",
            choices=(",", "."),
        ),
    ] = None,
    sheet: Annotated[
        str | None,
        Option("Sheet of a workbook; by default the first that has a column of paths."),
    ] = None,
    allow_outside: AllowOutside = False,
    fetch: Annotated[
        bool,
        Option(
            "Download the pictures that tables name by an address; they are kept in the cache, and "
            "asked for once. By default an address is a failure, and nothing goes to the network."
        ),
    ] = False,
    fetch_rate: Annotated[
        float,
        Option(
            "Pictures that one host is asked for in a second.", least=0.01, when=(With("fetch"),)
        ),
    ] = 10.0,
    allow_private: Annotated[
        bool,
        Option(
            "With --fetch: machines may be asked that are not on the public internet.",
            when=(With("fetch"),),
        ),
    ] = False,
    exclude: Exclude = None,
    include: Include = None,
    damaged: Annotated[
        str,
        Option(
            "Pictures of which something is missing or wrong. mark: embedded where 95% of the rows "
            "are there, with the columns share_present and damage. keep: embedded where they can "
            "be decoded at all. refuse: failures, all of them.",
            choices=("mark", "keep", "refuse"),
            fixed=True,
        ),
    ] = "mark",
    rank_column: RankColumns = None,
    folder_rank: Annotated[
        str | None,
        Option("Rank of which the name of an image's folder is the label.", choices=RANK_NAMES),
    ] = None,
    folder_label: Annotated[
        str | None,
        Option(
            "Column that the name of an image's folder goes into as it is written, where folders "
            "are named by anything else than taxa of a rank."
        ),
    ] = None,
    min_confidence: Annotated[
        float,
        Option("Least confidence of a detector's box to be a row of its own.", least=0, most=1),
    ] = 0.2,
    category: Annotated[
        Sequence[str] | None,
        Option(
            "Only boxes of this category, such as animal or the detector's own word; repeat for "
            "several. By default of all.",
            shell=list[str],
        ),
    ] = None,
    pad: Annotated[
        float,
        Option("Share of a box's own size that is cut out around it on each side.", least=0),
    ] = 0.0,
    square: Annotated[
        bool, Option("Cut out squares: the shorter side of a box is made as long as the longer.")
    ] = False,
    names: Annotated[
        str | Path | None,
        Option(
            "Taxon list with common names, a file or one that ships: labels that it has, by "
            "scientific or common name, get their lineage.",
            shell=str,
        ),
    ] = None,
    synonyms: Annotated[
        str | Path | None,
        Option(
            "With --names: table with the columns synonym and accepted.",
            when=(With("names"),),
            shell=str,
        ),
    ] = None,
    no_label: NoLabel = None,
    exif: Annotated[
        bool,
        Option(
            "Fill the columns captured_at, camera, latitude and longitude from the EXIF block of "
            "each picture, also of those that the store has; what a table says of them stays."
        ),
    ] = False,
    prune: Annotated[
        bool,
        Option(
            "Retire rows whose file is gone from the folders that the sources start from, or whose "
            "row is gone from a data set."
        ),
    ] = False,
    shard: Annotated[
        str | None,
        Option(
            "Take share i of n of the pictures, 1/8 to 8/8, into a store of its own, S-i-of-8 for "
            "--store S, as one of n processes that need not know of each other. A picture is of "
            "the share that its path says. Afterwards: bioprobe store merge S-*-of-8 --store S.",
            when=(Unless("engine", (RAY,)),),
            metavar="I/N",
        ),
    ] = None,
    engine: Annotated[
        str,
        Option(
            "ray: a new store is made by all nodes of a Ray cluster, in shares that lie beside it "
            "until it is whole; all nodes see the pictures and the store under the same names "
            "(extra: bioprobe[ray]).",
            choices=ENGINES,
            fixed=True,
        ),
    ] = LOCAL,
    progress: Progress | None = None,
) -> Store:
    """Turn images into vectors in a store; only what is new is encoded.

    Parameters
    ----------
    sources : str, Path or sequence of them
        Folders, image files, tables that name files, lists of paths (``.txt``, one a line;
        ``.json``, an array), any of these at an address (``s3://bucket/folder``), ``-`` for a list
        on standard input, data sets.
    store : str or Path
        Folder of the store; made where there is none.
    model : str, optional
        Encoder; by default that of the store, of a new one ``bioclip-2``.
    device : str
        Where it runs.
    precision, decoding : str, optional
        By default as the store was begun, a new one ``auto`` and ``fast``.
    backend : str
        What runs whole batches: ``torch``, ``traced``, ``numpy``, ``onnx``, ``openvino``,
        ``zentorch``, ``tensorrt``, ``compile`` or ``auto``. It may be another in every run, as
        vectors agree; what ran is said.
    views : int, optional
        Times that each picture is seen, whole, mirrored and cropped: 2, 4 or 10. Vectors of several
        views are never mixed with those of one; texts are the same.
    batch_size, threads : int, optional
        Images that the encoder sees at once, and threads that read and decode.
    max_pixels : int
        Images of more pixels fail.
    memory : float, optional
        Gigabytes for what all threads decode at one time.
    dtype : str, optional
        ``float32`` or ``float16`` of a new store.
    keep : str or sequence of str, optional
        ``projection-input``, ``tokens`` or both: kept beside the vectors, of new pictures and of
        those among the sources that the store has; by default what the store keeps.
    root : str or Path, optional
        Folder that the paths of a table or list start from.
    allow_outside : bool
        Whether a table or data set may name files outside of its folder, ``root``, and the other
        folders among the sources.
    exclude, include : str or sequence of str, optional
        Patterns of what is left out of folders that are named, beside bins, other programs'
        thumbnails and hidden files, and of what is taken all the same.
    damaged : {"mark", "keep", "refuse"}
        What becomes of new pictures that are not whole: see the columns ``share_present``, the
        share of rows that is there, and ``damage``.
    path_column : str, optional
        Column of a table that names the file; ``FOLDER/FILE`` where two do.
    delimiter, encoding, decimal : str, optional
        How a text table is written; what is not said is found out, and said in the notes.
    sheet : str, optional
        Of a workbook; by default the first that has a column of paths.
    fetch : bool
        Whether pictures at addresses are downloaded, into the cache.
    fetch_rate : float
        Pictures that one host is asked for in a second.
    allow_private : bool
        Whether machines may be asked that are not on the public internet.
    rank_column : mapping of str to str, or sequence of str, optional
        Rank to column, or ``rank=column``; an empty column is none.
    folder_rank : str, optional
        Rank of which the name of an image's folder is the label; a name that is no scientific
        one goes into the column ``label``.
    folder_label : str, optional
        Free column that the name of an image's folder goes into.
    min_confidence : float
        Of a detector's box to be a row of its own, in [0, 1].
    category : str or sequence of str, optional
        Categories of boxes, such as ``animal``; all by default.
    pad : float
        Share of a box's own width and height that is cut out around it on each side, ≥ 0.
    square : bool
        Whether the shorter side of a box is made as long as the longer one.
    names : str or Path, optional
        Taxon list with common names, that labels are looked for in; as :meth:`Store.resolve_taxa`
        does it.
    synonyms : str or Path, optional
        Table of synonyms and accepted names, for the list.
    no_label : str or sequence of str, optional
        Labels that are none, such as ``#N/A``: these cells are left empty, whatever their case,
        and those that the store has of the images that are listed too.
    exif : bool
        Whether ``captured_at`` (ISO 8601), ``camera`` (make, model, serial number), ``latitude``
        and ``longitude`` are read from EXIF where neither a source nor the store says them.
    prune : bool
        Whether rows are retired whose file is gone.
    shard : str, optional
        Share of the pictures that is taken, such as ``3/8``, into the store ``S-3-of-8`` for
        ``S``; :func:`bioprobe.merge` makes one store of all. Every process is given the same
        sources and options. See :mod:`bioprobe.sources.shares` for which picture is of which.
    engine : {"local", "ray"}
        Where it runs: in this process, or by :mod:`bioprobe.embedding.on_ray` on a cluster.
    progress : callable, optional
        Told a :class:`bioprobe.progress.Step` after each image; an error that it raises stops the
        run, and what was embedded is kept.

    Returns
    -------
    Store
        Its ``notes`` say what was done, its ``failures`` list what could not be read.

    Raises
    ------
    SourceError
        If a source is missing or holds no image, or no image of a new store can be read.
    ModelUnavailableError
        If the weights are not here, or the model does not give what is to be kept.
    MismatchError
        If the store is of another encoder.

    Examples
    --------
    >>> store = bp.embed("photos/", model="bioclip-2", store="embeddings/all")  # doctest: +SKIP
    """
    from bioprobe.embedding import embed_images, embed_share, load_encoder_for, open_on_demand
    from bioprobe.embedding.on_ray import Settings
    from bioprobe.encoders.keeping import need_keeping
    from bioprobe.quality.description import describe_contradicting_copies
    from bioprobe.remote import find_address
    from bioprobe.sources.shares import Order, Share
    from bioprobe.sources.source import SourceOptions, find_images
    from bioprobe.store import EmbeddingStore
    from bioprobe.store.remote import refuse_writing
    from bioprobe.store.view import View
    from bioprobe.tables import TableOptions
    from bioprobe.taxonomy import Rank

    read: list[Note] = []
    options = SourceOptions(
        None if root is None else Path(root), path_column, read_rank_columns(rank_column),
        None if folder_rank is None else Rank.parse(folder_rank), _read_free_column(folder_label),
        allow_outside, tuple(list_given(exclude)), tuple(list_given(include)),
        min_confidence=min_confidence, categories=tuple(split_names(category or ())), pad=pad,
        square=square, tell=lambda text: read.append(Note(text)),
        written=TableOptions(delimiter, encoding, decimal, sheet), fetches=fetch,
    )  # fmt: skip
    if address := find_address(store):
        refuse_writing(address)
    share = None if shard is None else Share.parse(shard)
    table = find_images([Path(one) for one in list_given(sources)], options)
    _check_boxes(table, options)
    if share is not None:
        order = Order.of(table)
        table = share.cut(table)
    if fetch:
        table = _fetch(table, fetch_rate, allow_private=allow_private, progress=progress)
    given = split_names(no_label or ())
    listed = None if names is None else open_names(names, synonyms)
    table, settled = _settle_labels(table, given, listed, None if folder_rank else folder_label)
    folder = store if share is None else share.name_store(store)
    model, kinds = _name_model(folder, model, precision, views), _read_kinds(keep)
    loading: dict[str, Any] = {
        "model": model, "device": device, "precision": precision, "batch_size": batch_size,
        "decoding": decoding, "backend": backend,
    }  # fmt: skip

    def load() -> Encoder:
        encoder = load_encoder_for(folder, **loading)
        # Before a store is made that would keep nothing.
        return need_keeping(encoder, kinds) if kinds else encoder

    run: dict[str, Any] = {
        "max_pixels_px": max_pixels, "prune": prune, "no_label": given, "damaged": damaged,
        "reads_camera": exif, "keep": kinds,
        "memory_bytes": None if memory is None else max(1, round(memory * 1e9)),
    }  # fmt: skip
    # What rows depend on beside the sources and the encoder: alike in all shares.
    alike = {
        "--damaged": damaged, "--exif": str(exif), "--keep": ",".join(kinds),
        "--max-pixels": str(max_pixels), "--names": str(names or ""), "--no-label": ",".join(given),
        "--synonyms": str(synonyms or ""), "--decoding": decoding or "",
        "--precision": precision or "",
    }  # fmt: skip
    if engine == RAY:
        settings = Settings(Path(store).absolute(), loading, dtype, run, alike, threads)
        summary = _embed_on_ray(table, settings, progress)
    else:
        run |= {"advance": progress and count_outcomes(progress, len(table)), "n_threads": threads}
        if share is not None:
            summary = embed_share(
                table, share, order, store, load, model=model, dtype=dtype, options=alike, **run
            )
        else:
            begun, encoder = open_on_demand(store, load, model=model, dtype=dtype)
            with begun.filling():
                summary = embed_images(table, encoder, begun, **run)
                if begun.is_new and not len(EmbeddingStore.open(folder)):
                    _refuse_empty(table, summary)
    opened = EmbeddingStore.open(folder)
    view = View.all(opened.counting(BOTH))
    said = (
        *_describe_run(
            summary, Path(folder), prune=prune, n_lost=len(table.reasons), backend=backend
        ),
        *table.notes,
        *read,
        *settled,
        *describe_contradicting_copies(view.images, view.rows),
        *_describe_taught(view),
    )
    told = tuple(view.store.tell_labels())
    filled = Store(view, model=model, device=device, notes=told, said=said)
    filled.summary, filled.share = summary, shard
    return filled


embed.__module__ = "bioprobe"


def _fetch(
    listing: Listing, rate: float, *, allow_private: bool, progress: Progress | None
) -> Listing:
    """Fetch the pictures at addresses; why one was not is its reason to fail."""
    from bioprobe.images.addresses import is_address, join_address
    from bioprobe.sources.fetching import FetchOptions, fetch
    from bioprobe.sources.listing import join

    places = zip(listing.frame["root"], listing.frame["path"], strict=True)
    names = {join_address(*at): join(*at) for at in places if is_address(at[0])}
    asked = FetchOptions(per_second=rate, allow_private=allow_private)
    reasons = fetch(names, asked, progress=progress)
    why = {names[address]: reason for address, reason in reasons.items()}
    return dataclasses.replace(listing, reasons={**listing.reasons, **why})


def _settle_labels(
    table: Listing, no_label: Sequence[str], names: NameList | None, column: str | None
) -> tuple[Listing, list[Note]]:
    """Empty the labels that are said to be none, and give those that a list has their lineage."""
    from bioprobe.images.placeholders import find_placeholders
    from bioprobe.taxonomy.matching import resolve_labels

    emptied = find_placeholders(table.frame, no_label)
    table = dataclasses.replace(table, frame=emptied.frame)
    said: list[Note] = []
    if names is not None:
        resolved = resolve_labels(table.frame, names, column=column)
        table = table.name_by(resolved.labels)
        said += resolved.notes
    left = find_placeholders(table.frame)
    said += tell_emptied(emptied.n_rows, emptied.counts)
    return table, said + tell_placeholders(left.n_rows, left.counts)


def _refuse_empty(table: Listing, summary: EmbedSummary) -> NoReturn:
    problems = [str(note) for note in table.notes if note.kind == PROBLEM]
    why = "; ".join(problems or [_tell_reasons(summary)])
    msg = f"none of {summary.n_images:,} images can be read, so that no store was made: {why}"
    raise SourceError(msg)


def _describe_run(
    summary: EmbedSummary, store: Path, *, prune: bool, n_lost: int, backend: str
) -> list[Note]:
    said = [
        Note(
            f"{summary.n_embedded:,} embedded, {summary.n_reused:,} reused, {summary.n_kept:,} "
            f"already there, {summary.n_failed:,} failed in {summary.seconds_s:.1f} s "
            f"({summary.images_per_s:.1f} images/s) -> {store}"
        )
    ]
    by = sorted(summary.computed_by.items(), key=lambda one: -one[1])
    if by and (backend not in {"auto", "torch"} or any(name != "torch" for name, _ in by)):
        said.append(Note(f"run by {', '.join(f'{name} ({n:,})' for name, n in by)}"))
    if summary.n_damaged:
        text = (
            f"{summary.n_damaged:,} of the new pictures are damaged and were taken: their columns "
            "share_present and damage say how; --damaged refuse takes none such"
        )
        said.append(Note(text, WARNING))
    said += _describe_kept(summary)
    said += _describe_regions(summary)
    for changes, what in ((summary.labels, "labels"), (summary.values, "other values")):
        if changes != type(changes)():
            said.append(Note(f"{what} of known images: {changes}"))
    if summary.camera is not None:
        said += _describe_camera(summary.camera)
    if prune:
        said.append(Note(f"{summary.n_pruned:,} rows retired whose file is gone"))
    if summary.n_out_of_reach:
        text = (
            f"{summary.n_out_of_reach:,} files lie in folders that are missing, empty or "
            "forbidden; their rows stay. Mount the disk, or remove the empty folders"
        )
        said.append(Note(text, PROBLEM))
    if summary.n_failed:
        text = f"What failed and why: {store / 'failures.parquet'}, or bioprobe store info"
        said.append(Note(text, PROBLEM))
    # Of files that were not found the listing says where it looked.
    if 2 * summary.n_failed > summary.n_images and 2 * n_lost <= summary.n_failed:
        said.append(Note(f"most failed: {_tell_reasons(summary)}", PROBLEM))
    return said


def _describe_taught(view: View) -> list[Note]:
    """Say which of the pictures a finetuned encoder learnt from."""
    taught = view.find_taught()
    if taught is None:
        return []
    training = view.store.training
    assert training is not None
    kind = WARNING if taught.any() else FACT
    text = f"the encoder was {training.describe()}; {int(taught.sum()):,} of these taught it"
    return [Note(text, kind)]


def _describe_camera(counts: CameraCounts) -> list[Note]:
    """Say what EXIF filled, and what it contradicts."""
    from bioprobe.images.camera import CAMERA_COLUMNS

    shares = (
        f"{name} {counts.n_filled.get(name, 0):,} (said of {counts.n_said.get(name, 0):,})"
        for name in CAMERA_COLUMNS
    )
    said = [Note(f"filled from the EXIF of {counts.n_read:,} pictures: {', '.join(shares)}")]
    for name, n in counts.n_conflicts.items():
        kept, other = counts.examples[name]
        text = f"{n:,} pictures have another {name} in EXIF than is written of them, which stays: "
        said.append(Note(f"{text}such as {kept!r}, and {other!r} in EXIF", WARNING))
    return said


def _describe_regions(summary: EmbedSummary) -> list[Note]:
    """Say what became of boxes, and of the pictures that they are in."""
    said: list[Note] = []
    if summary.n_regions:
        text = f"{summary.n_regions:,} regions of {summary.n_pictures:,} pictures"
        said.append(Note(text))
    if summary.n_given_way:
        text = f"{summary.n_given_way:,} whole pictures give way to their regions"
        said.append(Note(text))
    if summary.n_regions_retired:
        text = f"{summary.n_regions_retired:,} regions that are no longer listed are retired"
        said.append(Note(text))
    if summary.n_unassigned:
        text = (
            f"{summary.n_unassigned:,} pictures have several labels, and it is not known which of "
            "their regions each is of: none was taken; list labels by region"
        )
        said.append(Note(text, WARNING))
    return said


def _check_boxes(table: Listing, options: SourceOptions) -> None:
    """Refuse options of boxes where no source has any.

    Raises
    ------
    MisuseError
        If one is given that would have no effect.
    """
    from bioprobe.images.regions import REGION
    from bioprobe.sources.source import SourceOptions

    names = {"min_confidence": "min_confidence", "categories": "category", "pad": "pad",
             "square": "square"}  # fmt: skip
    default = SourceOptions()
    given = [
        write_flag(flag)
        for name, flag in names.items()
        if getattr(options, name) != getattr(default, name)
    ]
    # A box that was left out for its confidence is none of the listing.
    if given and not table.has_detections and not (table.frame[REGION] != "").any():
        msg = (
            f"{' and '.join(given)} choose and cut out the boxes of a detector, and no source has "
            "any; name the detector's file among the sources, or leave the option out"
        )
        raise MisuseError(msg)


def _tell_reasons(summary: EmbedSummary) -> str:
    """Say the commonest reason of what failed, with two files."""
    from bioprobe.sources.listing import name_reason

    if not summary.reasons:
        return "the sources name none"
    kinds = [name_reason(why) for _, why in summary.reasons]
    ((kind, n_files),) = collections.Counter(kinds).most_common(1)
    files = [
        file if why == kind else f"{file} ({why})"
        for (file, why), one in zip(summary.reasons, kinds, strict=True)
        if one == kind
    ]
    return f"{kind}, {n_files:,} of {len(kinds):,}, such as {' and '.join(files[:2])}"


def _embed_on_ray(table: Listing, settings: Settings, progress: Progress | None) -> EmbedSummary:
    """Embed on a Ray cluster into shares, make the store of them, and remove them."""
    from bioprobe.embedding.on_ray import embed_on_ray
    from bioprobe.merging import merge_stores
    from bioprobe.store import EmbeddingStore

    if exists(settings.store):
        # Before hours of work that could not be kept.
        check_new_folder(settings.store)
    n_done = 0

    def advance(n_images: int) -> None:
        nonlocal n_done
        n_done += n_images
        if progress is not None:
            progress(Step(n_done, max(n_done, len(table)), "images"))

    folders, summary = embed_on_ray(table, settings, advance)
    is_empty = not any(len(EmbeddingStore.open(one)) for one in folders)
    if not is_empty:
        merge_stores(folders, settings.store)
    for one in folders:
        remove_folder(one)
    if is_empty:
        _refuse_empty(table, summary)
    return summary


def _read_kinds(keep: str | Sequence[str] | None) -> list[str]:
    from bioprobe.encoders.keeping import KEPT_KINDS

    kinds = split_names(keep or ())
    for kind in kinds:
        if kind not in KEPT_KINDS:
            msg = f"--keep is {' or '.join(KEPT_KINDS)}, or both with a comma, got {kind!r}"
            raise MisuseError(msg)
    return kinds


def _describe_kept(summary: EmbedSummary) -> list[Note]:
    """Say what is kept beside the vectors, and of which pictures it is not."""
    said = []
    if summary.n_filled:
        text = f"{summary.n_filled:,} known pictures were read again for what is kept of them"
        said.append(Note(text))
    for one in summary.kept:
        text = f"{one.kind} of {one.n_rows:,} rows kept, {one.n_bytes:,} bytes: {one.description}"
        said.append(Note(text))
        if one.n_missing:
            text = (
                f"{one.kind} of {one.n_missing:,} rows is not kept: name their sources to have "
                "them read again, while their pictures are there"
            )
            said.append(Note(text, WARNING))
    return said


def _name_model(
    folder: str | Path, model: str | None, precision: str | None, views: int | None
) -> str | None:
    """Return the name of a model by how it is to run; None is that of the store."""
    from bioprobe.embedding import choose_encoder
    from bioprobe.encoders.quantised import QUANTISED
    from bioprobe.encoders.views import add_views

    if views is None and precision not in QUANTISED:
        return model
    named = choose_encoder(folder, model=model, precision=precision).model
    return named if views is None else add_views(named, views)


def _read_free_column(name: str | None) -> str | None:
    from bioprobe.images.image_table import COLUMNS

    if name in COLUMNS:
        msg = (
            f"--folder-label is a column of its own, got {name!r}, which bioprobe gives a meaning; "
            "choose another name, or --folder-rank for taxa"
        )
        raise MisuseError(msg)
    return name
