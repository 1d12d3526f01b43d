"""Parts of the report that ask again: they say what the questions say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bioprobe as bp
from bioprobe.evaluation.keeping import write_evaluation
from bioprobe.evaluation.result import Evaluation
from bioprobe.face import count_pages
from bioprobe.report import alterations, estimates
from bioprobe.report.again import ask_again
from bioprobe.report.section import Section
from bioprobe.robustness.alterations import Alteration, choose_alterations
from bioprobe.splits import make_split, write_split
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Rank
from tests.conftest import PlainEncoder


@pytest.fixture
def opened(
    store: EmbeddingStore, evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> bp.Store:
    """Return the evaluated store, whose pages draw no figures."""
    write_evaluation(store, evaluation)
    for module, name in ((estimates, "plot_counts"), (alterations, "plot_strengths"),
                         (alterations, "plot_intervals"), (count_pages, "plot_activity"),
                         (count_pages, "plot_accumulation")):  # fmt: skip
        monkeypatch.setattr(module, name, lambda *_, **__: "data:,")
    return bp.open(store.folder)


def _count(
    opened: bp.Store, labelled: str | None = None, assume: str | None = None
) -> list[Section]:
    with pytest.MonkeyPatch.context() as patch:
        # What is recorded has a test of its own.
        patch.setattr(bp.Store, "_record", lambda *_: None)
        return opened._count_again(opened.evaluation("family"), labelled, assume, None)


def test_counts_are_those_of_estimate_for_the_pictures_that_the_split_was_drawn_from(
    opened: bp.Store, store: EmbeddingStore
) -> None:
    write_split(store, make_split(store, Rank.FAMILY, fractions=(0.5, 0.2, 0.3)))
    opened.evaluate("family", methods="centroid", n_resamples=5)
    found = opened.evaluation("family")
    counts, records = opened._count_again(found, None, None, None)
    assert records is not None
    answers = ask_again(found, opened._recall(found), opened._view)
    rows = [row for row in store.rows.tolist() if row != 36]
    asked = opened.where(rows=rows).estimate("family", by="station", answers=answers,
                                             labelled="default:test")  # fmt: skip
    assert isinstance(asked, bp.Estimates)
    frame = asked.to_frame()
    whole = frame[frame["station"] == "(all)"].set_index("family")
    station, month = counts.content["tables"]
    assert (station["by"], month["by"]) == ("station", "month")
    n_test = len(found.predictions)
    assert (station["n_images"], station["n_labelled"]) == (36, n_test)
    for line in station["lines"]:
        row = whole.loc[line["name"]]
        assert line["count"][0] == f"{row['count']:,.0f}"
        assert line["count"][1] == f"{row['count_low']:,.0f} to {row['count_high']:,.0f}"
        assert (line["raw"], line["over"]) == (row["raw"], row["sure"])
    assert {one["group"] for one in station["groups"]} == set("ABCDEF")
    assert counts.brief is not None
    assert (
        counts.brief["large"] == f"{station['lines'][0]['name']}: {station['lines'][0]['count'][0]}"
    )
    said = " ".join(counts.content["assumes"])
    assert (
        f"The {n_test} labelled pictures of the part test of the split default were drawn" in said
    )
    assert "1 pictures are not counted" in said
    told = opened.records(answers, level="family")
    assert records.content["sheets"][0].n == len(told.timed)
    assert [one.title for one in records.content["sheets"]] == ["Records", "Activity", "Richness"]
    assert "--deployments" in records.content["left_out"][0]


def test_without_a_random_sample_raw_counts_stand_there_with_the_reason(opened: bp.Store) -> None:
    (counts,) = _count(opened, labelled="default:train")
    assert "learn" in counts.content["problem"]
    assert sum(one["raw"] for one in counts.content["raw"]) == 37
    assert counts.brief is None
    (assumed,) = _count(opened, assume="random")
    assert assumed.content["tables"][0]["n_images"] == 37
    assert "on your word" in " ".join(assumed.content["assumes"])


def test_a_sample_that_was_drawn_is_taken_first(opened: bp.Store) -> None:
    opened.estimate("family", draw=36, labelled="mine", answers="column:family")
    (counts,) = _count(opened)
    assert "of the mask mine were drawn at random from the 37" in " ".join(
        counts.content["assumes"]
    )


def test_a_split_that_was_made_anew_is_no_sample(opened: bp.Store, store: EmbeddingStore) -> None:
    write_split(store, make_split(store, Rank.FAMILY, seed=9))
    (counts,) = _count(opened)
    assert "made anew" in counts.content["problem"]


def test_altered_pictures_are_test_pictures_and_figures_those_of_the_table(
    opened: bp.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = choose_alterations(["grey", "flip"])

    def choose(_: object) -> tuple[Alteration, ...]:
        return few

    monkeypatch.setattr(alterations, "choose_alterations", choose)
    found = opened.evaluation("family")
    tried = alterations.try_best(found, opened._recall(found), PlainEncoder(), 5)
    assert set(tried.rows) <= set(found.predictions["row"])
    assert (len(tried.rows), tried.asked) == (5, f"{found.best.method} at family")
    shown = alterations.describe_robustness(tried)
    frame = tried.to_frame()
    rows = [row for one in shown.content["alterations"] for row in one["rows"]]
    assert rows == frame.to_dict("records")
    assert shown.brief is not None
    assert shown.brief["large"] == f"{100 * frame['flip_rate'].max():.0f} of 100 answers"
    answers = found.predictions[found.predictions["method"] == found.best.method]
    assert np.isfinite(frame["accuracy"]).all()
    assert len(answers) == 12


def test_the_command_leaves_out_what_is_not_wanted(
    opened: bp.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[list[str]] = []

    def keep(_: object, path: Path, **options: list[Section]) -> None:
        path.write_text("page")
        given.append([one.id for one in options["sections"]])

    monkeypatch.setattr(bp.Evaluation, "report", keep)
    monkeypatch.setattr(bp.Store, "_record", lambda *_: Section("records", "", "", "", {}))
    opened.report(output=tmp_path / "a.html")
    opened.report(counts=False, output=tmp_path / "a.html")
    assert given == [["counts", "records"], []]
    with pytest.raises(bp.MisuseError, match="counts"):
        opened.report(counts=False, assume="random", output=tmp_path / "a.html")
    with pytest.raises(bp.MisuseError, match=r"--output b\.html"):
        opened.report("b.html")
