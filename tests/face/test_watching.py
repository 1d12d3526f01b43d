"""A folder that is watched, by the face: each round of it does what a test says in between."""

from __future__ import annotations

import csv
import dataclasses
import errno
import itertools
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import bioprobe as bp
from bioprobe.face.watching import Watched
from bioprobe.files import explaining_refusal
from bioprobe.store import EmbeddingStore
from bioprobe.watching.arrivals import Arrivals, Ready, Stamp

TAXA = "class,order,family,genus,species,common_name\n" + "\n".join(
    f"Mammalia,Carnivora,{family},{species.split()[0]},{species},{common}"
    for family, species, common in (
        ("Felidae", "Panthera leo", "lion"),
        ("Felidae", "Lynx lynx", "lynx"),
        ("Canidae", "Canis lupus", "wolf"),
    )
)


class Round:
    """A watch whose rounds are steps of a test, with all that it said."""

    def __init__(self, folder: Path) -> None:
        self.inbox, self.store = folder / "inbox", folder / "store"
        self.answers = folder / "answers.csv"
        self.taxa = folder / "taxa.csv"
        self.taxa.write_text(TAXA)
        self.inbox.mkdir()
        self.said: list[str] = []
        self.alerts: list[str] = []

    def watch(
        self,
        *steps: Callable[[], object],
        **options: Any,  # noqa: ANN401 - whatever an option takes
    ) -> Watched:
        """Watch, doing one step before each look, until there is none."""
        left: list[Callable[[], object]] = [dict, *steps, dict]

        def ends() -> bool:
            if not left:
                return True
            left.pop(0)()
            return False

        asked: dict[str, Any] = {
            "store": self.store, "model": None if self.store.exists() else "plain",
            "taxa": self.taxa, "output": self.answers, "settle": 0, "wait": 0, "patience": 0,
            "rescan": 0.05, "until": ends,
        }  # fmt: skip
        return bp.watch(self.inbox, tell=self.tell, **{**asked, **options})

    def tell(self, line: str) -> None:
        (self.alerts if line.startswith("ALERT") else self.said).append(line)

    def draw(self, *numbers: int, folder: str = "", at_s: float | None = None) -> None:
        """Draw pictures by their number; the same number is the same bytes."""
        for number in numbers:
            file = self.inbox / folder / f"{number:03d}.png"
            file.parent.mkdir(exist_ok=True)
            noise = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
            Image.fromarray(noise).resize((20, 20)).save(file)
            if at_s is not None:
                os.utime(file, (at_s, at_s))

    @property
    def rows(self) -> Sequence[str]:
        """Files of the current rows of the store."""
        opened = EmbeddingStore.open(self.store)
        return sorted(opened.images.frame["path"].iloc[opened.rows])

    @property
    def lines(self) -> list[str]:
        """Files that were answered, in the order of the lines."""
        with self.answers.open() as stream:
            return [row["file_name"] for row in csv.DictReader(stream)]


@pytest.fixture
def day(tmp_path: Path, loads: list[str]) -> Round:
    assert not loads
    return Round(tmp_path)


def test_what_was_there_comes_first_and_what_arrives_after_it(day: Round) -> None:
    day.draw(1, 2)
    found = day.watch(lambda: day.draw(3, folder="below"))
    assert day.rows == ["001.png", "002.png", "below/003.png"]
    assert day.lines == ["001.png", "002.png", "below/003.png"]
    assert (found.n_embedded, found.n_answered, found.n_failed) == (3, 3, 0)
    batches = [line for line in day.said if "embedded" in line]
    assert [line[:10] for line in batches] == ["2 embedded", "1 embedded"]
    with day.answers.open() as stream:
        first = next(csv.DictReader(stream))
    assert {"captured_at", "camera", "latitude", "longitude", "damage"} <= first.keys()
    asked = bp.open(day.store).zeroshot(taxa=day.taxa, k=1, columns="none")
    best = asked.to_frame().iloc[0]
    assert first["species"] == best["species"]
    assert float(first["score"]) == pytest.approx(best["score"], rel=1e-6)
    day.draw(2, folder="copy")
    found = day.watch(once=True)
    assert (found.n_embedded, found.n_reused, found.n_answered) == (0, 1, 1)
    assert day.watch(once=True).n_answered == 0
    assert day.lines == ["001.png", "002.png", "below/003.png", "copy/002.png"]


