"""How far a review is, as people and programs are told."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bioprobe as bp
from bioprobe.cli.app import run
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import SelectionError
from bioprobe.face.store import Store

SPECIES = ("Panthera leo", "Panthera pardus", "Lynx lynx", "Canis lupus")
N = 160


def _fill(folder: Path) -> None:
    """Embed a pool, and review three batches of it, half of which are drawn at random."""
    random = np.random.default_rng(0)
    kinds = random.choice(4, N, p=[0.5, 0.3, 0.15, 0.05])
    centres = random.normal(size=(4, 8))
    vectors = normalise_rows((centres[kinds] + 0.6 * random.normal(size=(N, 8))).astype("f4"))
    frame = pd.DataFrame(
        {"path": [f"{one:03d}.jpg" for one in range(N)],
         "truth": [SPECIES[one] for one in kinds],
         "species": [SPECIES[kind] if at < 8 else "" for at, kind in enumerate(kinds)],
         "station": ["north" if at % 2 else "south" if at % 4 else "" for at in range(N)]}
    )  # fmt: skip
    store = bp.from_vectors(vectors, frame, model="plain", store=folder / "store")
    truth = [str(one) for one in store.images["truth"]]
    review = store.review(by="anna", batch=12, mix="margin=.5,audit=.5")
    for _ in range(3):
        rows = review.next().rows
        review.answer([{"row": row, "value": truth[row]} for row in rows])


@pytest.fixture
def store(make_once: Callable[..., Path], tmp_path: Path) -> Store:
    shutil.copytree(make_once("progress", _fill) / "store", tmp_path / "store")
    return bp.open(tmp_path / "store")


def test_a_review_says_how_good_it_is_and_whether_to_go_on(store: Store) -> None:
    review = store.review(by="ben")
    found = review.progress(goal=0.9, unseen=0.2, site="station", each_class=True)
    truth = store.images["truth"].to_numpy()
    names = np.array(found.class_names, dtype=object)
    right = np.mean(names[found.judged.handed_over] == truth)
    assert found.accuracy.share.low <= right <= found.accuracy.share.high < 1.0001
    assert (found.accuracy.n_given, found.accuracy.n_left, found.accuracy.n_draws) == (36, 124, 18)
    # Batches were drawn from what nobody had looked at before them, labels that came or not.
    assert sorted(set(found.judged.draws.before.tolist())) == [0, 12, 24]
    frame = found.to_frame()
    whole = frame[frame["of"] == ""].set_index("figure")
    assert whole.at["random draws", "value"] == 18
    assert whole.at["accuracy", "low"] == pytest.approx(found.accuracy.share.low, abs=1e-4)
    assert whole.at["stop", "value"] == "no"
    assert whole.at["shown for audit", "value"] == 18
    sites = frame[frame["figure"] == "labels"].set_index("of")["value"]
    stations = store.images["station"].to_numpy()[found.judged.is_given]
    assert sites.to_dict() == {
        one: int((stations == one).sum()) for one in ("north", "south")
    }  # fmt: skip
    assert set(frame["of"][frame["figure"] == "recall"]) == set(SPECIES)
    said = [str(one) for one in found.notes]
    assert said[0].startswith("go on: of what would be handed over no more than")
    assert any("rest on 18 pictures that were drawn at random" in one for one in said)
    assert any("40 pictures have no station" in one for one in said)
    curve = found.curve()
    assert curve["labels"].tolist() == list(range(1, 37))
    assert curve["found"].iloc[-1] == found.discovery.n_found
    assert found.provenance["options"]["level"] == "species"


def test_labels_that_came_are_claims_unless_they_are_trusted(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    kinds = np.arange(120) % 4
    centres = random.normal(size=(4, 8))
    vectors = normalise_rows((centres[kinds] + 0.3 * random.normal(size=(120, 8))).astype("f4"))
    came = kinds.copy()
    came[:12] = (kinds[:12] + 1) % 4
    frame = pd.DataFrame({"path": [f"{one:03d}.jpg" for one in range(120)],
                          "species": [SPECIES[one] for one in came]})  # fmt: skip
    store = bp.from_vectors(vectors, frame, model="plain", store=tmp_path / "store")
    review = store.review(by="anna", mix="audit", batch=60)
    before = review.progress()
    # Nobody has looked: nothing is known, however many labels came.
    assert (before.accuracy.share.low, before.accuracy.share.high) == (0, 1)
    assert str(before.notes[0]).startswith("go on: nothing is known yet of how much is right")
    assert "120 labels that came with the pictures are claims" in str(before.notes[1])
    assert "how many are right is not known yet" in str(before.notes[1])
    figures = before.to_frame().set_index("figure")["value"]
    assert figures["classes that only labels that came name"] == 4
    assert figures["classes found"] == 0
    assert before.discovery.n_draws == 0
    (_, short) = map(str, store.review(by="carl").next().notes)
    assert "116 more came with a label that nobody has checked: mix suspected" in short.replace(
        "--", ""
    )
    rows = review.next().rows
    review.answer([{"row": row, "value": SPECIES[kinds[row]]} for row in rows])
    after = review.progress()
    n_wrong = sum(row < 12 for row in rows)
    assert 0 < n_wrong < 12
    # What was looked at is corrected; of the others as many are wrong as of these.
    assert after.accuracy.share.low <= 1 - (12 - n_wrong) / 120 <= after.accuracy.share.high
    assert after.claims is not None
    assert after.claims.low <= 0.9 <= after.claims.high < 1
    assert after.claims.estimate == pytest.approx(1 - n_wrong / 60, abs=0.03)
    assert after.discovery.n_claimed == 0
    assert "are right [" in str(after.notes[1])
    # Who trusts them hands them over as right, and draws none of them.
    trusting = store.review(by="ben", mix="audit", trust_labels=True)
    told = trusting.progress()
    assert (told.accuracy.share.low, told.accuracy.n_left, told.claims) == (1, 0, None)
    assert "120 labels that came with the pictures count as right" in str(told.notes[1])
    assert len(trusting.next()) == 0


def test_a_claim_that_a_person_denies_or_cannot_tell_counts_for_neither_end(store: Store) -> None:
    review = store.review(by="ben", mix="audit", batch=N)
    open_ = [one for one in review.next(N).pictures if one.label]
    assert len(open_) >= 3
    before = review.progress()
    review.answer([
        {"row": open_[0].row, "value": open_[0].label, "verdict": "is not"},
        {"row": open_[1].row, "verdict": "unsure"},
        {"row": open_[2].row, "value": open_[2].label},
    ])  # fmt: skip
    after = review.progress()
    assert after.accuracy.n_given == before.accuracy.n_given + 1
    assert after.accuracy.n_left == before.accuracy.n_left - 3
    names = np.array(after.class_names, dtype=object)
    handed = names[after.judged.handed_over]
    assert handed[open_[0].row] != open_[0].label
    assert handed[open_[1].row] == open_[1].label
    assert any("2 pictures were looked at and have no label" in str(one) for one in after.notes)


def test_goals_that_are_reached_say_stop_and_others_are_refused(store: Store) -> None:
    review = store.review(by="ben")
    easy = review.progress(goal=0.3, unseen=0.9)
    assert easy.advice.stop
    assert str(easy.notes[0]).startswith("stop: at least 0.")
    assert not review.progress(goal=0.3, unseen=0.001).advice.stop
    assert not review.progress(goal=0.99, unseen=0.9).advice.stop
    assert len(easy.to_frame()) < len(review.progress(each_class=True).to_frame())
    with pytest.raises(SelectionError, match="an accuracy to reach lies between 0 and 1"):
        review.progress(goal=95)
    with pytest.raises(SelectionError, match="nowhere"):
        review.progress(site="nowhere")


def test_what_nobody_can_tell_and_pictures_of_nothing_are_said(store: Store) -> None:
    review = store.review(by="ben", mix="audit", batch=4)
    first, second, third, fourth = review.next().pictures
    before = review.progress()
    review.answer([
        {"row": first.row, "verdict": "unsure"}, {"row": second.row, "value": "blank"},
        {"row": third.row, "verdict": "is not"}, {"row": fourth.row, "value": "Lynx rufus"},
    ])  # fmt: skip
    after = review.progress()
    assert after.accuracy.n_draws == 22
    assert after.accuracy.n_given == before.accuracy.n_given + 2
    # Something new is found; a picture of nothing is nothing new.
    assert after.discovery.n_found == before.discovery.n_found + 1
    assert any("2 pictures were looked at and have no label" in str(one) for one in after.notes)


def test_a_report_says_what_review_found(store: Store, tmp_path: Path) -> None:
    # Another says the same of all but one, and of that something else.
    said = store.annotations("species").to_frame()
    values = said["value"].tolist()
    values[0] = next(one for one in SPECIES if one != values[0])
    store.add_annotations(
        [{"row": row, "level": "species", "value": value}
         for row, value in zip(said["row"], values, strict=True)], by="ben",
    )  # fmt: skip
    page = tmp_path / "report.html"
    store.report(output=page)
    text = page.read_text(encoding="utf-8")
    assert text.count(">What review found</h2>") == 1
    assert "annotations of species, by 2 people" in text
    assert "36 of 160" in text
    assert "18 of them drawn at random" in text
    assert "go on: of what would be handed over" in text
    assert "8 labels that came with the pictures are claims" in text
    for name in SPECIES:
        assert f'<th scope="row">{name}</th>' in text
    assert "Do they agree?" in text
    assert f">{35 / 36:.3f}<" in text
    # Of one person there is nothing to agree on, and where nobody said anything nothing is told.
    every = store.annotations().to_frame()
    store.retract(every["id"][every["by"] == "ben"].tolist(), by="ben")
    (section,) = store._tell_review(None)
    assert [one.heading for one in section.content["sheet"].parts] == [
        "How it came", "Who looked", "Class by class"
    ]  # fmt: skip
    store.retract(every["id"][every["by"] == "anna"].tolist(), by="anna")
    assert store._tell_review(None) == []


def test_the_command_says_it_too(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["review", "--store", str(store.folder), "--status", "--by", "ben", "--goal", ".3",
             "--unseen", ".9", "--width", ".05", "--site", "station", "--each-class"]  # fmt: skip
    assert run(asked) == 0
    said = capsys.readouterr()
    assert "\nstop: at least 0." in said.err
    lines = said.out.splitlines()
    assert lines[0] == "figure,of,value,low,high"
    assert "stop,,yes,," in lines
    (wide,) = [one for one in lines if "a width of 0.05" in one]
    assert int(wide.split(",")[-3]) > 20
    assert any(line.startswith("recall,Lynx lynx,") for line in lines)
    assert any(line.startswith("classes found,north,") for line in lines)
    assert run(["review", "--store", str(store.folder), "--by", "ben", "--goal", ".3"]) == 2
    assert "--status" in capsys.readouterr().err
    # Who seeks one species is told of that.
    sought = [
        "review",
        "--store",
        str(store.folder),
        "--by",
        "ben",
        "--find",
        "3",
        "--value",
        "Lynx lynx",
        "--status",
    ]
    assert run(sought) == 0
    assert "found" in capsys.readouterr().out
    assert run([*sought, "--goal", ".9"]) == 2
    assert "--goal" in capsys.readouterr().err
