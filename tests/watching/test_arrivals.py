from __future__ import annotations

from pathlib import Path

import pytest

from bioprobe.sources.walking import Rules
from bioprobe.watching.arrivals import Arrivals, Stamp, digest_path, is_temporary, look_into

# Far from 1970, so that nothing was last written long ago unless a test says so.
NOW_S = 1e9


def _stamp(n_bytes: int = 1, at_s: float = NOW_S) -> Stamp:
    return Stamp(n_bytes, int(at_s * 1e9), int(at_s * 1e9))


def _ready(arrivals: Arrivals, now_s: float) -> list[str]:
    return [one.path for one in arrivals.list_ready(now_s)]


def test_a_file_is_ready_once_it_has_stayed_the_same() -> None:
    arrivals = Arrivals({}, settle_s=2, patience_s=60)
    arrivals.see({"a": _stamp(1)}, NOW_S)
    assert arrivals.find_next(NOW_S) == 2
    arrivals.see({"a": _stamp(2)}, NOW_S + 1.9)  # it grew
    assert _ready(arrivals, NOW_S + 3.8) == []
    assert _ready(arrivals, NOW_S + 3.9) == ["a"]
    assert arrivals.find_longest(NOW_S + 4.9) == pytest.approx(1)
    arrivals.see({}, NOW_S + 4)
    assert arrivals.find_next(NOW_S + 4) is None


def test_what_was_written_long_ago_does_not_wait() -> None:
    arrivals = Arrivals({}, settle_s=2, patience_s=60)
    arrivals.see({"new": _stamp(at_s=NOW_S), "old": _stamp(at_s=NOW_S - 61)}, NOW_S)
    # Only its name is new, which the system's own time says.
    renamed = Stamp(1, int((NOW_S - 999) * 1e9), int(NOW_S * 1e9))
    arrivals.see({"new": _stamp(), "old": _stamp(at_s=NOW_S - 61), "renamed": renamed}, NOW_S)
    assert _ready(arrivals, NOW_S) == ["old"]


def test_what_fails_waits_for_patience_and_then_for_a_change() -> None:
    arrivals = Arrivals({}, settle_s=1, patience_s=10)
    arrivals.see({"a": _stamp()}, NOW_S)
    (first,) = arrivals.list_ready(NOW_S + 1)
    assert not first.is_last
    arrivals.fail(first)
    assert _ready(arrivals, NOW_S + 9) == []
    (last,) = arrivals.list_ready(NOW_S + 10)
    assert last.is_last
    arrivals.fail(last)
    arrivals.see({"a": _stamp()}, NOW_S + 20)
    assert arrivals.count_waiting(["a"]) == 0
    # Another right to read it changes no byte of it.
    arrivals.see({"a": Stamp(1, int(NOW_S * 1e9), int((NOW_S + 21) * 1e9))}, NOW_S + 21)
    assert _ready(arrivals, NOW_S + 22) == ["a"]


def test_what_was_done_is_known_by_size_and_time_and_not_by_its_name_alone() -> None:
    done = {digest_path("a"): _stamp(5).content}
    arrivals = Arrivals(done, settle_s=0, patience_s=0)
    arrivals.see({"a": _stamp(5), "b": _stamp(5)}, NOW_S)
    (ready,) = arrivals.list_ready(NOW_S)
    assert ready.path == "b"
    arrivals.finish(ready)
    assert done[digest_path("b")] == _stamp(5).content
    arrivals.see({"a": _stamp(6), "b": _stamp(5)}, NOW_S)
    assert _ready(arrivals, NOW_S) == ["a"]


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