def test_a_file_is_read_once_it_has_stayed_the_same_and_decodes(day: Round) -> None:
    day.draw(1)
    whole = (day.inbox / "001.png").read_bytes()
    half = day.inbox / "half.png"
    half.write_bytes(whole[: len(whole) // 2])
    temporary = [day.inbox / name for name in (".a.png", "b.png.part", "c.tmp", "d.part.png")]
    for file in temporary:
        file.write_bytes(whole)
    day.watch(lambda: half.write_bytes(whole), patience=60)
    assert day.rows == ["001.png", "half.png"]
    assert any("1 not whole yet" in line for line in day.said)
    assert not len(bp.open(day.store).failures)
    temporary[1].rename(day.inbox / "b.png")
    day.watch(once=True)
    assert day.lines == ["001.png", "half.png", "b.png"]


def test_what_stays_broken_is_listed_and_tried_again_when_it_changes(day: Round) -> None:
    day.draw(1, 2)
    broken = day.inbox / "002.png"
    whole = broken.read_bytes()
    broken.write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    failed = day.watch(dict)
    assert bp.open(day.store).failures["path"].tolist() == ["002.png"]
    assert sum("1 failed" in line for line in day.said) == 1
    assert "What failed and why" in str(failed.notes[-1])
    (day.inbox / "001.png").write_bytes(whole)  # another picture by now
    day.watch(lambda: broken.write_bytes(whole))
    assert not len(bp.open(day.store).failures)
    assert day.rows == ["001.png", "002.png"]
    assert day.lines == ["001.png", "001.png", "002.png"]


def test_a_moved_picture_keeps_its_row_and_what_is_known_of_it(day: Round) -> None:
    day.draw(1, 2, folder="card")
    (day.inbox / "table.csv").write_text("path,species,site\ncard/001.png,Panthera leo,north\n")
    bp.embed(day.inbox / "table.csv", store=day.store, model="plain")
    day.watch(
        lambda: (day.inbox / "card").rename(day.inbox / "north"),
        lambda: (day.inbox / "north" / "001.png").rename(day.inbox / "lion.png"),
    )
    kept = bp.open(day.store).images[["path", "species", "site"]].fillna("")
    assert sorted(kept.to_numpy().tolist()) == [
        ["lion.png", "Panthera leo", "north"], ["north/002.png", "", ""],
    ]  # fmt: skip
    assert day.lines == ["card/001.png", "card/002.png"]
    assert [line[:22] for line in day.said if " moved in" in line] == [
        "0 embedded, 2 moved in", "0 embedded, 1 moved in",
    ]  # fmt: skip


def test_what_is_out_of_reach_was_not_moved(day: Round) -> None:
    day.draw(1, folder="card")

    def unmount() -> None:
        (day.inbox / "card" / "001.png").unlink()  # an empty place is left
        day.draw(1, folder="copy")

    day.watch(unmount, output=None, taxa=None)
    assert day.rows == ["card/001.png", "copy/001.png"]


def test_a_folder_that_goes_away_is_waited_for(day: Round) -> None:
    day.draw(1)
    away = day.inbox.with_name("away")

    def come_back() -> None:
        away.rename(day.inbox)
        day.draw(2)

    day.watch(lambda: day.inbox.rename(away), come_back)
    assert day.rows == day.lines == ["001.png", "002.png"]
    assert [line.partition(" is ")[2][:4] for line in day.said if " is " in line] == [
        "away", "back",
    ]  # fmt: skip
    day.inbox.rename(away)
    day.watch(lambda: away.rename(day.inbox))  # that was watched before: it may start without it
    assert day.rows == ["001.png", "002.png"]


def test_a_folder_that_never_was_is_refused(day: Round) -> None:
    day.inbox.rmdir()
    with pytest.raises(bp.SourceError, match="none was watched there before"):
        day.watch()
    assert not day.store.exists()
    with pytest.raises(bp.SourceError, match="mount the share"):
        day.watch(once=True)


def test_one_watch_at_a_time_writes_into_a_store(day: Round) -> None:
    refused: list[str] = []

    def watch_too() -> None:
        with pytest.raises(bp.StoreLockedError) as error:
            day.watch(output=None, taxa=None)
        refused.append(str(error.value))

    day.watch(watch_too)
    assert "another process is watching a folder into" in refused[0]


def test_another_writer_of_the_store_is_waited_for(day: Round) -> None:
    day.draw(1)
    day.watch()
    day.draw(2)
    writer = EmbeddingStore.open(day.store).lock()
    writer.__enter__()

    class Freed:
        """Frees the store once the watch says that it waits."""

        def append(self, line: str) -> None:
            if "is waited for" in line:
                writer.__exit__(None, None, None)

    day.said = Freed()  # type: ignore[assignment]
    assert day.watch(once=True).n_embedded == 1


def test_a_file_that_grows_while_it_is_read_is_read_again(
    day: Round, monkeypatch: pytest.MonkeyPatch
) -> None:
    day.draw(1, 2)
    grown = (day.inbox / "002.png").read_bytes()
    (day.inbox / "002.png").unlink()
    file = day.inbox / "001.png"
    stamp = Stamp.of

    def grow(path: str | Path) -> Stamp:
        found = stamp(path)
        if left and str(path) == str(file) and found == before:
            left.pop()
            file.write_bytes(grown)  # after it was looked at, and before it is read
        return found

    before, left = stamp(file), [True]
    monkeypatch.setattr(Stamp, "of", grow)
    day.watch(dict)
    assert not left
    assert day.lines == ["001.png"]
    assert sum("embedded" in line for line in day.said) == 2
    assert day.rows == ["001.png"]


def test_answers_that_cannot_be_written_wait(day: Round) -> None:
    day.draw(1)
    day.watch()
    held = day.answers.with_name("held")

    def hold() -> None:
        day.answers.rename(held)
        day.answers.mkdir()  # as no user is kept from writing here
        day.draw(2)

    def free() -> None:
        day.answers.rmdir()
        held.rename(day.answers)

    assert day.watch(hold, dict, free).n_answered == 1
    assert day.lines == ["001.png", "002.png"]
    assert sum("Answers wait" in line for line in day.said) == 1
    hold()
    day.draw(3)
    with pytest.raises(bp.StoreError, match=r"answers\.csv cannot be written"):
        day.watch(dict)


def test_a_full_disk_is_waited_for(day: Round, monkeypatch: pytest.MonkeyPatch) -> None:
    day.draw(1)
    append, left = EmbeddingStore.append, [1, 2]

    def refuse(*given: Any, **named: Any) -> EmbeddingStore:  # noqa: ANN401 - whatever it takes
        if not left or given[0].folder != day.store:
            return append(*given, **named)
        left.pop()
        with explaining_refusal(day.store):
            raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(EmbeddingStore, "append", refuse)
    assert day.watch(dict, dict, rescan=0.05).n_answered == 1
    assert sum("once there is space" in line for line in day.said) == 1
    assert day.lines == day.rows == ["001.png"]
    left.append(1)
    day.draw(2)
    with pytest.raises(bp.StoreError, match="free space"):
        day.watch(once=True)


def test_each_event_alerts_once_and_a_copy_is_none(day: Round) -> None:
    begin_s = 1_700_000_000.0
    day.draw(1, folder="north", at_s=begin_s)
    day.draw(2, folder="north", at_s=begin_s + 59)
    day.draw(3, folder="south", at_s=begin_s)
    asked: dict[str, Any] = {"alert": ["Carnivora", "Panthera leo"], "over": [0.99, 0]}

    def arrive() -> None:
        day.draw(4, folder="north", at_s=begin_s + 118)  # in the event
        day.draw(5, folder="north", at_s=begin_s + 179)  # 61 s after it
        day.draw(1, folder="copies", at_s=begin_s)

    found = day.watch(arrive, output=None, **asked)
    assert found.n_alerts == 6
    events = ("north/001", "south/003", "north/005")
    told = [(line.split(" ")[1], Path(line.split(": ")[1].split(" ")[0])) for line in day.alerts]
    assert sorted(name for name, _ in told) == ["Carnivora"] * 3 + ["Panthera"] * 3
    assert [str(file.relative_to(day.inbox).with_suffix("")) for _, file in told[::2]] == list(
        events
    )
    # All that can be answered is below it.
    assert day.alerts[0].startswith("ALERT Carnivora 1: ")
    day.draw(6, folder="north", at_s=begin_s + 400)
    assert day.watch(once=True, alert=["Carnivora"], gap_seconds=300).n_alerts == 0


def test_who_is_told_gets_all_that_is_known_and_what_fails_is_kept(day: Round) -> None:
    day.draw(1, folder="north", at_s=1_700_000_000)
    told = day.inbox.with_name("told")
    failing = day.watch(once=True, alert="Felidae", over=[0], command="/bin/sh -c 'exit 5'")
    assert failing.n_undelivered == 1
    assert "1 alerts were not delivered" in str(failing.notes[-1])
    assert any("the command ended with 5; tried 1 times" in line for line in day.said)
    line = f"/bin/sh -c 'cat > {told}'"
    found = day.watch(once=True, alert="Felidae", over=[0], command=line)
    assert (found.n_alerts, found.n_undelivered) == (1, 0)
    payload = json.loads(told.read_text())
    best = bp.open(day.store).zeroshot(taxa=day.taxa, k=3, columns="none").to_frame()
    cats = best.loc[best["family"] == "Felidae", "score"].sum()
    assert payload["score"] == pytest.approx(cats, abs=1e-5)
    assert payload["answer"] == best["species"].iloc[0]
    assert payload["file"] == str(day.inbox / "north" / "001.png")
    assert (payload["alert"], payload["over"], payload["place"]) == ("Felidae", 0, "north")


def test_nobody_is_told_of_a_picture_that_is_gone_for_good(
    day: Round, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bioprobe.watching.watch._TRIES_AT_END", 1)
    day.draw(1, 2, at_s=1_700_000_000)
    asked: dict[str, Any] = {"alert": "Carnivora", "command": "false", "output": None}
    assert day.watch(once=True, **asked).n_undelivered == 1
    bp.open(day.store).remove(row=0)
    bp.open(day.store).compact()
    assert b"001.png" not in (day.store / "watching.sqlite").read_bytes()
    found = day.watch(once=True, **asked)
    # Nor is it embedded again, as long as its file stays as it is.
    assert (found.n_undelivered, found.n_embedded, day.rows) == (0, 0, ["002.png"])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"alert": "Panthera leoo"}, "--alert"),
        ({"alert": "Felis", "classes": "cat,dog", "taxa": None}, "no class is or lies below"),
        ({"alert": ["a", "b"], "over": [0.1, 0.2, 0.3]}, "one for each of the 2 --alert"),
        ({"alert": ["a", "a"]}, "twice"),
        ({"command": "true"}, "--command counts only with --alert"),
        ({"level": "family", "output": None}, "--level counts only with --output or --alert"),
        ({"probe": "mine", "taxa": None}, "mine"),
        ({"output": "-"}, "name a callable"),
        ({"abstain": "soon"}, "--abstain is a number"),
        ({"frames_to": "x"}, "--frames-to is for a video"),
        ({"output": "answers.parquet"}, r"ends in \.csv"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_said_before_anything_is_embedded(
    day: Round, options: dict[str, Any], problem: str
) -> None:
    day.draw(1)
    with pytest.raises(bp.BioprobeError, match=problem):
        day.watch(once=True, **{"taxa": None if options.get("output", 1) is None else day.taxa,
                                **options})  # fmt: skip
    # Nothing is left that would bind the next try to a model.
    assert not day.store.exists()


def test_answers_are_given_as_lines_of_json_once(day: Round) -> None:
    lines: list[str] = []
    day.draw(1, 2)
    day.watch(lambda: day.draw(3), output="-", emit=lines.append, k=2)
    day.watch(once=True, output="-", emit=lines.append, k=2)
    told = [json.loads(line) for line in "".join(lines).splitlines()]
    assert [(one["file_name"], one["answer"]) for one in told] == [
        (f"00{n}.png", answer) for n in (1, 2, 3) for answer in (1, 2)
    ]


QUESTIONS: Sequence[dict[str, Any]] = (
    {"level": "family", "text_type": "sci", "templates": "camera-trap", "columns": "site"},
    {"within": ["Felidae"]},
    {"classes": "cat,dog", "taxa": None},
    {"abstain": 0.5},
)


def test_a_question_is_asked_as_zeroshot_asks_it(day: Round, opened: bp.Store) -> None:
    pictures = Path(str(opened.images["root"].iloc[0]))
    seen = set()
    for options in QUESTIONS:
        lines: list[str] = []
        bp.watch(
            pictures, store=opened.folder, once=True, settle=0, output="-", emit=lines.append,
            **{"taxa": day.taxa, **options},
        )  # fmt: skip
        best = {} if "abstain" in options else {"k": 1}
        asked = {"taxa": day.taxa, **best, **options}
        frame = opened.zeroshot(**asked).to_frame()
        told = [json.loads(line) for line in "".join(lines).splitlines()]
        assert len(told) == len(frame) == 6
        for one, known in zip(told, frame.to_dict("records"), strict=True):
            assert set(map(str, known)) <= set(one)
            answer = next(name for name in ("species", "family", "classification") if name in known)
            assert one[answer] == known[answer]
            assert one["score"] == pytest.approx(known["score"], rel=1e-6, nan_ok=True)
        seen.add("".join(lines))
    assert len(seen) == len(QUESTIONS)


def test_a_probe_answers_in_place_of_texts_and_alerts_of_what_it_knows(
    day: Round, opened: bp.Store
) -> None:
    opened.fit("centroid", level="family", name="mine", split="none")
    pictures = Path(str(opened.images["root"].iloc[0]))
    lines: list[str] = []
    found = bp.watch(
        pictures, store=opened.folder, once=True, settle=0, output="-", emit=lines.append,
        probe="mine", alert=["Animalia"], over=[0.999], tell=day.tell, gap_seconds=0,
    )  # fmt: skip
    frame = opened.predict("mine", k=1, columns="none").to_frame()
    told = [json.loads(line) for line in "".join(lines).splitlines()]
    assert [one["family"] for one in told] == frame["family"].tolist()
    assert found.n_alerts == len(day.alerts) > 0


def test_batches_go_by_number_and_by_time(day: Round) -> None:
    day.draw(1, 2, 3)
    day.watch(together=2, wait=60, output=None, taxa=None)
    assert [line[:10] for line in day.said if "embedded" in line] == ["2 embedded"]
    day.watch(together=2, wait=0, output=None, taxa=None)
    assert day.rows == ["001.png", "002.png", "003.png"]


def test_what_is_left_out_labelled_and_damaged_is_as_for_embed(day: Round) -> None:
    day.draw(1, folder="Felidae")
    day.draw(2, folder="test")
    day.draw(3)
    cut = day.inbox / "003.png"
    cut.write_bytes(cut.read_bytes()[:-20])
    day.watch(
        once=True, folder_rank="family", exclude=["test"], include=["none"], damaged="refuse",
        output=None, taxa=None,
    )  # fmt: skip
    assert day.rows == ["Felidae/001.png"]
    assert bp.open(day.store).labels("family").tolist() == ["Felidae"]
    assert bp.open(day.store).failures["path"].tolist() == ["003.png"]
    day.watch(once=True, damaged="keep", include=["*.png"], output=None, taxa=None)
    assert day.rows == ["003.png", "Felidae/001.png", "test/002.png"]


def test_frames_of_a_video_are_watched(day: Round) -> None:
    cv2 = pytest.importorskip("cv2")
    video = day.inbox.with_name("film.avi")
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"MJPG"), 5, (32, 24))
    for number in range(5):
        noise = np.random.default_rng(number).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        writer.write(noise)
    writer.release()
    asked: dict[str, Any] = {"store": day.store, "frames_to": day.inbox, "once": True}
    with pytest.raises(bp.MisuseError, match="say where its frames are written"):
        bp.watch(video, store=day.store)
    found = bp.watch(
        video, **asked, model="plain", settle=0, every=0.4, change=0, begins="2026-05-01T06:30:00Z",
        output=day.answers, taxa=day.taxa,
    )  # fmt: skip
    assert found.n_embedded == found.n_answered == 3
    with day.answers.open() as stream:
        times = [row["captured_at"] for row in csv.DictReader(stream)]
    assert len(set(times)) == 3
    assert not bp.watch(video, **asked, settle=0, every=0.4, change=0, taxa=day.taxa,
                        begins="2026-05-01T06:30:00Z", output=day.answers).n_embedded  # fmt: skip


