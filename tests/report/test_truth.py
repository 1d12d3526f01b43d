"""What a report says first is what its tables say, and all its words are explained."""

from __future__ import annotations

import dataclasses
import html.parser
import re
from pathlib import Path

import numpy as np
import pytest

from bioprobe.errors import MisuseError
from bioprobe.evaluation.curves import Efficiency
from bioprobe.evaluation.paired import Comparison
from bioprobe.evaluation.result import Evaluation
from bioprobe.intervals import SIGNIFICANCE_LEVEL, Interval
from bioprobe.page.words import EXPLANATIONS, Words, name_anchor
from bioprobe.report import write_report
from bioprobe.report.advice import LearningCurve, find_next_steps, find_usable
from bioprobe.report.brief import describe_success
from bioprobe.report.methods import describe_methods, summarise
from bioprobe.report.naming import Naming
from bioprobe.report.report import describe_report
from bioprobe.splits import read_split
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import write_selection
from bioprobe.taxonomy import Taxon
from tests.conftest import alter_images

pytestmark = pytest.mark.usefixtures("undrawn")


def _draw(evaluation: Evaluation, seed: int) -> Evaluation:
    """Return an evaluation of the same pictures with other figures of three methods."""
    random = np.random.default_rng(seed)

    def interval(estimate: float) -> Interval:
        return dataclasses.replace(
            evaluation.best.metrics["accuracy"],
            estimate=estimate, low=estimate - 0.03, high=min(1.0, estimate + 0.03),
        )  # fmt: skip

    results = []
    for name in ("linear", "knn", "centroid"):
        # Some are equal, some differ in the fourth digit only.
        figures = {"accuracy": random.integers(9400, 9404) / 10_000, "ece": random.uniform(0, 0.1)}
        if random.random() < 0.7:
            figures["ece_calibrated"] = random.uniform(0, 0.1)
        metrics = {name: one for name, one in evaluation.best.metrics.items() if "ece" not in name}
        metrics |= {name: interval(float(one)) for name, one in figures.items()}
        results.append(dataclasses.replace(evaluation.best, method=name, metrics=metrics))
    near = SIGNIFICANCE_LEVEL + random.choice([-0.02, -1e-4, -1e-6, 0.0, 1e-6, 0.02], 3)
    template = evaluation.comparisons[0]
    pairs = [("linear", "knn"), ("linear", "centroid"), ("knn", "centroid")]
    comparisons: list[Comparison] = [
        dataclasses.replace(
            template, first=one, second=other, metric="accuracy", p_adjusted=float(p)
        )
        for (one, other), p in zip(pairs, near, strict=True)
    ]
    return dataclasses.replace(
        evaluation, results=tuple(results), comparisons=tuple(comparisons), positive=None
    )


def test_no_headline_contradicts_its_table(evaluation: Evaluation) -> None:
    for seed in range(25):
        drawn = _draw(evaluation, seed)
        said, table = " ".join(summarise(drawn)), describe_methods(drawn)
        rows = {row["method"]: row for row in table["rows"]}
        cells = {
            name: dict(zip(table["columns"], row["cells"], strict=True))
            for name, row in rows.items()
        }
        accuracies = {name: float(of["accuracy"]["value"]) for name, of in cells.items()}
        best = re.search(r"The best method is (\w+): of .*? gives ([\d.]+)%", said)
        assert best is not None
        assert rows[best[1]]["is_best"]
        assert accuracies[best[1]] == max(accuracies.values())
        assert float(best[2]) / 100 == pytest.approx(accuracies[best[1]], abs=0.0011)
        assert describe_success(drawn)["large"] == f"{100 * accuracies[best[1]]:.0f}%"
        equal = re.search(r"not told apart from ([\w, ]+) \(", said)
        assert set(equal[1].split(", ") if equal else []) == {
            name
            for name, row in rows.items()
            if row["against_best"] and float(row["against_best"]["p"]) >= SIGNIFICANCE_LEVEL
        }
        surest = re.search(
            r"probabilities of (\w+) mean most what they say (once calibrated|as they come): "
            r"expected calibration error ([\d.]+\d)(, and calibration makes them no better)?", said
        )  # fmt: skip
        assert surest is not None
        errors = [
            float(one["value"])
            for of in cells.values()
            for title, one in of.items()
            if title.startswith("ECE") and one["value"]
        ]
        way = "ECE calibrated" if surest[2] == "once calibrated" else "ECE as it comes"
        own = cells[surest[1]]
        assert float(surest[3]) == float(own[way]["value"]) == min(errors)
        if surest[4]:
            assert float(own["ECE calibrated"]["value"]) >= float(own["ECE as it comes"]["value"])


