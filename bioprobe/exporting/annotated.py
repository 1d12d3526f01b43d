"""Pictures with what is said upon them: how copies, contact sheets and strips of it are kept."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioprobe import __version__
from bioprobe.errors import BioprobeError, SourceError
from bioprobe.exporting.answers import Answers, Observation, Picture
from bioprobe.exporting.wording import NOT_RECOGNISED, Wording
from bioprobe.files import read_json, replacing, write_text
from bioprobe.images.copying import name_file, place_file
from bioprobe.images.people import obscure
from bioprobe.images.reading import decode_image, hash_bytes, ignore_pillow_warnings
from bioprobe.images.regions import Region
from bioprobe.images.stripping import keep_exif
from bioprobe.images.writing import KINDS, encode_picture, find_kind
from bioprobe.options import KEEP, LEAVE_OUT
from bioprobe.overlays.animation import write_animation
from bioprobe.overlays.colours import GREY
from bioprobe.overlays.labels import NUMBERS, Drawn, Mark, Style, draw_marks
from bioprobe.overlays.montage import Cell, Group, draw_montage
from bioprobe.progress import Progress, Step
from bioprobe.result import PROBLEM, WARNING, Note

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image

    from bioprobe.images.sequences import Sequences

_CARD = "annotated.json"
# A killed run draws no more than these again, or this share of what was drawn: the longer the list,
# the seldomer it is written.
_SAVED_EVERY, _SAVED_SHARE = 50, 0.1
_SHOWN = 3


@dataclasses.dataclass(eq=False)
class Pictures:
    """Reads the pictures of answers, with people in them as they may be shown.

    Parameters
    ----------
    answers : Answers
    people : {"leave-out", "obscure", "keep"}
    """

    answers: Answers
    people: str
    problems: dict[str, str] = dataclasses.field(default_factory=dict)
    left_out: set[str] = dataclasses.field(default_factory=set)
    obscured: set[str] = dataclasses.field(default_factory=set)

    def read(self, picture: Picture, draft_side_px: int = 0) -> tuple[Image, bytes] | None:
        """Return a picture, upright, and the bytes of its file; None where it is not shown.

        Parameters
        ----------
        picture : Picture
        draft_side_px : int
            As small as which it may be decoded, 0 for its own size.
        """
        if picture.failure:
            self.problems[picture.name] = picture.failure
            return None
        people = self.answers.find_people(picture)
        if people and self.people == LEAVE_OUT:
            self.left_out.add(picture.name)
            return None
        try:
            data = self.answers.read_bytes(picture)
            with ignore_pillow_warnings():
                image = decode_image(data, draft_side_px=draft_side_px)
            if people and self.people != KEEP:
                image = obscure(image, people)
                self.obscured.add(picture.name)
        except (BioprobeError, OSError, ValueError) as error:
            self.problems[picture.name] = str(error)
            return None
        return image, data

    def describe(self) -> list[Note | str]:
        """Say which pictures were left out, and which could not be read."""
        said: list[Note | str] = []
        if self.left_out:
            text = (
                f"left out {len(self.left_out):,} pictures with people; --people obscure or keep "
                "takes them in"
            )
            said.append(Note(text, WARNING))
        if self.obscured:
            said.append(f"people are obscured in {len(self.obscured):,} of them")
        if self.problems:
            listed = [f"{name}: {why}" for name, why in self.problems.items()]
            more = f"; and {len(listed) - _SHOWN:,} more" if len(listed) > _SHOWN else ""
            text = f"{len(listed):,} pictures could not be read: {'; '.join(listed[:_SHOWN])}{more}"
            said.append(Note(text, PROBLEM))
        return said


@dataclasses.dataclass(frozen=True, eq=False)
class Copied:
    """What was written of each picture.

    Parameters
    ----------
    files : dict of str to Path
        By the picture's name.
    notes : list of Note or str
        What is to be said of it.
    """

    files: dict[str, Path]
    notes: list[Note | str]


def write_copies(
    folder: Path, wording: Wording, pictures: Pictures, style: Style, kind: str | None,
    progress: Progress | None,
) -> Copied:  # fmt: skip
    """Write a copy of each picture with what is said of it; no file of another is replaced.

    What an earlier run wrote there is left as it is where the same would be written, and replaced
    where something else is; ``annotated.json`` says which files these are.

    Parameters
    ----------
    folder : Path
    wording : Wording
    pictures : Pictures
    style : Style
    kind : str, optional
        Kind of the files, of :data:`bioprobe.images.writing.KINDS`; by default each its own.
    progress : callable, optional
        Told after each picture.
    """
    counts: Counter[str] = Counter()
    card = _Card(folder)
    files: dict[str, Path] = {}
    listed = wording.answers.pictures
    try:
        for n_done, picture in enumerate(listed, start=1):
            marks = [wording.say(picture, one) for one in picture.observations]
            key = _hash_work(wording.answers, picture, marks, style, kind, pictures.people)
            known = card.find(picture.name, key)
            if known is not None:
                counts["there"] += 1
                files[picture.name] = known
            elif (found := pictures.read(picture)) is not None:
                drawn = draw_marks(found[0], marks, style)
                data = _encode(drawn, found[1], kind or find_kind(found[1]))
                if isinstance(data, str):
                    pictures.problems[picture.name] = data
                else:
                    _count(counts, drawn)
                    files[picture.name] = card.keep(picture.name, key, *data, counts)
            if card.is_due:
                card.save(wording.answers.provenance)
            if progress is not None:
                progress(Step(n_done, len(listed), "pictures annotated", len(pictures.problems)))
    finally:
        # What stops the work leaves what is done.
        card.save(wording.answers.provenance)
    return Copied(files, _describe_copies(folder, counts, card))


def _encode(drawn: Drawn, data: bytes, kind: str) -> tuple[bytes, tuple[str, ...]] | str:
    """Return a copy and the endings of its kind; or why it cannot be of that kind."""
    try:
        return encode_picture(drawn.image, kind, exif=keep_exif(data)), KINDS[kind]
    except (OSError, ValueError) as error:
        # Such as more pixels than the kind has numbers for.
        width, height = drawn.image.size
        return f"{width} x {height} pixels cannot be written as {kind}: {error}; try --as png"


def _count(counts: Counter[str], drawn: Drawn) -> None:
    counts[drawn.way] += 1
    counts["enlarged"] += drawn.scale > 1
    counts["unplaced"] += drawn.n_unplaced


def _hash_work(
    answers: Answers, picture: Picture, marks: Sequence[Mark], style: Style, kind: str | None,
    people: str,
) -> str:  # fmt: skip
    """Return what tells one copy from all others: the picture, what is said of it, and how."""
    if picture.row < 0:
        return ""
    how = {
        "picture": answers.fact(picture.row, "sha256"),
        "marks": [repr(mark) for mark in marks],
        "people": [people, *(region.name for region in answers.find_people(picture))],
        "style": [style.text_scale, style.least_side_px, style.boxes, style.below],
        "font": str(style.fonts.first or ""),
        "kind": kind,
        "version": __version__,
    }
    return hash_bytes(json.dumps(how, sort_keys=True).encode())


class _Card:
    """Which files of a folder an earlier run wrote, and what of."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._file = folder, folder / _CARD
        self.problem = ""
        self._known: dict[str, dict[str, str]] = {}
        self._n_unsaved = 0
        try:
            if self._file.exists():
                said = read_json(self._file, dict)
                found = said.get("files")
                if isinstance(found, dict):
                    self._known = {
                        str(name): {str(k): str(v) for k, v in one.items()}
                        for name, one in found.items() if isinstance(one, dict)
                    }  # fmt: skip
        except (OSError, ValueError, BioprobeError) as error:
            self.problem = f"{self._file} cannot be read ({error}): all pictures are drawn again"

    def find(self, name: str, key: str) -> Path | None:
        """Return the file of a picture where it is what would be written now."""
        said = self._known.get(name, {})
        file = self._folder / name_file(said.get("file", ""))
        if not key or said.get("key") != key or not said.get("file") or not file.is_file():
            return None
        return file if hash_bytes(file.read_bytes()) == said.get("sha256") else None

    def keep(
        self, name: str, key: str, data: bytes, suffixes: Sequence[str], counts: Counter[str]
    ) -> Path:
        """Write the file of a picture: in place of an earlier run's, else under a new name."""
        target = self._folder / name_file(name)
        if target.suffix.lower() not in suffixes:
            target = target.with_name(f"{target.name}{suffixes[0]}")
        said = self._known.get(name, {})
        mine = self._folder / name_file(said["file"]) if said.get("file") else None
        is_ours = (
            mine is not None and mine.suffix.lower() in suffixes and mine.is_file()
            and hash_bytes(mine.read_bytes()) == said.get("sha256")
        )  # fmt: skip
        if mine is not None and is_ours:
            with replacing(mine) as temporary:
                temporary.write_bytes(data)
            counts["replaced"] += 1
            file = mine
        else:
            file, done = place_file(target, data)
            counts[done] += 1
        self._known[name] = {
            "file": file.relative_to(self._folder).as_posix(), "key": key,
            "sha256": hash_bytes(data),
        }  # fmt: skip
        self._n_unsaved += 1
        return file

    @property
    def is_due(self) -> bool:
        """Whether so many files were written that they are to be written down."""
        return self._n_unsaved >= max(_SAVED_EVERY, _SAVED_SHARE * len(self._known))

    def save(self, provenance: Mapping[str, Any]) -> None:
        """Write down which files there are."""
        if self._n_unsaved:
            said = {"files": self._known, "provenance": dict(provenance)}
            write_text(self._file, json.dumps(said, indent=1, ensure_ascii=False) + "\n")
            self._n_unsaved = 0


