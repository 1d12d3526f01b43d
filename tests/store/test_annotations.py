"""The log of annotations: what was acknowledged is there, whatever becomes of writers."""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bioprobe.errors import MisuseError, StoreError
from bioprobe.store import EmbeddingStore
from bioprobe.store.annotations import (
    Annotation,
    Unit,
    append,
    find_log,
    read_log,
    retract,
    verify_log,
    write_time,
)

UNIT = Unit("photos", "0.jpg", "", "0" * 64)


def _say(number: int, value: str = "lion", by: str = "anna", **more: Any) -> Annotation:  # noqa: ANN401
    at = f"2024-05-01T12:00:{number % 60:02d}+00:00"
    return Annotation.make(UNIT, "species", value, by=by, at=at, id=f"{number:032x}", **more)


@pytest.fixture
def folder(make_store: Callable[..., EmbeddingStore], encoder: Any) -> Path:  # noqa: ANN401
    return make_store(encoder).folder


def test_what_was_written_is_read_again(folder: Path) -> None:
    said = [
        _say(1, suggestion="cat", suggested_by="linear", score=0.0, shown_for="audit", chance=0.25),
        _say(2, 'Löwe, "quoted"\n=1+1'),
        Annotation.make(UNIT, "species", "", "unsure", by="ben", id=f"{3:032x}"),
        Annotation.make(UNIT._replace(path="\udcff.jpg"), "sex", "f", by="ben", id=f"{4:032x}"),
    ]
    assert append(folder, said) == said
    for fresh in (False, True):
        read = read_log(folder, fresh=fresh)
        assert list(map(repr, read.annotations)) == list(map(repr, said))
        assert (read.damaged, read.torn) == ((), 0)


def test_what_people_say_changes_a_store_for_who_has_it_open(folder: Path) -> None:
    opened = EmbeddingStore.open(folder)
    assert not opened.is_changed()
    append(folder, [_say(1)])
    assert opened.is_changed()


def test_the_same_id_is_one_annotation_and_another_is_refused(folder: Path) -> None:
    append(folder, [_say(1)])
    again = Annotation.make(UNIT, "species", "lion", by="anna", id=f"{1:032x}")
    assert append(folder, [again, _say(2), _say(2)]) == [_say(2)]
    assert len(read_log(folder)) == 2
    with pytest.raises(MisuseError, match="that of another annotation"):
        append(folder, [_say(3), _say(1, "cat")])
    assert len(read_log(folder, fresh=True)) == 2


def test_what_is_taken_back_does_not_stand_until_that_is_taken_back(folder: Path) -> None:
    append(folder, [_say(1), _say(2)])
    (first,), again = retract(folder, [f"{1:032x}"], by="ben")
    assert again == []
    assert [one.id for one in read_log(folder).standing] == [f"{2:032x}"]
    assert retract(folder, [f"{1:032x}"], by="ben") == ([], [f"{1:032x}"])
    retract(folder, [first.id], by="anna")
    assert len(read_log(folder).standing) == 2
    with pytest.raises(MisuseError, match="no annotation 'nothing' to take back"):
        retract(folder, ["nothing"], by="ben")


def test_those_said_late_of_earlier_stand_in_the_order_of_their_time(folder: Path) -> None:
    append(folder, [_say(2), _say(1)])
    assert [one.id for one in read_log(folder).standing] == [f"{1:032x}", f"{2:032x}"]


@pytest.mark.parametrize("cut", [1, 2, 40, 200])
def test_a_torn_last_line_is_dropped_and_the_next_writer_goes_on(folder: Path, cut: int) -> None:
    append(folder, [_say(1), _say(2)])
    whole = find_log(folder).read_bytes()
    find_log(folder).write_bytes(whole[:-cut])
    read = read_log(folder)
    # A record of which only the end of the line is missing is whole.
    assert len(read) == (2 if cut == 1 else 1)
    assert (read.torn > 0) == (cut > 1)
    assert read.damaged == ()
    append(folder, [_say(2), _say(3)])
    for fresh in (False, True):
        read = read_log(folder, fresh=fresh)
        assert [one.id for one in read.annotations] == [f"{n:032x}" for n in (1, 2, 3)]
        assert (read.damaged, read.torn) == ((), 0)


