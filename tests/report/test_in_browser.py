"""Every page that is written, as a browser shows it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import bioprobe as bp
from bioprobe.evaluation.keeping import write_evaluation
from bioprobe.evaluation.result import Evaluation
from bioprobe.index import Question, search
from bioprobe.page.sheets import write_search_sheet
from bioprobe.report import write_overview, write_report
from bioprobe.report.alterations import describe_robustness, try_best, write_robustness_page
from bioprobe.report.records import write_sheet
from bioprobe.report.section import Section
from bioprobe.robustness.alterations import choose_alterations
from bioprobe.store import EmbeddingStore
from tests.browsing import find_problems, open_browser
from tests.conftest import PlainEncoder


def _tell_all(
    store: EmbeddingStore, evaluation: Evaluation, encoder: PlainEncoder, folder: Path
) -> list[Section]:
    """Return every part that the report may have beside its own, and write pages of some alone."""
    write_evaluation(store, evaluation)
    opened = bp.open(store.folder)
    places = [f"{name},{name},2021-06-01,2024-07-01,47.1,8.2" for name in "ABCDEF"]
    (folder / "deployments.csv").write_text(
        "\n".join(["deploymentID,locationName,start,end,latitude,longitude", *places])
    )
    found = opened.evaluation("family")
    told = opened._count_again(found, None, "random", folder / "deployments.csv")
    assert [one.title for one in told[1].content["sheets"]][-1] == "Trends"
    write_sheet(folder / "trends.html", told[1].content["sheets"][-1])
    tried = try_best(evaluation, opened._recall(found), encoder, 3)
    write_robustness_page(folder / "robustness.html", tried)
    return [*told, describe_robustness(tried)]


def test_a_report_opens_from_disk_and_asks_no_network(
    store: EmbeddingStore, evaluation: Evaluation, tmp_path: Path
) -> None:
    path = tmp_path / "pages" / "report.html"
    write_report(store, evaluation, path)
    page = path.read_text(encoding="utf-8")
    assert page.count("data:image/svg+xml;base64,PD94") > 5
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert "<script" not in page
    assert len(page) < 15e6


@pytest.mark.usefixtures("undrawn")
def test_pages_fit_every_screen_and_paper_and_are_accessible(
    store: EmbeddingStore,
    evaluation: Evaluation,
    orders: Evaluation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    few = choose_alterations(["grey", "flip"])
    monkeypatch.setattr("bioprobe.report.alterations.choose_alterations", lambda _: few)
    further = _tell_all(store, evaluation, PlainEncoder(), tmp_path)
    (tmp_path / "statuses.csv").write_text(
        "family,status\nFelidae,VU\nCanidae,LC\nBovidae,CR(PE)\n", encoding="utf-8"
    )
    judged = bp.open(store.folder).status(
        tmp_path / "statuses.csv", labels=True, by="family", save_columns=True, n_resamples=5
    )
    judged.write_page(tmp_path / "status.html")
    store = EmbeddingStore.open(store.folder)
    write_report(store, orders, tmp_path / "report.html", sections=further)
    assert "Conservation status</h2>" in (tmp_path / "report.html").read_text(encoding="utf-8")
    write_overview(store, tmp_path / "overview.html", None, unasked="there are no names")
    vectors = store.read_vectors()
    write_search_sheet(tmp_path / "search.html", search(store, Question(vectors[:1]), k=6))
    with open_browser() as browser:
        found = [
            one for page in sorted(tmp_path.glob("*.html")) for one in find_problems(browser, page)
        ]
    assert found == []


def test_a_text_that_is_unlike_others_of_its_kind_is_looked_at(tmp_path: Path) -> None:
    cells = "<tr><td>seen</td><td>seen</td></tr>" * 20
    faint = "<tr><td>seen</td><td class='faint'>lost</td></tr>"
    (tmp_path / "page.html").write_text(
        "<!doctype html><html lang='en'><title>Page</title><style>.faint { color: #ddd }</style>"
        "<body style='background: rgb(251, 252, 250)'><main><h1>Page</h1>"
        f"<table>{cells}{faint}{cells}</table></main></body></html>"
    )
    with open_browser() as browser:
        found = find_problems(browser, tmp_path / "page.html")
    assert found
    assert all('color-contrast: <td class="faint">lost' in one for one in found)