def _describe_copies(folder: Path, counts: Counter[str], card: _Card) -> list[Note | str]:
    there = f"; {counts['there']:,} were there already" if counts["there"] else ""
    said: list[Note | str] = [f"annotated {counts['copied']:,} pictures -> {folder}{there}"]
    if counts["replaced"]:
        said.append(
            f"{counts['replaced']:,} that an earlier run had written otherwise are written anew"
        )
    if counts["enlarged"]:
        said.append(f"{counts['enlarged']:,} small pictures are enlarged, so that letters fit")
    if counts[NUMBERS]:
        said.append(
            f"in {counts[NUMBERS]:,} pictures numbers stand for labels, as there is no room; what "
            "they mean stands below"
        )
    if counts["unplaced"]:
        text = f"{counts['unplaced']:,} boxes have no room for a number, and are named below alone"
        said.append(Note(text, WARNING))
    if counts["copied"] or counts["replaced"]:
        said.append("places, serial numbers and names are taken out of the copies")
    if card.problem:
        said.append(Note(card.problem, WARNING))
    return said


@dataclasses.dataclass(frozen=True)
class Sheet:
    """How a contact sheet is made.

    Parameters
    ----------
    file : Path
        ``.png``, ``.jpg`` or ``.webp``; further sheets are numbered.
    by : str
        ``answer``, ``none``, or a rank or column.
    cell_px : int
        Side of a picture.
    n_columns : int
        Pictures beside each other.
    most : int
        Of a group.
    """

    file: Path
    by: str = "answer"
    cell_px: int = 240
    n_columns: int = 6
    most: int = 24

    @property
    def kind(self) -> str:
        """Kind of the file, as Pillow names it.

        Raises
        ------
        SourceError
            If its ending is that of no kind.
        """
        suffix = self.file.suffix.lower()
        for kind, suffixes in KINDS.items():
            if suffix in suffixes:
                return kind
        msg = f"a contact sheet is a .png, .jpg or .webp, got {self.file}; name it so"
        raise SourceError(msg)

    def check(self) -> None:
        """Refuse a file that no sheet can be, before there is any work to lose.

        Raises
        ------
        SourceError
            If its ending is that of no picture, or something is there already.
        """
        _ = self.kind
        if self.file.exists():
            msg = f"{self.file} is there already; choose another name, or remove it first"
            raise SourceError(msg)

    def name(self, number: int) -> Path:
        """Return the file of one of the sheets, from 1."""
        if number == 1:
            return self.file
        return self.file.with_name(f"{self.file.stem}-{number}{self.file.suffix}")


