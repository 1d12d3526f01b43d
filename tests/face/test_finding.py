"""One species is sought: shown, answered, written as annotations, and how much of it is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bioprobe as bp
from bioprobe.cli.app import run
from bioprobe.cli.review import ask_all
from bioprobe.face.store import Store
from bioprobe.face.store import open as open_store
from tests.conftest import PlainEncoder

N = 60


@pytest.fixture
def store(make_store: Callable[..., Any], teach: Callable[..., None]) -> Store:
    """Sixty pictures, of which the first eight point one way, the question too."""
    random = np.random.default_rng(0)
    vectors = random.normal(size=(N, 4))
    vectors[:8] = [3, 0, 0, 0] + 0.3 * random.normal(size=(8, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    frame = pd.DataFrame(
        {
            "root": "photos", "path": [f"{number}.jpg" for number in range(N)],
            "species": ["Manis javanica"] * 3 + [""] * (N - 3),
            "common_name": ["pangolin"] * 3 + [""] * (N - 3),
            "sha256": [f"{number:064x}" for number in range(N)],
        }
    )  # fmt: skip
    made = make_store(PlainEncoder(dim=4)).append(frame, vectors.astype(np.float32))
    teach({"pangolin": [0.9, 0.4, 0, 0], "a stone": [0, 0, 1, 0]})
    return open_store(made.folder)


def _say(rows: list[int]) -> list[dict[str, Any]]:
    return [{"row": row, "verdict": "is" if row < 8 else "is not"} for row in rows]


def test_it_is_found_from_a_text_and_written_as_annotations(store: Store) -> None:
    find = store.find("pangolin", by="anna", batch=6)
    for _ in range(3):
        find.answer(_say(find.next().rows))
    assert find.rows == list(range(8))
    told = store.annotations("found").to_frame()
    assert set(told["value"]) == {"pangolin"}
    assert set(told["row"][told["verdict"] == "is"]) == set(range(8))
    assert set(told["suggested_by"]) == {"search", "find"}
    is_drawn = told["shown_for"] == "audit"
    assert told["chance"].notna().tolist() == is_drawn.tolist()
    assert set(told["shown_for"]) <= {"top", "audit"}
    # A column that every question can use.
    assert len(store.where("found == 'pangolin'")) == 8


def test_progress_says_how_many_there_are_and_when_to_stop(store: Store) -> None:
    find = store.find("pangolin", by="anna", batch=6, recall=0.8)
    first = find.progress()
    assert (first.n_looked, first.n_found, first.n_low, first.n_high) == (0, 0, 0, N)
    assert first.stop == ""
    stops = []
    while len(batch := find.next()):
        find.answer(_say(batch.rows))
        told = find.progress()
        assert told.n_low <= 8 <= told.n_high
        stops.append(told.stop)
    assert (told.n_found, told.n_estimated, told.recall_low, told.n_needed) == (8, 8, 1, 0)
    assert stops == sorted(stops)
    assert set(stops) == {"", "estimate", "sure"}
    assert "100% are found [100%, 100%]" in str(told.notes[0])
    # Who wants less is sooner done.
    easy = open_store(store.folder).find("pangolin", by="anna", recall=0.1)
    assert easy.progress().stop == "sure"


def test_another_process_goes_on_with_the_draws_and_the_answers(store: Store) -> None:
    find = store.find("pangolin", by="anna", mix="top=.5,audit=.5", batch=10)
    find.answer(_say(find.next().rows))
    again = open_store(store.folder).find("pangolin", by="anna")
    assert again.progress().n_found
    assert again.progress().to_dict() == find.progress().to_dict()
    assert again.progress().n_drawn == 5
    # Another person has the answers, and draws of their own.
    other = open_store(store.folder).find("pangolin", by="ben").progress()
    assert (other.n_found, other.n_drawn) == (find.progress().n_found, 0)


def test_draws_among_other_pictures_do_not_count(store: Store) -> None:
    find = store.find("pangolin", by="anna", mix="audit", batch=10)
    find.answer(_say(find.next().rows))
    fewer = store.where(rows=range(3, N)).find("pangolin", by="anna")
    assert any("do not count any more" in str(note) for note in fewer.notes)
    assert fewer.progress().n_drawn == 0


def test_undo_takes_the_last_answers_back(store: Store) -> None:
    find = store.find("pangolin", by="anna", batch=4)
    find.answer(_say(find.next().rows))
    before = find.progress().to_dict()
    find.answer(_say(find.next().rows))
    find.undo()
    assert find.progress().to_dict() == before
    assert len(store.annotations(standing=True).to_frame()) == 4
    find.undo()
    assert len(find.undo().to_frame()) == 0
    assert find.progress().n_looked == 0


def test_skipped_pictures_are_not_shown_again(store: Store) -> None:
    find = store.find("pangolin", by="anna", mix="top", batch=4)
    rows = find.next().rows
    find.skip(rows[0])
    assert rows[0] not in find.next(N).rows
    assert rows[1] in find.next(N).rows


def test_at_a_rank_the_known_class_is_written_and_its_labels_count(store: Store) -> None:
    find = store.find("pangolin", level="species", by="anna", batch=5)
    assert find.value == "Manis javanica"
    assert find.progress().n_found == 3
    batch = find.next()
    assert not {0, 1, 2} & set(batch.rows)
    find.answer([{"row": batch.rows[0], "verdict": "y"}, {"row": batch.rows[1], "value": "blank"}])
    assert store.labels("species")[batch.rows[0]] == "Manis javanica"
    assert store.annotations("content").to_frame()["value"].tolist() == ["blank"]
    confirmed = store.where(labels="confirmed").find("pangolin", level="species", by="anna")
    assert confirmed.progress().n_found == 1


def test_a_picture_or_a_row_is_sought_under_a_name(store: Store) -> None:
    for sought in (2, "2"):
        find = store.find(sought, value="a scaly thing", by="anna", mix="top")
        assert find.value == "a scaly thing"
        assert find.next(1).rows == [2]
    with pytest.raises(bp.MisuseError, match="--value CLASS"):
        store.find(2, by="anna")


def test_a_band_and_a_mix_choose_what_is_shown(store: Store) -> None:
    find = store.find("pangolin", by="anna", mix="band=.8,top=.2", band="0.000001,0.5")
    find.answer(_say(find.next(20).rows))
    shown = find.next(10).to_frame()
    inside = shown[shown["shown_for"] == "band"]
    assert len(inside)
    assert inside["score"].between(0.000001, 0.5).all()
    assert set(find.next(10).to_frame()["shown_for"]) == {"band", "top"}


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"sought": "none.jpg"}, bp.SourceError, "there is no picture none.jpg"),
        ({"sought": " "}, bp.MisuseError, "nothing is sought"),
        ({"sought": 99, "value": "x"}, bp.SelectionError, "has no row 99"),
        ({"sought": "pangolin", "level": "colour"}, bp.SelectionError, "colour"),
        ({"sought": "a stone", "level": "species"}, bp.MisuseError, "no class that this store"),
        ({"sought": "pangolin", "mix": "best"}, bp.MisuseError, "best=1"),
        ({"sought": "pangolin", "mix": "top=x"}, bp.MisuseError, "got 'top=x'"),
        ({"sought": "pangolin", "band": "1"}, bp.MisuseError, "two probabilities"),
    ],
)
def test_what_cannot_be_sought_is_refused(
    store: Store, asked: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        store.find(by="anna", **asked)


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        ({"row": 70, "verdict": "y"}, bp.SelectionError, "answer 1: this search has no row 70"),
        ({"verdict": "y"}, bp.MisuseError, "by row or file_name"),
        ({"row": 1, "verdict": "maybe"}, bp.MisuseError, "got 'maybe'"),
        ({"file_name": "x.jpg", "verdict": "y"}, bp.SelectionError, "no picture 'x.jpg'"),
    ],
)
def test_what_is_no_answer_is_refused_and_nothing_is_written(
    store: Store, answer: dict[str, Any], error: type[Exception], said: str
) -> None:
    find = store.find("pangolin", by="anna")
    with pytest.raises(error, match=said):
        find.answer([answer])
    assert not len(store.annotations().to_frame())


def test_it_is_answered_at_a_terminal(store: Store) -> None:
    find = store.find("pangolin", by="anna", mix="top", batch=4)
    lines = iter(["y", "", "n", "z", "u", "s", "q"])
    assert "3 pictures" in ask_all(find, lambda _: next(lines))
    told = store.annotations(standing=True).to_frame()
    assert sorted(told["verdict"]) == ["is", "is", "unsure"]


def test_the_command_proposes_takes_answers_and_says_how_far_it_is(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["review", "--find", "pangolin", "--by", "anna", "--store", str(store.folder)]
    table = tmp_path / "next.csv"
    assert run([*asked, "--propose", "12", "--output", str(table)]) == 0
    shown = pd.read_csv(table, dtype={"value": object, "verdict": object})
    assert (shown["level"] == "found").all()
    shown["verdict"] = np.where(shown["row"] < 8, "y", "n")
    shown.to_csv(table, index=False)
    for _ in range(2):
        # What is sent twice counts once.
        assert run([*asked, "--answers", str(table)]) == 0
    assert len(bp.open(store.folder).annotations().to_frame()) == 12
    capsys.readouterr()
    assert run([*asked, "--status", "--format", "json"]) == 0
    assert '"n_looked":12' in capsys.readouterr().out.replace(" ", "")
    assert run([*asked, "--method", "knn"]) == 2
    assert "--method counts only with no --find" in capsys.readouterr().err
    assert run(["review", "--band", "0,1", "--store", str(store.folder)]) == 2
    assert "--band counts only with --find" in capsys.readouterr().err
