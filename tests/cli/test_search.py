from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from bioprobe.cli.app import run
from bioprobe.store import EmbeddingStore


def _ask(*arguments: str) -> pd.DataFrame:
    assert run(["search", *arguments, "--quiet", "--output", "found.csv"]) == 0
    return pd.read_csv("found.csv", keep_default_na=False)


@pytest.mark.parametrize(
    ("base", "change"),
    [
        (["--row", "3"], ["--row", "20"]),
        (["--row", "3"], ["--text", "a yellow fish"]),
        (["--row", "3"], ["--minus-row", "20"]),
        (["--row", "3"], ["--minus-text", "a spotted cat"]),
        (["--row", "3"], ["--include-query"]),
        (["--row", "3"], ["-k", "4"]),
        (["--row", "3"], ["--where", "row_number > 10"]),
        (["--row", "3", "--minus-row", "20"], ["--minus-weight", "0.2"]),
    ],
    ids=lambda part: " ".join(part),
)
@pytest.mark.usefixtures("store")
def test_every_option_changes_the_answer(base: list[str], change: list[str]) -> None:
    change = [part.replace("row_number > 10", "width_px > 0 and path > 'l'") for part in change]
    assert not _ask(*base).equals(_ask(*base, *change))


@pytest.mark.usefixtures("store")
def test_pictures_are_plus_and_minus_terms(drawn: Path) -> None:
    files = EmbeddingStore.open("store").images
    plus, minus = str(files.find_file(3)), str(files.find_file(20))
    by_picture = _ask("--image", plus, "--minus-image", minus, "--exclude-query")
    assert by_picture.equals(_ask("--row", "3", "--minus-row", "20"))
    assert _ask("--image", plus)["row"][0] == 3
    assert drawn.is_dir()


@pytest.mark.usefixtures("store")
def test_what_is_not_looked_for_falls_behind() -> None:
    with_both = _ask("--text", "a spotted cat", "--row", "3", "-k", "1000")
    without = _ask("--row", "3", "--minus-text", "a spotted cat", "-k", "1000")
    place = {"with": with_both["species"].tolist(), "without": without["species"].tolist()}
    assert place["with"].index("Panthera pardus") < place["without"].index("Panthera pardus")


@pytest.mark.usefixtures("store")
def test_copies_are_named_once_when_asked() -> None:
    store = EmbeddingStore.open("store")
    with store.lock():
        store.append(
            store.images.frame.iloc[[7]].assign(path="copy.jpg"), store.read_vectors()[[7]]
        )
    assert {7, len(store)} <= set(_ask("--row", "7", "--include-query")["row"][:2])
    once = _ask("--row", "7", "--include-query", "--deduplicate", "-k", "5")
    assert once["row"][0] == 7
    assert len(store) not in once["row"].tolist()
    assert len(once) == 5


@pytest.mark.usefixtures("store")
def test_the_answer_carries_its_provenance() -> None:
    assert run(["search", "--row", "3", "--quiet", "--output", "found.json"]) == 0
    facts = json.loads(Path("found.json").read_text(encoding="utf-8"))["provenance"]
    assert facts["options"]["question"] == "row 3"
    assert facts["options"]["left_out"] == [3]
    _ask("--row", "3")
    beside = json.loads(Path("found.csv.provenance.json").read_text(encoding="utf-8"))
    assert beside["encoder"] == facts["encoder"]


@pytest.mark.usefixtures("store")
def test_a_page_shows_the_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["search", "--row", "3", "-k", "4", "--html", "deep/page.html"]) == 0
    page = Path("deep/page.html").read_text(encoding="utf-8")
    assert page.count("<img ") == 5
    assert page.count("similarity 0.") == 4
    assert "wrote 4 pictures to deep/page.html" in capsys.readouterr().err


@pytest.mark.usefixtures("store")
def test_nothing_to_search_by_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["search", "--minus-text", "a spotted cat"]) == 1
    assert "nothing to search by; give --image, --text, --row" in capsys.readouterr().err


@pytest.mark.usefixtures("store")
def test_the_index_is_used_and_says_so_until_exact_is_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["store", "index", "--kind", "ivf", "--recall", "0.5", "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["kind"], report["k"], report["recall_wanted"]) == ("ivf", 10, 0.5)
    assert run(["search", "--row", "3"]) == 0
    assert "by the ivf index, which finds" in capsys.readouterr().err
    assert run(["search", "--row", "3", "--exact"]) == 0
    assert "index" not in capsys.readouterr().err
    assert run(["search", "--row", "3", "--where", "family == 'Felidae'"]) == 0
    assert "exact search, not the index" in capsys.readouterr().err
    assert run(["search", "--row", "3", "--quiet"]) == 0
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    "change", [["--kind", "sq8"], ["--recall", "0.99"], ["-k", "3"], ["--seed", "5"]], ids=str
)
def test_every_option_of_the_index_has_an_effect(store: Path, change: list[str]) -> None:
    notes = []
    for options in ([], change):
        assert run(["store", "index", "--kind", "hnsw", "--recall", "0.3", *options]) == 0
        notes.append(json.loads((store / "index.json").read_text()))
    assert notes[0] != notes[1]


def test_the_index_is_described_as_a_table(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["store", "index", "--recall", "0.5"]) == 0
    shown = capsys.readouterr().out
    names = [line.split("  ")[0] for line in shown.splitlines()]
    expected = ["kind", "recall", "settings", "memory", "queries/s", "queries/s, single"]
    assert names == [*expected, "built in"]
    assert len(list(store.glob("index-*.faiss"))) == 1
    assert run(["store", "index", "--kind", "flat"]) == 0
    assert not list(store.glob("index*"))


@pytest.mark.usefixtures("store")
def test_an_unknown_kind_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["store", "index", "--kind", "annoy"]) == 1
    assert "flat, ivf, hnsw, ivfpq, sq8, got 'annoy'" in capsys.readouterr().err