def write_sheets(
    sheet: Sheet, wording: Wording, pictures: Pictures, style: Style, progress: Progress | None
) -> list[Note | str]:
    """Write contact sheets of what pictures and regions show; none that is there is replaced.

    Raises
    ------
    SourceError
        If a sheet is there already, or there is nothing to show.
    """
    kind = sheet.kind
    grouped = _group(sheet, wording, pictures)
    n_cells = sum(min(len(cells), sheet.most) for cells in grouped.values())
    if not n_cells:
        msg = "no picture is left for a contact sheet; ask of more, or say --people obscure"
        raise SourceError(msg)
    reader = _CellReader(wording, pictures, sheet.cell_px, n_cells, progress)
    groups = [
        Group(_head(name, len(cells), sheet.most), map(reader.read, cells[: sheet.most]))
        for name, cells in grouped.items()
    ]
    sheets = draw_montage(
        groups, cell_px=sheet.cell_px, n_columns=min(sheet.n_columns, n_cells), fonts=style.fonts,
        text_scale=style.text_scale,
    )  # fmt: skip
    n_sheets = 0
    for number, image in enumerate(sheets, start=1):
        dataclasses.replace(sheet, file=sheet.name(number)).check()
        with replacing(sheet.name(number)) as temporary:
            temporary.write_bytes(encode_picture(image, kind))
        n_sheets = number
    last = f" to {sheet.name(n_sheets).name}" if n_sheets > 1 else ""
    said: list[Note | str] = [
        f"contact sheet of {n_cells:,} pictures in {len(grouped):,} groups -> {sheet.file}{last}"
    ]
    n_more = sum(max(0, len(cells) - sheet.most) for cells in grouped.values())
    if n_more:
        said.append(f"{n_more:,} more are beyond the {sheet.most:,} of a group; --most shows more")
    return said


