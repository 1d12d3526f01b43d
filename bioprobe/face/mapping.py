"""A map of the images: two coordinates for each."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Annotated

from bioprobe.errors import BioprobeError, MisuseError, StoreError, UnreadableError
from bioprobe.face.opened import Opened
from bioprobe.options import Option, SeedOption, question
from bioprobe.result import WARNING, Note, Table, read_fields

if TYPE_CHECKING:
    from bioprobe.face.grouped_pages import Map
    from bioprobe.mapping.classes import MapClasses
    from bioprobe.progress import Progress
    from bioprobe.store.maps import KeptMap
    from bioprobe.store.view import View
    from bioprobe.types import Names

#: Begins what colours a map by the answers of a probe that the store keeps.
PROBE = "probe:"
MapName = Annotated[str, Option("Name of the map in the store.", ("--name",))]
# Of fewer the figures of trust say little.
_FEW = 50


class Maps(Opened):
    """Where images lie on a map."""

    @question
    def map(
        self,
        name: MapName = "default",
        *,
        neighbors: Annotated[
            int | None,
            Option(
                "Nearest images that are drawn to each: fewer show small groups, more the whole. "
                "[default: as the map was fitted, a new one 15]",
                least=2,
                most=1000,
            ),
        ] = None,
        sample: Annotated[
            int | None,
            Option(
                "Images that a map is fitted to at most, drawn by --seed; the others are placed on "
                "it. [default: as the map was fitted, a new one 100,000]",
                ("--sample", "-n"),
                least=2,
            ),
        ] = None,
        seed: Annotated[
            int | None,
            SeedOption(
                "Seed of the sample, the start, and the images by which the map is judged. "
                "[default: as the map was fitted, a new one 0]"
            ),
        ] = None,
        refit: Annotated[
            bool,
            Option("Fit the map again, to the images that there are now; all places change."),
        ] = False,
        progress: Progress | None = None,
    ) -> Map:
        """Lay the images out on a map, on which those that are alike lie near each other.

        The store keeps it. Where it is there already it is read, and images that came later are
        placed on it as it is; its other images stay where they are.

        Parameters
        ----------
        name : str
            Of the map in the store.
        neighbors : int, optional
            Nearest images that are drawn to each.
        sample : int, optional
            Images that a map is fitted to at most; the others are placed on it.
        seed : int, optional
            Of the sample, the start and the images by which the map is judged. Equal seeds make
            equal maps on one machine, on any number of threads.
        refit : bool
            Whether it is fitted again.
        progress : callable, optional
            Told how many images are compared.

        Returns
        -------
        Map
            One row an image: x, y and whether the map was fitted to it, with its labels.

        Raises
        ------
        MissingExtraError
            If openTSNE is not installed.
        MisuseError
            If the map is there and was fitted with other settings than those that are given.

        Examples
        --------
        >>> store.map().to_frame()[["file_name", "x", "y"]]  # doctest: +SKIP
        """
        from bioprobe.face.grouped_pages import Map
        from bioprobe.mapping.result import (
            NEIGHBORS,
            SAMPLE,
            SEED,
            fit_map,
            open_map,
            place_rows,
        )
        from bioprobe.store.maps import list_maps, read_map

        given = {"neighbors": neighbors, "sample": sample, "seed": seed}
        is_there = name in list_maps(self.folder)
        n_new, said = 0, list(self._notes)
        if is_there and not refit:
            kept = read_map(self._view.store, name)
            if other := _find_other(kept, given):
                msg = (
                    f"the map {name!r} of {self.folder} was fitted with {other}; leave that out, "
                    "fit it again with --refit, or give another --name"
                )
                raise MisuseError(msg)
            n_new = place_rows(self._view, kept, progress=progress)
        else:
            if is_there:
                given = self._fill(name, given, said)
            fit_map(
                self._view, name,
                neighbors=given["neighbors"] or NEIGHBORS, sample=given["sample"] or SAMPLE,
                seed=SEED if given["seed"] is None else given["seed"], progress=progress,
            )  # fmt: skip
        found = Map(**read_fields(open_map(self._view, name)))
        return found.say((*said, *_describe(found, n_new)))

    def _fill(
        self, name: str, given: dict[str, int | None], said: list[Note]
    ) -> dict[str, int | None]:
        """Return settings, of which those that are not given are as a map was fitted."""
        from bioprobe.store.maps import read_map

        try:
            options = read_map(self._view.store, name).provenance["options"]
        except UnreadableError:
            raise
        except StoreError:
            text = f"the map {name} was damaged: what is not given of its settings is the default"
            said.append(Note(text, WARNING))
            return given
        return {one: options[one] if value is None else value for one, value in given.items()}

    @question
    def read_map(self, name: MapName = "default") -> Map:
        """Read a map that the store keeps, as it is: nothing is fitted or placed.

        Parameters
        ----------
        name : str
            Of the map; see :meth:`maps`.

        Raises
        ------
        StoreError
            If there is no such map, or its file is damaged.
        """
        from bioprobe.face.grouped_pages import Map
        from bioprobe.mapping.result import open_map

        found = Map(**read_fields(open_map(self._view, name)))
        said = _describe(found, 0)
        if n_new := len(self) - len(found.rows):
            text = f"{n_new:,} images have no place on it yet; to place them: bioprobe map"
            said.append(Note(text if name == "default" else f"{text} --name {name}", WARNING))
        return found.say((*self._notes, *said))

    @question
    def map_classes(self, level: str | None = None, *, name: MapName = "default") -> MapClasses:
        """Tell which class each image on a map is of, as its colours show them.

        Parameters
        ----------
        level : str, optional
            Rank or column, or ``probe:NAME`` for what a probe of the store answers; by default the
            lowest rank of which every class can have a look of its own.
        name : str
            Of the map.

        Raises
        ------
        SelectionError
            If there is no such rank or column.
        StoreError
            If there is no such map or probe.
        MismatchError
            If the probe cannot be asked of these vectors.
        """
        import numpy as np

        from bioprobe.mapping.classes import choose_level, code_classes, list_levels
        from bioprobe.store.maps import read_map

        known = read_map(self._view.store, name).known
        view = self._view.take(self._view.rows[known[self._view.rows]])
        named = level or choose_level(list_levels(view.images, view.rows))
        if not named:
            return code_classes("", view.rows, np.full(len(view.rows), "", dtype=object))
        target, labels = self._label(named, view)
        return dataclasses.replace(code_classes(named, view.rows, labels), target=target)

    def map_labels(self, level: str) -> list[str]:
        """Return what colours each picture that is asked, as :meth:`map_classes` names it.

        Parameters
        ----------
        level : str
            As there.
        """
        return [str(one) for one in self._label(level, self._view)[1]]

    def _label(self, level: str, view: View) -> tuple[str, Names]:
        """Return the rank or column that labels are of, and the label of each image."""
        from bioprobe.images.image_table import read_level

        if not level.startswith(PROBE):
            target = read_level(level, view.images)
            return target, view.labels(target)
        from bioprobe.learning.keeping import find_folder, read_probe
        from bioprobe.store.catalogue import Catalogue

        store, name = view.store, level.removeprefix(PROBE)
        probe = read_probe(store, name)
        stamp = find_folder(store, name).stat().st_mtime_ns
        answers = Catalogue.of(store).keep(
            (level, stamp, view.rows.tobytes()), lambda: probe.ask(view, 1).best_names
        )
        return probe.level, answers

    def map_levels(self) -> Table:
        """List the ranks and columns, and the probes, by which a map can be coloured.

        Returns
        -------
        Table
            ``name``, as :meth:`map_classes` takes it, and ``n_classes``.
        """
        import pandas as pd

        from bioprobe.learning.kept import list_probes
        from bioprobe.mapping.classes import list_levels

        store = self._view.store
        levels = list_levels(self._view.images, self._view.rows)
        for name in list_probes(store):
            from bioprobe.learning.keeping import read_probe

            # One that is damaged is told of by probes.
            with contextlib.suppress(BioprobeError):
                levels[f"{PROBE}{name}"] = len(read_probe(store, name).classes)
        return Table(pd.DataFrame(list(levels.items()), columns=["name", "n_classes"]))

    def maps(self) -> Table:
        """List the maps that the store keeps, one a row, with how far each can be trusted.

        See :meth:`map`.
        """
        import pandas as pd

        from bioprobe.store.maps import list_maps, read_map

        rows = []
        for name in list_maps(self.folder):
            kept = read_map(self._view.store, name)
            current = self._view.store.rows
            options = kept.provenance["options"]
            n_known, n_fitted = int(kept.known[current].sum()), int(kept.fitted[current].sum())
            trust = options["faith"]["trustworthiness"]["estimate"]
            rows.append(
                (name, n_known, n_fitted, len(current) - n_known, round(trust, 4),
                 options["neighbors"], options["seed"], kept.provenance["condition"])
            )  # fmt: skip
        columns = [
            "name", "images", "fitted", "not_placed", "trustworthiness", "neighbors", "seed",
            "condition",
        ]  # fmt: skip
        return Table(pd.DataFrame(rows, columns=columns))

    @question
    def remove_map(self, name: Annotated[str, Option("Name of the map.", ("-",))]) -> Table:
        """Forget a map; the images on it are not touched.

        Parameters
        ----------
        name : str
            Its name; see :meth:`maps`.

        Raises
        ------
        StoreError
            If there is no such map.
        """
        from bioprobe.store.maps import remove_map

        remove_map(self.folder, name)
        return self._tell_removed(f"map {name}")


def _find_other(kept: KeptMap, given: dict[str, int | None]) -> str:
    """Say which settings of a map are others than those that are given."""
    options = kept.provenance["options"]
    return ", ".join(
        f"--{name} {options[name]}, got {value}"
        for name, value in given.items()
        if value is not None and value != options[name]
    )


def _describe(found: Map, n_new: int) -> list[Note]:
    """Say what is on a map, and how far it can be trusted."""
    n_fitted, faith = int(found.fitted.sum()), found.faith
    n_placed = len(found.rows) - n_fitted
    text = f"map {found.name}: {len(found.rows):,} images, fitted to {n_fitted:,} of them"
    if n_placed:
        text += f", {n_placed:,} placed on it since"
        text += f" ({n_new:,} now)" if 0 < n_new < n_placed else ""
    said = [Note(text)]
    text = (
        f"trustworthiness {faith.trustworthiness}, continuity {faith.continuity}; {faith.kept} of "
        f"the {faith.n_neighbors} nearest are kept; by {faith.n_sample:,} images that were drawn, "
        "each compared with all on the map"
    )
    said.append(Note(text))
    if faith.n_sample < _FEW:
        text = f"a map of {faith.n_sample:,} images says little: that two are near may be chance"
        said.append(Note(text, WARNING))
    elif n_placed > n_fitted:
        text = (
            "the map was fitted to fewer images than were placed on it, and may have no room for "
            "what only these show; to fit it to more: bioprobe map --refit --sample N"
        )
        said.append(Note(text, WARNING))
    return said