def test_what_a_filter_drops_is_in_no_advice(store: EmbeddingStore, evaluation: Evaluation) -> None:
    split = read_split(store)
    evaluation = dataclasses.replace(evaluation, efficiency=())
    before = find_next_steps(store, evaluation, split)
    assert [one["row"] for one in before["check"]] == [0]
    assert (before["n_unlabelled"], before["n_dropped"]) == (1, 0)
    assert [one["class"] for one in before["collect"]] == ["Bovidae"]
    # Row 0 bears a wrong label, row 36 none.
    kept = np.ones(len(store), dtype=bool)
    kept[[0, 36]] = False
    write_selection(store, "filters/animal", store.rows, kept)
    after = find_next_steps(store, evaluation, split)
    assert (after["check"], after["collect"], after["n_wrong"]) == ([], [], 0)
    assert (after["n_unlabelled"], after["n_dropped"]) == (0, 1)
    assert find_usable(store)[1] == ("filters/animal",)


def test_a_mask_that_was_learnt_under_counts_and_one_of_something_else_does_not(
    store: EmbeddingStore,
) -> None:
    write_selection(store, "night", store.rows, np.arange(len(store)) > 5)
    assert find_usable(store)[0].all()
    assert find_usable(store, "night", None)[0].sum() == len(store) - 6


def _point(n: int, accuracy: float) -> Efficiency:
    return Efficiency("knn", n, 0, 0, (accuracy,))


def test_a_curve_says_what_twice_the_pictures_take_away() -> None:
    # Mistakes halve from 1 to 4 pictures, and stay from 4 to 16.
    points = [_point(4, 0.8), _point(1, 0.6), _point(16, 0.8)]
    curve = LearningCurve.of(points, "knn")
    assert curve is not None
    assert curve.save(0) == pytest.approx(0.6)
    assert curve.save(1) == curve.save(3) == pytest.approx(1 - 0.5**0.5)
    assert curve.save(4) == curve.save(500) == 0.0
    assert LearningCurve.of(points, "linear") is None
    done = LearningCurve.of([_point(1, 0.5), _point(2, 1.0)], "knn")
    assert done is not None
    assert (done.save(1), done.save(100)) == (1.0, 1.0)


def test_classes_are_collected_by_expected_gain_and_none_without_a_mistake(
    store: EmbeddingStore, evaluation: Evaluation, tmp_path: Path
) -> None:
    wrong = evaluation.predictions.copy()
    classes = list(evaluation.classes.names)
    # Two mistakes in Canidae, one in Felidae, beside that of row 0 in Bovidae.
    rows = {name: wrong[wrong["truth"] == name]["row"].unique() for name in classes}
    lost = [*rows["Canidae"][:2], *rows["Felidae"][:1]]
    is_lost = wrong["row"].isin(lost).to_numpy()
    wrong["right"] &= ~is_lost
    wrong["predicted_class"] = wrong["predicted_class"].mask(is_lost, classes.index("Bovidae"))
    wrong["predicted"] = wrong["predicted"].mask(is_lost, "Bovidae")
    best = evaluation.best.method
    points = tuple(dataclasses.replace(_point(n, a), method=best) for n, a in ((1, 0.5), (8, 0.9)))
    told = dataclasses.replace(evaluation, predictions=wrong, efficiency=points)
    found = find_next_steps(store, told, read_split(store))
    assert found["learner"] == best
    assert [one["class"] for one in found["collect"]] == ["Canidae", "Bovidae", "Felidae"]
    gains = [one["gain"] for one in found["collect"]]
    assert gains[0] == pytest.approx(2 * (1 - 0.2 ** (1 / 3)))
    write_report(store, told, tmp_path / "report.html")
    assert f"help {best}, the best method that learns" in (tmp_path / "report.html").read_text()
    flat = tuple(dataclasses.replace(one, accuracies=(0.9,)) for one in points)
    write_report(store, dataclasses.replace(told, efficiency=flat), tmp_path / "flat.html")
    page = (tmp_path / "flat.html").read_text(encoding="utf-8")
    assert "No class needs more pictures" in page
    assert "Collect pictures of these first" not in page


