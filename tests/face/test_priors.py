from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bioprobe as bp
from bioprobe.errors import MisuseError
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Rank
from bioprobe.taxonomy.columns import to_taxonomy
from bioprobe.zeroshot.text_head import write_head

WEIGHTS = {"Felidae": 1.0, "Canidae": 0.25}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "prior.csv"
    lines = [f"{name},{weight}" for name, weight in WEIGHTS.items()]
    path.write_text("\n".join(["taxon,weight", *lines]), encoding="utf-8")
    return path


def weigh(plain: Any, name: str) -> Any:  # noqa: ANN401
    """Return answers with every class as a prior makes them, by row and class."""
    frame = plain.to_frame()
    frame["score"] *= frame[name].map(WEIGHTS)
    frame["score"] /= frame.groupby("row")["score"].transform("sum")
    return frame.set_index(["row", name])["score"].sort_index()


def check(found: Any, plain: Any, name: str = "family") -> None:  # noqa: ANN401
    frame = found.to_frame()
    assert frame["prior"].tolist() == frame[name].map(WEIGHTS).tolist()
    own = frame.set_index(["row", name])["score"].sort_index()
    np.testing.assert_allclose(own, weigh(plain, name), rtol=1e-3, atol=1e-6)
    assert not np.allclose(own, plain.to_frame().set_index(["row", name])["score"].sort_index())
    assert any("prior" in str(note) for note in found.notes)


def test_zeroshot_multiplies_by_the_weight(opened: bp.Store, table: Path) -> None:
    plain = opened.zeroshot("family", k=2)
    found = opened.zeroshot("family", k=2, prior=table)
    check(found, plain)
    assert isinstance(found, bp.Predictions)
    assert found.provenance.options["prior"]["floor"] == 0.01
    check(opened.zeroshot("family", k=2, prior=table, roll_up=True),
          opened.zeroshot("family", k=2, roll_up=True))  # fmt: skip
    best = opened.zeroshot("family", k=1, prior=table).to_frame()
    whole = found.to_frame()
    assert best["score"].tolist() == whole[whole["answer"] == 1]["score"].tolist()


def test_zeroshot_by_a_head_and_by_named_classes_does_so_too(
    opened: bp.Store,
    table: Path,
    encoder: Any,  # noqa: ANN401
) -> None:
    kept = EmbeddingStore.open(opened.folder)
    taxa = to_taxonomy(kept.images.frame).at(Rank.FAMILY)
    frame = pd.DataFrame([{**taxon.to_names(), "common_name": ""} for taxon in taxa])
    write_head(kept, "head", frame, [encoder.encode_text(list(WEIGHTS))], source="made up")
    asked: dict[str, Any] = {"head": "head", "k": 2}
    check(opened.zeroshot("family", prior=table, **asked), opened.zeroshot("family", **asked))
    named: dict[str, Any] = {"classes": list(WEIGHTS), "k": 2}
    check(opened.zeroshot(prior=table, **named), opened.zeroshot(**named), "classification")


def test_abstaining_and_sequences_show_the_weight(opened: bp.Store, table: Path) -> None:
    decided = opened.zeroshot("family", abstain=0.01, prior=table).to_frame()
    assert decided["prior"].tolist() == decided["family"].map(WEIGHTS).tolist()
    above = opened.zeroshot("family", abstain=1.0, prior=table).to_frame()
    higher = above["family"] == ""
    assert higher.any()
    assert set(above["prior"][higher].dropna()) == {1.0}
    pooled = opened.zeroshot("family", per="sequence", sequence="site", prior=table).to_frame()
    assert pooled["prior"].tolist() == pooled["family"].map(WEIGHTS).tolist()


def test_a_probe_multiplies_by_the_weight(opened: bp.Store, table: Path) -> None:
    probe = opened.fit("centroid", "family", split=None)
    check(probe.predict(prior=table), probe.predict())
    floored = probe.predict(prior=table, prior_floor=0.5).to_frame()
    assert set(floored["prior"]) == {1.0, 0.5}
    decided = probe.predict(prior=table, abstain=0.01).to_frame()
    assert decided["prior"].tolist() == decided["family"].map(WEIGHTS).tolist()
    by_name = opened.predict("centroid", prior=table).to_frame()
    assert by_name.equals(probe.predict(prior=table).to_frame())


