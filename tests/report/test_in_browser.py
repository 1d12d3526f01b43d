"""Every page that is written, as a browser shows it."""

from __future__ import annotations

from pathlib import Path

import bioprobe as bp
from bioprobe.evaluation.evaluate import evaluate
from bioprobe.index import Question, search
from bioprobe.page.sheets import write_search_sheet
from bioprobe.report import write_overview, write_report
from bioprobe.splits import read_split
from bioprobe.store import EmbeddingStore
from bioprobe.task.task import Task
from bioprobe.taxonomy import Rank
from tests.browsing import find_problems, open_browser


def test_pages_fit_every_screen_and_paper_and_are_accessible(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    (tmp_path / "statuses.csv").write_text(
        "family,status\nFelidae,VU\nCanidae,LC\nBovidae,CR(PE)\n", encoding="utf-8"
    )
    judged = bp.open(store.folder).status(
        tmp_path / "statuses.csv", labels=True, by="family", save_columns=True, n_resamples=5
    )
    judged.write_page(tmp_path / "status.html")
    store = EmbeddingStore.open(store.folder)
    two = evaluate(Task.of(store, Rank.ORDER, split=read_split(store)), ["centroid", "knn"],
                   n_resamples=5)  # fmt: skip
    write_report(store, two, tmp_path / "report.html")
    assert "Conservation status</h2>" in (tmp_path / "report.html").read_text(encoding="utf-8")
    write_overview(store, tmp_path / "overview.html", None, unasked="there are no names")
    vectors = store.read_vectors()
    write_search_sheet(tmp_path / "search.html", search(store, Question(vectors[:1]), k=6))
    with open_browser() as browser:
        found = [
            one for page in sorted(tmp_path.glob("*.html")) for one in find_problems(browser, page)
        ]
    assert found == []
