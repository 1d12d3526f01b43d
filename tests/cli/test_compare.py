from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

import bioprobe as bp
from bioprobe.cli.app import run
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import read_selection

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def answers(store: Path) -> Path:
    """Write the labels of the store as answers of which three are changed."""
    frame = bp.open(store).images[["path", "family", "species"]].reset_index(drop=True)
    frame = frame[frame["species"] != ""].reset_index(drop=True)
    frame = frame.rename(columns={"path": "file_name"}).assign(score=0.9)
    frame.loc[:2, ["family", "species"]] = ["Canidae", "Vulpes vulpes"]
    frame.loc[2, "score"] = 0.99
    frame.to_csv("answers.csv", index=False)
    return Path("answers.csv")


def _ask(capsys: Capture, *arguments: str) -> pd.DataFrame:
    capsys.readouterr()
    assert run(["compare", *arguments, "--quiet", "--format", "csv"]) == 0
    return pd.read_csv(io.StringIO(capsys.readouterr().out))


@pytest.mark.usefixtures("answers")
def test_answers_are_compared_with_the_labels_of_a_store(store: Path, capsys: Capture) -> None:
    asked = ["answers.csv", "labels", "--output", "queue.csv", "--html", "page.html",
             "--save-mask", "review/answers"]  # fmt: skip
    assert run(["compare", *asked]) == 0
    said = capsys.readouterr().err
    assert "different 3" in said
    assert "--mask review/answers" in said
    assert "wrote a page of 3 pictures to page.html" in said
    queue = pd.read_csv("queue.csv")
    assert queue["first_score"].tolist() == [0.99, 0.9, 0.9]
    about = json.loads(Path("queue.csv.provenance.json").read_text())
    assert about["options"]["first"] == "answers.csv"
    page = Path("page.html").read_text()
    assert page.count("data:image/jpeg") == 3
    assert "Vulpes vulpes" in page
    kept = read_selection(EmbeddingStore.open(store), "review/answers")
    assert (kept.kept.sum(), kept.judged.sum()) == (3, len(pd.read_csv("answers.csv")))


@pytest.mark.usefixtures("answers")
def test_every_table_is_written(capsys: Capture) -> None:
    both = ("answers.csv", "labels")
    assert _ask(capsys, *both, "--table", "moves")["n_pictures"].sum() == 3
    agreement = _ask(capsys, *both, "--table", "agreement")
    assert agreement["level"].tolist()[0] == "answer"
    n_images = len(_ask(capsys, *both, "--table", "pairs"))
    assert agreement["n_agree"].iloc[0] == n_images - 3
    assert run(["compare", *both, "--table", "moves", "--output", "moves.parquet"]) == 0
    assert len(pd.read_parquet("moves.parquet"))


@pytest.mark.usefixtures("answers")
def test_what_a_store_has_is_compared_by_name(store: Path, capsys: Capture) -> None:
    labels = _ask(capsys, str(store), "labels", "--table", "agreement")
    assert labels["agreement"].iloc[0] == 1
    families = _ask(capsys, "column:family", "answers.csv", "--table", "pairs")
    assert families["relation"].value_counts()["first above"] == len(families) - 3
    level = _ask(capsys, "column:family", "answers.csv", "--level", "family", "--table", "pairs")
    assert level["relation"].value_counts()["same"] >= len(families) - 3
    assert run(["split", "--quiet", "--output", "split.csv"]) == 0
    assert run(["probe", "fit", "centroid", "--level", "family", "--quiet"]) == 0
    assert run(["evaluate", "--level", "family", "--methods", "knn", "--quiet", "--n-resamples",
                "10", "--output", "found.csv"]) == 0  # fmt: skip
    knn = _ask(capsys, "probe:centroid", "evaluation:family", "--table", "pairs")
    named = _ask(capsys, "probe:centroid", "evaluation:family:knn", "--table", "pairs")
    assert knn.equals(named)
    assert knn["second_score"].notna().all()


def test_results_and_tables_are_compared_as_they_are(store: Path, tmp_path: Path) -> None:
    opened = bp.open(store)
    answers = opened.zeroshot("family", k=2)
    assert isinstance(answers, bp.Predictions)
    found = bp.compare(answers, opened)
    assert isinstance(found, bp.Comparison)
    assert len(found) == len(opened)
    labels = opened.labels("family")
    is_wrong = (labels != "") & (answers.names[:, 0] != labels)
    queue = found.queue[found.queue["common_rank"] != ""]
    assert len(queue) == is_wrong.sum()
    assert found.write_page(tmp_path / "page.html") <= len(found.queue)
    assert found.to_frame().equals(found.queue)


def test_a_folder_has_the_pictures_where_no_store_does(answers: Path, drawn: Path) -> None:
    labels = bp.open("store").images[["path", "species"]].rename(columns={"path": "file_name"})
    labels.to_csv("labels.csv", index=False)
    nowhere = ["--store", "none"]
    assert run(["compare", str(answers), "labels.csv", *nowhere, "--html", "none.html"]) == 0
    assert Path("none.html").read_text().count("data:image/jpeg") == 0
    shutil.copytree(drawn / "photos", "photos")
    asked = ["compare", str(answers), "labels.csv", *nowhere, "--root", "photos"]
    assert run([*asked, "--html", "page.html"]) == 0
    assert Path("page.html").read_text().count("data:image/jpeg") == 3


def test_people_are_obscured_on_the_page_unless_they_are_to_be_kept(answers: Path) -> None:
    frame = pd.read_csv(answers).assign(content="")
    frame.loc[0, ["family", "species", "content"]] = ["", "", "human"]
    frame.to_csv(answers, index=False)
    pages = []
    for people in ([], ["--people", "keep"]):
        page = f"{len(people)}.html"
        assert run(["compare", str(answers), "labels", "--html", page, *people]) == 0
        pages.append(Path(page).read_text())
    assert pages[0].count("data:image/jpeg") == pages[1].count("data:image/jpeg") == 3
    assert pages[0] != pages[1]


@pytest.mark.usefixtures("store")
def test_what_cannot_be_compared_says_why(capsys: Capture) -> None:
    for asked, said in (
        (["no.csv", "labels"], "no answers at no.csv"),
        (["https://example.org/a.csv", "labels"], "is an address"),
        (["labels", "labels", "--store", "none"], "there is none at none"),
        (["labels", "column:famly"], "famly"),
        (["labels", "evaluation:none"], "none"),
        (["labels", "labels", "--people", "keep"], "--html"),
    ):
        assert run(["compare", *asked]) != 0
        assert said in capsys.readouterr().err
