"""What lies below a folder: the pictures, and of all else how much was left out, by which rule.

Thumbnails that a disk station or a program makes, bins, and what a detector drew are no pictures of
a person's own: they would be embedded beside those that they were made of. Left out are

- folders whose name only such a program gives (:data:`FOLDERS`), whatever the case;
- folders whose name a person may give too (:data:`DERIVED`), where they lie beside a file of the
  program, or where each picture in them has the name of one that lies beside them;
- hidden files and folders, whose names begin with a dot, and folders that are links: they could
  lead back, or to the same pictures under another name;
- raw photographs beside a JPEG or HEIC of the same name;
- what the person says: ``--exclude GLOB``.

``--include GLOB`` takes what matches in spite of all of these but links. A pattern is compared,
whatever the case, with the path from the folder and with the name alone, of a file and of each
folder above it; ``*`` also stands for ``/``.
"""

from __future__ import annotations

import collections
import dataclasses
import fnmatch
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from bioprobe.images.raw import is_raw_name

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".jp2",
     ".heic", ".heif", ".avif"}
)  # fmt: skip
# What wins over a raw photograph of the same name.
_DEVELOPED = frozenset({".jpg", ".jpeg", ".jpe", ".heic", ".heif"})
_VIDEOS = frozenset(
    {".mp4", ".mov", ".avi", ".m4v", ".mkv", ".mpg", ".mpeg", ".mts", ".m2ts", ".3gp", ".wmv",
     ".webm", ".asf", ".flv", ".insv"}
)  # fmt: skip

#: Folders that a program alone names so, in lower case; what they hold.
FOLDERS = {
    "@eadir": "thumbnails",
    "@__thumb": "thumbnails",
    "thumbs.db": "thumbnails",
    "#recycle": "bin",
    "@recycle": "bin",
    "$recycle.bin": "bin",
    "recycler": "bin",
    "#snapshot": "copies",
    "@recently-snapshot": "copies",
    "deletedfiles": "bin of Timelapse",
    "system volume information": "of Windows",
    "lost+found": "of the disk",
    "__macosx": "of macOS",
}
#: Endings of folders of the same sort.
ENDINGS = {".lrdata": "previews of Lightroom", ".lrcat-data": "of Lightroom"}
#: Folders that are left out where they were made of what lies beside them, in lower case.
DERIVED = {
    "visualization": "drawn by a detector",
    "visualizations": "drawn by a detector",
    "crops": "cut out by a detector",
    "thumbs": "thumbnails",
    "thumbnails": "thumbnails",
    "backups": "copies",
}
# Files by which a program that makes such folders is known, in lower case.
_OF_TIMELAPSE = (".tdb", ".ddb")
_DETECTIONS = b'"detection_categories"'
#: Of the beginning of a file, and of its end.
PEEKED_BYTES = 1 << 16
_ENDING_SHOWN = 6


@dataclasses.dataclass(frozen=True)
class Rules:
    """Which of the files below a folder are taken.

    Parameters
    ----------
    exclude, include : tuple of str
        Patterns.
    """

    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()

    def find(self, patterns: Iterable[str], path: str) -> str:
        """Return the first pattern that a path, or a folder above it, matches; else ``""``."""
        low = path.lower()
        parts = low.split("/")
        above = ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
        for pattern in patterns:
            wanted = pattern.lower().rstrip("/")
            names = above if "/" in wanted else [*above, *parts]
            if any(
                fnmatch.fnmatchcase(name, wanted) or fnmatch.fnmatchcase(f"/{name}", wanted)
                for name in names
            ):
                return pattern
        return ""


