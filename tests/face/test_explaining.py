from __future__ import annotations

import dataclasses
import functools
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import bioprobe as bp
from bioprobe.cli.app import run
from bioprobe.face.compared_pages import Explanations
from bioprobe.face.explaining import _describe
from bioprobe.overlays.heat import draw_beside
from bioprobe.page.html import render_page
from bioprobe.result import PROBLEM, WARNING
from tests.conftest import draw_picture

Encoder = Any


def _texts(found: Any) -> list[str]:  # noqa: ANN401
    return [str(note) for note in found.notes]


def _measure(store: bp.Store, encoder: Encoder, text: str) -> Any:  # noqa: ANN401
    """Return the logit of a text for each image."""
    return encoder.logit_scale * (store.X @ encoder.encode_text([text])[0])


def test_a_map_is_toward_the_answer_and_says_what_it_could_lose_against(
    opened: bp.Store,
) -> None:
    found = opened.explain(level="family", k=1)
    answers = opened.zeroshot("family", k=2, columns="none").to_frame()
    best = answers[answers["answer"] == 1]
    frame = found.to_frame()
    assert frame["row"].tolist() == list(range(6))
    assert frame["toward"].tolist() == best["family"].tolist() == frame["answer"].tolist()
    assert np.allclose(frame["score"], best["score"], atol=1e-5)
    second = answers[answers["answer"] == 2]
    said = [f"{n} {s:.3f}" for n, s in zip(second["family"], second["score"], strict=True)]
    assert frame["runners_up"].tolist() == said
    assert set(frame["kind"]) == {"family"}
    assert frame["truth"].tolist() == ["Felidae", "Canidae", ""] * 2
    assert set(frame["method"]) == {"occlusion"}
    relevance = found.items[0].relevance
    assert relevance.dtype == np.float32
    assert 0 <= relevance.min() <= relevance.max() <= 1
    assert (frame["half_right"] > frame["half_left"]).all()
    assert _texts(found)[-1] == "pictures: 6; maps: 6, by occlusion"


def test_texts_and_taxa_stand_side_by_side_with_the_logits_that_they_have(
    opened: bp.Store, encoder: Encoder
) -> None:
    found = opened.explain(
        level="family", toward=["a long tail", "felidae", "Animalia"], row=[4, 1]
    )
    frame = found.to_frame()
    assert frame["row"].tolist() == [4, 4, 4, 1, 1, 1]
    assert frame["kind"].tolist() == ["text", "family", "kingdom"] * 2
    tail = _measure(opened, encoder, "a long tail")[[4, 1]]
    assert np.allclose(frame.loc[frame["kind"] == "text", "logit"], tail, atol=1e-4)
    # Of all that is below a kingdom together no logit is higher than the sum of both.
    both = frame["logit"].to_numpy().reshape(2, 3)
    assert (both[:, 2] > both[:, 1]).all()
    said = _texts(found)
    assert "'a long tail' is asked as a text, as it is written" in said
    assert "Felidae: family" in said
    assert "Animalia: kingdom, 2 together" in said


def test_what_it_is_told_apart_from_counts_by_alpha(opened: bp.Store) -> None:
    def ask(**given: Any) -> np.ndarray[Any, Any]:  # noqa: ANN401
        frame = opened.explain(level="family", row=[0, 4], **given).to_frame()
        return frame["logit"].to_numpy(dtype=np.float64)

    alone, other = ask(toward=["Felidae", "Canidae"]).reshape(2, 2).T
    ask = functools.partial(ask, toward="Felidae")
    apart = ask(against="Canidae")
    assert np.allclose(apart, alone - other, atol=1e-4)
    assert np.allclose(ask(against="Canidae", alpha=0.25), alone - 0.25 * other, atol=1e-4)
    assert np.allclose(ask(against="Canidae", alpha=0.0), alone, atol=1e-4)
    assert opened.explain(level="family", against="runners-up", row=0).items[0].title in {
        "Felidae against Canidae", "Canidae against Felidae"
    }  # fmt: skip


