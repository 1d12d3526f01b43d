"""How many of each taxon there are, with intervals that hold although the classifier errs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from bioprobe.access import exists
from bioprobe.content import CONTENT, Content, read_content
from bioprobe.errors import MisuseError, SelectionError
from bioprobe.face.asking import Asks
from bioprobe.face.learning import Learns
from bioprobe.options import (
    RANK_NAMES,
    Option,
    SeedOption,
    Taxa,
    Unless,
    With,
    Without,
    question,
)
from bioprobe.result import WARNING, Note, Result, Table, read_fields

if TYPE_CHECKING:
    import numpy as np

    from bioprobe.agreement import Side
    from bioprobe.counting.drawing import Drawn
    from bioprobe.counting.estimates import Collection, Estimating
    from bioprobe.face.compared_pages import Estimates
    from bioprobe.face.probe import Probe
    from bioprobe.store.view import View
    from bioprobe.task.predictions import Predictions
    from bioprobe.types import Floats, Mask, Names, Places

# What answers may be: names and files, results, tables.
Answered = Any
# What answers are where nobody says.
_ZEROSHOT, _PROBE, _COLUMN = "zeroshot", "probe", "column"
# Answers of an image that count: the rest of a long list tells nothing.
_DEPTH, _EVERY = 20, 2**31
_SURE, _ANSWER = 0.95, "answer"
_RANDOM, _SHIFT = "random", "label-shift"
# A sample as unlike the others as one in a thousand is not taken for random.
_UNLIKE = 0.001
_CALENDAR = {"year": 4, "month": 7, "day": 10}
_SITES = ("site", "station", "location", "camera", "deployment", "place", "plot")
_SHOWN = 3


class Infers(Asks, Learns):
    """What is inferred of all images from answers and a sample of labels."""

    @question
    def estimate(
        self,
        level: Annotated[
            str | None,
            Option(
                "Rank or column of what is counted. [default: that of the probe, else species]",
                ("--target", "--level", "--rank", "-l"),
                RANK_NAMES,
            ),
        ] = None,
        *,
        by: Annotated[
            str | None,
            Option(
                "Count apart by a column, such as site, or by year, month or day of captured_at. "
                "The line (all) is of all together.",
                metavar="COLUMN|year|month|day",
            ),
        ] = None,
        answers: Annotated[
            Answered,
            Option(
                "What the classifier says: zeroshot, probe:NAME, column:NAME, or a file of "
                "answers.",
                shell=str,
                metavar="ANSWERS",
            ),
        ] = _ZEROSHOT,
        taxa: Annotated[Taxa, With("answers", (_ZEROSHOT,))] = None,
        per: Annotated[
            str | None,
            Option(
                "image: count pictures, each once for every class that one of its regions is of; "
                "sequence: count bursts or events so. [default: each region, or each picture "
                "without any]",
                choices=("image", "sequence"),
                fixed=True,
                when=(Without("draw"), Unless("assume", (_SHIFT,))),
            ),
        ] = None,
        labelled: Annotated[
            str | Path | None,
            Option(
                "Labelled images that are a random sample of those asked: a mask that --draw made, "
                "a column that says yes where an image was drawn, SPLIT:test of a split that was "
                "drawn at random, or a table of labels for the images that were drawn.",
                shell=str,
                metavar="MASK|COLUMN|SPLIT:test|TABLE",
            ),
        ] = None,
        estimator: Annotated[
            str,
            Option(
                "ppi: prediction-powered inference, of images like these; regression or ratio: of "
                "these images; labelled: from the labels alone.",
                choices=("ppi", "regression", "ratio", "labelled"),
                fixed=True,
                when=(Without("draw"),),
            ),
        ] = "ppi",
        assume: Annotated[
            str | None,
            Option(
                "What is taken to be so without being known. random: the labelled images are a "
                "random sample. label-shift: they are none, but images of a class look alike among "
                "them and the others; shares then follow from calibrated answers alone (EM of "
                "Saerens).",
                choices=(_RANDOM, _SHIFT),
                fixed=True,
                when=(Without("draw"),),
            ),
        ] = None,
        unit: Annotated[
            str | None,
            Option(
                "What was drawn together: image, sequence, or a column such as site. [default: as "
                "the mask or split says; else image, or a sequence or site of which whole ones are "
                "labelled]",
            ),
        ] = None,
        strata: Annotated[
            str | None,
            Option(
                "Column within each value of which images are or were drawn, each with its own "
                "chance; or answer, what is answered to an image: of rare classes more are drawn.",
                metavar="COLUMN|answer",
            ),
        ] = None,
        threshold: Annotated[
            float | None,
            Option(
                "Score from which answers count in sure. [default: that which promises "
                "0.95 right answers by a calibrated probe; else 0.95]",
                least=0,
                most=1,
                when=(Without("draw"),),
            ),
        ] = None,
        width: Annotated[
            float | None,
            Option(
                "Wished width of the interval of each share, such as 0.05: the column n_more says "
                "how many more images to label for it.",
                least=0.0001,
                most=1,
                when=(Without("draw"),),
            ),
        ] = None,
        effort: Annotated[
            str | Path | None,
            Option(
                "Table of deployments, for rates by 100 camera-days: when each camera was set up "
                "and fetched (Camtrap DP, camtrapR, Wildlife Insights, and the like).",
                shell=str,
                metavar="TABLE",
                when=(Without("draw"),),
            ),
        ] = None,
        draw: Annotated[
            int | None,
            Option(
                "Draw so many images at random to be labelled, and keep them as the mask that "
                "--labelled names (by default audit); the table lists them.",
                least=1,
            ),
        ] = None,
        n_resamples: Annotated[
            int,
            Option("Resamples of the bootstrap.", least=20, when=(With("assume", (_SHIFT,)),)),
        ] = 200,
        seed: Annotated[int, SeedOption("Seed of the draw, and of the bootstrap.")] = 0,
    ) -> Estimates | Table:
        """Count taxa by what a classifier answers, mended by labels of a random sample.

        Parameters
        ----------
        level : str, optional
            Rank or column of the classes; by default that of the probe, else species.
        by : str, optional
            Column whose values are counted apart; ``year``, ``month`` or ``day`` are those of
            ``captured_at`` where there is no such column.
        answers : str, Path, Predictions or DataFrame
            ``zeroshot``, ``probe:NAME``, ``column:NAME``, a file or table of answers, or what a
            question returned.
        taxa : str or Path, optional
            Taxon list of the candidates, for zero-shot.
        per : {"image", "sequence"}, optional
            What is counted, once for every class that a part of it is of; by default rows: regions,
            or pictures without any.
        labelled : str or Path, optional
            What says which images were drawn at random to be labelled: a mask, a column,
            ``SPLIT:test``, or a table of labels.
        estimator : {"ppi", "regression", "ratio", "labelled"}
            See :func:`bioprobe.counting.ppi.estimate_shares`.
        assume : {"random", "label-shift"}, optional
            What is taken to be so without being known.
        unit : str, optional
            What was drawn together: ``image``, ``sequence`` or a column.
        strata : str, optional
            Column within whose values images are or were drawn; ``answer`` is what is answered.
        threshold : float, optional
            Score from which answers count in ``sure``.
        width : float, optional
            Wished width of the interval of a share, in (0, 1].
        effort : str or Path, optional
            Table of deployments, for rates.
        draw : int, optional
            Images to draw at random; nothing is estimated.
        n_resamples : int
            Of the bootstrap under label shift.
        seed : int
            Of the draw and the bootstrap.

        Returns
        -------
        Estimates, or Table with ``draw``
            One row a group and class; see :func:`bioprobe.counting.estimates.estimate_groups`.

        Raises
        ------
        MisuseError
            If the labelled images are no random sample, or it is not known which are.
        SelectionError
            If none of them has a label.

        Examples
        --------
        >>> store.estimate("family", draw=200).to_frame()  # doctest: +SKIP
        >>> store.estimate("family", by="site", labelled="audit").to_frame()  # doctest: +SKIP
        """
        import numpy as np

        from bioprobe.counting.estimates import Collection, Estimating, estimate_groups
        from bioprobe.face.compared_pages import Estimates

        view = self._view
        notes: list[Note | str] = [*self._notes]
        found = self._find_counted(level, answers, taxa, every=assume == _SHIFT)
        notes += found.notes
        if draw is not None:
            return self._draw(found, draw, labelled, unit, strata, seed)
        truths, table = found.truths, None
        if labelled is not None and _is_table(labelled):
            truths, table = _read_table_of_labels(Path(labelled), self, found, notes)
        known = np.zeros(len(view), dtype=bool) if found.taught is None else found.taught
        # What was labelled since is not what taught it.
        known = known & (found.truths >= 0)
        has_label = (truths >= 0) & ~known
        sample = self._find_sample(
            found, labelled, table, assume, unit, strata, has_label, known, notes
        )
        drawn = sample.chosen & has_label
        if not drawn.any():
            msg = (
                f"none of the {int(sample.chosen.sum()):,} images of {sample.source} has a label "
                f"at {found.level} that {found.source} did not learn from; label them first"
            )
            raise SelectionError(msg)
        weights, lost = sample.weigh(~known, drawn)
        asked = Collection(
            found.names, found.top, found.scores, np.where(known, found.truths, truths)[:, None],
            known, drawn, self._group(by), sample.units, sample.strata, weights,
        )  # fmt: skip
        if assume != _SHIFT:
            notes += self._judge(asked, sample, lost, assume, found)
        asked = self._pool(asked, per, sample, notes)
        how = Estimating(
            _SHIFT if assume == _SHIFT else estimator,
            found.threshold if threshold is None else threshold, width, n_resamples, seed,
        )  # fmt: skip
        days = self._count_days(effort, by, asked.groups, notes) if effort is not None else None
        made = estimate_groups(asked, how, level=found.level, by=by or "", days=days)
        notes += _describe_what(how, sample, asked, found.source, by, width)
        options = {
            "level": found.level, "by": by, "answers": found.source, "labelled": sample.source,
            "n_labelled": int(asked.is_drawn.sum()), "unit": sample.unit, "assume": assume,
            "per": per,
            "estimator": how.estimator, "threshold": how.threshold, "width": width,
            "effort": None if effort is None else str(effort), "seed": seed,
        }  # fmt: skip
        provenance = view.describe(options).to_dict()
        shown = Estimates(**{**read_fields(made), "provenance": provenance, "notes": ()})
        return shown.say([*notes, *made.notes])

    def _draw(
        self, found: _Answers, n: int, labelled: str | Path | None, unit: str | None,
        strata: str | None, seed: int,
    ) -> Table:  # fmt: skip
        import numpy as np
        import pandas as pd

        from bioprobe.counting.drawing import AUDIT, draw_images, is_drawn
        from bioprobe.store.selections import list_selections

        view, name = self._view, str(labelled or AUDIT)
        if name in list_selections(view.store) and not is_drawn(view.store, name):
            msg = f"the mask {name!r} is there and was not drawn; name another: --labelled NAME"
            raise MisuseError(msg)
        rows = draw_images(
            view, n, name=name, left_out=found.taught, unit=unit,
            strata=self._find_strata(found, strata), seed=seed,
        )  # fmt: skip
        frame = pd.DataFrame(view.images.name_rows(rows))
        place = {row: at for at, row in enumerate(view.rows.tolist())}
        at = np.array([place[row] for row in rows.tolist()], dtype=np.int64)
        frame[found.level] = view.labels(found.level)[at] if found.has_column else ""
        frame["row"] = rows
        n_bare = int((found.truths[at] < 0).sum())
        text = (
            f"{len(rows):,} images were drawn at random, and are kept as the mask {name}; "
            f"{n_bare:,} of them have no label at {found.level}. Fill it in (blank where there is "
            f"none), then: bioprobe estimate --target {found.level} --labelled TABLE"
        )
        provenance = view.describe({"draw": n, "unit": unit, "strata": strata, "seed": seed})
        return Table(frame, provenance.to_dict(), (Note(text),))

    def _find_counted(
        self, level: str | None, answers: Any, taxa: str | Path | None, *, every: bool  # noqa: ANN401
    ) -> _Answers:  # fmt: skip
        from bioprobe.images.image_table import read_level
        from bioprobe.task.predictions import Predictions

        k = _EVERY if every else _DEPTH
        if isinstance(answers, Predictions):
            return _take_predictions(self._view, answers, level, "the answers given")
        text = str(answers)
        kind, _, name = text.partition(":")
        if text == _ZEROSHOT:
            rank = read_level(level or "species", self._view.images)
            found: Any = self.zeroshot(rank, taxa=taxa, k=k)
            own = [one for one in found.notes if one not in self._notes]
            taken = _take_predictions(self._view, found, rank, "zero-shot")
            return dataclasses.replace(taken, notes=tuple(own))
        if kind == _PROBE and name:
            probe = self.probe(name)
            found = probe.predict(self, _EVERY if level not in {None, probe.fitted.level} else k)
            taken = _take_predictions(self._view, found, level, f"the probe {name}")
            return _choose_threshold(taken, probe)
        if every:
            msg = (
                "--assume label-shift takes probabilities of all classes, and these answers have "
                "one class each; use --answers probe:NAME or zeroshot"
            )
            raise MisuseError(msg)
        from bioprobe.agreement import take_column

        is_column = kind == _COLUMN and bool(name)
        side = take_column(self._view, name) if is_column else _read_answers(answers)
        if is_column:
            # Its values are the answers, whatever other columns say.
            side = dataclasses.replace(side, name=f"the column {name}", columns={})
        return _take_side(self._view, side, level or "species")

    def _find_sample(
        self,
        found: _Answers,
        labelled: str | Path | None,
        table: Mask | None,
        assume: str | None,
        unit: str | None,
        strata: str | None,
        has_label: Mask,
        known: Mask,
        notes: list[Note | str],
    ) -> Drawn:
        """Return the sample that was named, or refuse what is none."""
        from bioprobe.counting.drawing import name_sample, read_drawn

        view, within = self._view, self._find_strata(found, strata)
        if table is not None:
            sample = name_sample(view, table, f"the table {labelled}", unit=unit, strata=within)
        elif labelled is not None:
            sample = read_drawn(view, str(labelled), found.level, unit=unit, strata=within)
        elif assume is not None:
            sample = name_sample(view, has_label, "all that are labelled", unit=unit, strata=within)
        else:
            n_labelled = int(has_label.sum())
            msg = (
                f"{n_labelled:,} of {len(view):,} images have a label that {found.source} did not "
                "learn from, and nothing says that they are a random sample of all; as long as "
                "they are not, no count from them holds. Name those that were drawn at random "
                "(--labelled MASK, COLUMN, SPLIT:test or TABLE), or draw some to label: bioprobe "
                f"estimate --target {found.level} --draw 200. If all labelled ones are such a "
                "sample, say --assume random; if they are none, --assume label-shift follows from "
                "calibrated answers alone, on an assumption"
            )
            raise MisuseError(msg)
        n_taught = int((sample.chosen & known).sum())
        if n_taught:
            notes.append(
                f"{n_taught:,} images of {sample.source} taught {found.source} and judge nothing"
            )
        n_bare = int((sample.chosen & ~has_label & ~known).sum())
        if n_bare and assume != _SHIFT:
            notes.append(
                Note(f"{n_bare:,} of {int(sample.chosen.sum()):,} images of {sample.source} have "
                     f"no label at {found.level} and are left out of it; where it is the hard ones "
                     "that have none, shares are off", WARNING)
            )  # fmt: skip
        return sample

    def _find_strata(self, found: _Answers, strata: str | None) -> Names | None:
        """Return the stratum of each image, None where there are none."""
        import numpy as np

        from bioprobe.images.image_table import read_level

        if strata is None:
            return None
        if strata == _ANSWER and strata not in self._view.images.free_columns:
            return np.array([*found.names, ""], dtype=object)[found.top[:, 0]]
        return self._view.labels(read_level(strata, self._view.images))

    def _judge(
        self, asked: Any, sample: Drawn, lost: Sequence[str], assume: str | None, found: _Answers  # noqa: ANN401
    ) -> list[Note | str]:  # fmt: skip
        """Refuse a sample that is not random, or say what speaks against it."""
        import numpy as np

        from bioprobe.counting.estimates import OTHER, check_random, sample_images

        rest = np.flatnonzero(~asked.is_known)
        named = np.array([*asked.classes, OTHER], dtype=object)
        classes = asked.seen
        p_value, text = check_random(
            sample_images(asked, rest, rest[asked.is_drawn[rest]], classes),
            named[classes].tolist(),
        )
        against = [*sample.find_faults(~asked.is_known), *lost]
        if p_value < _UNLIKE:
            against.append(
                f"{text}, which a random sample shows once in {1 / max(p_value, 1e-6):,.0f} times "
                "or less"
            )
        if not against:
            word = f"{sample.source} is taken for a random sample, on your word"
            return [Note(word)] if assume == _RANDOM else []
        said = "; ".join(against)
        if assume == _RANDOM:
            return [Note(f"{sample.source} is taken for a random sample, though {said}", WARNING)]
        msg = (
            f"{sample.source} is no random sample of the {len(rest):,} images asked: {said}. Draw "
            f"one to label: bioprobe estimate --target {found.level} --draw 200; or say what is to "
            "be taken for granted: --assume random, or --assume label-shift"
        )
        raise MisuseError(msg)

    def _pool(
        self, asked: Collection, per: str | None, sample: Drawn, notes: list[Note | str]
    ) -> Collection:
        """Make one of what is counted together, and say what a line counts."""
        from bioprobe.counting.drawing import SEQUENCE, find_units

        view = self._view
        if per is None:
            has_regions = view.images.has_regions
            n_files = len(set(view.images.name_files(view.rows))) if has_regions else len(view)
            if n_files < len(view):
                notes.append(f"{len(view):,} regions of {n_files:,} pictures are counted, each by "
                             "itself; --per image counts pictures")  # fmt: skip
            return asked
        is_of_pictures = per != SEQUENCE
        pooled, n_partly = asked.pool(
            view.images.name_files(view.rows) if is_of_pictures else find_units(view, SEQUENCE)
        )
        what = "pictures" if is_of_pictures else "sequences"
        if n_partly:
            text = (
                f"{n_partly:,} {what} are labelled in part, and count as not labelled: where they "
                "have more to see than others, shares are off"
            )
            notes.append(Note(text, WARNING))
        if not pooled.is_drawn.any():
            msg = (
                f"no {per} of {sample.source} has a label on all that it holds; draw whole ones to "
                f"label: --draw 200 --unit {per}"
            )
            raise SelectionError(msg)
        notes.append(f"{len(pooled):,} {what} are counted, each once for every class that is seen "
                     "in it: shares may add up to more than 1")  # fmt: skip
        return pooled

    def _group(self, by: str | None) -> Names:
        """Return what each image is counted under, ``""`` where that is not known."""
        import numpy as np

        from bioprobe.images.camera import CAPTURED_AT
        from bioprobe.images.image_table import read_level
        from bioprobe.images.times import read_times

        view = self._view
        if by is None:
            return np.full(len(view), "", dtype=object)
        if by in _CALENDAR and by not in view.images.free_columns:
            if CAPTURED_AT not in view.images.columns:
                msg = f"--by {by} is that of captured_at, which no image has; embed with --exif"
                raise MisuseError(msg)
            times, _ = read_times(view.labels(CAPTURED_AT))
            texts = np.datetime_as_string(times, unit="s")
            return np.array(
                ["" if one == "NaT" else one[: _CALENDAR[by]] for one in texts.tolist()],
                dtype=object,
            )
        return view.labels(read_level(by, view.images))

    def _count_days(
        self, effort: str | Path, by: str | None, groups: Names, notes: list[Note | str]
    ) -> dict[str, float]:
        """Return camera-days by group."""
        from bioprobe.counting.effort import read_effort
        from bioprobe.counting.estimates import ALL

        read = read_effort(Path(effort), seen=self._find_spans())
        notes += read.notes
        days = {ALL: read.days}
        if not by:
            return days
        wanted = {name.casefold(): name for name in groups.tolist() if name}
        columns = ["place", "deployment", "camera"]
        if by in _CALENDAR:
            columns = [by]
        elif by in read.deployments.columns and by not in columns:
            columns.insert(0, by)
        best: dict[str, float] = {}
        for column in columns:
            counted = read.count_days(column)
            here = {
                wanted[str(name).casefold()]: float(n)
                for name, n in zip(counted[column], counted["camera_days"], strict=True)
                if str(name).casefold() in wanted
            }
            best = here if len(here) > len(best) else best
        if not best:
            some = ", ".join(sorted(wanted.values())[:_SHOWN])
            msg = (
                f"no {by} of the images ({some}) is in {effort}, by {', '.join(columns)}: write "
                "them alike, or count without --effort"
            )
            raise MisuseError(msg)
        if lost := sorted(set(wanted.values()) - set(best)):
            named = ", ".join(lost[:_SHOWN])
            notes.append(Note(f"{len(lost):,} {by}s have no effort in {effort}, and no rate, nor "
                              f"have all together: {named}", WARNING))  # fmt: skip
            # What is counted there has no day to be divided by.
            days[ALL] = math.nan
        return days | best

    def _find_spans(self) -> dict[str, tuple[np.datetime64, np.datetime64]]:
        """Return the first and last time by each name of a deployment, place or camera."""
        import numpy as np

        from bioprobe.counting.effort import NAMED
        from bioprobe.images.camera import CAPTURED_AT
        from bioprobe.images.times import read_times
        from bioprobe.taxonomy.columns import spell_column

        images, view = self._view.images, self._view
        if CAPTURED_AT not in images.columns:
            return {}
        times = read_times(view.labels(CAPTURED_AT))[0].astype("datetime64[s]")
        spans: dict[str, tuple[np.datetime64, np.datetime64]] = {}
        for column in images.free_columns:
            if spell_column(column) not in NAMED:
                continue
            names = view.labels(column)
            for name in sorted(set(names[~np.isnat(times)].tolist()) - {""}):
                its = times[(names == name) & ~np.isnat(times)]
                spans.setdefault(name, (its.min(), its.max()))
        return spans


@dataclasses.dataclass(frozen=True, eq=False)
class _Answers:
    """What a classifier says of the images of a view.

    Parameters
    ----------
    names : tuple of str
        Of the classes.
    top : ndarray of int64, shape (n_images, k)
        Classes, best first; -1 where there is none.
    scores : ndarray of float, shape (n_images, k)
        Not a number where nobody says.
    truths : ndarray of int64, shape (n_images,)
        Class that the labels of the store say, ``len(names)`` for another, -1 for none.
    taught : ndarray of bool, optional
        Images that it learnt from; None where it is not known.
    level : str
        Rank or column of the classes.
    source : str
        For people.
    find : callable
        From names to classes, as ``truths`` has them.
    """

    names: tuple[str, ...]
    top: Places
    scores: Floats
    truths: Places
    taught: Mask | None
    level: str
    source: str
    find: Callable[[Sequence[str]], Places]
    threshold: float = _SURE
    has_column: bool = True
    notes: tuple[Note, ...] = ()


def _find_named(names: Sequence[str], asked: Sequence[str]) -> Places:
    """Return the classes of names: -1 for no name, their number for one that is none of them."""
    import numpy as np

    places = {name.casefold(): at for at, name in reversed(list(enumerate(names)))}
    found = [places.get(one.strip().casefold(), len(names)) if one.strip() else -1 for one in asked]
    return np.array(found, dtype=np.int64)


def _read_truths(view: View, names: Sequence[str], labels: Names) -> Places:
    """Return the class of each label; what holds no animal is labelled too, as none of the taxa."""
    import numpy as np
    import pandas as pd

    numbers, distinct = pd.factorize(labels)
    truths = _find_named(names, distinct.tolist())[numbers]
    if CONTENT not in view.images.columns:
        return truths
    others = {Content.BLANK.value, Content.HUMAN.value, Content.VEHICLE.value}
    numbers, distinct = pd.factorize(view.labels(CONTENT))
    held = np.array([read_content(one) in others for one in distinct.tolist()], dtype=bool)
    return np.where((truths < 0) & held[numbers], len(names), truths)


def _take_predictions(view: View, found: Predictions, level: str | None, source: str) -> _Answers:
    """Take what a question returned, summed up to a rank above its own where that is asked."""
    import numpy as np

    from bioprobe.images.image_table import read_level

    if not np.array_equal(found.rows, view.rows):
        order = np.argsort(found.rows, kind="stable")
        rows = found.rows[order]
        at = np.searchsorted(rows, view.rows)
        if not np.isin(view.rows, rows).all() or (rows[1:] == rows[:-1]).any():
            msg = "the answers are not to the images that are asked, one each; ask the same images"
            raise MisuseError(msg)
        found = found.take(order[at])
    own, classes = found.level, found.classes
    wanted = read_level(level, view.images) if level is not None else own
    names, top, scores = tuple(classes.short_names), found.top_classes, found.scores
    if len(set(names)) < len(names):
        names = tuple(classes.names)
    if wanted != own:
        names, top, scores = _sum_up(found, wanted, source)
    labels = view.labels(wanted) if wanted in view.images.columns else (
        np.full(len(view), "", dtype=object)
    )  # fmt: skip
    truths = _read_truths(view, names, labels)
    if wanted == own:
        # By lineage, which tells homonyms apart.
        places = found.truth_classes
        truths = np.where(truths < 0, -1, np.where(places >= 0, places, len(names)))
    return _Answers(
        names, top, scores, truths, found.taught, wanted, source,
        lambda asked: _find_named(names, asked), has_column=wanted in view.images.columns,
        notes=found.notes,
    )  # fmt: skip


def _sum_up(found: Predictions, level: str, source: str) -> tuple[tuple[str, ...], Places, Floats]:
    """Sum probabilities of taxa at a rank above theirs."""
    import numpy as np

    from bioprobe.taxonomy import Rank

    rank = found.rank
    if rank is None or level not in RANK_NAMES or Rank(level).depth > rank.depth:
        msg = (
            f"{source} answers at {found.level or 'classes of its own'}, which says nothing at "
            f"{level}; ask --target {found.level}, or other --answers"
        )
        raise MisuseError(msg)
    depth = Rank(level).depth
    above = np.array([one.lineage[depth] for one in found.classes.taxa], dtype=object)
    names, place = np.unique(above.astype(str), return_inverse=True)
    sums = np.zeros((len(found.rows), len(names)), dtype=np.float32)
    rows = np.repeat(np.arange(len(found.rows)), found.top_classes.shape[1])
    flat = found.top_classes.ravel()
    np.add.at(sums, (rows[flat >= 0], place[flat[flat >= 0]]), found.scores.ravel()[flat >= 0])
    order = np.argsort(-sums, axis=1, kind="stable")
    return tuple(names.tolist()), order, np.take_along_axis(sums, order, axis=1)


def _choose_threshold(found: _Answers, probe: Probe) -> _Answers:
    """Take the threshold that promises so many right answers on held-out images."""
    if probe.calibration is None or found.level != probe.fitted.level:
        return found
    chosen = probe.calibration.choose_confidence(probe.fitted, _SURE)
    if not math.isfinite(chosen.confidence):
        text = f"no threshold promises {_SURE} right answers; sure takes {_SURE}"
        return dataclasses.replace(found, notes=(*found.notes, Note(text)))
    text = f"sure takes {chosen.confidence:.3f}, which promises {_SURE} right answers"
    return dataclasses.replace(
        found, threshold=float(chosen.confidence), notes=(*found.notes, Note(text))
    )


def _read_answers(given: Any) -> Side:  # noqa: ANN401 - whatever was given
    import pandas as pd

    from bioprobe.agreement import read_side, take_table

    if isinstance(given, pd.DataFrame):
        return take_table(given, "the answers given")
    if isinstance(given, Result):
        return take_table(given.to_frame(), "the answers given")
    if not exists(Path(str(given))):
        msg = (
            f"no answers at {given}: there is no such file; name {_ZEROSHOT}, {_PROBE}:NAME or "
            f"{_COLUMN}:NAME"
        )
        raise MisuseError(msg)
    return read_side(Path(str(given)))


def _name_said(side: Side, level: str) -> list[str]:
    """Return what each row of a side says at a level, ``""`` where it says nothing there."""
    if level not in RANK_NAMES:
        own = side.columns.get(level)
        return list(own) if own is not None else [one.name for one in side.said]
    from bioprobe.taxonomy import Rank

    depth = Rank(level).depth
    return [one.lineage[depth] or one.label or _name_content(one.content) for one in side.said]


def _name_content(content: str) -> str:
    """Return what is no animal by its name; an animal that is not said lower says nothing."""
    return "" if content in {"animal", "unknown"} else content


def _place_side(view: View, side: Side) -> dict[int, int]:
    """Return the row of a side that each image of a view has."""
    from bioprobe.agreement import match_files
    from bioprobe.images.regions import REGION

    images = view.images
    files = images.name_files(view.rows).tolist()
    regions = images.column(REGION).iloc[view.rows].tolist()
    matched = match_files(files, list(side.files)).partners
    rows = {key: at for at, key in enumerate(zip(side.files, side.regions, strict=True))}
    found = {}
    for at, (file, region) in enumerate(zip(files, regions, strict=True)):
        theirs = matched.get(file)
        row = None if theirs is None else rows.get((theirs, region), rows.get((theirs, "")))
        if row is not None:
            found[at] = row
    return found


def _take_side(view: View, side: Side, level: str) -> _Answers:
    """Take answers of one class each, from a file or a column."""
    import numpy as np

    from bioprobe.images.image_table import read_level

    level, source = read_level(level, view.images), side.name
    said, placed = _name_said(side, level), _place_side(view, side)
    if not placed:
        msg = f"{source} names none of the {len(view):,} images that are asked"
        raise SelectionError(msg)
    has_column = level in view.images.columns
    labels = view.labels(level) if has_column else np.full(len(view), "", dtype=object)
    names = tuple(sorted({one for one in (*said, *labels.tolist()) if one}))
    top = np.full((len(view), 1), -1, dtype=np.int64)
    scores = np.full((len(view), 1), np.nan)
    places = _find_named(names, said)
    for at, row in placed.items():
        top[at, 0] = places[row]
        scores[at, 0] = side.scores[row]
    notes = list(side.notes)
    n_without = int((top < 0).sum())
    if n_without:
        notes.append(Note(f"{n_without:,} of {len(view):,} images have no answer at {level} in "
                          f"{source}", WARNING))  # fmt: skip
    notes.append(Note(f"whether what answered in {source} learnt from labelled images is not "
                      "known; where it did, intervals are too narrow", WARNING))  # fmt: skip
    return _Answers(
        names, top, scores, _read_truths(view, names, labels), None, level, source,
        lambda asked: _find_named(names, asked), has_column=has_column, notes=tuple(notes),
    )  # fmt: skip


def _is_table(labelled: str | Path) -> bool:
    from bioprobe.tables import TABLE_SUFFIXES, find_ending

    return isinstance(labelled, Path) or find_ending(Path(labelled)) in TABLE_SUFFIXES


def _read_table_of_labels(
    path: Path, store: Infers, found: _Answers, notes: list[Note | str]
) -> tuple[Places, Mask]:
    """Read the labels that a person gave to drawn images, and which these are."""
    import numpy as np

    from bioprobe.agreement import read_side

    if not exists(path):
        msg = f"no table of labels at {path}"
        raise MisuseError(msg)
    view, side = store._view, read_side(path)
    said, placed = _name_said(side, found.level), _place_side(view, side)
    notes += side.notes
    lost = len(side) - len(set(placed.values()))
    if lost:
        notes.append(Note(f"{lost:,} of {len(side):,} rows of {path} name no image that is asked",
                          WARNING))  # fmt: skip
    places = found.find(said)
    truths, chosen = found.truths.copy(), np.zeros(len(view), dtype=bool)
    for at, row in placed.items():
        truths[at], chosen[at] = places[row], True
    return truths, chosen


def _describe_what(
    how: Estimating, sample: Drawn, asked: Collection, source: str, by: str | None,
    width: float | None,
) -> list[Note | str]:  # fmt: skip
    """Say what was estimated, from what, and of what the intervals speak."""
    drawn = asked.is_drawn
    n = int(drawn.sum())
    if how.estimator == _SHIFT:
        return [f"{n:,} labelled images calibrate {source}; they are no random sample"]
    whose = {"regression": "these images", "ratio": "these images"}.get(
        how.estimator, "images like these, as this collection was one draw of them"
    )
    units = asked.units[drawn]
    n_units = len(set(units.tolist()) - {""}) + int((units == "").sum())
    unit = "" if n_units == n else f" in {n_units:,} units ({sample.unit}), which were drawn whole"
    notes: list[Note | str] = [
        f"{n:,} labelled images of {sample.source}{unit} mend the counts of {source}; "
        f"intervals of 95% by {how.estimator}, of {whose}"
    ]
    if by is not None and by.casefold().startswith(_SITES):
        notes.append(
            f"a {by} where a class is not seen may have it: a count of such sites, or of those "
            "with an answer, is no occupancy, which takes repeated visits and how likely it is "
            "seen at each"
        )
    if width is not None:
        notes.append(
            f"n_more is how many more images, drawn alike, would make an interval {width:g} wide, "
            "if answers go on as they did"
        )
    return notes
