from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bioprobe.errors import StoreError
from bioprobe.watching.ledger import LEDGER_NAME, Ledger, Sighting

GAP_S = 60.0


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path)
    yield opened
    opened.close()


def _sight(ledger: Ledger, place: str, time_s: float, *names: str) -> int:
    told = {name: {"alert": name, "file": f"{place}/{time_s:g}.jpg"} for name in names}
    with ledger.change():
        return ledger.sight(Sighting(place, time_s, told), ["command", "webhook"], GAP_S, 0)


def test_each_event_is_told_once_to_each_channel(ledger: Ledger) -> None:
    assert _sight(ledger, "north", 0) == 0
    assert _sight(ledger, "north", 50, "lion") == 2  # in the event that began before
    assert _sight(ledger, "north", 110, "lion", "wolf") == 2  # the wolf alone is news
    assert _sight(ledger, "south", 110, "lion") == 2
    assert _sight(ledger, "north", 171, "lion") == 2  # 61 s later
    due = ledger.list_due(0, ["command"])
    assert [(one.payload["alert"], one.payload["file"]) for one in due] == [
        ("lion", "north/50.jpg"), ("wolf", "north/110.jpg"), ("lion", "south/110.jpg"),
        ("lion", "north/171.jpg"),
    ]  # fmt: skip
    assert len({one.id for one in ledger.list_due(0, ["command", "webhook"])}) == 8
    events = [one.payload["event"] for one in due]
    assert events[0] == events[1] != events[2] != events[3]


def test_a_picture_between_two_events_makes_them_one(ledger: Ledger) -> None:
    _sight(ledger, "north", 0, "lion")
    _sight(ledger, "north", 100, "wolf")
    assert _sight(ledger, "north", 50) == 0
    assert _sight(ledger, "north", 160, "lion") == 0
    assert _sight(ledger, "north", -60, "wolf") == 0


def test_a_change_is_made_as_a_whole(ledger: Ledger) -> None:
    def fail() -> None:
        with ledger.change():
            ledger.add_judged([("aa", "")])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not ledger.is_judged(("aa", ""))


def test_what_is_not_delivered_is_tried_again_later_and_at_once_by_the_next_run(
    ledger: Ledger,
) -> None:
    _sight(ledger, "north", 0, "lion")
    one, other = ledger.list_due(5, ["command", "webhook"])
    ledger.postpone_alert(one.id, next_s=10)
    assert [due.id for due in ledger.list_due(5, ["command", "webhook"])] == [other.id]
    ledger.finish_alert(other.id)
    ledger.wake_alerts(6)
    assert ledger.count_waiting(["webhook"]) + ledger.count_waiting(["command"]) == 1
    (again,) = ledger.list_due(6, ["command", "webhook"])
    assert (again.id, again.n_tries) == (one.id, 1)


def test_names_are_kept_of_nothing_but_what_is_still_to_be_told(
    ledger: Ledger, tmp_path: Path
) -> None:
    with ledger.change():
        ledger.add_seen({b"digest": (1, 2)})
        ledger.add_answered("answers.csv", [("secret.jpg", "aa", "")])
    ledger.follow(("secret.jpg", "aa", ""), ("hidden.jpg", "aa", ""))
    assert ledger.is_answered("answers.csv", ("hidden.jpg", "aa", ""))
    _sight(ledger, "camp", 0, "lion")
    file = tmp_path / LEDGER_NAME
    assert b"secret.jpg" not in file.read_bytes()
    assert b"camp/0.jpg" in file.read_bytes()
    assert ledger.forget({"camp/0.jpg"}) == 2
    ledger.close()
    assert b"camp" not in file.read_bytes()


def test_a_damaged_ledger_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / LEDGER_NAME).write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match="lay it aside"):
        Ledger(tmp_path)
