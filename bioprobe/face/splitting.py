"""Which pictures teach, choose and judge, and what another collection has of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from bioprobe.errors import MisuseError
from bioprobe.face.learnt import (
    describe_split,
)
from bioprobe.face.opened import Opened
from bioprobe.options import (
    Level,
    Option,
    SeedOption,
    With,
    list_given,
    question,
)
from bioprobe.result import Table

if TYPE_CHECKING:
    from bioprobe.splits.split import PartCounts, Split
    from bioprobe.types import Rows


Strings = str | Sequence[str] | None
# Pairs and files that are named of what another collection has too.
_NAMED = 5
SPLIT_METHODS = ("stratified", "grouped", "species-disjoint", "chronological", "imported", "kfold")
Against = Annotated[
    Strings,
    Option(
        "Store, or file of vectors, of images that an encoder or a probe learnt from; may be "
        "repeated. Images that judge and are in it, by SHA-256 or nearly, are warned of.",
        shell=list[Path],
    ),
]


class Splits(Opened):
    """Pictures are divided into those that teach, choose and judge."""

    @question
    def split(
        self,
        level: Level = "family",
        *,
        name: Annotated[str, Option("Name of the split.")] = "default",
        method: Annotated[
            str,
            Option(
                "stratified, grouped (by --group), species-disjoint (whole species of each class "
                "are tested), chronological (by the dates of --column: train before, test after), "
                "imported (from --column) or kfold (all images train, in folds).",
                choices=SPLIT_METHODS,
            ),
        ] = "stratified",
        fractions: Annotated[
            str | Sequence[float],
            Option(
                "Fractions of train, validation, test; not for imported and kfold.",
                when=(With("method", SPLIT_METHODS[:-2]),),
                shell=str,
            ),
        ] = "0.8,0.1,0.1",
        group: Annotated[
            Strings,
            Option(
                "Column whose equal values stay together: burst, individual, specimen. Several "
                "join. Copies of an image stay together anyhow.",
                shell=list[str],
            ),
        ] = None,
        column: Annotated[
            str | None,
            Option(
                "Column that says each image's part, for imported, or when it was taken, for "
                "chronological.",
                when=(With("method", ("imported", "chronological")),),
            ),
        ] = None,
        parts: Annotated[
            str | Mapping[str, str] | None,
            Option(
                "Which of its values are which part: train=A,validation=B,test=C.",
                when=(With("method", ("imported",)),),
                shell=str,
            ),
        ] = None,
        by: Annotated[
            str | None,
            Option(
                "Column of sites, of which each is divided by its own dates.",
                when=(With("method", ("chronological",)),),
            ),
        ] = None,
        gap: Annotated[
            str | None,
            Option(
                "Time between parts, such as 12h or 7d: images in it are in no part.",
                when=(With("method", ("chronological",)),),
            ),
        ] = None,
        against: Against = None,
        folds: Annotated[int, Option("Folds of the training images.", least=2)] = 5,
        seed: Annotated[int, SeedOption("Seed of the random order.")] = 0,
    ) -> PartCounts:
        """Split the labelled images into train, validation and test, and keep the split.

        Parameters
        ----------
        level : str
            Rank or column of the classes that are to be spread evenly.
        name : str
            Under which the store keeps it.
        method : str
            ``stratified``, ``grouped``, ``species-disjoint``, ``chronological``, ``imported`` or
            ``kfold``.
        fractions : str or sequence of float
            Of train, validation and test.
        group : str or sequence of str, optional
            Columns whose equal values stay together.
        column : str, optional
            That an imported split is read from, or that says when images were taken.
        parts : str or mapping, optional
            From values of the column to parts.
        by : str, optional
            Column of sites, of which each is divided by its own dates.
        gap : str, optional
            Time between parts, such as ``7d``.
        against : str or sequence of str, optional
            Stores whose images may not judge, or files of vectors; those that do, by their bytes or
            nearly (see :meth:`dedupe`), are counted and said.
        folds : int
            Folds of the training images.
        seed : int
            Of the random order.

        Returns
        -------
        PartCounts
            Images of each class in each part; ``split`` is the split itself.

        Raises
        ------
        SelectionError
            If no image is labelled, or an option does not fit the method.
        """
        from bioprobe.splits import make_split, write_split

        made = make_split(
            self._view, level, name=name, method=method,
            group_columns=list_given(group), fractions=_read_numbers(fractions), column=column,
            part_names=_read_parts(parts), by=by, gap=gap, n_folds=folds, seed=seed,
        )  # fmt: skip
        made.provenance["against"] = [one for one, _ in self._find_held(made.judging, against)]
        return self._count(write_split(self._view.store, made))

    def splits(self) -> Table:
        """List the splits that the store keeps, one a row."""
        from bioprobe.splits.split import describe_splits

        return Table(describe_splits(self._view.store))

    @question
    def show_split(
        self, *, name: Annotated[str, Option("Name of the split.")] = "default"
    ) -> PartCounts:
        """Return the images of each class in each part of a split that was made before."""
        from bioprobe.splits import read_split

        return self._count(read_split(self._view.store, name))

    def _count(self, split: Split) -> PartCounts:
        from bioprobe.splits.split import count_parts

        counted = count_parts(self._view.store, split)
        return counted.say((*self._notes, *describe_split(counted)))

    def _find_held(self, rows: Rows, against: Strings) -> list[tuple[dict[str, Any], Rows]]:
        """Return what is to be said of each other collection, and which of the rows it has."""
        return [self._find_held_in(Path(one), rows) for one in list_given(against)]

    def _find_own(self, rows: Rows) -> tuple[dict[str, Any], Rows] | None:
        """Return what is to be said of the images that judge and taught the encoder, if any did."""
        import numpy as np

        from bioprobe.store.view import View

        view = View(self._view.store, np.sort(rows))
        taught = view.find_taught()
        if taught is None or not taught.any():
            return None
        held = view.rows[taught]
        frame = view.images.frame.iloc[held]
        hashes = view.images.column("sha256").iloc[view.rows].astype(str)
        about = {
            "store": f"what {view.manifest.encoder.model} was finetuned on",
            "n_images": len(view), "n_held": len(held), "n_unhashed": int((hashes == "").sum()),
            "files": frame["path"].head(_NAMED).astype(str).tolist(), "n_near": None,
        }  # fmt: skip
        return about, held

    def _find_held_in(self, source: Path, rows: Rows) -> tuple[dict[str, Any], Rows]:
        import numpy as np

        from bioprobe.interchange.others import open_others
        from bioprobe.quality import find_overlap
        from bioprobe.splits.split import find_held
        from bioprobe.store import EmbeddingStore
        from bioprobe.store.view import View

        view = View(self._view.store, np.sort(rows))
        about: dict[str, Any] = {}
        held = np.zeros(0, dtype=np.int64)
        if EmbeddingStore.exists(source):
            other = EmbeddingStore.open(source)
            about, held = find_held(view.store, view.rows, other)
            differences = view.manifest.encoder.find_differences(other.manifest.encoder)
            if differences or not len(other.rows) or not len(rows):
                why = f"{' and '.join(differences)} differ" if differences else "there is no image"
                return {**about, "n_near": None, "not_compared": why}, held
        found = find_overlap(view, open_others(source, view))
        frame = found.to_frame()
        known = found.rows[found.is_copy]
        exact = frame["row"][frame["kind"] == "exact"].to_numpy(dtype=np.int64)
        about = about or {
            "store": str(source), "n_images": len(rows), "n_held": len(exact), "n_unhashed": 0,
            "files": frame["file_name"][frame["kind"] == "exact"].head(_NAMED).tolist(),
        }  # fmt: skip
        near = frame[~frame["row"].isin(np.union1d(held, exact))]
        pairs = [
            (str(file), str(theirs), float(similarity))
            for file, theirs, similarity in zip(
                near["file_name"], near["other"], near["similarity"], strict=True
            )
        ]
        about |= {"n_near": len(near), "pairs": pairs[:_NAMED], "threshold": found.alone}
        return about, np.union1d(held, known)


def _read_numbers(given: str | Sequence[float]) -> tuple[float, ...]:
    try:
        listed = given.split(",") if isinstance(given, str) else given
        return tuple(float(part) for part in listed)
    except (TypeError, ValueError, OverflowError) as error:
        msg = f"--fractions are numbers such as 0.8,0.1,0.1, got {given!r}"
        raise MisuseError(msg) from error


def _read_parts(given: str | Mapping[str, str] | None) -> dict[str, str] | None:
    if given is None or isinstance(given, Mapping):
        return None if given is None else dict(given)
    pairs = [item.partition("=") for item in given.split(",")]
    if not all(between for _, between, _ in pairs):
        msg = f"--parts are pairs such as train=A,test=C, got {given!r}"
        raise MisuseError(msg)
    return {value.strip(): part.strip() for part, _, value in pairs}