def test_what_is_below_a_taxon_is_none_of_its_runners_up(opened: bp.Store) -> None:
    found = opened.explain(
        level="family", toward=["Animalia", "a tail"], against="runners-up", row=0
    )
    # All families are animals, so that nothing is left that animals could be told apart from.
    assert [one.toward for one in found.items] == ["a tail"]
    assert set(found.items[0].against) == {"Felidae", "Canidae"}


def test_a_taxon_is_found_though_the_labels_end_above_the_level(opened: bp.Store) -> None:
    found = opened.explain(toward=["Felidae", "felidae"], row=[3, 3])
    assert [(one.toward, one.kind) for one in found.items] == [("Felidae", "family")]
    assert "no label has a name at species: the taxa are those at family" in _texts(found)
    with pytest.raises(bp.PromptError, match="another --level"):
        opened.explain(row=3)


def test_a_slip_in_a_name_is_asked_as_a_text_and_said(opened: bp.Store) -> None:
    found = opened.explain(level="family", toward="Felidea", row=0)
    slips = [note for note in found.notes if note.kind == WARNING]
    assert any("did you mean Felidae?" in str(note) for note in slips)
    with pytest.raises(bp.MisuseError, match="has no name"):
        opened.explain(level="family", toward=" ", row=0)


def test_classes_of_ones_own_are_named_as_they_are(opened: bp.Store, encoder: Encoder) -> None:
    classes = {"cat": ["a cat", "a kitten"], "dog": ["a dog"]}
    found = opened.explain(classes=classes, toward="dog", templates="bare", row=2)
    one = found.items[0]
    assert one.kind == "class"
    assert one.logit == pytest.approx(_measure(opened, encoder, "a dog")[2], abs=1e-4)
    best = opened.explain(classes=classes, templates="bare", limit=3).to_frame()
    asked = opened.zeroshot(classes=classes, templates="bare", k=1, columns="none").to_frame()
    assert best["answer"].tolist() == asked["classification"].tolist()[:3]


def test_a_probe_is_explained_by_its_own_logits(opened: bp.Store) -> None:
    probe = opened.fit("lda", "family", split=None, calibration="none")
    found = opened.explain(probe="lda", limit=3)
    logits = probe.estimator.logits(opened.X[:3]).astype(np.float64)
    centred = logits - logits.mean(axis=1, keepdims=True)
    frame = found.to_frame()
    assert np.allclose(frame["logit"], centred.max(axis=1), atol=1e-4)
    assert frame["toward"].tolist() == [probe.classes[n] for n in logits.argmax(axis=1)]
    named = opened.explain(probe="lda", toward="Canidae", against="Felidae", limit=3).to_frame()
    place = probe.classes.index("Canidae")
    assert np.allclose(named["logit"], logits[:, place] - logits[:, 1 - place], atol=1e-4)
    with pytest.raises(bp.MisuseError, match=r"no class 'a tail'; it has Canidae, Felidae \(2\)"):
        opened.explain(probe="lda", toward="a tail")


def test_a_stack_is_explained_as_one_of_its_encoders_sees_the_picture(
    opened: bp.Store, tmp_path: Path
) -> None:
    X = np.random.default_rng(0).normal(size=(6, 5))  # noqa: N806
    files = opened.images["path"].tolist()
    other = bp.from_vectors(X, pd.DataFrame({"path": files}), model="other",
                            store=tmp_path / "other")  # fmt: skip
    opened.fit_stack([str(other.folder)], "family", split=None)
    answers = opened.predict_stack("stack", [str(other.folder)], k=1, columns="none").to_frame()
    found = opened.explain(probe="stack", others=[other.folder], limit=2).to_frame()
    assert found["toward"].tolist() == answers["family"].tolist()[:2]
    assert np.allclose(found["score"], answers["score"][:2], atol=1e-5)
    with pytest.raises(bp.MisuseError, match="name the stores of the others by --with STORE"):
        opened.explain(probe="stack")
    opened.fit("lda", "family", split=None, calibration="none")
    with pytest.raises(bp.MisuseError, match="the probe lda is of one"):
        opened.explain(probe="lda", others=[other.folder])