def test_a_table_in_the_folder_says_what_it_says_to_embed_whenever_it_comes(day: Round) -> None:
    table = day.inbox / "metadata.csv"

    def tell(site: str) -> None:
        table.write_text(f"file_name,family,site\n001.png,Felidae,{site}\n002.png,,{site}\n")

    day.draw(1)
    day.watch(lambda: tell("north"), lambda: day.draw(2, 3), lambda: tell("south!"))
    images = bp.open(day.store).images.sort_values("path")
    assert images["path"].tolist() == ["001.png", "002.png", "003.png"]
    assert images["family"].tolist() == ["Felidae", "", ""]
    assert images["site"].tolist()[:2] == ["south!", "south!"]
    assert day.lines == ["001.png", "002.png", "003.png"]
    n_said = len(day.said)
    table.write_text('file_name\n"')
    day.draw(4)
    day.watch(once=True)
    assert day.lines[-1] == "004.png"
    assert not any("reused" in line for line in day.said[n_said:])


@pytest.mark.skipif(sys.platform != "linux", reason="file systems of others hold text alone")
def test_names_that_are_no_text_are_watched_and_told_as_they_are(day: Round) -> None:
    day.draw(1)
    odd = os.fsencode(day.inbox) + b"/\xff\xe9.png"
    os.rename(os.fsencode(day.inbox / "001.png"), odd)  # noqa: PTH104 - bytes are no Path
    told = day.inbox.with_name("told")
    found = day.watch(once=True, alert="Carnivora", over=[0.5], command=f"/bin/cp {{file}} {told}")
    assert (found.n_answered, found.n_alerts) == (1, 1)
    assert told.read_bytes() == Path(os.fsdecode(odd)).read_bytes()


def test_a_file_that_never_settles_is_left_by_a_run_that_ends(
    day: Round, monkeypatch: pytest.MonkeyPatch
) -> None:
    day.draw(1, 2)
    stamp, counts = Stamp.of, itertools.count()

    def grow(path: str | Path) -> Stamp:
        found = stamp(path)
        is_growing = Path(path).name == "002.png"
        return dataclasses.replace(found, n_bytes=next(counts)) if is_growing else found

    monkeypatch.setattr(Stamp, "of", grow)
    day.watch(once=True, settle=0.2, patience=0.2, output=None, taxa=None, until=None)
    assert day.rows == ["001.png"]
    assert any("1 files are still being written" in line for line in day.said)


def test_a_file_that_goes_before_it_is_read_is_no_failure(
    day: Round, monkeypatch: pytest.MonkeyPatch
) -> None:
    day.draw(1)
    list_ready = Arrivals.list_ready

    def lose(arrivals: Arrivals) -> list[Ready]:
        found = list_ready(arrivals)
        (day.inbox / "001.png").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(Arrivals, "list_ready", lose)
    day.watch(lambda: day.draw(2), output=None, taxa=None)
    assert day.rows == ["002.png"]
    assert not len(bp.open(day.store).failures)
