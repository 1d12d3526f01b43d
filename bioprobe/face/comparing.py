"""Two sets of answers to the same pictures side by side."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from bioprobe.access import exists
from bioprobe.content import join_contents
from bioprobe.errors import MisuseError, SourceError
from bioprobe.face.opened import Opened
from bioprobe.options import (
    RANK_NAMES,
    TABLES,
    Option,
    SeedOption,
    question,
)
from bioprobe.result import WARNING, Note, Result, read_fields

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.agreement import Comparison as Compared
    from bioprobe.agreement import Side
    from bioprobe.face.compared_pages import Comparison
    from bioprobe.face.store import Store
    from bioprobe.images.location import ImageLocation
    from bioprobe.store import EmbeddingStore
    from bioprobe.types import Rows

# What may be compared: files and names, results, stores, tables.
Answered = Any
LABELS = "labels"
_OF_A_STORE = ("column", "probe", "evaluation")

_HELP = (
    "A file or folder of answers (what zeroshot, probe predict, pybioclip, SpeciesNet, "
    "MegaDetector, Timelapse and others write, any table with names of taxa); a store, whose "
    "labels they are; or of --store: labels, column:NAME, probe:NAME, evaluation:NAME or "
    "evaluation:NAME:METHOD."
)


@question
def compare(
    first: Annotated[Answered, Option(_HELP, ("-",), shell=str, metavar="A")],
    second: Annotated[
        Answered,
        Option("The other answers, named as the first.", ("-",), shell=str, metavar="B"),
    ],
    *,
    store: Annotated[
        str | Path | None, Option("Folder of the store.", ("--store", "-s"), shell=Path)
    ] = None,
    level: Annotated[
        str | None,
        Option(
            "Take answers that are lower up to this rank before they are compared.",
            ("--level", "--rank", "-l"),
            RANK_NAMES,
            fixed=True,
        ),
    ] = None,
    synonyms: Annotated[
        str | Path | None,
        Option(
            "Table with the columns synonym and accepted; both answers take the accepted names.",
            shell=Path,
        ),
    ] = None,
    taxa: Annotated[
        str | Path | None,
        Option(
            "Taxon list that fills ranks which the answers leave open, so that a species and a "
            "family can be compared; without, what the other answers say of a name does.",
            shell=str,
        ),
    ] = None,
    group: Annotated[
        str | None,
        Option(
            "Column of either answers whose equal values belong together, for the intervals. "
            "[default: sequence_id, seq_id or event_id where there is one, else each picture]"
        ),
    ] = None,
    root: Annotated[
        str | Path | None,
        Option("Folder of the pictures, for a page of them, where no store has them.", shell=Path),
    ] = None,
    save_mask: Annotated[
        str | None,
        Option("Keep in the store a mask of the images on which they disagree, by this name."),
    ] = None,
    table: Annotated[
        str,
        Option(
            "What is written: queue (pictures on which they disagree, surest on both sides first), "
            "moves (what the one calls so and the other otherwise), agreement (by rank) or pairs "
            "(all pictures).",
            choices=TABLES,
            fixed=True,
        ),
    ] = TABLES[0],
    n_resamples: Annotated[int, Option("Resamples of the bootstrap.", least=1)] = 1000,
    seed: Annotated[int, SeedOption("Seed of the resamples.")] = 0,
) -> Comparison:
    """Compare two sets of answers to the same pictures, of which neither need be the truth.

    Models, versions of one, lists, people: rows are matched by file and region, and compared at the
    lowest rank that both name.

    Parameters
    ----------
    first, second : str, Path, Predictions, Decisions, Contents, Store or DataFrame
        A file or folder of answers; what a question returned; a store, whose labels are meant; a
        table with ``file_name``; or the name of what ``store`` has: ``labels``, ``column:NAME``,
        ``probe:NAME``, ``evaluation:NAME`` or ``evaluation:NAME:METHOD``.
    store : str or Path, optional
        Store that names are of, that has the pictures, and that keeps the mask. One that is not
        there is passed over where nothing is asked of it.
    level : str, optional
        Rank that lower answers are taken up to.
    synonyms : str or Path, optional
        Table of synonyms and accepted names.
    taxa : str or Path, optional
        Taxon list by which holes in lineages are filled.
    group : str, optional
        Column whose equal values belong together, for the intervals.
    root : str or Path, optional
        Folder of the pictures, where no store has them.
    save_mask : str, optional
        Name of a mask of the images on which both disagree.
    table : {"queue", "moves", "agreement", "pairs"}
        What ``to_frame()`` returns.
    n_resamples : int
        Of the intervals.
    seed : int
        Of the resamples.

    Returns
    -------
    Comparison
        ``queue``, ``moves``, ``agreement`` and ``pairs`` are its tables.

    Raises
    ------
    SourceError
        If one is no set of answers, or they have no picture in common.
    StoreError
        If something is asked of a store that is not there.

    Examples
    --------
    >>> import bioprobe as bp
    >>> import pandas as pd
    >>> ours = pd.DataFrame({"file_name": ["1.jpg", "2.jpg"], "species": ["Lynx lynx"] * 2,
    ...                      "score": [0.9, 0.8]})
    >>> theirs = ours.assign(species=["Lynx lynx", "Felis catus"])
    >>> bp.compare(ours, theirs).queue[["file_name", "first", "second"]].to_numpy().tolist()
    [['2.jpg', 'Lynx lynx', 'Felis catus']]
    """
    from bioprobe.agreement import Comparing, compare_sides
    from bioprobe.face.compared_pages import Comparison
    from bioprobe.taxonomy import Rank
    from bioprobe.taxonomy.lists import read_taxa
    from bioprobe.taxonomy.synonyms import read_synonyms

    opened = _open(store, needs=save_mask is not None)
    one = _take(first, "first", opened, store)
    other = _take(second, "second", opened, store)
    how = Comparing(
        rank=Rank(level) if level else None,
        synonyms=read_synonyms(synonyms) if synonyms else {},
        taxa=[taxon.lineage for taxon in read_taxa(taxa)] if taxa else (),
        group=group, n_resamples=n_resamples, seed=seed,
    )  # fmt: skip
    found = compare_sides(one, other, how)
    stores = [one for one in (opened, *map(_find_store, (first, second))) if one is not None]
    places = _find_places(found, stores, None if root is None else Path(root))
    said: list[Note | str] = []
    if save_mask is not None and opened is not None:
        said.append(_keep_mask(found, opened, save_mask))
    shown = Comparison(**{**read_fields(found), "table": table}, places=places)
    return shown.say(said)


compare.__module__ = "bioprobe"


def _open(store: str | Path | None, *, needs: bool) -> Store | None:
    from bioprobe.face.store import open as open_store
    from bioprobe.store import EmbeddingStore

    if store is None:
        if needs:
            msg = "--save-mask keeps a mask in a store; name it with --store"
            raise MisuseError(msg)
        return None
    if needs or EmbeddingStore.exists(Path(store)):
        return open_store(store)
    return None


def _find_store(given: object) -> Opened | None:
    """Return the store that a set of answers is itself, None where it is none."""
    from bioprobe.face.store import open as open_store
    from bioprobe.store import EmbeddingStore

    if isinstance(given, Opened):
        return given
    if isinstance(given, Result):
        store = getattr(getattr(given, "provenance", None), "store", "")
        given = store if isinstance(store, str) else ""
    if isinstance(given, str | Path) and given and EmbeddingStore.exists(Path(given)):
        return open_store(given)
    return None


def _take(given: Any, which: str, store: Store | None, folder: str | Path | None) -> Side:  # noqa: ANN401
    """Return a set of answers, whatever it was given as."""
    import pandas as pd

    from bioprobe.agreement import read_side, take_labels, take_table
    from bioprobe.store import EmbeddingStore

    if isinstance(given, Opened):
        return take_labels(given._view)
    if isinstance(given, pd.DataFrame):
        _refuse_unnamed(given, f"the {which} table")
        return take_table(given, f"the {which} table")
    if isinstance(given, Result):
        return _take_result(given, which)
    text = str(given)
    kind, colon, rest = text.partition(":")
    if not exists(Path(text)) and (text == LABELS or (colon and kind in _OF_A_STORE and rest)):
        if store is None:
            msg = f"{text} is of a store, and there is none at {folder}; name it with --store"
            raise SourceError(msg)
        return _take_named(kind, rest, store)
    if EmbeddingStore.exists(Path(text)):
        from bioprobe.face.store import open as open_store

        return take_labels(open_store(text)._view)
    if not exists(Path(text)):
        from bioprobe.images.addresses import is_address

        if is_address(text):
            msg = f"{text} is an address: download the file, and name it where it lies"
            raise SourceError(msg)
        msg = (
            f"no answers at {text}: there is no such file or folder; of a store name {LABELS}, "
            f"{', '.join(f'{one}:NAME' for one in _OF_A_STORE)}"
        )
        raise SourceError(msg)
    return read_side(Path(text))


def _refuse_unnamed(frame: pd.DataFrame, what: str) -> None:
    if "file_name" not in frame.columns:
        columns = ", ".join(map(str, frame.columns))
        msg = f"{what} names no pictures, as it has no column file_name (columns: {columns})"
        raise SourceError(msg)


def _take_result(given: Result, which: str) -> Side:
    from bioprobe.agreement import take_table

    frame = given.to_frame()
    provenance: Any = getattr(given, "provenance", None)
    about = provenance.to_dict() if hasattr(provenance, "to_dict") else dict(provenance or {})
    model = (about.get("encoder") or {}).get("model", "")
    name = f"the {which} answers{f' ({model})' if model else ''}"
    _refuse_unnamed(frame, f"{type(given).__name__}, {name},")
    return take_table(frame, name, about)


def _take_named(kind: str, name: str, store: Store) -> Side:
    from bioprobe.agreement import take_column, take_labels, take_table

    if kind == LABELS:
        return take_labels(store._view)
    if kind == "column":
        return take_column(store._view, name)
    if kind == "probe":
        answers = store.probe(name).predict()
        found = take_table(answers.to_frame(), f"probe {name}", answers.provenance.to_dict())
        return dataclasses.replace(found, notes=(*found.notes, *answers.notes))
    return _take_evaluation(name, store)


def _take_evaluation(name: str, store: Store) -> Side:
    """Take the answers of one method of an evaluation, by default the best."""
    import pandas as pd

    from bioprobe.agreement import take_table

    title, _, method = name.partition(":")
    kept = store.evaluation(title)
    found = kept.find(method).method if method else kept.best.method
    frame = kept.predictions[kept.predictions["method"] == found].reset_index(drop=True)
    places = frame["predicted_class"].to_numpy()
    images = store._view.images
    rows = frame["row"].to_numpy()
    columns: dict[str, Any] = dict(images.name_rows(rows))
    if kept.classes.rank is None:
        columns["classification"] = [kept.classes.names[at] for at in places]
    else:
        lineages = [kept.classes.taxa[at].lineage for at in places]
        columns |= {rank: [one[at] for one in lineages] for at, rank in enumerate(RANK_NAMES)}
    columns["score"] = frame["probability"].to_numpy()
    return take_table(
        pd.DataFrame(columns), f"{found} of the evaluation {title}", dict(kept.provenance)
    )


def _find_places(
    found: Compared, stores: list[Opened], root: Path | None
) -> dict[int, ImageLocation]:
    """Return where the pictures lie that a page may show: in a store, or in a folder."""
    wanted = found.order.tolist()
    places: dict[int, ImageLocation] = {}
    for store in stores:
        rows = _find_rows(found, store._view.store)
        for at in wanted:
            if at not in places and len(rows.get(at, ())):
                places[at] = store._view.images.locate(int(rows[at][0]))
    if root is not None:
        places |= {at: place for at, place in _find_files(found, root).items() if at not in places}
    return places


def _find_rows(found: Compared, store: EmbeddingStore) -> dict[int, Rows]:
    """Return the rows of a store that each pair is of: a whole picture is all of its rows."""
    import numpy as np

    from bioprobe.agreement import match_files
    from bioprobe.images.regions import REGION

    frame = found.pairs
    images = store.images
    names = np.array(images.file_names, dtype=object)[store.rows]
    regions = images.column(REGION).to_numpy(dtype=object)[store.rows]
    matched = match_files(frame["file_name"].tolist(), names.tolist()).partners
    of_file: dict[str, list[int]] = {}
    for at, name in enumerate(names.tolist()):
        of_file.setdefault(name, []).append(at)
    pairs = frame[REGION].tolist() if REGION in frame else [""] * len(frame)
    rows: dict[int, Rows] = {}
    for at, (file, region) in enumerate(zip(frame["file_name"], pairs, strict=True)):
        here = of_file.get(matched.get(file, ""), [])
        same = [one for one in here if regions[one] == region]
        if here:
            rows[at] = store.rows[np.array(same or here)]
    return rows


def _find_files(found: Compared, root: Path) -> dict[int, ImageLocation]:
    """Return the places of pictures that lie below a folder, and of no other."""
    from bioprobe.agreement import match_files
    from bioprobe.images.location import ImageLocation
    from bioprobe.images.people import find_people
    from bioprobe.images.regions import REGION
    from bioprobe.sources.source import find_images

    listed = find_images([root]).frame
    places = dict(zip(listed["path"], listed["root"], strict=True))
    frame = found.pairs
    matched = match_files(frame["file_name"].tolist(), list(places)).partners
    regions = frame[REGION].tolist() if REGION in frame else [""] * len(frame)
    contents = _name_contents(found)
    people = find_people(
        frame.assign(root="", path=frame["file_name"], content=contents, **{REGION: regions})
    )
    return {
        at: ImageLocation(
            places[matched[file]], matched[file], None, region, people.get(("", file), ())
        )
        for at, (file, region) in enumerate(zip(frame["file_name"], regions, strict=True))
        if file in matched
    }


def _name_contents(found: Compared) -> list[str]:
    """Return what each pair holds: a person wherever one of both says so."""
    return [
        join_contents([found.first.said[a].content, found.second.said[b].content])
        for a, b in zip(found.matches.first, found.matches.second, strict=True)
    ]


def _keep_mask(found: Compared, store: Store, name: str) -> Note:
    import numpy as np

    from bioprobe.store.selections import write_selection

    rows = _find_rows(found, store._view.store)
    kept: dict[int, bool] = {}
    for at, is_kept in enumerate(found.disagreeing.tolist()):
        for row in rows.get(at, ()):
            kept[int(row)] = kept.get(int(row), False) or is_kept
    if not kept:
        text = f"no picture that was compared is in {store.folder}: no mask was kept"
        return Note(text, WARNING)
    write_selection(
        store._view.store, name, np.array(list(kept), dtype=np.int64),
        np.array(list(kept.values()), dtype=bool), provenance=found.provenance,
    )  # fmt: skip
    n_kept = sum(kept.values())
    n_lost = len(found) - len(rows)
    lost = f"; {n_lost:,} that were compared are not in the store" if n_lost else ""
    return Note(f"{n_kept:,} images are kept as a mask; use it with: --mask {name}{lost}")