@pytest.mark.parametrize(("at", "n_left"), [("byte", 2), ("newline", 3), ("zeros", 2)])
def test_of_a_log_that_is_damaged_in_its_middle_the_rest_is_read(
    folder: Path, at: str, n_left: int
) -> None:
    append(folder, [_say(1), _say(2), _say(3)])
    data = bytearray(find_log(folder).read_bytes())
    ends = [place for place, byte in enumerate(data) if byte == ord("\n")]
    if at == "byte":
        data[ends[0] + 60] ^= 1
    elif at == "newline":
        data[ends[0]] = ord(" ")
    else:
        data[ends[0] : ends[1] + 1] = bytes(ends[1] + 1 - ends[0])
    find_log(folder).write_bytes(data)
    read = read_log(folder, fresh=True)
    assert len(read) == n_left
    assert [one.line for one in read.damaged] == [2 if at == "byte" else 1]
    assert verify_log(folder) == read.damaged
    # Nothing that is there is touched by who writes on.
    append(folder, [_say(9)])
    assert len(read_log(folder, fresh=True)) == n_left + 1


def test_a_disk_that_is_full_leaves_the_log_as_it_was(folder: Path) -> None:
    append(folder, [_say(1)])
    before = find_log(folder).read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, hard))
    try:
        with pytest.raises(StoreError, match="what was there before is whole; free space"):
            append(folder, [_say(2)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert find_log(folder).read_bytes() == before
    append(folder, [_say(2)])
    assert len(read_log(folder)) == 2


def test_a_store_that_may_not_be_written_is_read(folder: Path) -> None:
    append(folder, [_say(1)])
    place = find_log(folder)
    os.chmod(place, 0o400)  # noqa: PTH101
    os.chmod(place.parent, 0o500)  # noqa: PTH101
    try:
        assert len(read_log(folder, fresh=True)) == 1
        if os.geteuid():
            with pytest.raises(StoreError, match="get the right to write there"):
                append(folder, [_say(2)])
    finally:
        os.chmod(place.parent, 0o700)  # noqa: PTH101


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"id": "1"}, "32 hexadecimal digits"),
        ({"verdict": "maybe"}, "verdict is is, is not, unsure"),
        ({"verdict": "unsure"}, "no value beside unsure"),
        ({"value": ""}, "a value, or the verdict unsure"),
        ({"by": " "}, "by says who annotates"),
        ({"level": ""}, "level names a rank"),
        ({"score": 1.5}, "score is a probability"),
        ({"value": "x" * 1001}, "1,000 characters at most, got 1,001"),
        ({"at": "noon"}, "at is a time such as"),
        ({"at": "2999-01-01"}, "at is a time that has been"),
    ],
)
def test_what_cannot_be_is_refused(changed: dict[str, Any], message: str) -> None:
    said = {"unit": UNIT, "level": "species", "value": "lion", "by": "anna", **changed}
    with pytest.raises(MisuseError, match=message):
        Annotation.make(**said)


def test_a_time_is_written_in_utc() -> None:
    assert write_time("2024-05-01T14:00:00+02:00") == "2024-05-01T12:00:00.000+00:00"
    assert write_time("2024-05-01") == "2024-05-01T00:00:00.000+00:00"


def _write_on(folder: Path, first: int, told: Any) -> None:  # noqa: ANN401 - one end of a pipe
    number = first
    while True:
        append(folder, [_say(number), _say(number + 1)])
        told.send(number + 1)
        number += 2


@pytest.mark.slow
def test_killed_writers_lose_nothing_that_was_acknowledged(folder: Path) -> None:
    random_moment = random.Random(7)
    context = multiprocessing.get_context("fork")
    acknowledged = 0
    for turn in range(4):
        pipes, writers = [], []
        for which in range(2):
            ours, theirs = context.Pipe(duplex=False)
            first = 1_000_000 * (2 * turn + which + 1)
            writer = context.Process(target=_write_on, args=(folder, first, theirs))
            writer.start()
            theirs.close()
            pipes.append((first, ours))
            writers.append(writer)
        assert all(pipe.poll(20) for _, pipe in pipes)
        pipes[0][1].poll(random_moment.uniform(0.0, 0.1))
        for writer in writers:
            # At whatever it is just then: with the lock, in a write, before or after the flush.
            os.kill(writer.pid or 0, signal.SIGKILL)
        for writer in writers:
            writer.join()
        known = {one.id for one in read_log(folder, fresh=True).annotations}
        for first, pipe in pipes:
            last = first
            while True:
                try:
                    last = pipe.recv()
                except EOFError:
                    break
            told = {f"{number:032x}" for number in range(first, last + 1)}
            assert told <= known
            acknowledged += len(told)
        # Whoever comes next is not held up, and nothing is damaged.
        append(folder, [_say(turn)])
    assert acknowledged > 8
    assert verify_log(folder) == ()
