"""What the shell is told of pictures that could not be read: those of the newest try."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

import bioprobe as bp
from bioprobe.cli.app import run
from bioprobe.store import EmbeddingStore

Capture = pytest.CaptureFixture[str]
N_PICTURES = 12


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a table whose paths start from ``photos``, and a store of one other picture."""
    monkeypatch.chdir(tmp_path)
    names = [f"card/{number:03d}.png" for number in range(N_PICTURES)]
    Path("photos/card").mkdir(parents=True)
    Path("wrong").mkdir()
    for number, name in enumerate(names):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(Path("photos", name))
    Image.new("RGB", (8, 8), "navy").save("other.png")
    pd.DataFrame({"path": names}).to_csv("pictures.csv", index=False)
    assert embed("other.png") == 0
    return Path("pictures.csv")


def embed(*arguments: str | Path) -> int:
    return run(["embed", *map(str, arguments), "--model", "sketch", "-s", "store", "--quiet"])


def read_facts(capsys: Capture) -> dict[str, Any]:
    capsys.readouterr()
    assert run(["store", "info", "-s", "store", "--format", "json"]) == 0
    facts: dict[str, Any] = json.loads(capsys.readouterr().out)
    return facts


def test_the_right_root_strikes_what_a_wrong_one_did_not_find(table: Path, capsys: Capture) -> None:
    embed(table, "--root", "wrong")
    failures = read_facts(capsys)["failures"]
    assert failures["images"] == N_PICTURES
    assert failures["reasons"] == {"no such file or directory": N_PICTURES}
    assert embed(table, "--root", "photos") == 0
    facts = read_facts(capsys)
    assert facts["images"] == N_PICTURES + 1
    assert facts["failures"] == {"images": 0, "reasons": {}, "examples": []}


def test_what_fails_below_the_right_root_is_listed_once(table: Path, capsys: Capture) -> None:
    Path("photos/card/003.png").write_bytes(b"")
    for root in ("wrong", "elsewhere", "photos", "photos"):
        embed(table, "--root", root)
    failures = read_facts(capsys)["failures"]
    assert failures["reasons"] == {"the file is empty": 1}
    (example,) = failures["examples"]
    assert Path(example["root"], example["path"]) == Path("photos/card/003.png").absolute()
    assert example["source"] == str(table.absolute())


def test_a_folder_beside_the_table_changes_nothing(table: Path, capsys: Capture) -> None:
    embed("photos", table, "--root", "wrong")
    assert read_facts(capsys)["failures"]["images"] == N_PICTURES
    assert embed("photos", table, "--root", "photos") == 0
    assert read_facts(capsys)["failures"]["images"] == 0


def test_lists_and_folders_count_by_their_newest_run_too(table: Path, capsys: Capture) -> None:
    Path("list.txt").write_text("\n".join(pd.read_csv(table)["path"]))
    Path("photos/bad.png").write_bytes(b"")
    Path("wrong/card").mkdir()
    Image.new("RGB", (8, 8), "green").save("wrong/card/000.png")  # of a list some must be there
    embed("list.txt", "--root", "wrong")
    embed("photos")
    failed = {"no such file or directory": N_PICTURES - 1, "the file is empty": 1}
    assert read_facts(capsys)["failures"]["reasons"] == failed
    embed("list.txt", "--root", "photos")
    assert read_facts(capsys)["failures"]["reasons"] == {"the file is empty": 1}
    Path("photos/bad.png").unlink()
    embed("photos")
    assert read_facts(capsys)["failures"]["images"] == 0


def test_another_table_strikes_no_failure_of_a_picture_of_that_name(
    table: Path, capsys: Capture
) -> None:
    # Camera cards repeat the names of files.
    Path("site").mkdir()
    other = Path("site", "pictures.csv")
    other.write_text(table.read_text())
    embed(other)
    embed(table, "--root", "photos")
    assert read_facts(capsys)["failures"]["images"] == N_PICTURES


def test_a_picture_that_is_read_by_another_source_is_struck(table: Path, capsys: Capture) -> None:
    Path("photos/card/003.png").write_bytes(b"")
    embed(table, "--root", "photos")
    Image.new("RGB", (8, 8), "red").save("photos/card/003.png")
    embed("photos/card/003.png")
    assert read_facts(capsys)["failures"]["images"] == 0


def test_a_run_that_is_stopped_strikes_only_what_it_read(table: Path, capsys: Capture) -> None:
    embed(table, "--root", "wrong")
    steps = iter(range(3))

    def stop(_: object) -> None:
        if next(steps) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bp.embed(table, root="photos", model="sketch", store="store", progress=stop)
    assert read_facts(capsys)["failures"]["images"] == N_PICTURES


def test_store_info_counts_by_reason_and_shows_five_of_different_reasons(
    table: Path, capsys: Capture
) -> None:
    Path("photos/card/000.png").write_bytes(b"")
    Path("photos/card/001.png").write_text("no picture")
    for number in range(2, 9):
        Path(f"photos/card/{number:03d}.png").unlink()
    embed(table, "--root", "photos")
    capsys.readouterr()
    assert run(["store", "info", "-s", "store"]) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    start = lines.index(["failed", "9"])
    assert lines[start + 1 : start + 4] == [
        ["7:", "no such file or directory"],
        ["1:", "the file is empty"],
        ["1:", "not an image of a known kind"],
    ]
    shown = [" ".join(line) for line in lines[start + 4 :]]
    assert [line.split("card/")[1].split(".")[0] for line in shown] == [
        "002", "000", "001", "003", "004",
    ]  # fmt: skip
    assert all(line.startswith("for example ") for line in shown)
    assert len(EmbeddingStore.open("store").read_failures()) == 9
