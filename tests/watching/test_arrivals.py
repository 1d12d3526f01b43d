from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from bioprobe.sources.walking import Rules
from bioprobe.watching.arrivals import Arrivals, Stamp, digest_path, is_temporary, look_into

# Far from 1970, so that nothing was last written long ago unless a test says so.
NOW_S = 1e9


def _stamp(n_bytes: int = 1, at_s: float = NOW_S) -> Stamp:
    return Stamp(n_bytes, int(at_s * 1e9), int(at_s * 1e9))


def _ready(arrivals: Arrivals, files: Mapping[str, Stamp], now_s: float) -> list[str]:
    arrivals.see(files, now_s)
    return [one.path for one in arrivals.list_ready()]


def test_a_file_is_ready_once_it_has_stayed_the_same_from_look_to_look() -> None:
    arrivals = Arrivals({}, settle_s=2, patience_s=60)
    assert _ready(arrivals, {"a": _stamp(1)}, NOW_S) == []
    assert arrivals.find_next(NOW_S) == 2
    assert _ready(arrivals, {"a": _stamp(2)}, NOW_S + 9) == []  # it grew since
    assert _ready(arrivals, {"a": _stamp(2)}, NOW_S + 10.9) == []
    assert _ready(arrivals, {"a": _stamp(2)}, NOW_S + 11) == ["a"]
    assert arrivals.find_longest(NOW_S + 12) == pytest.approx(1)
    assert _ready(arrivals, {}, NOW_S + 12) == []
    assert arrivals.find_next(NOW_S + 12) is None


def test_what_was_written_long_ago_does_not_wait() -> None:
    arrivals = Arrivals({}, settle_s=2, patience_s=60)
    # Only its name is new, which the system's own time says.
    renamed = Stamp(1, int((NOW_S - 999) * 1e9), int(NOW_S * 1e9))
    files = {"new": _stamp(), "old": _stamp(at_s=NOW_S - 61), "renamed": renamed}
    assert _ready(arrivals, files, NOW_S) == ["old"]


def test_a_clock_that_is_set_changes_no_wait() -> None:
    arrivals = Arrivals({}, settle_s=2, patience_s=60)
    files = {"new": _stamp()}
    for age_s, ahead_s in ((0, NOW_S), (1, 2 * NOW_S), (1.5, 0)):
        arrivals.see(files, age_s, ahead_s=ahead_s)
        assert arrivals.list_ready() == []
    arrivals.see(files, 2, ahead_s=0)
    assert [one.is_last for one in arrivals.list_ready()] == [False]
    later = Arrivals({}, settle_s=2, patience_s=60)
    later.see({"old": _stamp(at_s=NOW_S - 61), **files}, 5, ahead_s=NOW_S - 5)
    assert [(one.path, one.is_last) for one in later.list_ready()] == [("old", True)]


def test_what_fails_waits_for_patience_and_then_for_a_change() -> None:
    arrivals = Arrivals({}, settle_s=1, patience_s=10)
    files = {"a": _stamp()}
    arrivals.see(files, NOW_S)
    assert _ready(arrivals, files, NOW_S + 1) == ["a"]
    (first,) = arrivals.list_ready()
    assert not first.is_last
    arrivals.fail(first)
    assert _ready(arrivals, files, NOW_S + 9) == []
    assert _ready(arrivals, files, NOW_S + 10) == ["a"]
    (last,) = arrivals.list_ready()
    assert last.is_last
    arrivals.fail(last)
    assert _ready(arrivals, files, NOW_S + 99) == []
    assert arrivals.count_waiting(files) == 0
    # Another right to read it changes no byte of it.
    files = {"a": Stamp(1, int(NOW_S * 1e9), int((NOW_S + 100) * 1e9))}
    arrivals.see(files, NOW_S + 100)
    assert _ready(arrivals, files, NOW_S + 101) == ["a"]


def test_what_was_done_is_known_by_size_and_time_and_not_by_its_name_alone() -> None:
    done = {digest_path("a"): _stamp(5).content}
    arrivals = Arrivals(done, settle_s=0, patience_s=0)
    files = {"a": _stamp(5), "b": _stamp(5)}
    assert _ready(arrivals, files, NOW_S) == ["b"]
    arrivals.finish(arrivals.list_ready()[0])
    assert done[digest_path("b")] == _stamp(5).content
    assert _ready(arrivals, files, NOW_S) == []
    assert _ready(arrivals, {**files, "a": _stamp(6)}, NOW_S) == ["a"]
    arrivals.finish(arrivals.list_ready()[0])
    arrivals.repeat(["b"], files, NOW_S)
    assert sorted(_ready(arrivals, {**files, "a": _stamp(6)}, NOW_S)) == ["b"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("IMG.jpg", False), ("IMG.jpg.part", True), ("IMG.TMP", True), (".IMG.jpg.aX3", True),
        ("IMG.filepart.jpg", True), ("tmp.jpg", False), ("part.2.jpg", False), ("~$IMG.jpg", True),
    ],
)  # fmt: skip
def test_temporary_names(name: str, expected: bool) -> None:
    assert is_temporary(name) is expected


def test_a_look_lists_as_embed_does_and_tells_an_absent_folder(tmp_path: Path) -> None:
    for name in ("a.jpg", "deep/b.png", ".c.jpg", "d.mp4", "e.part.jpg", "@eaDir/f.jpg", "g.txt"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"x")
    look = look_into(tmp_path, Rules(exclude=("deep",)))
    assert list(look.files) == [str(tmp_path / "a.jpg")]
    assert look.is_there
    assert "1 video (.mp4)" in look.left_out
    assert not look_into(tmp_path / "none", Rules()).is_there
    assert not look_into(tmp_path / "a.jpg", Rules()).is_there
