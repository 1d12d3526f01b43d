"""What a collection is like, and which of its pictures better stay out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bioprobe.face.lists import read_rank_columns
from bioprobe.face.opened import Opened, name_counts, tell_placeholders
from bioprobe.options import (
    LOCAL,
    RANK_NAMES,
    Engine,
    EngineThreads,
    Level,
    ListColumns,
    Option,
    SeedOption,
    With,
    Without,
    question,
    split_given,
)
from bioprobe.result import WARNING, Note, read_fields

if TYPE_CHECKING:
    from bioprobe.face.quality_pages import Duplicates, Flaws, NoiseFilter, Overlap, Repeats
    from bioprobe.quality import against, flaws, noise
    from bioprobe.quality import repeats as repeated
    from bioprobe.quality.closest import ClosestPairs
    from bioprobe.quality.description import Description


# Classes of which a filter names the share that it drops.
_SHOWN = 10
# Pairs on either side of a threshold that are named; a page shows more.
_CLOSEST = 3
# Of what is asked of a filter by texts alone.
_ASKED = Without("repeats", "blurred", "dark", "odd_size")


class Sifts(Opened):
    """What is asked of a collection before anything is learnt from it."""

    @question
    def filter(
        self,
        keep: Annotated[
            str | Path | Sequence[str | Path],
            Option(
                "What is kept: animal, plant, specimen (what museums keep), or a .toml file of "
                "noise prompts; may be several, with commas or given several times.",
                shell=list[str],
                when=(_ASKED,),
            ),
        ] = ("animal",),
        *,
        labels: Annotated[
            str | None,
            Option(
                "Column that says of some images whether they are kept (animal or 1) or not (not "
                "animal or 0). The threshold is chosen on them; from 50 on, they replace the "
                "texts.",
                when=(_ASKED,),
            ),
        ] = None,
        recall: Annotated[
            float | None,
            Option(
                "Least share of the labelled images to keep. By default that of the best F1.",
                least=0,
                most=1,
                when=(With("labels"), Without("threshold")),
            ),
        ] = None,
        threshold: Annotated[
            float | None,
            Option(
                "Log-odds from which an image is kept. By default as the labels say, else 0.",
                when=(_ASKED,),
            ),
        ] = None,
        by_content: Annotated[
            bool,
            Option(
                "Make the mask of the column content alone (animal, blank, human, vehicle); the "
                "pictures are not asked.",
                when=(Without("labels"), Without("threshold"), Without("taxa"), _ASKED),
            ),
        ] = False,
        level: Annotated[Level, _ASKED] = "family",
        taxa: Annotated[
            str | Path | None,
            Option(
                "Taxon list (as for zeroshot): an image without a label is also kept by the best "
                "text of any of its classes.",
                shell=str,
                when=(_ASKED,),
            ),
        ] = None,
        rank_column: ListColumns = None,
        seed: Annotated[
            int, SeedOption("Seed of the folds that measure the filter.", when=(With("labels"),))
        ] = 0,
        repeats: Annotated[
            bool,
            Option(
                "Drop what a detector finds in one place again and again, stones and branches, "
                "instead of asking what pictures hold: boxes of one camera that overlap and hold "
                "the like."
            ),
        ] = False,
        overlap: Annotated[
            float,
            Option(
                "Least intersection over union of two boxes in one place.",
                least=0.01,
                most=1,
                when=(With("repeats"),),
            ),
        ] = 0.6,
        similarity: Annotated[
            float,
            Option(
                "Least mean cosine similarity of the boxes of a group.",
                least=-1,
                most=1,
                when=(With("repeats"),),
            ),
        ] = 0.88,
        visits: Annotated[
            int,
            Option(
                "Least number of times, more than a minute apart, that it was seen.",
                least=2,
                when=(With("repeats"),),
            ),
        ] = 4,
        span: Annotated[
            str | None,
            Option(
                "Group only what is seen within so long, such as 30d. By default all of a camera.",
                when=(With("repeats"),),
            ),
        ] = None,
        confirm: Annotated[
            str | Sequence[str] | None,
            Option(
                "Groups of the last run that are stones, such as g3,g7, or all: dropped from then "
                "on.",
                shell=list[str],
                when=(With("repeats"),),
            ),
        ] = None,
        deny: Annotated[
            str | Sequence[str] | None,
            Option(
                "Groups of the last run that are none: kept from then on.",
                shell=list[str],
                when=(With("repeats"),),
            ),
        ] = None,
        blurred: Annotated[
            bool,
            Option(
                "Drop what is blurred, as was measured when the pictures were embedded, instead of "
                "asking what they hold.",
                when=(Without("repeats"),),
            ),
        ] = False,
        dark: Annotated[
            bool,
            Option(
                "Drop what is too dark, infrared pictures never.",
                when=(Without("repeats"),),
            ),
        ] = False,
        odd_size: Annotated[
            bool,
            Option(
                "Drop what has a side of less than 64 pixels, or one more than three times as long "
                "as the other.",
                when=(Without("repeats"),),
            ),
        ] = False,
        blurred_below: Annotated[
            float | None,
            Option(
                "Sharpness below which a picture is blurred. [default: chosen among these "
                "pictures, 0.54 to 0.6]",
                least=0,
                when=(With("blurred"),),
            ),
        ] = None,
        dark_below: Annotated[
            float | None,
            Option(
                "Brightness below which a picture is dark, 0 to 1. [default: chosen among these "
                "pictures, 0.3 to 0.42]",
                least=0,
                most=1,
                when=(With("dark"),),
            ),
        ] = None,
    ) -> NoiseFilter | Repeats | Flaws:
        """Tell pictures of what is kept from others, and keep a mask of them; nothing is deleted.

        Parameters
        ----------
        keep : str, Path, or sequence of them
            ``animal``, ``plant``, ``specimen``, or a TOML file of noise prompts; of several, what
            any of them keeps is kept. The mask is ``filters/animal``, or of that name, and of
            several ``filters/animal-plant``.
        labels : str, optional
            Column that says of some images whether they are kept.
        recall : float, optional
            Least share of the labelled images to keep, in [0, 1]; by default the best F1.
        threshold : float, optional
            Log-odds from which an image is kept; by default chosen on the labels, else 0.
        by_content : bool
            Whether the column ``content`` alone says what is kept. Without it, what the column says
            wins over the texts where no label does.
        level : str
            Rank or column of the classes whose share of dropped images is told.
        taxa : str or Path, optional
            Taxon list that an image without a label may be of.
        rank_column : mapping of str to str, or sequence of str, optional
            Columns of the list that hold a rank under another name.
        seed : int
            Of the folds that measure the filter.
        repeats : bool
            Whether instead boxes of a detector are dropped that lie in one place of a camera again
            and again and hold the like. The mask is ``filters/repeats``. A group that is more like
            boxes elsewhere that do not repeat, such as an animal that sleeps, is kept.
        overlap, similarity : float
            Least intersection over union, and least mean cosine similarity, of a group.
        visits : int
            Least number of times that it was seen.
        span : str, optional
            What is seen within so long is grouped, such as ``30d``.
        confirm, deny : str or sequence of str, optional
            Groups of the last run, ``g1`` or ``all``, that are, and are no, stones.
        blurred, dark, odd_size : bool
            Whether instead pictures are dropped that were taken badly: one or several of these. The
            mask is ``filters/flaws``. What looks as by infrared is not dark.
        blurred_below, dark_below : float, optional
            Sharpness and brightness below which a picture is; by default chosen among what is
            asked.

        Returns
        -------
        NoiseFilter, or Repeats with ``repeats``, or Flaws with ``blurred``, ``dark``, ``odd_size``
            One row an image: whether it is kept, its score, the reason. It can be asked at another
            threshold, and written as a page. Of repeats one row a box in a group.

        Raises
        ------
        PromptError
            If there are no such noise prompts.
        SelectionError
            If the labels cannot be used.

        Examples
        --------
        >>> store.filter("animal").write_page("dropped.html")  # doctest: +SKIP
        """
        if repeats:
            return self._filter_repeats(overlap, similarity, visits, span, confirm, deny)
        if blurred or dark or odd_size:
            return self._filter_flaws(
                {"blurred": blurred, "dark": dark, "odd size": odd_size},
                {"blurred": blurred_below, "dark": dark_below},
            )
        from bioprobe.face.quality_pages import NoiseFilter
        from bioprobe.images.image_table import read_level
        from bioprobe.quality.noise import (
            filter_by_content,
            filter_noise,
            join_noise_prompts,
            read_noise_prompts,
        )
        from bioprobe.taxonomy import Rank
        from bioprobe.taxonomy.lists import read_taxonomy

        level = read_level(level, self._view.images)
        prompts = join_noise_prompts(map(read_noise_prompts, split_given(keep)))
        ranks = read_rank_columns(rank_column)
        listed = read_taxonomy(str(taxa), ranks).at(Rank.parse(level)) if taxa else None
        if by_content:
            found = filter_by_content(self._view, prompts)
        else:
            found = filter_noise(
                self._view, prompts, self._texts.encode_text, labels=labels, threshold=threshold,
                recall=recall, seed=seed, taxa=listed,
            )  # fmt: skip
        found.write(self._view.store)
        said = (*self._notes, *_describe_filter(found, level, lasts=not self._view.origin))
        return NoiseFilter(**read_fields(found), level=level).say(said)

    def _filter_repeats(
        self,
        overlap: float,
        similarity: float,
        visits: int,
        span: str | None,
        confirm: str | Sequence[str] | None,
        deny: str | Sequence[str] | None,
    ) -> Repeats:
        from bioprobe.face.quality_pages import Repeats
        from bioprobe.quality.repeats import find_repeats

        found = find_repeats(
            self._view, overlap=overlap, similarity=similarity, visits=visits, span=span,
            confirm=split_given(confirm), deny=split_given(deny),
        )  # fmt: skip
        found.write(self._view.store)
        said = (*self._notes, *_describe_repeats(found, lasts=not self._view.origin))
        return Repeats(**read_fields(found)).say(said)

    def _filter_flaws(self, asked: dict[str, bool], below: dict[str, float | None]) -> Flaws:
        from bioprobe.face.quality_pages import Flaws
        from bioprobe.quality.flaws import find_flaws

        found = find_flaws(
            self._view,
            [flaw for flaw, is_asked in asked.items() if is_asked],
            below={flaw: value for flaw, value in below.items() if value is not None},
        )
        found.write(self._view.store)
        said = (*self._notes, *_describe_flaws(found, below, lasts=not self._view.origin))
        return Flaws(**read_fields(found)).say(said)

    @question
    def dedupe(
        self,
        threshold: Annotated[
            float | None,
            Option(
                "Least cosine similarity of two images that are the same. By default whatever it "
                "is where pictures look the same; where one cannot be read, from the similarities "
                "in the store, so that one image in 1,000 has a false copy.",
                least=-1,
                most=1,
            ),
        ] = None,
        *,
        confirm: Annotated[
            bool,
            Option(
                "Whether images must also look the same, as far as their pictures are known or can "
                "be read; without, their vectors alone decide."
            ),
        ] = True,
        against: Annotated[
            str | Path | None,
            Option(
                "Look in another store of the same encoder, or a file of its vectors that store "
                "import reads, for what is there too, instead of for copies in this store.",
                shell=Path,
            ),
        ] = None,
        engine: Annotated[Engine, Without("against")] = LOCAL,
        threads: EngineThreads = None,
    ) -> Duplicates | Overlap:
        """Find images that are in the store more than once, and keep one of each as a mask.

        Nothing is deleted: the mask ``filters/duplicates`` leaves the copies out where it is asked
        for.

        Parameters
        ----------
        threshold : float, optional
            Least cosine similarity of two images that are the same, in [-1, 1]; by default chosen
            by the similarities in the store, and only where a picture cannot be read.
        confirm : bool
            Whether their pictures must look the same too.
        against : str or Path, optional
            Another store, or a file of vectors, whose images are looked for here; the mask
            ``filters/against`` leaves them out. The pairs are kept in the cache of this machine,
            so that another threshold is answered without comparing again.
        engine : {"local", "ray"}
            Where vectors are compared: in this process, or by the nodes of a Ray cluster. Fewer
            than 50,000 images are compared here all the same, which takes seconds.
        threads : int, optional
            Cores that some vectors take on a node.

        Returns
        -------
        Duplicates, or Overlap with ``against``
            One row an image in a group: its group, whether it is kept, the similarity. Of an
            overlap one row an image that is there too, with the name and row it has there. Either
            can be asked at another threshold (``at``).

        Raises
        ------
        MismatchError
            If the other vectors are of another encoder.
        """
        if against is not None:
            return self._find_overlap(Path(against), threshold, confirm=confirm)
        from bioprobe.face.quality_pages import Duplicates
        from bioprobe.quality import find_duplicates
        from bioprobe.store.selections import DUPLICATES_MASK

        view = self._on(engine, threads)._view
        found = find_duplicates(view, threshold=threshold, confirm=confirm)
        found.write(self._view.store)
        n_dropped = int((~found.kept).sum())
        said = [
            f"images: {len(found.rows):,}; groups of duplicates: {found.n_groups:,}; copies of an "
            f"image that is kept: {n_dropped:,} ({found.duplicate_fraction:.1%})"
        ]
        if found.n_unread or not confirm:
            what = f"{found.n_unread:,} near images could not be read to compare the pictures: "
            chosen = " (chosen by those in the store)" if threshold is None else ""
            said.append(
                f"{what if confirm else ''}vectors alone decided, from a similarity of "
                f"{found.threshold:.3f}{chosen}"
            )
        if found.recall is not None:
            said.append(
                "too many images to compare all near ones: of the near pairs of sampled images "
                f"the search found {found.recall}"
            )
        said += _describe_closest(found.closest, self._view.images.name_row)
        if not self._view.origin:
            said.append(f"kept as a mask; use it with: --mask {DUPLICATES_MASK}")
        return Duplicates(**read_fields(found)).say((*self._notes, *said))

    def _find_overlap(self, against: Path, threshold: float | None, *, confirm: bool) -> Overlap:
        from bioprobe.face.quality_pages import Overlap
        from bioprobe.interchange.others import open_others
        from bioprobe.quality import find_overlap
        from bioprobe.quality.against import AGAINST_MASK

        others = open_others(against, self._view)
        found = find_overlap(self._view, others, threshold=threshold, confirm=confirm)
        found.write(self._view.store)
        said = _describe_overlap(found, self._view.images.name_row)
        if not self._view.origin:
            said.append(f"kept as a mask of the others; use it with: --mask {AGAINST_MASK}")
        return Overlap(**read_fields(found)).say((*self._notes, *said))

    @question
    def describe(
        self,
        level: Annotated[
            str | None,
            Option(
                "List the classes at a rank, or the values of a column, instead of the ranks.",
                ("--level", "--rank", "-l"),
                RANK_NAMES,
            ),
        ] = None,
        *,
        measure: Annotated[
            bool,
            Option(
                "Measure pictures that were not when they were embedded, such as those of an older "
                "store: how sharp and light they are, whether by infrared. No encoder is loaded.",
            ),
        ] = False,
    ) -> Description:
        """Describe the images before any learning: classes, imbalance, sizes, modes, copies, holes.

        Parameters
        ----------
        level : str, optional
            Rank or column whose classes the table lists; by default it lists the ranks.
        measure : bool
            Whether pictures are measured that were not when they were embedded; their files are
            read for it.

        Returns
        -------
        Description

        Examples
        --------
        >>> store.describe("family").to_frame()  # doctest: +SKIP
        """
        from bioprobe.quality.description import describe_images

        said = list(self._notes)
        if measure:
            from bioprobe.images.measures import measure_picture
            from bioprobe.quality.seeing import read_seen
            from bioprobe.store.look_cache import MEASURES

            _, known = read_seen(
                self._view, MEASURES, measure_picture, progress=self._view.progress
            )
            if not known.all():
                text = (
                    f"{int((~known).sum()):,} pictures were not measured: their files are not "
                    "there, or cannot be read"
                )
                said.append(Note(text, WARNING))
        found = describe_images(self._view, level)
        return found.say((*said, *_describe_images(found)))


def _describe_filter(found: noise.NoiseFilter, level: str, *, lasts: bool) -> list[Note | str]:
    n_dropped = int((~found.kept).sum())
    use = f"; use it with: --mask filters/{found.name}" if lasts else ""
    said: list[Note | str] = [
        f"images: {len(found.rows):,}; dropped: {n_dropped:,} ({n_dropped / len(found.rows):.1%}); "
        f"by {found.method}, threshold {found.threshold:.3g}{use}"
    ]
    if found.quality:
        q = found.quality
        said.append(
            f"on {q.n_labels} labelled images, each by what was learnt from others: AUROC "
            f"{q.auroc:.3f}; dropping: precision {q.precision_fraction:.3f}, recall "
            f"{q.recall_fraction:.3f}, F1 {q.f1_fraction:.3f}; kept of those to keep: "
            f"{q.kept_fraction:.3f}"
        )
    rates = found.count_drops(level)
    # What is to be warned of stands among those shown, however many classes lose more.
    rates = rates.sort_values("suspicious", ascending=False, kind="stable")
    for row in rates[rates["dropped_fraction"] > 0].head(_SHOWN).to_dict("records"):
        name = row["class"] or f"(no {level})"
        text = f"  {name}: {row['dropped_fraction']:.1%} of {row['n_images']:,} dropped"
        if row["suspicious"]:
            said.append(
                Note(f"{text}  WARNING: more than the overall rate, beyond chance", WARNING)
            )
        else:
            said.append(Note(text))
    return said


def _describe_repeats(found: repeated.Repeats, *, lasts: bool) -> list[Note | str]:
    """Say what stands still, what is left out of it, and how a person has the last word."""
    n_boxes = int((found.groups >= 0).sum())
    n_dropped = int((~found.kept).sum())
    use = "; use it with: --mask filters/repeats" if lasts else ""
    said: list[Note | str] = [
        f"rows: {len(found.rows):,}; groups that stand in one place: {found.n_groups:,}, of "
        f"{n_boxes:,} boxes; dropped: {n_dropped:,} ({n_dropped / len(found.rows):.1%}){use}"
    ]
    why = {
        "repeat": "dropped: the like stands still elsewhere too, or is nowhere else",
        "like what passes": "kept: more like boxes that do not repeat, as an animal that sleeps is",
        "nothing to compare with": "kept: every other box of the store repeats as well",
        "confirmed": "dropped, as a person said",
        "denied": "kept, as a person said",
    }
    for finding, (n_groups, n) in found.count().items():
        said.append(f"  {finding}: {n_groups:,} groups, {n:,} boxes; {why[finding]}")
    n_alone = int(((found.groups < 0) & ~found.kept).sum())
    if n_alone:
        said.append(f"  {n_alone:,} boxes are in no group now and dropped, as a person said before")
    if lasts and found.n_groups:
        said.append("look at them with --html FILE; say what they are with --confirm and --deny")
    return said


def _describe_flaws(
    found: flaws.Flaws, below: dict[str, float | None], *, lasts: bool
) -> list[Note | str]:
    """Say how many pictures were taken badly, and by which thresholds."""
    from bioprobe.quality.flaws import RULES

    n_dropped = int((~found.kept).sum())
    use = "; use it with: --mask filters/flaws" if lasts else ""
    said: list[Note | str] = [
        f"images: {len(found.rows):,}; dropped: {n_dropped:,} ({n_dropped / len(found.rows):.1%})"
        f"{use}"
    ]
    for flaw, n in found.count().items():
        text = f"  {flaw}: {n:,}"
        if flaw in found.thresholds:
            chosen = "chosen here" if below[flaw] is None else "as given"
            text += f"; {RULES[flaw].measure} below {found.thresholds[flaw]:.3f}, {chosen}"
        said.append(text)
    n_night = int((found.measured.known & found.measured.values["night"]).sum())
    if n_night and "dark" in found.looked_for:
        said.append(f"  {n_night:,} look as by infrared, which is not dark")
    return said


def _describe_closest(
    closest: ClosestPairs | None,
    name: Callable[[int], str],
    name_other: Callable[[int], str] | None = None,
) -> list[str]:
    """Say which pairs are nearest to a threshold, so that a person can judge it."""
    import numpy as np

    if closest is None or not len(closest):
        return []
    said = [f"pairs of other bytes nearest to the threshold of {closest.threshold:.4f}:"]
    distances = closest.similarities - np.float32(closest.threshold)
    near = [
        places[np.argsort(np.abs(distances[places]), kind="stable")][:_CLOSEST]
        for places in (np.flatnonzero(distances >= 0), np.flatnonzero(distances < 0))
    ]
    for at in [*near[0][::-1].tolist(), *near[1].tolist()]:
        one, other = int(closest.first[at]), int(closest.second[at])
        said.append(
            f"  {closest.similarities[at]:.4f} {name(one)} and {(name_other or name)(other)}: "
            f"{closest.explain(at)}"
        )
    return said


def _describe_overlap(found: against.Overlap, name: Callable[[int], str]) -> list[Note | str]:
    """Say how many images are in another collection too, by what, and what is nearly."""
    others, is_copy = found.others, found.is_copy
    kinds = found.to_frame()["kind"].value_counts().to_dict()
    n_found = int(is_copy.sum())
    share = n_found / max(1, len(found.rows))
    text = (
        f"images: {len(found.rows):,}; in {others.name} ({others.n_rows:,} images) too: "
        f"{n_found:,} ({share:.1%})"
    )
    words = {"exact": "of the same bytes", "near": "that look the same",
             "vector": "by their vectors alone"}  # fmt: skip
    if kinds:
        text += ": " + ", ".join(f"{n:,} {words[str(kind)]}" for kind, n in kinds.items())
    said: list[Note | str] = [text]
    chosen = " (chosen by those there)" if found.provenance.options["threshold_is_chosen"] else ""
    said.append(
        f"vectors alone decide from a similarity of {found.alone:.4f}{chosen}, pictures are "
        f"compared from {found.lowest:.4f}; from {found.floor:.4f} on another --threshold is "
        "answered by what is kept in the cache"
    )
    if not others.is_told:
        text = (
            f"{others.name} does not say which encoder made its vectors: that it is this store's "
            "is your word"
        )
        said.append(Note(text, WARNING))
    listed = dict(
        zip(found.closest.second.tolist(), others.name_rows(found.closest.second), strict=True)
    )
    return [*said, *_describe_closest(found.closest, name, listed.__getitem__)]


def _describe_looks(looks: flaws.Looks, n_images: int) -> list[str]:
    """Say how the pictures were taken."""
    if not looks.n_measured:
        return ["how sharp and light the pictures are is not known: --measure reads them for it"]
    said = []
    for name in ("sharpness", "brightness", "contrast"):
        least, low, median, high, most = looks.quartiles[name]
        said.append(
            f"{name}: median {median:.2f}, half in {low:.2f} to {high:.2f}, all in {least:.2f} to "
            f"{most:.2f}"
        )
    found = name_counts({"by infrared": looks.n_night, **looks.flaws})
    of = "" if n_images == looks.n_measured else f" of {looks.n_measured:,} that were measured"
    return [*said, f"as they were taken{of}: {found}"]


def _describe_images(found: Description) -> list[str | Note]:
    said: list[str | Note] = [
        f"images: {found.n_images:,}; files that could not be read: {found.n_failures:,}"
    ]
    if found.n_unsized < found.n_images:
        for side, sizes in zip(("width", "height"), found.sizes_px, strict=True):
            least, low, median, high, most = (f"{size:,.0f}" for size in sizes)
            said.append(
                f"{side}: median {median} px, half in {low} to {high}, all in {least} to {most}"
            )
    if found.modes:
        said.append(f"modes: {name_counts(found.modes)}")
    near = "not looked for (bioprobe dedupe)" if found.n_near is None else f"{found.n_near:,}"
    said.append(
        f"copies of the same bytes: {found.n_copies:,}; of exact and near duplicates: {near}"
    )
    if found.looks is not None:
        said += _describe_looks(found.looks, found.n_images)
    if found.missing:
        said.append(f"without a value: {name_counts(found.missing)}")
    if found.n_damaged:
        text = f"damaged, of which what could be decoded was taken: {found.n_damaged:,}"
        said.append(Note(f"{text} ({name_counts(found.damage)})", WARNING))
    if found.columns and not any(counts.names for counts in found.ranks):
        said.append(f"no image has a taxon; columns that --level takes: {', '.join(found.columns)}")
    return [*said, *tell_placeholders(found.n_placeholders, found.placeholders)]