def test_common_names_are_shown_in_the_language_of_a_list(
    store: EmbeddingStore, evaluation: Evaluation, tmp_path: Path
) -> None:
    cats = Taxon.from_names({"kingdom": "Animalia", "family": "Felidae"}, common_name="Katzen")
    beasts = Taxon.from_names({"order": "Artiodactyla"}, common_name="Paarhufer")
    naming = Naming.of(store, [cats, beasts])
    common = naming.find_all(evaluation.classes)
    assert common == {"Felidae": "Katzen", "Bovidae": "Artiodactyla: Paarhufer"}
    assert naming.find_picture(1) == "Katzen"
    write_report(store, evaluation, tmp_path / "a.html", title="Im Wald", names=[cats, beasts])
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<title>Im Wald</title>" in page
    assert "<h1>Im Wald</h1>" in page
    assert "<small>Artiodactyla: Paarhufer</small>" in page


def test_pictures_have_their_own_common_name_unless_a_language_is_asked_for(
    store: EmbeddingStore,
) -> None:
    names = store.images.column("common_name").copy()
    names[3] = "lion"
    alter_images(store, common_name=names)
    assert Naming.of(store).find_picture(3) == "lion"
    assert Naming.of(store, []).find_picture(3) == ""


def test_a_word_without_an_explanation_cannot_stand_on_a_page() -> None:
    with pytest.raises(MisuseError, match="has no explanation"):
        Words()("kurtosis")


class _Words(html.parser.HTMLParser):
    """The text of a page, its links to explanations, and what is explained."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.links, self.explained = "", set[str](), dict[str, str]()
        self._open: list[str] = []
        self._term = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self._open.append(tag)
        if tag == "a" and named.get("class") == "word":
            self.links.add(str(named["href"])[1:])
        if tag == "dt" and named.get("id"):
            self._term = str(named["id"])
        self.text += f" {named.get('alt') or ''} "

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._term and "dd" in self._open:
            self.explained[self._term] = data.strip()
            self._term = ""
        elif not {"style", "pre", "code"} & set(self._open):
            self.text += data


# Words of the field that nobody need know; the others of the list are English.
_STATISTICS = {name for name in EXPLANATIONS if name not in {"p", "score", "seconds", "difference"}}


def test_every_statistic_on_a_page_is_explained_on_it(
    store: EmbeddingStore, evaluation: Evaluation, orders: Evaluation, tmp_path: Path
) -> None:
    for name, one in (("family", evaluation), ("order", orders)):
        path = tmp_path / f"{name}.html"
        write_report(store, one, path)
        page = _Words(path.read_text(encoding="utf-8"))
        assert page.links
        assert page.links <= page.explained.keys()
        assert all(page.explained.values())
        for word in _STATISTICS:
            if re.search(rf"\b{re.escape(word)}\b", page.text, flags=re.IGNORECASE):
                own = name_anchor(word).removeprefix("word-")
                assert any(own in term for term in page.explained), f"{word} on {path.name}"


def test_the_first_screen_tells_how_many_how_usable_how_often_and_in_what(
    store: EmbeddingStore, evaluation: Evaluation
) -> None:
    brief = {one["label"]: one for one in describe_report(store, evaluation)["brief"]}
    assert list(brief) == ["Pictures", "Usable", "How often right", "In what it fails"]
    assert brief["Pictures"]["large"] == "37"
    assert brief["Usable"]["large"] == "36"
    assert "1 have no label" in brief["Usable"]["said"]
    assert brief["In what it fails"]["large"] == "1 picture"
    assert "Bovidae taken for Felidae" in brief["In what it fails"]["said"]
