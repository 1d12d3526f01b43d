from __future__ import annotations

import json
import shutil
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
        (["--row", "3", "--row", "20"], ["--weight", "1", "--weight", "3"]),
        (["--row", "3", "--row", "20"], ["--weight", "1", "--weight", "-0.5"]),
        (["--row", "3"], ["--min-similarity", "0.9"]),
        (["--row", "3"], ["--share", "0.05"]),
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
    assert "wrote a page of 4 pictures to deep/page.html" in capsys.readouterr().err


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
    expected = [
        "kind", "recall", "settings", "memory", "ms a query", "queries/s", "queries/s, single"
    ]  # fmt: skip
    assert names == [*expected, "built in"]
    assert len(list(store.glob("index-*.faiss"))) == 1
    assert run(["store", "index", "--kind", "flat"]) == 0
    assert not list(store.glob("index*"))


@pytest.mark.usefixtures("store")
def test_an_unknown_kind_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["store", "index", "--kind", "annoy"]) == 1
    assert (
        "flat, ivf, hnsw, ivfpq, sq8, ivfsq8, ivfpqfs, ivfrabitq, got 'annoy'"
        in capsys.readouterr().err
    )


@pytest.mark.usefixtures("store")
def test_weights_are_counted_in_the_order_of_the_command_line() -> None:
    file = str(EmbeddingStore.open("store").images.find_file(20))
    written = _ask("--text", "a yellow fish::3", "--image", f"{file}::0.5", "--row", "3::-0.2")
    by_flag = _ask(
        "--text", "a yellow fish", "--row", "3", "--image", file,
        "--weight", "3", "--weight", "-0.2", "--weight", "0.5",
    )  # fmt: skip
    assert by_flag.equals(written)
    # A text without a flag is counted first, wherever it stands.
    bare = _ask(
        "--row", "3", "--image", file, "a yellow fish", "--weight", "3", "--weight", "-0.2",
        "--weight", "0.5",
    )  # fmt: skip
    assert bare.equals(written)
    assert bare["file_name"][0] == written["file_name"][0]
    assert written.equals(_ask("a yellow fish::3", "--row", "3::-0.2", "--image", f"{file}::0.5"))


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        (["--text", "a cat", "--weight", "1", "--weight", "2"], 2, "1 in all (“a cat”), got 2"),
        (["--text", "a cat::2", "--weight", "2"], 2, "weights stand behind :: already"),
        (["--text", "a cat", "--weight", "0"], 1, "a weight is not 0, got it for '“a cat”'"),
        (["--text", "a cat::many"], 1, "got 'many' in 'a cat::many'"),
        (["--row", "one"], 1, "a row is a whole number from 0"),
        (["--row", "3", "--over-background", "2"], 2, "counts only with --text"),
        (["--text", "a", "--background-as", "z"], 0, ""),
        (["--text", "a", "--background-as", "probability"], 2, "--over-background or --background"),
        (["--text", "a", "--background", "none.txt"], 1, "none.txt"),
        (["--row", "3", "--share", "0"], 1, "--share is more than 0"),
        (["--row", "3", "--save-mask", "splits/a"], 2, "would be a split"),
        (["--row", "3", "--save-mask", "a b"], 1, "cannot name a selection"),
        (["--row", "3", "--save-mask", "a", "--in", "store"], 2, "counts only with no --in"),
        (["https://example.org/a.jpg"], 1, "https://example.org/a.jpg is an address"),
        (["--image", "http://example.org/a.jpg::2"], 1, "http://example.org/a.jpg is an addr"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, list) else "",
)
@pytest.mark.usefixtures("store")
def test_what_cannot_be_asked_is_refused(
    asked: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["search", *asked]) == code
    assert said in capsys.readouterr().err


