from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import bioprobe as bp
from bioprobe.cli.app import run
from bioprobe.errors import MisuseError, SelectionError
from bioprobe.intervals import measure_share


def test_vectors_of_what_is_not_altered_are_those_of_the_store(opened: bp.Store) -> None:
    found = opened.robustness(alterations="flip,crop,grey")
    frame = found.to_frame().set_index(["alteration", "strength"])
    assert list(frame.index) == [
        ("flip", "1"), ("crop", "0.9"), ("crop", "0.75"), ("crop", "0.5"), ("grey", "0.5"),
        ("grey", "1"),
    ]  # fmt: skip
    assert found.provenance.options["cosine_to_stored"] == 1
    assert (frame["n_images"] == 6).all()
    assert "flip_rate" not in frame
    assert frame["cosine"].between(-1, 0.9999).all()
    again = opened.robustness(alterations=["flip", "crop", "grey"])
    np.testing.assert_array_equal(again.to_frame()["cosine"], found.to_frame()["cosine"])
    assert len(set(opened.robustness(alterations="flip", group="site").groups)) == 1
    with pytest.raises(SelectionError, match="sight"):
        opened.robustness(alterations="flip", group="sight")
    other = opened.robustness(alterations="crop", seed=1).to_frame()
    assert other["cosine"].tolist() != frame["cosine"].tolist()[1:4]


def test_answers_of_texts_are_compared_with_those_before(opened: bp.Store, tmp_path: Path) -> None:
    found = opened.robustness("family", alterations="brightness")
    assert found.asked == "zero-shot at family"
    assert found.unaltered is not None
    before = opened.zeroshot("family", k=1)
    assert found.unaltered.answers.tolist() == before.to_frame()["family"].tolist()
    for one in found.altered:
        assert one.changed is not None
        assert one.is_right is not None
        # Two of six have no label.
        assert np.isnan(one.is_right).sum() == 2
    row = found.to_frame().iloc[-1]
    assert row["n_labelled"] == 4
    assert row["flip_rate"] == found.altered[-1].changed.mean().round(4)  # type: ignore[union-attr]
    assert row["flip_rate_low"] <= row["flip_rate"] <= row["flip_rate_high"]
    # What has no label flips like any other: two of six.
    is_right = found.altered[-1].is_right
    assert is_right is not None
    flipped = dataclasses.replace(found.altered[-1], changed=np.isnan(is_right))
    flips = dataclasses.replace(found, altered=(flipped,)).to_frame()["flip_rate"]
    assert flips.tolist() == [0.3333]
    # Pictures of one deployment tell less than as many of others.
    assert found.groups.tolist() == [""] * 6
    groups = np.array(["a", "a", "a", "b", "b", ""], dtype=object)
    joined = dataclasses.replace(found, groups=groups).to_frame().iloc[-1]
    share = measure_share(found.altered[-1].changed, groups)  # type: ignore[arg-type]
    assert joined["flip_rate_low"] == round(share.low, 4)
    assert joined["flip_rate"] == row["flip_rate"]
    width = joined["flip_rate_high"] - joined["flip_rate_low"]
    assert width > row["flip_rate_high"] - row["flip_rate_low"]
    most = found.find_most_touched(2)
    assert most["row"].tolist() == np.argsort(found.touched, kind="stable")[:2].tolist()
    assert set(most["most_by"]) <= {f"brightness {one.named}" for one in found.altered}
    page = tmp_path / "page.html"
    # Six touched, and four copies of one.
    assert found.write_page(page) == 10
    assert page.read_text(encoding="utf-8").count("data:image/jpeg") == 10


def test_a_probe_is_asked_of_what_did_not_teach_it(opened: bp.Store) -> None:
    opened.where("path != '000.png'").fit("centroid", level="family", split="none", name="mine")
    found = opened.robustness(probe="mine", alterations="grey")
    # What taught it is left out, but for what has no label and the one left out.
    assert sorted(found.rows) == [0, 2, 5]
    assert "3 pictures that taught the probe mine are left out" in map(str, found.notes)
    assert found.unaltered is not None
    assert np.isfinite(found.unaltered.is_right).sum() == 1
    # Where nothing else is there they are altered too, and right and wrong count for nothing.
    taught = opened.where(rows=[1, 3, 4]).robustness(probe="mine", alterations="grey")
    assert len(taught.rows) == 3
    assert (taught.to_frame()["n_labelled"] == 0).all()
    named = opened.where(rows=[0]).robustness(classes="cat,dog", alterations="grey")
    assert named.unaltered is not None
    assert set(named.unaltered.answers) <= {"cat", "dog"}


def test_a_sample_is_drawn_by_seed(opened: bp.Store) -> None:
    drawn = [tuple(opened.robustness(alterations="flip", sample=2, seed=s).rows) for s in range(5)]
    assert {len(one) for one in drawn} == {2}
    assert len(set(drawn)) > 1
    again = opened.robustness(alterations="flip", sample=2, seed=3)
    assert tuple(again.rows) == drawn[3]


def test_what_cannot_be_read_is_left_out_and_said(opened: bp.Store, labelled: Path) -> None:
    (labelled.parent / "000.png").unlink()
    found = opened.robustness(alterations="flip")
    assert (found.n_unread, len(found.rows)) == (1, 5)
    assert any("could not be read" in str(note) for note in found.notes)
    with pytest.raises(SelectionError, match="none of the 1 pictures of the sample"):
        opened.where(rows=[0]).robustness(alterations="flip")
    with pytest.raises(MisuseError, match="no alteration"):
        opened.robustness(alterations="sharpen")


def test_the_command_writes_table_and_page(
    opened: bp.Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    asked = ["robustness", "--alterations", "resize", "-s", str(opened.folder), "-n", "3"]
    assert run([*asked, "--html", str(page)]) == 0
    shown = capsys.readouterr()
    assert "resize,pad" in shown.out
    assert "3 pictures, 3 altered copies of each; only vectors are compared" in shown.err
    assert page.exists()
