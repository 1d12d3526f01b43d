"""Copies of pictures, and links to them, in folders by what they show.

A copy never takes the place of another file, and is named so that it can be told from all others:
its name is that by which answers name the picture. It says no more than the picture unless that is
asked for (:mod:`bioprobe.images.stripping`), and pictures with people are left out, or the people
obscured (:mod:`bioprobe.images.people`).
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from bioprobe.errors import BioprobeError, MisuseError, StoreError
from bioprobe.files import explaining_refusal, replacing
from bioprobe.images.people import obscure
from bioprobe.images.reading import decode_image, ignore_pillow_warnings
from bioprobe.images.stripping import strip_metadata, write_anew
from bioprobe.images.xmp import insert_xmp, read_orientation, write_xmp
from bioprobe.options import LEAVE_OUT, OBSCURE
from bioprobe.result import PROBLEM, WARNING, Note, Notes

if TYPE_CHECKING:
    from bioprobe.images.image_table import ImageTable
    from bioprobe.images.location import ImageLocation
    from bioprobe.images.xmp import Keyword
    from bioprobe.progress import Progress
    from bioprobe.types import Rows

# What a name of a folder or file may not hold on one system or another.
_FORBIDDEN = re.compile(r'[\x00-\x1f<>:"|?*\\/]')
#: Folder of pictures without an answer.
UNNAMED = "no answer"
_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class Copying:
    """How pictures are copied.

    Parameters
    ----------
    folder : Path
        Where they go; it is made.
    people : {"leave-out", "obscure", "keep"}
        What is done with pictures with people.
    keep_metadata : bool
        Whether a copy is byte for byte the file, with what a camera wrote beside the pixels.
    links : bool
        Whether links to the files are made instead of copies: all that the files say is then seen
        through them, so that people are left out or kept.
    keywords : bool
        Whether what is said of a picture is written into its copy, where that is a JPEG, else
        into an ``.xmp`` file beside it.
    """

    folder: Path
    people: str = LEAVE_OUT
    keep_metadata: bool = False
    links: bool = False
    keywords: bool = False

    def __post_init__(self) -> None:
        if self.links and self.people == OBSCURE:
            msg = "a link shows the file as it is; obscure people in copies: --copy-to"
            raise MisuseError(msg)


def copy_pictures(
    images: ImageTable,
    rows: Rows,
    copying: Copying,
    *,
    labels: Sequence[str] | None = None,
    keywords: Mapping[int, Keyword] | None = None,
    progress: Progress | None = None,
) -> Notes:
    """Copy pictures, or link to them; nothing that is there is replaced.

    A picture that several rows are of is copied once, into the folder of each label.

    Parameters
    ----------
    images : ImageTable
    rows : ndarray of int64, shape (n,)
        Rows of it.
    copying : Copying
    labels : sequence of str, optional
        Of each row, the folder below which it goes; ``""`` has one of its own.
    keywords : mapping of int to Keyword, optional
        What is said of rows; all that is said of regions of one picture goes into its copy.
    progress : callable, optional
        Told after each picture.

    Returns
    -------
    tuple of Note
        How many were copied, left out, obscured, there already, and could not be read.

    Raises
    ------
    StoreError
        If the disk refuses.
    """
    from bioprobe.progress import Step

    counts: Counter[str] = Counter()
    problems: list[str] = []
    done: set[tuple[str, str]] = set()
    said: dict[str, list[Keyword]] = {}
    for row in rows.tolist() if copying.keywords else ():
        if keywords and row in keywords:
            said.setdefault(images.file_names[row], []).append(keywords[row])
    for n_done, row in enumerate(rows.tolist(), start=1):
        name = images.file_names[row]
        label = "" if labels is None else _name_folder(labels[n_done - 1])
        if (label, name) not in done:
            done.add((label, name))
            target = copying.folder / label / name_file(name)
            try:
                size = _read_size(images, row)
                packet = functools.partial(_write_keywords, said.get(name, ()), size)
                counts[_copy(images.locate(row), target, copying, counts, packet)] += 1
            except StoreError:
                raise
            except (BioprobeError, OSError) as error:
                problems.append(f"{name}: {error}")
        if progress is not None:
            progress(Step(n_done, len(rows), "pictures copied", len(problems)))
    return _describe(counts, problems, copying)


def _read_size(images: ImageTable, row: int) -> tuple[int, int]:
    width_px, height_px = images.select(["width_px", "height_px"]).iloc[row]
    return int(width_px), int(height_px)


def _write_keywords(
    keywords: Sequence[Keyword], size_px: tuple[int, int], orientation: int
) -> bytes:
    """Write what is said of a picture; ``b""`` where nothing is."""
    width_px, height_px = size_px
    if not keywords:
        return b""
    return write_xmp(keywords, width_px=width_px, height_px=height_px, orientation=orientation)


def _copy(
    place: ImageLocation, target: Path, copying: Copying, counts: Counter[str],
    write_packet: Callable[[int], bytes],
) -> str:  # fmt: skip
    """Copy one picture; return which of the counts it is one of."""
    if place.people and copying.people == LEAVE_OUT:
        return "left out"
    if copying.links:
        return _link(place, target)
    data, suffix = place.read_bytes(), ""
    if place.people and copying.people == OBSCURE:
        with ignore_pillow_warnings():
            hidden = obscure(decode_image(data), place.people)
        data, suffix = write_anew(hidden, data)
        counts["obscured"] += 1
    elif not copying.keep_metadata:
        data, suffix = strip_metadata(data)
    if suffix and target.suffix.lower().replace("jpeg", "jpg") != suffix:
        target = target.with_name(f"{target.name}{suffix}")
        counts["written anew"] += 1
    packet = write_packet(read_orientation(data)) if copying.keywords else b""
    if packet:
        counts["keywords"] += 1
        if (marked := insert_xmp(data, packet)) != data and not copying.keep_metadata:
            data, packet = marked, b""
    return place_file(target, data, packet)[1]


def place_file(target: Path, data: bytes, sidecar: bytes = b"") -> tuple[Path, str]:
    """Write a file, and what goes beside it, under a name that no other file has.

    Parameters
    ----------
    target : Path
        Where it goes unless another file is there.
    data : bytes
        Content.
    sidecar : bytes
        Of a file beside it, ``.xmp``; none where empty.

    Returns
    -------
    file : Path
        Where it is.
    done : {"copied", "there"}
        Whether it was written, or was there already.
    """
    for candidate in _iter_names(target):
        if not candidate.exists() and not candidate.is_symlink():
            with replacing(candidate) as temporary:
                temporary.write_bytes(data)
            if sidecar:
                with replacing(candidate.with_name(f"{candidate.name}.xmp")) as temporary:
                    temporary.write_bytes(sidecar)
            return candidate, "copied"
        if candidate.is_file() and candidate.read_bytes() == data:
            return candidate, "there"
    raise AssertionError


def _link(place: ImageLocation, target: Path) -> str:
    file = place.find_file()
    if file is None:
        msg = "it lies in a data set or an archive, to which no link can be made: --copy-to"
        raise BioprobeError(msg)
    # Reading tells whether the file is the one that was embedded.
    place.read_bytes()
    for candidate in _iter_names(target):
        if candidate.is_symlink() and candidate.resolve() == file.resolve():
            return "there"
        if not candidate.exists() and not candidate.is_symlink():
            with explaining_refusal(candidate):
                candidate.parent.mkdir(parents=True, exist_ok=True)
                candidate.symlink_to(file.resolve())
            return "linked"
    raise AssertionError


def _iter_names(target: Path) -> Iterator[Path]:
    """Yield a name, then others like it."""
    yield target
    number = 2
    while True:
        yield target.with_name(f"{target.stem} ({number}){target.suffix}")
        number += 1


def _name_folder(label: str) -> str:
    return _FORBIDDEN.sub("_", label).strip(" .") or UNNAMED


def name_file(name: str) -> Path:
    """Return a name below a folder that any system takes, whatever the name that a picture has.

    Examples
    --------
    >>> name_file("../a:b/../c.jpg").as_posix()
    'a_b/c.jpg'
    """
    path = PurePath(name.replace("\\", "/"))
    parts = [part for part in path.parts if part not in ("..", ".", path.anchor)]
    return Path(*(_FORBIDDEN.sub("_", part) for part in parts)) if parts else Path("picture")


def _describe(counts: Counter[str], problems: Sequence[str], copying: Copying) -> Notes:
    verb = "linked" if copying.links else "copied"
    there = f"; {counts['there']:,} were there already" if counts["there"] else ""
    notes = [Note(f"{verb} {counts[verb]:,} pictures to {copying.folder}{there}")]
    if counts["left out"]:
        text = (
            f"left out {counts['left out']:,} pictures with people; --people "
            f"{'keep' if copying.links else 'obscure or keep'} takes them in"
        )
        notes.append(Note(text, WARNING))
    if counts["keywords"]:
        notes.append(Note(f"keywords are written to {counts['keywords']:,} of them, as XMP"))
    if counts["obscured"]:
        notes.append(Note(f"people are obscured in {counts['obscured']:,} of them"))
    if counts["written anew"]:
        text = (
            f"{counts['written anew']:,} are written anew as .jpg or .png: what their kind of file "
            "says beside the pixels is taken out only so; --keep-metadata copies them as they are"
        )
        notes.append(Note(text))
    if not copying.keep_metadata and not copying.links and counts["copied"]:
        notes.append(Note("places, serial numbers and names are taken out of the copies"))
    if problems:
        more = f"; and {len(problems) - _SHOWN:,} more" if len(problems) > _SHOWN else ""
        text = f"{len(problems):,} pictures could not be {verb}: {'; '.join(problems[:_SHOWN])}"
        notes.append(Note(text + more, PROBLEM))
    return tuple(notes)