def test_the_nearest_labelled_pictures_speak_for_and_against_and_are_no_copies(
    opened: bp.Store,
) -> None:
    found = opened.explain(level="family", toward=["Felidae"], against="Canidae", k=2)
    by_label = opened.labels("family")
    similarity = opened.X @ opened.X.T
    for one in found.items:
        for examples, label in ((one.pictures_for, "Felidae"), (one.pictures_against, "Canidae")):
            rows = [row for row in np.flatnonzero(by_label == label) if row != one.row]
            nearest = sorted(rows, key=lambda row: -similarity[one.row, row])[:2]
            assert [example.row for example in examples] == nearest
            assert [example.label for example in examples] == [label] * len(nearest)
            expected = similarity[one.row, nearest]
            assert np.allclose([example.similarity for example in examples], expected, atol=1e-5)
    assert re.search(r"\d\.png 0\.\d{3}|-0\.\d{3}", found.to_frame()["nearest_for"].iloc[0])


def test_the_surest_wrong_answers_come_first_toward_the_answer_and_the_label(
    opened: bp.Store,
) -> None:
    answers = opened.zeroshot("family", k=1, columns="none").to_frame()
    truth = opened.labels("family")
    wrong = answers[(truth != "") & (answers["family"] != truth)]
    assert len(wrong)
    found = opened.explain(level="family", wrong=True)
    order = wrong.sort_values("score", ascending=False, kind="stable")["row"].tolist()
    assert list(found.rows) == order
    first = [one for one in found.items if one.row == order[0]]
    assert [one.toward for one in first] == [first[0].answers[0][0], first[0].truth]
    assert list(opened.explain(level="family", wrong=True, limit=1).rows) == order[:1]
    opened.fit("knn", "family", split=None, setting={"k": 1})
    with pytest.raises(bp.MisuseError, match="none of 4 pictures"):
        opened.explain(probe="knn", wrong=True)


def test_pictures_that_are_not_in_the_store_are_asked_for_its_classes(
    opened: bp.Store, tmp_path: Path
) -> None:
    draw_picture(40, (31, 17)).save(tmp_path / "new.png")
    found = opened.explain(tmp_path / "new.png", level="family", k=1)
    one = found.items[0]
    assert one.toward in {"Felidae", "Canidae"}
    assert one.pictures_for[0].label == one.toward
    assert found.known.file_names[one.pictures_for[0].row].endswith(".png")


def test_a_picture_that_is_gone_or_broken_is_listed_and_stops_nothing(
    opened: bp.Store, labelled: Path, tmp_path: Path
) -> None:
    (labelled.parent / "001.png").unlink()
    found = opened.explain(level="family")
    assert list(found.rows) == [0, 2, 3, 4, 5]
    assert found.failures["row"].tolist() == [1]
    last = found.to_frame().iloc[-1]
    assert "001.png" in last["file_name"]
    assert last["reason"]
    problems = [note for note in found.notes if note.kind == PROBLEM]
    assert "not explained" in str(problems[0])
    found.write_page(tmp_path / "page.html")
    assert "Not explained" in (tmp_path / "page.html").read_text()


def test_pictures_are_written_beside_their_maps_and_nothing_else_is_replaced(
    opened: bp.Store, tmp_path: Path
) -> None:
    found = opened.explain(level="family", row=[2, 5])
    folder = tmp_path / "why"
    folder.mkdir()
    mine = Image.new("RGB", (4, 4))
    mine.save(folder / "000002-002.png")
    assert found.write_overlays(folder) == 2
    assert found.write_overlays(folder) == 2
    names = sorted(file.name for file in folder.iterdir())
    assert names == ["000002-002-2.png", "000002-002.png", "000005-005.png"]
    with Image.open(folder / "000002-002.png") as kept:
        assert kept.size == (4, 4)
    with Image.open(folder / "000005-005.png") as drawn:
        assert drawn.width > drawn.height
        assert "005.png: " in drawn.info["Description"]