@dataclasses.dataclass
class Walked:
    """What was found below a folder.

    Parameters
    ----------
    files : list of Path
        Pictures, in the order of their names, folder by folder.
    others : list of Path
        All other files that no rule leaves out.
    errors : list of OSError
        Of what could not be listed; ``filename`` says what that is.
    left_out : Counter of str
        Pictures that were left out, by rule.
    links : int
        Folders that are links.
    """

    files: list[Path] = dataclasses.field(default_factory=list)
    others: list[Path] = dataclasses.field(default_factory=list)
    errors: list[OSError] = dataclasses.field(default_factory=list)
    left_out: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    links: int = 0

    def describe(self, read: Iterable[Path] = ()) -> str:
        """Say what was left out, ``""`` where nothing was.

        Parameters
        ----------
        read : iterable of Path
            Of the other files, those that were read all the same.
        """
        others = set(self.others) - set(read)
        videos = [one for one in others if one.suffix.lower() in _VIDEOS]
        said = [f"{n:,} {_count('picture', n)} {rule}" for rule, n in self.left_out.items()]
        if self.links:
            said.append(f"{self.links:,} {_count('folder', self.links)} that {_are(self.links)}")
        if videos:
            kinds = ", ".join(sorted({one.suffix.lower() for one in videos}))
            said.append(f"{len(videos):,} {_count('video', len(videos))} ({kinds})")
        endings = collections.Counter(
            one.suffix.lower() or one.name for one in others if one.suffix.lower() not in _VIDEOS
        )
        common = endings.most_common()
        said += [f"{n:,} {ending}" for ending, n in common[:_ENDING_SHOWN]]
        n_more = sum(n for _, n in common[_ENDING_SHOWN:])
        if n_more:
            said.append(f"{n_more:,} other {_count('file', n_more)}")
        return ", ".join(said)


def _count(word: str, n: int) -> str:
    return word if n == 1 else f"{word}s"


def _are(n: int) -> str:
    return "is a link" if n == 1 else "are links"


