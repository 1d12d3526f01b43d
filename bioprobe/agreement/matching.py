"""Which rows of two sets of answers are of the same picture, or of the same part of one."""

from __future__ import annotations

import collections
import dataclasses
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np

from bioprobe.images.regions import Region
from bioprobe.types import Rows

# From here on two boxes are of the same animal.
_LEAST_OVERLAP = 0.5

Parts = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class FileMatches:
    """Which files of one list are which of another.

    Parameters
    ----------
    partners : mapping of str to str
        From names of the first to names of the second; each stands once on either side.
    only_first, only_second : tuple of str
        Names that the other list has not.
    ambiguous : tuple of str
        Names of either list that may be several of the other; they are in neither of those.
    n_by_name : int
        Pairs that have the name of the file in common and different folders above it.
    n_by_case : int
        Pairs whose names differ in capitals.
    """

    partners: Mapping[str, str]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    ambiguous: tuple[str, ...]
    n_by_name: int
    n_by_case: int


def match_files(first: Sequence[str], second: Sequence[str]) -> FileMatches:
    r"""Find the files that two lists name, however each writes them.

    Names that are the same are the same file. Of others the last parts have to be: ``cat/1.jpg`` is
    ``/photos/cat/1.jpg`` and ``D:\photos\cat\1.jpg``. All of one name has to be the end of the
    other, or else, of both, what is left without the folders that all names of a list begin with.
    Of several the one counts that shares most parts; where that is not one alone, in both
    directions, the name is ambiguous.

    Examples
    --------
    >>> match_files(["cat/1.jpg", "dog/1.jpg"], [r"D:\x\cat\1.jpg", r"D:\x\dog\1.jpg"]).partners
    {'cat/1.jpg': 'D:\\x\\cat\\1.jpg', 'dog/1.jpg': 'D:\\x\\dog\\1.jpg'}
    >>> match_files(["1.jpg"], ["cat/1.jpg", "dog/1.jpg"]).ambiguous
    ('1.jpg', 'cat/1.jpg', 'dog/1.jpg')
    """
    ours, theirs = dict.fromkeys(first), dict.fromkeys(second)
    partners = {name: name for name in ours if name in theirs}
    left = [name for name in ours if name not in partners]
    others = [name for name in theirs if name not in partners]
    split = {name: split_name(name) for name in (*ours, *theirs)}
    n_ours, n_theirs = (_count_common([split[one] for one in names]) for names in (ours, theirs))
    near_ours = _find_near(left, others, split, (n_ours, n_theirs))
    near_theirs = _find_near(others, left, split, (n_theirs, n_ours))
    found = {
        name: near[0]
        for name, near in near_ours.items()
        if len(near) == 1 and near_theirs[near[0]] == [name]
    }
    taken = {*found, *found.values()}
    ambiguous: dict[str, None] = {}
    for name, near in (near_ours | near_theirs).items():
        # What is nearest to a name that has a nearer one is of no picture there.
        free = [other for other in near if other not in taken]
        if name not in taken and free:
            ambiguous |= dict.fromkeys([name, *free])
    pairs = [(split[one], split[other]) for one, other in found.items()]
    n_by_name = sum(
        _count_shared(one, other) == 1 and min(len(one), len(other)) > 1 for one, other in pairs
    )
    n_by_case = sum(
        one[-n:] != other[-n:] for one, other in pairs for n in [_count_shared(one, other)]
    )
    partners |= found
    return FileMatches(
        partners,
        tuple(one for one in ours if one not in partners and one not in ambiguous),
        tuple(one for one in others if one not in found.values() and one not in ambiguous),
        tuple(ambiguous),
        n_by_name,
        n_by_case,
    )


def split_name(name: str) -> Parts:
    r"""Return the parts of a file's name, whatever system wrote it.

    Examples
    --------
    >>> split_name(r".\photos\cat/1.jpg"), split_name("D:/1.jpg")
    (('photos', 'cat', '1.jpg'), ('D:', '1.jpg'))
    """
    composed = unicodedata.normalize("NFC", name).replace("\\", "/")
    return tuple(part for part in composed.split("/") if part not in {"", "."}) or (name,)


def _count_common(names: Sequence[Parts]) -> int:
    """Return how many folders all names begin with."""
    folders = [name[:-1] for name in names]
    # What all names begin with is what the first and the last of them do.
    first, last = min(folders, default=()), max(folders, default=())
    n = 0
    while n < min(len(first), len(last)) and first[n] == last[n]:
        n += 1
    return n


def _find_near(
    names: Sequence[str],
    others: Sequence[str],
    split: Mapping[str, Parts],
    n_common: tuple[int, int],
) -> dict[str, list[str]]:
    """Return for each name those of the others that share most of its last parts."""
    by_file: dict[str, list[str]] = collections.defaultdict(list)
    for other in others:
        by_file[split[other][-1].casefold()].append(other)
    found = {}
    for name in names:
        parts, best, most = split[name], list[str](), (0, 0)
        for other in by_file.get(parts[-1].casefold(), ()):
            theirs = split[other]
            n_shared = _count_shared(parts, theirs)
            # All of one name, or of both what not all names begin with.
            least = max(len(parts) - n_common[0], len(theirs) - n_common[1])
            if n_shared < min(least, len(parts), len(theirs)):
                continue
            # Of names that differ in capitals alone, the one that is written the same.
            shared = n_shared, sum(a == b for a, b in zip(parts[::-1], theirs[::-1], strict=False))
            if shared > most:
                best, most = [], shared
            if shared == most:
                best.append(other)
        found[name] = best
    return found