Shown = tuple[Picture, Observation]


def _head(name: str, n_all: int, most: int) -> str:
    if not name:
        return ""
    return f"{name} ({n_all:,})" if n_all <= most else f"{name} ({most:,} of {n_all:,})"


def _group(sheet: Sheet, wording: Wording, pictures: Pictures) -> dict[str, list[Shown]]:
    """Return what is shown by group: the surest first where these are answers."""
    from bioprobe.images.image_table import read_level

    answers = wording.answers
    images = answers.view.images
    values = None
    if sheet.by not in {"answer", "none"}:
        values = images.labels(read_level(sheet.by, images))
    found: dict[str, list[Shown]] = {}
    for picture in answers.read:
        if pictures.people == LEAVE_OUT and answers.find_people(picture):
            pictures.left_out.add(picture.name)
            continue
        for one in picture.observations:
            name = "" if sheet.by == "none" else wording.name(one)
            if values is not None:
                name = str(values[one.row]) or f"no {sheet.by}"
            found.setdefault(name, []).append((picture, one))
    if sheet.by == "answer":
        for cells in found.values():
            cells.sort(key=lambda cell: -(wording.find_score(cell[1]) or 0.0))
    last = {NOT_RECOGNISED, f"no {sheet.by}"}
    return dict(sorted(found.items(), key=lambda item: (item[0] in last, item[0])))


class _CellReader:
    """Makes the cells of a sheet, each picture decoded no larger than it is shown."""

    def __init__(
        self, wording: Wording, pictures: Pictures, side_px: int, n_cells: int,
        progress: Progress | None,
    ) -> None:  # fmt: skip
        self._wording, self._pictures, self._side_px = wording, pictures, side_px
        self._n_cells, self._progress, self._n_done = n_cells, progress, 0

    def read(self, shown: Shown) -> Cell:
        picture, one = shown
        mark = self._wording.say(picture, one)
        image = self._cut(picture, one.region)
        lines = mark.lines if image is not None else (*mark.lines, "cannot be read")
        self._n_done += 1
        if self._progress is not None:
            step = Step(self._n_done, self._n_cells, "pictures shown", len(self._pictures.problems))
            self._progress(step)
        badge = (mark.badge.text, mark.badge.colour) if mark.badge else ()
        return Cell(image, lines, mark.colour, badge)

    def _cut(self, picture: Picture, region: Region | None) -> Image | None:
        found = self._pictures.read(picture, 0 if region is not None else 2 * self._side_px)
        if found is None:
            return None
        image = found[0]
        if region is not None:
            wider = dataclasses.replace(region, pad=max(region.pad, 0.1), square=False)
            image = image.crop(wider.to_pixels(*image.size))
        scale = self._side_px / max(image.size)
        size = tuple(max(1, round(side * scale)) for side in image.size)
        return image.resize((size[0], size[1]))


@dataclasses.dataclass(frozen=True)
class Strip:
    """How sequences become files that move.

    Parameters
    ----------
    folder : Path
    kind : {"gif", "webp", "png"}
    frame_seconds : float
        For how long each picture is shown; the last for three times as long.
    frame_px : int
        Longer side of a picture.
    most : int
        Pictures of a sequence that are shown, taken evenly.
    """

    folder: Path
    kind: str = "gif"
    frame_seconds: float = 0.7
    frame_px: int = 640
    most: int = 60