def is_picture(name: str) -> bool:
    """Tell whether a file has the ending of a picture or of a raw photograph."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES or is_raw_name(name)  # noqa: PTH122


def walk(folder: Path, rules: Rules | None = None) -> Walked:
    """List what lies below a folder.

    What was listed of a folder before an error counts, and the error is kept: a share may go away
    at any entry.
    """
    walking = Walking(rules or Rules())
    walking.enter(folder, "", "")
    return walking.found


def is_left_out(name: str) -> bool:
    """Tell whether a folder is left out by its name alone."""
    return name.startswith(".") or bool(_explain_folder(name))


def _explain_folder(name: str) -> str:
    """Say what a folder of such a name is, ``""`` where a person may name one so."""
    low = name.lower()
    what = FOLDERS.get(low, "") or next(
        (said for ending, said in ENDINGS.items() if low.endswith(ending)), ""
    )
    shown = next((f"*{ending}" for ending in ENDINGS if low.endswith(ending)), name)
    return f"in {shown} ({what})" if what else ""


class Walking:
    """One way through a tree of folders, here those of a disk."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.found = Walked()

    def enter(self, folder: Path, below: str, why: str) -> None:
        """Take in a folder and what is below it, of which a rule above may leave all out.

        Parameters
        ----------
        folder : Path
        below : str
            Its path from the top, ``""`` for that.
        why : str
            Rule by which what is in it is left out, else ``""``.
        """
        # By hand, as os.walk forgets what it listed of a folder before an error.
        waiting = [(folder, below, why)]
        while waiting:
            here, path, rule = waiting.pop()
            names, folders = self.list_folder(here, is_quiet=bool(rule))
            self._take(here, path, names, rule)
            inner = [
                (Path(here, name), _join(path, name),
                 rule or self._judge_folder(here, name, _join(path, name), names))
                for name in folders
            ]  # fmt: skip
            waiting += inner[::-1]

    def list_folder(self, folder: Path, *, is_quiet: bool) -> tuple[list[str], list[str]]:
        """Return the names of the files and of the folders in a folder.

        Parameters
        ----------
        folder : Path
        is_quiet : bool
            Whether nothing is said of what cannot be listed, as where it is left out.
        """
        names, folders, n_links = list[str](), list[str](), 0
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    try:
                        is_folder = entry.is_dir(follow_symlinks=False)
                        leads_to_folder = not is_folder and _leads_to_folder(entry)
                    except OSError as error:
                        self._fail(error, Path(entry.path), is_quiet=is_quiet)
                        continue
                    if leads_to_folder:
                        n_links += 1
                    else:
                        (folders if is_folder else names).append(entry.name)
        except OSError as error:
            self._fail(error, folder, is_quiet=is_quiet)
        if n_links and not is_quiet:
            self.found.links += n_links
        return sorted(names), sorted(folders)

    def _fail(self, error: OSError, place: Path, *, is_quiet: bool) -> None:
        if not is_quiet:
            said = OSError(error.errno, error.strerror or str(error), str(place))
            self.found.errors.append(said)

    def _take(self, folder: Path, below: str, names: Sequence[str], rule: str) -> None:
        developed = {
            stem.lower()
            for stem, ending in map(os.path.splitext, names)
            if ending.lower() in _DEVELOPED and not stem.startswith(".")
        }
        for name in names:
            path, is_image = _join(below, name), is_picture(name)
            excluded = self._rules.find(self._rules.exclude, path)
            why = f"by --exclude {excluded}" if excluded else rule
            if not why and name.startswith("."):
                why = "hidden"
            stem = os.path.splitext(name)[0].lower()  # noqa: PTH122
            if not why and is_raw_name(name) and stem in developed:
                why = "raw, beside a JPEG or HEIC of the same name"
            if why and self._rules.find(self._rules.include, path):
                why = ""
            if not why:
                (self.found.files if is_image else self.found.others).append(Path(folder, name))
            elif is_image:
                self.found.left_out[why] += 1

    def _judge_folder(self, parent: Path, name: str, path: str, beside: Sequence[str]) -> str:
        """Say by which rule a folder is left out, ``""`` where by none."""
        pattern = self._rules.find(self._rules.exclude, path)
        if pattern:
            return f"by --exclude {pattern}"
        if name.startswith("."):
            return "in hidden folders"
        by_name = _explain_folder(name)
        if by_name:
            return by_name
        what = DERIVED.get(name.lower())
        if what and (
            self._holds_program(parent, name, beside) or self._is_made_of(parent, name, beside)
        ):
            return f"in {name} ({what})"
        return ""

    def _is_made_of(self, parent: Path, name: str, beside: Sequence[str]) -> bool:
        """Tell whether each picture of a folder has the name of one that lies beside it."""
        stems = {os.path.splitext(one)[0].lower() for one in beside if is_picture(one)}  # noqa: PTH122
        names = self.list_folder(parent / name, is_quiet=True)[0] if stems else []
        inside = [one for one in names if is_picture(one)]
        return bool(stems and inside) and all(_is_named_after(one.lower(), stems) for one in inside)

    def _holds_program(self, parent: Path, name: str, beside: Sequence[str]) -> bool:
        """Tell whether a file of the program that makes such a folder lies beside it."""
        low = [one.lower() for one in beside]
        if name.lower() == "backups":
            is_there = any(
                one.endswith(_OF_TIMELAPSE) or one.startswith("timelapsedata") for one in low
            )
            return is_there or self.is_folder(parent / "DeletedFiles")
        if name.lower() in {"crops", "visualization", "visualizations"}:
            files = [parent / one for one in beside if one.lower().endswith(".json")]
            return any(_lists_detections(self.peek(file)) for file in files)
        return False

    def is_folder(self, place: Path) -> bool:
        """Tell whether a folder is there."""
        return place.is_dir()

    def peek(self, file: Path) -> bytes:
        """Return the beginning and the end of a file, nothing where it cannot be read."""
        try:
            with file.open("rb") as stream:
                start = stream.read(PEEKED_BYTES)
                stream.seek(max(0, file.stat().st_size - PEEKED_BYTES))
                return start + stream.read()
        except OSError:
            return b""


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_symlink() and entry.is_dir()
    except OSError:  # a link that cannot be followed: reading it as a picture says why
        return False


def _is_named_after(name: str, stems: set[str]) -> bool:
    stem = os.path.splitext(name)[0]  # noqa: PTH122
    # The name itself, with something behind it, or with the path before it, as a detector writes.
    ends = [at for at, letter in enumerate(stem) if not letter.isalnum()] + [len(stem)]
    starts = [0, *(at + 1 for at, letter in enumerate(stem) if not letter.isalnum())]
    return any(stem[start:end] in stems for start in starts for end in ends if start < end)


def _lists_detections(peeked: bytes) -> bool:
    return _DETECTIONS in peeked or b'"predictions"' in peeked[:PEEKED_BYTES]


def _join(below: str, name: str) -> str:
    return f"{below}/{name}" if below else name
