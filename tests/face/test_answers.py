from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import bioprobe as bp
from bioprobe.cli.app import run
from bioprobe.errors import SelectionError
from bioprobe.images import ImageTable
from bioprobe.store.selections import write_selection
from bioprobe.task.beside import find_own

KEPT = np.array([True, True, False, True, False, False])
REASONS = np.array(["", "", "empty", "", "vehicle", "document"], dtype=object)
CLASSES = ["a lion", "a fish"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    names = [f"{place}.png" for place in range(6)]
    for name in names:
        values = random.integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(values).save(folder / name)
    (folder / "torn.png").write_bytes(b"no picture")
    frame = pd.DataFrame({"path": [*names, "torn.png"]})
    stations = ["north", "south", "north", "south", "south", "north", "north"]
    frame = frame.assign(
        Station=stations, catalogNumber=[f"00{n}" for n in range(7)], mood=["calm"] * 7
    )
    frame.to_csv(folder / "trap.csv", index=False)
    return folder / "trap.csv"


@pytest.fixture(scope="module")
def store(table: Path) -> bp.Store:
    opened = bp.embed(table, model="sketch", store=table.parent / "store")
    kept = opened._view.store
    write_selection(kept, "filters/animal", np.arange(6), KEPT, columns={"reason": REASONS})
    return opened


def test_own_columns_and_what_a_picture_holds_stand_beside_the_answer(store: bp.Store) -> None:
    frame = store.zeroshot(classes=CLASSES, k=1).to_frame()
    assert frame.columns.tolist() == [
        "file_name", "classification", "score", "answer", "row", "content", "reason", "Station",
        "catalogNumber",
    ]  # fmt: skip
    assert frame["catalogNumber"].tolist() == ["000", "001", "002", "003", "004", "005", ""]
    assert frame["content"].tolist() == [
        "animal", "animal", "blank", "animal", "vehicle", "unknown", "unreadable",
    ]  # fmt: skip
    torn = frame.iloc[6]
    assert (torn["file_name"], torn["classification"]) == ("torn.png", "")
    assert torn["reason"]
    assert torn[["score", "answer", "row"]].isna().all()


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ("all", ["Station", "catalogNumber", "mood"]),
        ("none", []),
        ("mood,sha256", ["mood", "sha256"]),
        (["mood"], ["mood"]),
    ],
)
def test_columns_are_chosen(store: bp.Store, columns: str | list[str], expected: list[str]) -> None:
    frame = store.zeroshot(classes=CLASSES, columns=columns).to_frame()
    assert frame.columns.tolist()[7:] == expected
    assert (frame["answer"].value_counts() == 6).all()


def test_a_column_that_is_not_there_is_named_with_the_nearest(store: bp.Store) -> None:
    with pytest.raises(SelectionError, match=r"'station'.*did you mean Station\?.*catalogNumber"):
        store.zeroshot(classes=CLASSES, columns="station")


def test_columns_that_say_which_where_and_when_are_known_by_their_words() -> None:
    names = ["eventDate", "Camera ID", "deployment_id", "family tree", "locationName", "note",
             "catalogue_numbers", "candidate", "idea"]  # fmt: skip
    images = ImageTable.build(pd.DataFrame({"path": ["a"], **{name: ["1"] for name in names}}))
    assert find_own(images, None) == (
        "eventDate", "Camera ID", "deployment_id", "locationName", "catalogue_numbers",
    )  # fmt: skip


def test_what_a_mask_leaves_out_is_a_row_where_it_stood(store: bp.Store) -> None:
    frame = store.where(mask="filters/animal").zeroshot(classes=CLASSES, k=1).to_frame()
    names = [f"{place}.png" for place in range(6)]
    assert frame["file_name"].tolist() == [*names, "torn.png"]
    assert (frame["classification"] != "").tolist() == [*KEPT, False]
    assert frame["reason"].tolist()[2] == "filters/animal: empty"
    assert frame["Station"].tolist()[:6] == ["north", "south", "north", "south", "south", "north"]


def test_what_a_condition_or_rows_leave_out_is_not_asked_for(store: bp.Store) -> None:
    south = store.where("Station == 'south'", mask="filters/animal")
    assert south.zeroshot(classes=CLASSES, k=1).to_frame()["file_name"].tolist() == [
        "1.png", "3.png", "4.png",
    ]  # fmt: skip
    some = store.where(mask="filters/animal", rows=[3, 0]).zeroshot(classes=CLASSES, k=1)
    assert some.to_frame()["row"].tolist() == [3, 0]


def test_in_a_terminal_a_picture_is_a_line_with_answer_and_score(
    store: bp.Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    asked = ["zeroshot", "--classes", ",".join(CLASSES), "--store", str(store.folder)]
    assert run([*asked, "--format", "table", "--columns", "all"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["file_name", "answer", "score"]
    assert len(lines) == 8
    assert lines[7].split()[0] == "torn.png"


def test_no_name_moves_the_cursor(
    store: bp.Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    kinds = "a\x1b[2Jlion,a\u202efish"
    asked = ["zeroshot", "--classes", kinds, "--store", str(store.folder), "--format", "table"]
    assert run(asked) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert r"\x1b[2Jlion" in out or r"\u202efish" in out


@pytest.mark.parametrize("way", [["--html", "page.html"], ["-o", "page.html"]])
def test_answers_are_a_page(
    store: bp.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["zeroshot", "--classes", "a lion,a fish", "--store", str(store.folder)]
    assert run([*asked, "--mask", "filters/animal", *way]) == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") == 6
    assert "no answer: blank" in page
    assert "1 could not be read" in page
    assert "catalogNumber: 003" in page


def test_a_page_is_grouped_by_a_column(store: bp.Store, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    asked = ["zeroshot", "--classes", "a lion", "--store", str(store.folder), "--html-by"]
    assert run([*asked, "Station", "--html", str(target)]) == 0
    page = target.read_text(encoding="utf-8")
    assert page.index("<h2>north") < page.index("3 pictures: a lion 3.") < page.index("<h2>south")


def test_copies_are_a_page_with_the_kept_one_first(table: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    again.mkdir()
    for name in ("0.png", "1.png"):
        (again / name).write_bytes((table.parent / name).read_bytes())
        (again / f"copy of {name}").write_bytes((table.parent / name).read_bytes())
    page = tmp_path / "copies.html"
    assert run(["dedupe", str(again), "--model", "sketch", "--html", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    # The copies, then the pairs of other bytes that are nearest to the threshold: each of the two
    # pictures with each of the other.
    assert text.count("data:image/jpeg") == 4 + 2 * 4
    assert text.index("<span>kept</span>") < text.index("<span>copy</span>")
    assert "Group 2" in text