def write_strips(
    strip: Strip, sequences: Sequences, times: Mapping[int, str], wording: Wording,
    pictures: Pictures, style: Style, progress: Progress | None,
) -> list[Note | str]:  # fmt: skip
    """Write each sequence of two pictures or more as a file that moves, in the order of time.

    Parameters
    ----------
    strip : Strip
    sequences : Sequences
        Of the pictures that were read, in their order.
    times : mapping of int to str
        When each row was taken, as it is written and sorts; rows without stand last.
    wording : Wording
    pictures : Pictures
    style : Style
    progress : callable, optional
        Told after each sequence.
    """
    found: dict[str, list[Picture]] = {}
    for name, picture in zip(sequences.names.tolist(), wording.answers.read, strict=True):
        found.setdefault(str(name), []).append(picture)
    several = {name: some for name, some in found.items() if len(some) > 1}
    counts: Counter[str] = Counter()
    shrunk = dataclasses.replace(style, least_side_px=min(style.least_side_px, strip.frame_px))
    for n_done, (name, some) in enumerate(several.items(), start=1):
        ordered = sorted(some, key=lambda one: (times.get(one.row, "\uffff"), one.name))
        step = max(1, -(-len(ordered) // strip.most))
        counts["skipped"] += len(ordered) - len(ordered[::step])
        frames, colours = _draw_frames(ordered[::step], strip, times, wording, pictures, shrunk)
        if len(frames) > 1:
            frame_ms = max(20, round(1000 * strip.frame_seconds))
            data = write_animation(
                frames, strip.kind, frame_ms=frame_ms, last_ms=3 * frame_ms, colours=colours
            )
            target = strip.folder / name_file(name)
            counts[place_file(target.with_name(f"{target.name}.{strip.kind}"), data)[1]] += 1
        if progress is not None:
            progress(Step(n_done, len(several), "sequences drawn", len(pictures.problems)))
    return _describe_strips(strip, counts, len(found), len(several), sequences)


def _draw_frames(
    ordered: Sequence[Picture], strip: Strip, times: Mapping[int, str], wording: Wording,
    pictures: Pictures, style: Style,
) -> tuple[list[Image], dict[str, None]]:  # fmt: skip
    """Return the pictures of a sequence as they are shown, and the colours of what is said."""
    frames = []
    colours: dict[str, None] = {}
    for number, picture in enumerate(ordered, start=1):
        read = pictures.read(picture, strip.frame_px)
        if read is None:
            continue
        image = read[0]
        scale = min(1.0, strip.frame_px / max(image.size))
        size = tuple(max(1, round(side * scale)) for side in image.size)
        marks = [wording.say(picture, one) for one in picture.observations]
        when = times.get(picture.row, "").replace("T", " ")
        counted = f"{number}/{len(ordered)}"
        marks.append(Mark((f"{counted} · {when}" if when else counted,), colour=GREY))
        frames.append(draw_marks(image.resize((size[0], size[1])), marks, style).image)
        colours |= dict.fromkeys(
            one for mark in marks for one in (mark.colour, mark.badge and mark.badge.colour) if one
        )
    return frames, colours


def _describe_strips(
    strip: Strip, counts: Counter[str], n_all: int, n_several: int, sequences: Sequences
) -> list[Note | str]:
    there = f"; {counts['there']:,} were there already" if counts["there"] else ""
    said: list[Note | str] = [
        f"wrote {counts['copied']:,} sequences as .{strip.kind} -> {strip.folder}{there}",
        *sequences.describe(),
    ]
    if n_all > n_several:
        said.append(f"{n_all - n_several:,} sequences are of one picture, and are not written")
    n_less = n_several - counts["copied"] - counts["there"]
    if n_less:
        said.append(Note(f"of {n_less:,} sequences fewer than two pictures can be shown", WARNING))
    if counts["skipped"]:
        said.append(
            f"{counts['skipped']:,} pictures are left out of long sequences, of which every so "
            f"many are shown, {strip.most:,} at most"
        )
    return said


def list_written(wording: Wording, pictures: Pictures, files: Mapping[str, Path]) -> pd.DataFrame:
    """Return one row a region: what is said of it, and where its copy is."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for picture in wording.answers.pictures:
        reason = pictures.problems.get(picture.name, "")
        if not reason and picture.name in pictures.left_out:
            reason = "people in it"
        shared = {"written": str(files.get(picture.name, "")), "reason": reason}
        if not picture.observations:
            rows.append({"file_name": picture.name, "image_region": "", "label": "", **shared})
        rows += [
            {"file_name": picture.name, "image_region": one.name, "label": wording.name(one),
             "score": wording.find_score(one), "status": wording.find_status(picture, one),
             "recognised": wording.name(one) != NOT_RECOGNISED, **shared}
            for one in picture.observations
        ]  # fmt: skip
    columns = ["file_name", "image_region", "label", "score", "status", "recognised", "written",
               "reason"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)
