"""A review as people and programs hold it: what is shown, answered, taken back, shared."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bioprobe as bp
from bioprobe.cli.app import run
from bioprobe.cli.review import ask_all
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import MisuseError, SelectionError
from bioprobe.face.review import Review
from bioprobe.face.sitting import Batch
from bioprobe.face.store import Store
from bioprobe.task import lazy_rows
from bioprobe.task.lazy_rows import LazyRows

SPECIES = ("Panthera leo", "Panthera pardus", "Lynx lynx", "Canis lupus")
N = 80


def _fill(folder: Path) -> None:
    random = np.random.default_rng(0)
    kinds = random.integers(0, 4, N)
    centres = random.normal(size=(4, 8))
    vectors = normalise_rows((centres[kinds] + 0.5 * random.normal(size=(N, 8))).astype("f4"))
    frame = pd.DataFrame(
        {"path": [f"{one:02d}.jpg" for one in range(N)],
         "truth": [SPECIES[one] for one in kinds],
         "species": [SPECIES[kind] if at < 8 else "" for at, kind in enumerate(kinds)]}
    )  # fmt: skip
    bp.from_vectors(vectors, frame, model="plain", store=folder / "store")


@pytest.fixture
def store(make_once: Callable[..., Path], tmp_path: Path) -> Store:
    shutil.copytree(make_once("reviewing", _fill) / "store", tmp_path / "store")
    return bp.open(tmp_path / "store")


def _truth(store: Store) -> list[str]:
    return [str(one) for one in store.images["truth"]]


def _answer_all(review: Review, batch: Batch) -> None:
    truth = _truth(review.store)  # type: ignore[arg-type]
    review.answer([{"row": row, "value": truth[row]} for row in batch.rows])


def test_vectors_that_are_not_held_are_reviewed_alike(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {"by": "anna", "mix": "doubt=.4,coverage=.3,disagreement=.3"}
    shown = []
    for most in (lazy_rows._MOST_HELD_NUMBERS, 0):
        monkeypatch.setattr(lazy_rows, "_MOST_HELD_NUMBERS", most)
        review = store.review(**asked)
        assert isinstance(review._desk.pool.vectors, LazyRows) == (most == 0)
        shown.append(review.next().to_frame().drop(columns="id"))
    pd.testing.assert_frame_equal(shown[0], shown[1])


def test_a_batch_says_of_how_many_labels_it_was_learnt(store: Store) -> None:
    truth = _truth(store)
    ben = store.review(by="ben")
    ben.answer([{"row": row, "value": truth[row]} for row in range(60)])
    review = store.review(by="anna", batch=6)
    assert review.next().provenance["options"]["n_learnt_from"] == 60
    review._desk.learner.most_taught = 40
    review.answer([{"row": 79, "value": SPECIES[0]}])
    batch = review.next()
    counts = batch.provenance["options"]
    assert (counts["n_learnt_from"], counts["n_labelled"]) == (40, 61)
    assert "learns from 40 of 61 labels" in str(batch.notes)
    assert np.isin([*range(41, 60), 79], review._desk.learner.teaching).all()


def test_batch_after_batch_is_shown_answered_and_learnt(store: Store) -> None:
    review = store.review(by="anna", batch=6, mix="margin=.5,audit=.5", trust_labels=True)
    assert review.answering == "linear"
    seen: list[int] = []
    for _ in range(4):
        batch = review.next()
        assert len(batch) == 6
        assert sum(one.shown_for == "audit" for one in batch.pictures) == 3
        for one in batch.pictures:
            assert (one.shown_for == "audit") == (one.chance == one.chance)
            assert one.answers[0] == (one.suggestion, one.score)
            assert sum(score for _, score in one.answers) == pytest.approx(1, abs=1e-4)
        seen += batch.rows
        _answer_all(review, batch)
    assert len(set(seen)) == 24
    assert min(seen) >= 8  # those that came with a label which is trusted are not asked for
    figures = review.progress().to_frame().set_index("figure")["value"]
    assert figures["with a label"] == 32
    assert figures["checked by people"] == 24
    assert figures["shown for audit"] == 12
    kept = store.annotations("species").to_frame()
    assert len(kept) == 24
    assert set(kept["suggested_by"]) == {"linear"}
    assert kept["chance"][kept["shown_for"] == "audit"].between(0, 1).all()
    # Whoever asks the store next learns from it.
    assert (bp.open(store.folder).labels("species") != "").sum() == 32


def test_a_person_confirms_corrects_denies_and_is_unsure(store: Store) -> None:
    review = store.review(by="anna", mix="margin", batch=5)
    first, second, third, fourth, fifth = review.next().pictures
    done = review.answer([
        {"row": first.row, "verdict": "is"},
        {"row": second.row, "value": "panthera LEO"},
        {"row": third.row, "verdict": "is not"},
        {"row": fourth.row, "verdict": "unsure"},
        {"row": fifth.row, "value": "blank"},
        {"row": 9},
    ])  # fmt: skip
    frame = done.to_frame()
    assert frame[["row", "level", "value", "verdict"]].to_numpy().tolist() == [
        [first.row, "species", first.suggestion, "is"],
        [second.row, "species", "Panthera leo", "is"],
        [third.row, "species", third.suggestion, "is not"],
        [fourth.row, "species", "", "unsure"],
        [fifth.row, "content", "blank", "is"],
    ]
    # None of them comes again, and what is learnt is what was said.
    shown = review.next(N)
    assert not {one.row for one in (first, second, third, fourth, fifth)} & set(shown.rows)
    assert "blank" in review.classes
    other = store.review(by="ben", mix="margin", batch=N).next(N)
    again = {one.row: one for one in other.pictures}
    assert again[third.row].suggestion != third.suggestion
    assert fourth.row in again


def test_what_was_said_last_is_taken_back(store: Store) -> None:
    review = store.review(by="anna", batch=2)
    one, other = review.next().pictures
    review.answer([{"row": one.row, "value": "Lynx lynx"}])
    review.answer([{"row": other.row, "value": "Canis lupus"}])
    assert len(review.undo().to_frame()) == 1
    kept = store.annotations(standing=True).to_frame()
    assert kept["row"].tolist() == [one.row]
    review.answer([{"row": other.row, "value": "Panthera leo"}])
    again = bp.open(store.folder).annotations(standing=True).to_frame()
    assert dict(zip(again["row"], again["value"], strict=True))[other.row] == "Panthera leo"
    assert again["shown_for"].tolist() == [other.shown_for, one.shown_for]
    review.undo()
    review.undo()
    assert "nothing to take back" in str(review.undo().notes[-1])


def test_two_people_are_handed_different_pictures_and_learn_from_each_other(store: Store) -> None:
    anna = store.review(by="anna", mix="margin", batch=10)
    ben = bp.open(store.folder).review(by="ben", mix="margin", batch=10)
    first, second = anna.next(), ben.next()
    assert not set(first.rows) & set(second.rows)
    _answer_all(anna, first)
    # What is answered is free, and labelled; it is not asked for again.
    figures = ben.progress().to_frame().set_index("figure")["value"]
    assert figures["checked by people"] == 10
    assert not set(first.rows) & set(ben.next().rows)
    again = bp.open(store.folder).review(by="carl", mix="margin", batch=10, overlap=0.5).next()
    doubled = [one for one in again.pictures if one.shown_for == "overlap"]
    assert len(doubled) == 5
    assert {one.row for one in doubled} < set(first.rows)
    assert not set(again.rows) & set(second.rows)


def test_threads_that_share_a_review_are_handed_different_pictures(store: Store) -> None:
    review = store.review(by="anna", mix="margin=.5,coverage=.5")
    with ThreadPoolExecutor(4) as pool:
        batches = list(pool.map(lambda _: review.next(5).rows, range(8)))
    assert len({row for rows in batches for row in rows}) == 40


def test_the_same_is_proposed_until_somebody_answers(store: Store) -> None:
    rows = [store.review(by="anna", seed=3, mix="audit").next(8).rows for _ in range(2)]
    assert rows[0] == rows[1]
    assert store.review(by="ben", seed=3, mix="audit").next(8).rows != rows[0]
    assert store.review(by="anna", seed=4, mix="audit").next(8).rows != rows[0]


def test_without_labels_names_begin_it_and_a_new_one_counts_from_the_next_batch(
    store: Store,
) -> None:
    review = store.review("truth", by="anna", labels="confirmed", batch=4)
    batch = review.next()
    assert all(not one.suggestion and one.score != one.score for one in batch.pictures)
    assert any("nothing is suggested until" in str(note) for note in batch.notes)
    with pytest.raises(MisuseError, match="needs a value"):
        review.answer([{"row": batch.rows[0], "verdict": "is"}])
    review.answer([{"row": row, "value": f"kind {row % 2}"} for row in batch.rows[:3]])
    review.skip(batch.rows[3])
    shown = review.next()
    names = {one.suggestion for one in shown.pictures}
    assert names <= {"kind 0", "kind 1"}
    assert review.find_classes("KIND") == ["kind 0", "kind 1"]
    assert batch.rows[3] not in review.next(N).rows
    with pytest.raises(MisuseError, match="both or confirmed"):
        store.review(labels="given")


def test_names_are_found_by_how_they_or_a_word_of_them_begin(store: Store) -> None:
    review = store.review(by="anna")
    assert review.find_classes("panthera p") == ["Panthera pardus"]
    assert review.find_classes("l") == ["Lynx lynx", "Canis lupus", "Panthera leo"]
    assert review.find_classes(" ") == []


def test_a_table_goes_out_and_comes_back_once(store: Store, tmp_path: Path) -> None:
    file = str(tmp_path / "next.csv")
    asked = ["review", "--store", str(store.folder), "--by", "anna"]
    assert run([*asked, "--propose", "6", "--mix", "audit=.5,margin", "--output", file]) == 0
    frame = pd.read_csv(file, keep_default_na=False)
    truth = _truth(store)
    frame["value"] = [truth[row] for row in frame["row"]]
    frame.loc[0, ["value", "verdict"]] = ["", "is"]
    frame.loc[1, "value"] = ""
    frame.sample(frac=1, random_state=0).to_csv(file, index=False)
    answered = str(tmp_path / "answered.json")
    for n_new in (5, 0):
        assert run([*asked, "--answers", file, "--output", answered]) == 0
        written = json.loads(Path(answered).read_text())["rows"]
        assert sum(one["is_new"] for one in written) == n_new
    assert run([*asked, "--answers", file, "--status", "--output", answered]) == 0
    figures = json.loads(Path(answered).read_text())["rows"]
    assert {one["figure"]: one["value"] for one in figures}["answers"] == 5
    kept = bp.open(store.folder).annotations().to_frame().set_index("row")
    assert len(kept) == 5
    shown = frame.set_index("row").reindex(kept.index)
    assert kept["shown_for"].tolist() == shown["shown_for"].tolist()
    np.testing.assert_allclose(kept["chance"], pd.to_numeric(shown["chance"]).to_numpy(), rtol=1e-5)
    assert kept.loc[frame["row"][0], "value"] == frame["suggestion"][0]
    # One that is wrong keeps all others from being written.
    frame["file_name"] = frame["file_name"].where(frame.index != 3, "no such.jpg")
    frame.to_csv(file, index=False)
    assert run([*asked, "--answers", file]) == 1
    assert len(bp.open(store.folder).annotations().to_frame()) == 5


def test_a_status_is_told_and_a_script_is_told_how_to_review(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["review", "--store", str(store.folder), "--by", "anna"]
    assert run([*asked, "--status", "--format", "csv"]) == 0
    assert "with a label,,8" in capsys.readouterr().out
    assert run(asked) == 2
    assert "--propose 20 --output next.csv" in capsys.readouterr().err
    assert run([*asked, "--status", "--propose", "3"]) == 2


def test_a_terminal_asks_for_one_picture_after_the_other(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    review = store.review(by="anna", batch=8)
    # Yes, taken back, another; a beginning that two have, one that none has, a new name; not this;
    # unsure; blank; skipped; the second answer; of the next batch none.
    lines = iter(["", "z", "lynx", "panthera", "zebra", "=Equus quagga", "n", "u", "b", "s", "2",
                  "n canis", "leo", "q"])  # fmt: skip
    assert "8 pictures answered" in ask_all(review, lambda _: next(lines))
    kept = store.annotations(standing=True).to_frame()[::-1]
    said = kept[["value", "verdict"]].to_numpy().tolist()
    assert said[:2] == [["Lynx lynx", "is"], ["Equus quagga", "is"]]
    assert [one[1] for one in said[2:5]] == ["is not", "unsure", "is"]
    assert said[4][0] == "blank"
    assert said[6:] == [["Canis lupus", "is not"], ["Panthera leo", "is"]]
    told = capsys.readouterr().err
    assert "2 classes begin so: Panthera leo, Panthera pardus" in told
    assert "no class begins with zebra" in told
    assert "is asked again" in told


def test_what_cannot_be_is_refused_and_nothing_is_written(store: Store) -> None:
    review = store.review(by="anna")
    for answers, error, said in (
        ([{"row": 8, "value": "Lynx lynx"}, {"row": 999, "value": "x"}], SelectionError, "no row"),
        ([{"value": "Lynx lynx"}], MisuseError, "by row or file_name"),
        ([{"row": 8, "value": "x", "verdict": "maybe"}], MisuseError, "verdict"),
        ([{"row": 8, "value": "x", "level": "genus"}], MisuseError, "review that level"),
    ):
        with pytest.raises(error, match=said):
            review.answer(answers)
    assert not len(store.annotations().to_frame())
    with pytest.raises(MisuseError, match="at least one"):
        review.next(0)
    with pytest.raises(MisuseError, match="--C is of"):
        store.review(method="knn", C=3.0)
    with pytest.raises(SelectionError, match="no row 999"):
        store.review(mix="nearest", like=999)
    with pytest.raises(SelectionError, match=r"no picture 'lion\.jpg'"):
        store.review(mix="nearest", like="lion.jpg")
    with pytest.raises(SelectionError, match="did you mean Lynx lynx"):
        store.review(mix="confident", of="Linx lynx")
    with pytest.raises(MisuseError, match="reads none"):
        store.review(method="zeroshot")


def test_the_surest_of_a_class_and_what_is_like_a_picture_are_shown(store: Store) -> None:
    surest = store.review(by="anna", mix="confident", of="canis lupus").next(5)
    assert {one.suggestion for one in surest.pictures} == {"Canis lupus"}
    assert [one.score for one in surest.pictures] == sorted(
        (one.score for one in surest.pictures), reverse=True
    )
    like = store.review(by="ben", mix="nearest", like="20.jpg").next(3)
    similarities = store.X @ store.X[20]
    similarities[[*range(8), *surest.rows]] = -1
    assert like.rows == np.argsort(-similarities, kind="stable")[:3].tolist()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such terminals")
def test_a_terminal_whose_input_ended_before_it_was_read_ends_the_review() -> None:
    ours, its = os.openpty()
    os.write(ours, b"yes\n\x04")
    code = "import readline; from bioprobe.cli.review import read_terminal as read; "
    code += "print(read('> ')); read('> ')"
    # Of a terminal that is no longer read by lines the end is a character like others.
    asked = subprocess.run(
        [sys.executable, "-c", code], stdin=its, stdout=its, stderr=subprocess.PIPE,
        timeout=60, check=False, text=True,
    )  # fmt: skip
    os.close(its)
    os.close(ours)
    assert asked.stderr.strip().endswith("EOFError")