def _count_shared(one: Parts, other: Parts) -> int:
    """Return how many of their last parts are the same, but for capitals."""
    n = 0
    for ours, theirs in zip(one[::-1], other[::-1], strict=False):
        if ours.casefold() != theirs.casefold():
            break
        n += 1
    return n


@dataclasses.dataclass(frozen=True)
class RowMatches:
    """Which rows of two sets of answers belong together.

    Parameters
    ----------
    first, second : ndarray of int64, shape (n_pairs,)
        Positions of the rows.
    files : FileMatches
        Of the files that the rows are of.
    n_by_box : int
        Pairs of boxes that overlap by half and are not the same.
    n_whole : int
        Pairs of which one is of the whole picture, and the other of its surest region.
    n_unmatched : int
        Regions, of pictures that both have, that the other side has not.
    """

    first: Rows
    second: Rows
    files: FileMatches
    n_by_box: int
    n_whole: int
    n_unmatched: int


def match_rows(
    files: tuple[Sequence[str], Sequence[str]],
    regions: tuple[Sequence[str], Sequence[str]],
    sureness: tuple[Sequence[float], Sequence[float]],
) -> RowMatches:
    """Match the rows of two sets of answers by file and region.

    A region of the same name is the same, then boxes that overlap by half at least. Where one side
    has one answer to the whole picture, it is compared with the surest answer to a region.

    Parameters
    ----------
    files, regions : pair of sequences of str
        Of each row of the first and of the second.
    sureness : pair of sequences of float
        The higher, the surer its answer.
    """
    matches = match_files(*files)
    of_file: list[dict[str, list[int]]] = [{}, {}]
    for side in (0, 1):
        for row, file in enumerate(files[side]):
            of_file[side].setdefault(file, []).append(row)
    pairs: list[tuple[int, int]] = []
    n_by_box = n_whole = n_unmatched = 0
    for name, other in matches.partners.items():
        ours, theirs = of_file[0][name], of_file[1][other]
        n_before = len(pairs)
        same = {regions[1][row]: row for row in reversed(theirs)}
        pairs += [(row, same.pop(regions[0][row])) for row in ours if regions[0][row] in same]
        used = {one for pair in pairs[n_before:] for one in [("a", pair[0]), ("b", pair[1])]}
        ours = [row for row in ours if ("a", row) not in used]
        theirs = [row for row in theirs if ("b", row) not in used]
        if ours and theirs:
            overlapping = _match_boxes(ours, theirs, regions)
            n_by_box += len(overlapping)
            pairs += overlapping
            ours = [row for row in ours if row not in {one for one, _ in overlapping}]
            theirs = [row for row in theirs if row not in {one for _, one in overlapping}]
        if len(pairs) == n_before:
            # Nothing of the picture is matched: the whole stands beside the surest.
            one = max(ours, key=lambda row: sureness[0][row])
            two = max(theirs, key=lambda row: sureness[1][row])
            if not regions[0][one] or not regions[1][two] or len(ours) == len(theirs) == 1:
                pairs.append((one, two))
                n_whole += 1
                ours.remove(one)
                theirs.remove(two)
        n_unmatched += len(ours) + len(theirs)
    first, second = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    order = np.argsort(first, kind="stable")
    return RowMatches(first[order], second[order], matches, n_by_box, n_whole, n_unmatched)


def _match_boxes(
    ours: Sequence[int], theirs: Sequence[int], regions: tuple[Sequence[str], Sequence[str]]
) -> list[tuple[int, int]]:
    """Match boxes that overlap by half at least, those that overlap most first."""
    boxes = [_read_boxes(rows, regions[side]) for side, rows in ((0, ours), (1, theirs))]
    overlaps = sorted(
        (
            (_measure_overlap(box, other), row, two)
            for row, box in boxes[0].items()
            for two, other in boxes[1].items()
        ),
        reverse=True,
    )
    found: dict[int, int] = {}
    for overlap, row, other in overlaps:
        if overlap >= _LEAST_OVERLAP and row not in found and other not in found.values():
            found[row] = other
    return list(found.items())


def _read_boxes(rows: Sequence[int], regions: Sequence[str]) -> dict[int, Region]:
    found = {}
    for row in rows:
        try:
            box = Region.parse(regions[row])
        except ValueError:
            # A name that is none of ours tells rows apart, and no more.
            continue
        if box is not None:
            found[row] = box
    return found


def _measure_overlap(one: Region, other: Region) -> float:
    """Return the intersection over union of two boxes."""
    across = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    down = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    shared = max(across, 0.0) * max(down, 0.0)
    return shared / (one.width * one.height + other.width * other.height - shared)