@pytest.mark.usefixtures("store")
def test_all_that_is_enough_is_given_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["search", "--row", "3", "--share", "0.2", "--format", "csv"]) == 0
    shown = capsys.readouterr()
    n_images = len(EmbeddingStore.open("store"))
    n_best = -(-(n_images - 1) // 5)
    assert len(shown.out.splitlines()) == 1 + n_best
    assert f"{n_best} of {n_images - 1} images reach the best 20%" in shown.err
    assert run(["search", "--row", "3", "--share", "0.2", "-k", "2", "--format", "csv"]) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 3
    assert "; the nearest 2 are given, as -k says" in shown.err
    assert run(["search", "--row", "3", "--min-similarity", "1", "--format", "csv"]) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 1
    assert "reaches a similarity of 1 or more; the nearest, row " in shown.err


@pytest.mark.usefixtures("store")
def test_a_background_is_a_set_a_file_or_texts(capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["a yellow fish", "a tree", "a house", "a car", "a mushroom", "a red bird"]
    Path("texts.txt").write_text("# mine\n" + "\n".join(texts) + "\n", encoding="utf-8")
    by_file = _ask("--text", "a spotted cat", "--background", "texts.txt")
    named = [part for text in texts for part in ("--background", text)]
    assert by_file.equals(_ask("--text", "a spotted cat", *named))
    as_probability = _ask("--text", "a spotted cat", *named, "--background-as", "probability")
    assert as_probability["probability_over_background"].between(0, 1).all()
    assert as_probability["row"].equals(by_file["row"])
    shipped = _ask("--text", "a spotted cat", "--background", "animal", "-k", "100")
    assert not by_file.equals(shipped)
    value = shipped["z_over_background"].median()
    over = _ask("--text", "a spotted cat", "--over-background", str(value))
    assert over["row"].tolist() == shipped["row"][shipped["z_over_background"] >= value].tolist()
    assert run(["search", "--text", "a spotted cat", "--over-background", "1"]) == 0
    assert "background: 63 texts of animal" in capsys.readouterr().err


@pytest.mark.usefixtures("store")
def test_hits_are_a_mask_for_every_command_and_files_at_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    hits = _ask("--row", "3", "--share", "0.1", "--save-mask", "searches/like-3")
    assert run(["search", "--row", "3", "--share", "0.1", "--paths", "--null", "--quiet"]) == 0
    paths = capsys.readouterr().out.split("\0")[:-1]
    assert [Path(path).name for path in paths] == [Path(one).name for one in hits["file_name"]]
    asked = ["search", "--row", "3", "--share", "0.1", "--people", "keep", "--quiet"]
    assert run([*asked, "--copy-to", "copies", "--keywords"]) == 0
    assert run([*asked, "--link-to", "links"]) == 0
    for folder in ("copies", "links"):
        pictures = {file.name for file in Path(folder).rglob("*") if file.suffix != ".xmp"}
        assert {Path(path).name for path in paths} <= pictures
    capsys.readouterr()
    assert run(["store", "masks", "--format", "json"]) == 0
    (made,) = json.loads(capsys.readouterr().out)["rows"]
    assert (made["name"], made["kept"]) == ("searches/like-3", len(hits))
    assert made["made_by"] == "search row 3: the best 10%"
    within = _ask("--row", "3", "--mask", "searches/like-3", "-k", "100")
    assert within["row"].tolist() == hits["row"].tolist()
    assert run(["describe", "--mask", "searches/like-3"]) == 0
    assert run(["store", "remove-mask", "searches/like-3"]) == 0


def test_an_index_is_chosen_by_what_one_has(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["store", "index", "--max-memory", "1MB", "--recall", "0.5"]) == 0
    shown = capsys.readouterr()
    assert "ivfpqfs" in shown.out
    assert "tried ivfpqfs: recall " in shown.err
    assert run(["store", "index", "--max-query-ms", "60000", "--format", "json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["kind"] == "flat"
    assert "exact search keeps the limits, so that no index is needed" in shown.err
    assert not list(store.glob("index*"))
    for asked in (["--max-memory", "10"], ["--max-query-ms", "0.000001", "--kind", "sq8"]):
        assert run(["store", "index", *asked]) == 1
        assert "nothing was changed" in capsys.readouterr().err
    assert run(["store", "index", "--max-query-ms", "0.000001", "--kind", "sq8", "--best"]) == 0
    assert "and is the closest; kept all the same" in capsys.readouterr().err
    assert run(["store", "index", "--best"]) == 2
    assert "--best counts only with --max-memory or --max-query-ms" in capsys.readouterr().err


def test_several_stores_are_one_ranking(store: Path, drawn: Path, tmp_path: Path) -> None:
    shutil.copytree(drawn / "store", tmp_path / "second")
    asked = ["search", "--row", "0", "--store", str(store), "--store", "second", "-k", "4"]
    assert run([*asked, "--output", "both.csv", "--html", "both.html"]) == 0
    frame = pd.read_csv("both.csv")
    assert frame["store"].tolist()[0] == "second"
    assert set(frame["store"]) == {str(store), "second"}
    assert "row 0 of second" in Path("both.html").read_text()
