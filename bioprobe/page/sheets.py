"""A contact sheet: small pictures under headings, on one page that opens from disk.

What a search found and what a filter drops are shown so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe import __version__
from bioprobe.files import write_text
from bioprobe.images import ImageTable
from bioprobe.images.image_table import read_level
from bioprobe.images.location import ImageLocation
from bioprobe.images.regions import REGION
from bioprobe.index import Neighbors, Terms
from bioprobe.page.html import make_thumbnail, render_page
from bioprobe.page.words import sign
from bioprobe.quality.flaws import RULES
from bioprobe.result import count
from bioprobe.taxonomy import RANKS

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.clustering.clusters import Clusters, Order
    from bioprobe.quality.against import Others, Overlap
    from bioprobe.quality.closest import ClosestPairs
    from bioprobe.quality.duplicates import Duplicates
    from bioprobe.quality.flaws import Flaws
    from bioprobe.quality.noise import NoiseFilter
    from bioprobe.quality.repeats import Repeats
    from bioprobe.task.decisions import Decisions
    from bioprobe.task.pooling import Contents
    from bioprobe.task.predictions import Predictions

# A figure on the page is about 190 px wide; the rest is for screens with denser pixels.
_SIZE_PX = 280
# A page of a dozen such groups has about 10 MB.
_OF_A_GROUP = 40
_OF_A_PAGE = 1500
# Answers that the note of a group names.
_NAMED = 5


@dataclasses.dataclass(frozen=True)
class SheetPicture:
    """One picture of a sheet.

    Parameters
    ----------
    location : Path or ImageLocation
        Image file, or the place of an image that may be a row of a data set.
    caption : str
        What stands below it first, such as a label or a file name.
    lines : tuple of str
        Further lines, such as a similarity or a reason.
    """

    location: Path | ImageLocation
    caption: str
    lines: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class SheetGroup:
    """Pictures under one heading.

    Parameters
    ----------
    heading : str
        ``""`` for none.
    note : str
        Sentence below the heading, or ``""``.
    pictures : sequence of SheetPicture
        In the order of the page; a group without any says so.
    """

    heading: str
    note: str
    pictures: Sequence[SheetPicture]


def write_contact_sheet(path: Path, title: str, intro: str, groups: Sequence[SheetGroup]) -> None:
    """Write pictures as one self-contained HTML page.

    Thumbnails lie inside the page, so it can be sent and opened anywhere. A picture that cannot
    be read is an empty frame that says so. All text is escaped.

    Parameters
    ----------
    path : Path
        HTML file; written whole or not at all, its folder is made.
    title : str
        Title and first heading.
    intro : str
        Text below the title; its line breaks are kept.
    groups : sequence of SheetGroup
        In the order of the page.

    Raises
    ------
    StoreError
        If the page cannot be written.
    """
    shown = [_show_group(group) for group in groups]
    pictures = [picture for group in shown for picture in group["pictures"]]
    content = {
        "title": title,
        "intro": intro,
        "groups": shown,
        "n_pictures": len(pictures),
        "n_unread": sum(not picture["thumbnail"] for picture in pictures),
        "words": [word for word in _SAID_OF_ONE if _is_said(word, pictures)],
        "version": __version__,
    }
    write_text(path, render_page("contact_sheet.html.j2", content))


# What a line below a picture begins with, and the page explains.
_SAID_OF_ONE = ("similarity", "score", "probability")


def _is_said(word: str, pictures: Sequence[dict[str, Any]]) -> bool:
    return any(line.startswith(word) for picture in pictures for line in picture["lines"])


def _show_group(group: SheetGroup) -> dict[str, Any]:
    return {
        "heading": group.heading,
        "note": group.note,
        "pictures": [_show_picture(picture) for picture in group.pictures],
    }


def _show_picture(picture: SheetPicture) -> dict[str, Any]:
    return {
        "thumbnail": make_thumbnail(picture.location, _SIZE_PX),
        "caption": picture.caption,
        "lines": picture.lines,
    }


#: Answers of a search that a page has: a threshold may be reached by a whole collection.
MOST_SHOWN = 1000


def draw_pictures(pictures: Sequence[SheetPicture]) -> str:
    """Return pictures with their captions as a piece of HTML, such as a notebook shows."""
    return render_page("pictures.html.j2", {"pictures": [_show_picture(one) for one in pictures]})


def find_places(images: ImageTable, rows: Sequence[int], order: str | None) -> list[int]:
    """Return the places that sort some rows by a column: numbers as such, holes last.

    Parameters
    ----------
    images : ImageTable
    rows : sequence of int
    order : str or None
        Rank or column, such as one that keeps the places along a line; None as they come.

    Raises
    ------
    SelectionError
        If there is no such column.
    """
    if order is None:
        return list(range(len(rows)))
    values = images.labels(read_level(order, images))[np.asarray(rows, dtype=np.int64)].tolist()
    return sorted(
        range(len(rows)),
        key=lambda at: (
            values[at] == "", not values[at].isdecimal(),
            int(values[at]) if values[at].isdecimal() else 0, values[at],
        ),
    )  # fmt: skip


def show_answers(found: Neighbors) -> list[SheetPicture]:
    """Return the answers of a search, nearest first, with their similarities."""
    nearest = found.similarities[:MOST_SHOWN]
    lines: list[tuple[str, ...]] = [(f"similarity {similarity:.3f}",) for similarity in nearest]
    above = found.enough.background
    if above is not None and found.over_background is not None:
        name = above.column.replace("_", " ")
        values = found.over_background[:MOST_SHOWN]
        lines = [(*line, f"{name} {value:.3f}") for line, value in zip(lines, values, strict=True)]
    named = [
        f"row {row} of {store}"
        for row, store in zip(found.to_frame()["row"], found.stores, strict=False)
    ] or [""] * len(found.rows)
    return [
        show_row(found.images, int(row), *line, named=name)
        for row, line, name in zip(found.rows[:MOST_SHOWN], lines, named[:MOST_SHOWN], strict=True)
    ]


def write_search_sheet(path: Path, found: Neighbors, order: str | None = None) -> None:
    """Write the answers of a search with their similarities and labels as one HTML page.

    Parameters
    ----------
    path : Path
        HTML file.
    found : Neighbors
        The answers; the pictures of their question stand before them.
    order : str, optional
        Column that the answers are sorted by; by default the nearest stand first.

    Raises
    ------
    StoreError
        If the page cannot be written.
    """
    groups = [
        SheetGroup(heading, "", _show_terms(terms, found.images))
        for heading, terms in (
            ("Looked for", found.question.plus_terms),
            ("Not looked for", found.question.minus_terms),
        )
    ]
    groups = [group for group in groups if group.pictures]
    said = f"In the order of {order}." if order else "Nearest first, by cosine similarity."
    if len(found.rows) > MOST_SHOWN:
        said += f" The nearest {MOST_SHOWN:,} of {len(found.rows):,}."
    shown = show_answers(found)
    places = find_places(found.images, found.rows[: len(shown)].tolist(), order)
    groups.append(SheetGroup("Found", said, [shown[at] for at in places]))
    write_contact_sheet(path, f"Search: {found.question.text}", _introduce(found), groups)


def show_row(images: ImageTable, row: int, *lines: str, named: str = "") -> SheetPicture:
    """Return the picture of a row with its lowest label, and further lines.

    Parameters
    ----------
    images : ImageTable
    row : int
    *lines : str
        What stands before the common name, the higher labels and the file.
    named : str
        What the row is called, where that is not its number.
    """
    facts = images.take(np.array([row], dtype=np.int64)).iloc[0]
    file = images.name_row(row)
    # From species up.
    labels = [str(facts[rank.value]) for rank in reversed(RANKS) if facts[rank.value]]
    names = [*labels[:1], file]
    rest = (str(facts["common_name"]), " · ".join(labels[1:4]),
            f"{named or f'row {row}'} · {file}")  # fmt: skip
    return SheetPicture(images.locate(row), names[0], (*lines, *(part for part in rest if part)))


def _show_terms(terms: Terms, images: ImageTable) -> list[SheetPicture]:
    given = [SheetPicture(file, file.name, ("picture given",)) for file in terms.images]
    return given + [show_row(images, row) for row in terms.rows]


def _introduce(found: Neighbors) -> str:
    source = found.provenance
    kind, recall = source.options["index"], source.options.get("recall")
    way = "exact search" if recall is None else f"index {kind}, measured recall {recall:.3f}"
    condition = f" where {source.condition}" if source.condition else ""
    return (
        f"{source.n_rows:,} images of {source.store}{condition}\n"
        f"{source.encoder['model']} · {way} · {sign(source)}"
    )


def write_filter_sheet(
    path: Path, found: NoiseFilter, group_by: str, level: str, order: str | None = None
) -> int:
    """Write the dropped pictures with scores and reasons as one HTML page.

    Parameters
    ----------
    path : Path
        HTML file.
    found : NoiseFilter
        The filter.
    group_by : str
        ``reason`` or ``class``.
    level : str
        Rank or column of the classes.
    order : str, optional
        Column that the pictures of a group are sorted by.

    Returns
    -------
    int
        Pictures on the page: of each group the first 40, nearest to being kept first.
    """
    frame = found.to_frame().assign(**{"class": found.images.labels(level)[found.rows]})
    n_images, dropped = frame["class"].value_counts().to_dict(), frame[~frame["kept"]]
    groups = []
    for name, n_dropped in dropped[group_by].value_counts().items():
        pictures = _show_dropped(found, dropped[dropped[group_by] == name], order)
        of = f" of {n_images[str(name)]:,}" if group_by == "class" else ""
        shown = f"; {len(pictures)} are shown" if len(pictures) < n_dropped else ""
        how = f"the nearest to being kept, by {order}" if order else "nearest to being kept first"
        note = f"{n_dropped:,}{of} dropped{shown}, {how}."
        groups.append(SheetGroup(str(name) or f"no {level}", note, pictures))
    write_contact_sheet(
        path, f"Not kept as {found.name}", _introduce_filter(found, len(dropped)), groups
    )
    return sum(len(group.pictures) for group in groups)


def _show_dropped(
    found: NoiseFilter, dropped: pd.DataFrame, order: str | None
) -> list[SheetPicture]:
    nearest = dropped.sort_values("score", ascending=False, kind="stable").head(_OF_A_GROUP)
    nearest = nearest.iloc[find_places(found.images, nearest["row"].tolist(), order)]
    facts = zip(nearest["row"], nearest["score"], nearest["reason"], strict=True)
    return [
        show_row(found.images, int(row), f"score {score:.2f}", reason)
        for row, score, reason in facts
    ]


def write_flaws_sheet(path: Path, found: Flaws) -> int:
    """Write the pictures that were taken badly, by flaw, as one HTML page.

    Returns
    -------
    int
        Pictures on the page: of each flaw the first 40, nearest to being kept first.
    """
    frame = found.to_frame()
    groups = []
    for flaw, has in found.has.items():
        name = RULES[flaw].measure if flaw in RULES else "row"
        of_flaw = frame[has].sort_values(name, ascending=flaw not in RULES, kind="stable")
        shown = [
            show_row(
                found.images, int(line["row"]), f"sharpness {line['sharpness']:.2f}",
                f"brightness {line['brightness']:.2f}", line["odd_size"],
            )
            for line in of_flaw.head(_OF_A_GROUP).to_dict("records")
        ]  # fmt: skip
        if shown:
            rest = f"; {len(shown)} are shown" if len(shown) < len(of_flaw) else ""
            note = f"{len(of_flaw):,} dropped{rest}, nearest to being kept first."
            groups.append(SheetGroup(flaw, note, shown))
    source = found.provenance
    limits = ", ".join(
        f"{flaw} below a {RULES[flaw].measure} of {value:.3f}"
        for flaw, value in found.thresholds.items()
    )
    intro = (
        f"{int((~found.kept).sum()):,} of {source.n_rows:,} images of {source.store} were taken "
        f"badly{f': {limits}' if limits else ''}. What looks as by infrared is not dark. No file "
        f"is deleted.\n{source.encoder['model']} · {sign(source)}"
    )
    write_contact_sheet(path, "Taken badly", intro, groups)
    return sum(len(group.pictures) for group in groups)


def _introduce_filter(found: NoiseFilter, n_dropped: int) -> str:
    source = found.provenance
    condition = f" where {source.condition}" if source.condition else ""
    return (
        f"{n_dropped:,} of {source.n_rows:,} images of {source.store}{condition} are not kept, by "
        f"{found.method}: their score is below {found.threshold:.3g}, or a label says so. No file "
        f"is deleted.\n{source.encoder['model']} · {sign(source)}"
    )


def write_answer_sheet(
    path: Path,
    title: str,
    answers: Predictions | Decisions | Contents,
    by: str,
    order: str | None = None,
) -> int:
    """Write pictures with their answers as one HTML page, grouped by answer or by a column.

    Parameters
    ----------
    path : Path
        HTML file.
    title : str
        Of the page.
    answers : Predictions, Decisions or Contents
        With what stands beside them, whose pictures without an answer have groups of their own.
    by : str
        ``answer``, or a column of the image table.
    order : str, optional
        Column that the pictures of a group are sorted by; by default the surest stand first.

    Returns
    -------
    int
        Pictures on the page: of each group the surest, 40 at most, and fewer of many groups.

    Raises
    ------
    SelectionError
        If there is no such column.
    """
    frame, images = answers.to_frame(), answers.images
    lines = answers.to_lines(frame)
    lines = lines.assign(row=frame.loc[lines.index, "row"]).fillna({"score": -1.0})
    is_read = lines["row"].notna()
    n_unread, lines = int((~is_read).sum()), lines[is_read].astype({"row": "int64"})
    held = lines["content"] if "content" in lines else lines["answer"]
    named = lines["answer"].where(lines["answer"] != "", "no answer: " + held.replace("", "unsure"))
    lines = lines.assign(answer=named)
    level = None if by == "answer" else read_level(by, images)
    lines["group"] = named if level is None else images.labels(level)[lines["row"].to_numpy()]
    counts = lines["group"].value_counts(sort=False)
    headed = sorted(
        counts.index, key=lambda name: (str(name).startswith("no answer"), -counts[name])
    )
    n_shown = max(1, min(_OF_A_GROUP, _OF_A_PAGE // max(1, len(counts))))
    groups = []
    for name in headed:
        of_group = lines[lines["group"] == name].sort_values(
            "score", ascending=False, kind="stable"
        )
        few = of_group.head(n_shown)
        few = few.iloc[find_places(images, few["row"].tolist(), order)]
        shown = [_show_line(answers, line) for line in few.to_dict("records")]
        note = count(len(of_group), "picture")
        if level is not None:
            found = of_group["answer"].value_counts()
            some = [f"{one} {n:,}" for one, n in found.head(_NAMED).items()]
            note += ": " + ", ".join(some) + (", …" if len(found) > _NAMED else "")
        elif (common := _name_common(of_group)) and common != name:
            note = f"{common}; {note}"
        note += f"; the {len(shown)} surest are shown." if len(shown) < len(of_group) else "."
        groups.append(SheetGroup(str(name) or f"no {level}", note, shown))
    source = answers.provenance
    condition = f" where {source.condition}" if source.condition else ""
    unread = f" {n_unread:,} could not be read." if n_unread else ""
    intro = (
        f"{len(lines):,} pictures of {source.store}{condition}.{unread}\n"
        f"{source.encoder['model']} · {sign(source)}"
    )
    write_contact_sheet(path, title, intro, groups)
    return sum(len(group.pictures) for group in groups)


def _name_common(lines: pd.DataFrame) -> str:
    return str(lines["common_name"].iloc[0]) if "common_name" in lines else ""


def _show_line(answers: Predictions | Decisions | Contents, line: dict[str, Any]) -> SheetPicture:
    """Return the picture of a line with its answer, what the score is, and what is known of it."""
    score = f"score {line['score']:.3f}" if line["score"] >= 0 else ""
    told = {
        "file_name",
        "answer",
        "common_name",
        "score",
        "row",
        "group",
        "rank",
        "content",
        REGION,
    }
    rest = [f"{key}: {value}" for key, value in line.items() if key not in told and value != ""]
    file = f"row {line['row']} · {answers.images.name_row(int(line['row']))}"
    sure = f"at {line['rank']}" if line.get("rank") else ""
    known = (score, sure, str(line.get("common_name", "")), *rest, file)
    place = answers.images.locate(int(line["row"]))
    return SheetPicture(place, line["answer"], tuple(part for part in known if part))


def write_cluster_sheet(path: Path, found: Clusters) -> int:
    """Write the pictures of each cluster as one HTML page.

    Returns
    -------
    int
        Pictures on the page: of each cluster 40 at most, and fewer of many clusters, from the
        nearest to its mean to the furthest.
    """
    n_shown = max(1, min(_OF_A_GROUP, _OF_A_PAGE // max(1, len(found))))
    order = found.find_order()
    groups = []
    for number in (*range(1, len(found) + 1), 0):
        inside = order[found.numbers[order] == number]
        if not len(inside):
            continue
        few = np.unique(np.linspace(0, len(inside) - 1, min(n_shown, len(inside))).astype(np.int64))
        shown = [
            show_row(found.images, int(found.rows[at]), _say_nearness(found, int(at)))
            for at in inside[few]
        ]
        rest = f"; {len(shown)} are shown" if len(shown) < len(inside) else ""
        note = f"{count(len(inside), 'picture')}{rest}"
        if number:
            note += ", from the nearest to their mean to the furthest"
            if np.isfinite(found.stability[number - 1]):
                note += f"; stability {found.stability[number - 1]:.2f}"
        groups.append(SheetGroup(_head_cluster(found, number), f"{note}.", shown))
    source = found.provenance
    condition = f" where {source.condition}" if source.condition else ""
    intro = (
        f"{source.n_rows:,} images of {source.store}{condition} in {len(found):,} clusters by "
        f"{found.method}.\n{source.encoder['model']} · {sign(source)}"
    )
    write_contact_sheet(path, f"Clusters: {found.name}", intro, groups)
    return sum(len(group.pictures) for group in groups)


def _say_nearness(found: Clusters, at: int) -> str:
    return f"similarity {found.similarities[at]:.3f}" if found.numbers[at] else ""


def _head_cluster(found: Clusters, number: int) -> str:
    if not number:
        return "in no cluster"
    name = found.names[number - 1]
    said = f": {name} (proposed, score {found.scores[number - 1]:.2f})" if name else ""
    return f"Cluster {number}{said}"


def write_order_sheet(path: Path, found: Order) -> int:
    """Write pictures along a line as one HTML page.

    Returns
    -------
    int
        Pictures on the page: the first 1,500.
    """
    shown = [show_row(found.images, int(row)) for row in found.rows[:_OF_A_PAGE]]
    rest = (
        f" The first {_OF_A_PAGE:,} of {len(found.rows):,}." if len(found.rows) > _OF_A_PAGE else ""
    )
    source = found.provenance
    condition = f" where {source.condition}" if source.condition else ""
    intro = (
        f"{source.n_rows:,} images of {source.store}{condition}, each beside those that it is most "
        f"like.{rest}\n{source.encoder['model']} · {sign(source)}"
    )
    write_contact_sheet(path, "In order", intro, [SheetGroup("", "", shown)])
    return len(shown)


def write_copies_sheet(path: Path, found: Duplicates) -> int:
    """Write groups of copies as one HTML page, the one that is kept first.

    Returns
    -------
    int
        Pictures on the page.
    """
    frame = found.to_frame()
    groups = []
    for number, of_group in frame.groupby("group", sort=True):
        ordered = of_group.sort_values("kept", ascending=False, kind="stable")
        shown = [
            show_row(
                found.images, int(line["row"]), "kept" if line["kept"] else "copy",
                f"similarity {line['similarity']:.3f}" if "similarity" in line else "",
            )
            for line in ordered.head(_OF_A_GROUP).to_dict("records")
        ]  # fmt: skip
        left = len(ordered) - len(shown)
        note = f"{len(ordered)} alike" + (f"; {left} more are not shown." if left else ".")
        groups.append(SheetGroup(f"Group {number}", note, shown))
        if sum(len(group.pictures) for group in groups) >= _OF_A_PAGE:
            break
    source = found.provenance
    n_groups = frame["group"].nunique()
    more = f" The first {len(groups):,} are shown." if len(groups) < n_groups else ""
    intro = (
        f"{n_groups:,} groups of copies among {source.n_rows:,} images of {source.store}.{more} No "
        f"file is deleted.\n{source.encoder['model']} · {sign(source)}"
    )
    n_shown = sum(len(group.pictures) for group in groups)
    groups += _show_closest(found.closest, found.images)
    write_contact_sheet(path, "Copies", intro, groups)
    return n_shown


def write_overlap_sheet(path: Path, found: Overlap) -> int:
    """Write images beside what another collection has of them, those nearest the threshold first.

    Returns
    -------
    int
        Images of this store on the page.
    """
    best = found.best()
    order = np.lexsort((found.similarities[best], found.exact[best]))
    best = best[order][: _OF_A_PAGE // 2]
    names = found.others.name_rows(found.second[best])
    pictures = []
    for at, name in zip(best.tolist(), names, strict=True):
        kind = "the same bytes" if found.exact[at] else f"similarity {found.similarities[at]:.3f}"
        pictures.append(show_row(found.images, int(found.rows[found.first[at]]), kind))
        pictures.append(_show_other(found.others, int(found.second[at]), name))
    n_found = int(found.is_copy.sum())
    more = f" The first {len(best):,} are shown." if len(best) < n_found else ""
    source = found.provenance
    intro = (
        f"{n_found:,} of {source.n_rows:,} images of {source.store} are in {found.others.name} "
        f"too.{more} No file is deleted.\n{source.encoder['model']} · bioprobe {source.version} · "
        f"{source.time}"
    )
    groups = [
        *_show_closest(found.closest, found.images, found.others),
        SheetGroup("In both", "Each beside the other's, the least similar first.", pictures),
    ]
    write_contact_sheet(path, "In both collections", intro, groups)
    return len(best)


def _show_other(others: Others, row: int, name: str, *lines: str) -> SheetPicture:
    """Return the picture of a row of another collection; a file of vectors has none to show."""
    if others.view is not None:
        return show_row(others.view.images, row, *lines, f"in {others.name}")
    place = ImageLocation("", name, "")
    return SheetPicture(place, name, (*lines, f"in {others.name}, which has no pictures"))


def _show_closest(
    closest: ClosestPairs | None, images: ImageTable, others: Others | None = None
) -> list[SheetGroup]:
    """Return the pairs nearest to a threshold side by side, on either side of it."""
    if closest is None or not len(closest):
        return []
    groups = []
    names = None if others is None else others.name_rows(closest.second)
    above = closest.similarities >= np.float32(closest.threshold)
    for where, chosen in (("above", above), ("below", ~above)):
        places = np.flatnonzero(chosen)
        places = places[np.argsort(np.abs(closest.similarities[places] - closest.threshold))]
        pictures = []
        for at in places.tolist():
            line = f"similarity {closest.similarities[at]:.4f}"
            pictures.append(show_row(images, int(closest.first[at]), line, closest.explain(at)))
            second = int(closest.second[at])
            if others is None or names is None:
                pictures.append(show_row(images, second, line, closest.explain(at)))
            else:
                pictures.append(_show_other(others, second, names[at], line, closest.explain(at)))
        if pictures:
            note = (
                f"Pairs of other bytes {where} the threshold of {closest.threshold:.4f}, the "
                "nearest first, to judge it by: two pictures each."
            )
            groups.append(SheetGroup(f"Just {where} the threshold", note, pictures))
    return groups


def write_repeats_sheet(path: Path, found: Repeats) -> int:
    """Write one picture of each group that stands in one place as one HTML page.

    Returns
    -------
    int
        Pictures on the page.
    """
    frame = found.to_frame()
    n_boxes = frame["group"].value_counts().to_dict()
    tiles = frame[frame["tile"]].head(_OF_A_PAGE)
    groups = []
    for finding, of_finding in tiles.groupby("finding", sort=False):
        shown = [
            show_row(
                found.images, int(line["row"]), f"group {line['group']}: "
                f"{n_boxes[line['group']]:,} boxes, seen {line['visits']:,} times",
                f"{line['repeating_share']:.0%} are more like what repeats elsewhere",
                line["place"],
            )
            for line in of_finding.to_dict("records")
        ]  # fmt: skip
        kept = "kept" if of_finding["kept"].all() else "dropped"
        groups.append(SheetGroup(str(finding), f"{len(shown):,} groups, {kept}.", shown))
    source = found.provenance
    left = found.n_groups - len(tiles)
    more = f" {left:,} more groups are not shown." if left else ""
    intro = (
        f"What stands in one place again and again among {source.n_rows:,} rows of {source.store}, "
        f"one picture a group.{more} No file is deleted. Say which are stones, and which are none: "
        "bioprobe filter --repeats --confirm g1,g2 --deny g3\n"
        f"{source.encoder['model']} · {sign(source)}"
    )
    write_contact_sheet(path, "Seen again and again", intro, groups)
    return len(tiles)