def test_promises_without_a_prior_are_not_kept_with_one(opened: bp.Store, table: Path) -> None:
    probe = opened.fit("centroid", "family", split=None)
    for asked in ({"sets": 0.9}, {"unknown": True}, {"abstain": "auto"}):
        with pytest.raises(MisuseError, match="held-out images without a prior"):
            probe.predict(prior=table, **asked)
    with pytest.raises(MisuseError, match="--prior-floor counts only with --prior"):
        probe.predict(prior_floor=0.5)


@pytest.fixture
def placed(opened: bp.Store) -> bp.Store:
    """Return a store of 40 images of two families, of which one lives in the north."""
    kept, random = EmbeddingStore.open(opened.folder), np.random.default_rng(0)
    north = np.arange(40) % 2 == 0
    frame = pd.DataFrame(
        {
            "path": [f"placed/{row}.jpg" for row in range(40)],
            "sha256": [f"placed {row}" for row in range(40)],
            "family": np.where(north, "Felidae", "Canidae"),
            "habitat": np.where(north, "north", "south"),
        }
    )
    kept.append(frame, random.normal(size=(40, kept.manifest.dim)))
    return bp.open(opened.folder).where("habitat != ''")


def test_columns_stand_beside_the_vectors_of_a_probe(placed: bp.Store) -> None:
    probe = placed.fit("lda", "family", split=None, with_columns="habitat", name="site")
    by_with = placed.fit("lda", "family", split=None, others=["habitat"], name="other")
    assert by_with.fitted.block == probe.fitted.block
    said = " ".join(map(str, probe.notes))
    assert "habitat: one of 2 categories (chosen by cross-validation of 4)" in said
    assert probe.fitted.held_out.n_correct > 35
    facts = placed.probe("site").to_frame().set_index("field")["value"]
    assert facts["columns"] == probe.fitted.block.describe()  # type: ignore[union-attr]
    heavy = placed.fit("lda", "family", split=None, with_columns="habitat", setting=["weight=3"])
    assert heavy.fitted.block is not None
    assert heavy.fitted.block.weight == 3
    with pytest.raises(MisuseError, match="both name columns"):
        placed.fit("lda", "family", split=None, with_columns="habitat", others="habitat")
    with pytest.raises(MisuseError, match="another KIND than stack"):
        placed.fit("stack", "family", with_columns="habitat")


def test_other_pictures_without_the_column_are_said(placed: bp.Store) -> None:
    probe = placed.fit("lda", "family", split=None, with_columns="habitat")
    others = bp.open(placed.folder).where(rows=range(6))
    said = " ".join(map(str, probe.predict(others).notes))
    assert "6 of 6 images stand in the middle of habitat: nothing is known" in said


def test_tuning_and_evaluating_take_columns(placed: bp.Store) -> None:
    tuned = placed.tune("family", kinds="lda", split=None, n_trials=1, with_columns="habitat")
    assert "weight" in tuned.best.settings
    placed.split("family", method="kfold", folds=2)
    found = placed.evaluate(
        "family", methods="lda", with_columns="habitat", column_weight=1.0, n_resamples=20
    )
    assert "columns_accuracy_difference" in found.to_frame()
    assert any("with the columns: accuracy" in str(note) for note in found.notes)
    with pytest.raises(MisuseError, match="--label-efficiency counts only with"):
        placed.evaluate("family", methods="lda", with_columns="habitat", label_efficiency=True)


def test_a_prior_and_a_list_of_what_may_occur_go_together(opened: bp.Store, table: Path) -> None:
    plain = opened.zeroshot("family", k=2, prior=table).to_frame()
    shares = plain[plain["family"] == "Canidae"].set_index("row")["score"]
    listed = opened.zeroshot("family", k=2, prior=table, within="Felidae").to_frame()
    named = listed[listed["family"] != ""]  # the other rows are what the list rolled up
    assert set(named["family"]) == {"Felidae"}
    assert set(named["prior"]) == {1.0}
    outside = named.set_index("row")["share_outside"]
    np.testing.assert_allclose(outside, shares.loc[outside.index], atol=1e-5)