def test_people_cannot_be_told_in_what_is_drawn(
    labelled: Path, tmp_path: Path, loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pd.read_csv(labelled).assign(content=["human", *["animal"] * 5])
    table.to_csv(labelled, index=False)
    store = bp.embed(labelled, store=tmp_path / "people", model="plain")
    assert loads
    seen: list[Any] = []

    def watch(image: Image.Image, *args: Any, **given: Any) -> Image.Image:  # noqa: ANN401
        seen.append(np.asarray(image))
        return draw_beside(image, *args, **given)

    monkeypatch.setattr("bioprobe.explanation.drawing.draw_beside", watch)
    found = store.explain(level="family", row=0)
    found.write_overlays(tmp_path / "why")
    found.with_people("keep").write_overlays(tmp_path / "why")
    with Image.open(labelled.parent / "000.png") as image:
        whole = np.asarray(image.convert("RGB"))
    assert not np.array_equal(seen[0], whole)
    assert np.array_equal(seen[1], whole)


def test_what_cannot_be_explained_says_why(
    opened: bp.Store, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(bp.MisuseError, match="no image in row 17 that may be asked"):
        opened.explain(row=17)
    with pytest.raises(bp.MisuseError, match="--level counts only with no --probe"):
        opened.explain(probe="lda", level="genus")
    with pytest.raises(bp.MisuseError, match="--alpha counts only with --against"):
        opened.explain(alpha=0.5)
    with pytest.raises(bp.BioprobeError, match="legrad"):
        opened.explain(level="family", method="legrad", row=0)
    monkeypatch.setattr(type(encoder), "has_text_tower", False)
    with pytest.raises(bp.MisuseError, match="reads no text: say --probe NAME"):
        bp.open(opened.folder).explain(level="family", row=0)


def test_vectors_that_another_model_made_are_not_explained_by_this_one(
    opened: bp.Store, tmp_path: Path, labelled: Path
) -> None:
    files = [f"{n:03d}.png" for n in range(6)]
    table = pd.DataFrame({"path": files, "family": opened.labels("family")})
    own = bp.from_vectors(opened.X, table, model="plain-1", root=labelled.parent,
                          store=tmp_path / "own")  # fmt: skip
    assert len(own.explain(level="family", row=0)) == 1
    other = bp.from_vectors(opened.X[::-1], table, model="plain-1", root=labelled.parent,
                            store=tmp_path / "other")  # fmt: skip
    with pytest.raises(bp.MismatchError, match="holds imported vectors, and plain-1 makes another"):
        other.explain(level="family", row=0)


def test_vectors_without_their_model_say_that_a_map_needs_it() -> None:
    store = bp.from_vectors(np.eye(4), {"family": ["Felidae", "Canidae"] * 2}, model="mine")
    with pytest.raises(bp.ModelUnavailableError, match="imported vectors of mine, and a map looks"):
        store.explain(toward="a cat")


def test_the_share_of_a_map_in_each_box_is_told(
    write_pictures: Callable[..., Path], tmp_path: Path, loads: list[str]
) -> None:
    folder = write_pictures(2)
    rows = [
        {"path": "000.png", "family": "Felidae"},
        {
            "path": "001.png",
            "family": "Canidae",
            "box_x": 0.25,
            "box_y": 0.5,
            "box_width": 0.5,
            "box_height": 0.25,
            "detection_category": "animal",
        },
    ]
    pd.DataFrame(rows).to_csv(folder / "table.csv", index=False)
    store = bp.embed(folder / "table.csv", store=tmp_path / "boxes", model="plain", pad=0.5)
    assert loads
    found = store.explain(level="family")
    boxed = next(one for one in found.items if one.inside)
    # The model saw as much again around the box as it is large.
    assert boxed.seen == pytest.approx((0, 0.375, 1, 0.875), abs=0.05)
    box = boxed.inside[0]
    assert box.label == "animal"
    assert box.area == pytest.approx(0.25, abs=0.03)
    assert 0 <= box.share <= 1
    assert f"animal {box.share:.2f}/{box.area:.2f}" in set(found.to_frame()["in_boxes"])
    assert found.write_overlays(tmp_path / "why") == 2


def test_the_command_writes_the_table_the_page_and_the_pictures(
    opened: bp.Store, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["explain", "--store", str(opened.folder), "--level", "family", "--row", "3",
             "--toward", "Felidae", "--toward", "a tail", "--html", str(tmp_path / "why.html"),
             "--overlays", str(tmp_path / "why"), "-o", str(tmp_path / "why.csv")]  # fmt: skip
    assert run(asked) == 0
    said = capsys.readouterr().err
    assert f"wrote 1 picture into {tmp_path / 'why'}; wrote a page of 1 picture to" in said
    table = pd.read_csv(tmp_path / "why.csv")
    assert table["toward"].tolist() == ["Felidae", "a tail"]
    page = (tmp_path / "why.html").read_text()
    assert page.count('<section class="explained">') == 1
    assert "nearest labelled pictures for it: Felidae" in page
    # Without a store pictures are asked alone.
    shutil.rmtree(opened.folder)
    lone = ["explain", str(labelled.parent / "003.png"), "--store", str(tmp_path / "none"),
            "--model", "plain", "--toward", "a tail", "-o", str(tmp_path / "lone.csv")]  # fmt: skip
    assert run(lone) == 0
    assert pd.read_csv(tmp_path / "lone.csv")["kind"].tolist() == ["text"]


def test_whoever_asks_for_a_weak_method_is_told(opened: bp.Store) -> None:
    found = opened.explain(level="family", row=0)
    assert not any(note.kind == WARNING for note in _describe(found))
    items = tuple(dataclasses.replace(one, method="legrad") for one in found.items)
    (told,) = [
        str(note) for note in _describe(dataclasses.replace(found, items=items))
        if note.kind == WARNING
    ]  # fmt: skip
    assert "legrad finds the animals in drawings less well than a blind map" in told


def test_the_repr_and_the_length_are_of_maps(opened: bp.Store) -> None:
    found = opened.explain(level="family", row=0, toward=["Felidae", "Canidae"])
    assert isinstance(found, Explanations)
    assert len(found) == 2
    assert "toward" in found.to_lines().columns


def test_the_report_shows_the_surest_wrong_answers_as_the_evaluation_had_them(
    write_pictures: Callable[..., Path],
    tmp_path: Path,
    loads: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = write_pictures(16)
    families = ["Felidae", "Canidae"] * 8
    files = [f"{n:03d}.png" for n in range(16)]
    pd.DataFrame({"path": files, "kingdom": "Animalia", "family": families}).to_csv(
        folder / "table.csv", index=False
    )
    store = bp.embed(folder / "table.csv", store=tmp_path / "drawn", model="plain")
    assert loads
    with pytest.raises(bp.MisuseError, match="keeps no evaluation"):
        store.report(explain=2, output=tmp_path / "none.html")
    store.split("family", method="kfold", folds=2)
    found = store.evaluate("family", methods="lda", n_resamples=20)
    wrong = found.predictions[~found.predictions["right"].astype(bool)]
    assert len(wrong) > 2  # the pictures are noise
    why, told = store._explain_mistakes(found, 2, None)
    assert told == f"; 2 of {len(wrong)} wrong answers of lda explained"
    surest = wrong.sort_values("probability", ascending=False, kind="stable").iloc[0]
    said = f"answer: {surest['predicted']}, probability {surest['probability']:.3f}; its label:"
    assert why.content["pictures"][0]["lines"][0] == f"{said} {surest['truth']}"
    found = store.evaluate("family", methods="zeroshot", n_resamples=20)
    shown = render_page("explained.html.j2", {"pictures": why.content["pictures"], "tag": "h3"})
    assert shown.count('<section class="explained">') == 2
    given: list[Any] = []

    def keep(_: Any, path: Path, **options: Any) -> None:  # noqa: ANN401
        path.write_text("page")
        given.append(options["sections"])

    monkeypatch.setattr(bp.Evaluation, "report", keep)
    told = _texts(store.report(explain=1, counts=False, output=tmp_path / "why.html"))[0]
    assert "; 1 of " in told
    assert "wrong answers of zeroshot explained -> " in told
    assert [len(one[0].content["pictures"]) for one in given] == [1]
    store.report(counts=False, output=tmp_path / "why.html")
    assert given[1:] == [[]]
    store.split("family", method="kfold", folds=3)
    assert "its split is gone, or was made anew" in store._explain_mistakes(found, 2, None)[1]
