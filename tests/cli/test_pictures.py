"""Commands that read a store take pictures too."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

from bioprobe.cli.app import run
from bioprobe.files import sketch_weights_dir
from bioprobe.sketch import draw_animal, read_species
from bioprobe.store import EmbeddingStore

# The folder of each test is the current one; $BIOPROBE_STORE names a store of sketch's vectors.
pytestmark = pytest.mark.usefixtures("store", "cache")

Capture = pytest.CaptureFixture[str]
LIONS = "panthera-leo"


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def cache(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tests share what they embed."""
    monkeypatch.setenv("BIOPROBE_CACHE", str(cached))


def _ask(capsys: Capture, *arguments: str) -> tuple[pd.DataFrame, str]:
    capsys.readouterr()
    assert run([*arguments, "--format", "csv"]) == 0
    captured = capsys.readouterr()
    return pd.read_csv(io.StringIO(captured.out), keep_default_na=False), captured.err


def test_pictures_are_labelled_by_the_model_of_the_store_that_is_there(
    drawn: Path, capsys: Capture
) -> None:
    lion = str(drawn / "photos" / LIONS / "000.jpg")
    Path("bad.jpg").write_text("no picture")
    asked = ("zeroshot", lion, "bad.jpg", "--taxa", "sketch", "--level", "family", "-k", "1")
    found, said = _ask(capsys, *asked)
    assert found[["file_name", "family", "row", "content"]].to_numpy().tolist() == [
        ["000.jpg", "Felidae", "0", ""], ["bad.jpg", "", "", "unreadable"],
    ]  # fmt: skip
    assert said.startswith("skipped bad.jpg: not an image of a known kind\nimages: 1; classes at ")
    capsys.readouterr()
    assert run([*asked, "--quiet"]) == 0
    assert capsys.readouterr().err == "skipped bad.jpg: not an image of a known kind\n"


def test_names_at_hand_need_no_list_of_taxa(drawn: Path, capsys: Capture) -> None:
    lion = str(drawn / "photos" / LIONS / "000.jpg")
    found, said = _ask(capsys, "zeroshot", lion, "--classes", "a lion,a yellow fish,a snail")
    assert list(found.columns[:3]) == ["file_name", "classification", "score"]
    assert found["classification"][0] == "a lion"
    assert said == "images: 1; classes: 3; templates: 1\n"


def test_labels_of_a_table_are_the_candidates(drawn: Path, capsys: Capture) -> None:
    table = str(drawn / "photos" / "pictures.csv")
    found, said = _ask(capsys, "zeroshot", table, "--level", "family", "-k", "1")
    stored, _ = _ask(capsys, "zeroshot", "--level", "family", "-k", "1")
    assert found.drop(columns="score").equals(stored.drop(columns="score"))
    assert "against the labels of " in said
    some, _ = _ask(capsys, "zeroshot", table, "-k", "1", "--where", "family == 'Felidae'")
    assert 0 < len(some) < len(found)


def test_a_list_of_paths_on_standard_input_is_asked(
    drawn: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    lion = drawn / "photos" / LIONS / "000.jpg"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{lion}\n".encode())))
    found, _ = _ask(capsys, "filter", "-", "--threshold", "-1000")
    assert found["kept"].tolist() == [True]


def test_search_looks_in_a_folder(drawn: Path, capsys: Capture) -> None:
    lion = str(drawn / "photos" / LIONS / "000.jpg")
    asked = ("search", "--image", lion, "--in", str(drawn / "photos"), "-k", "1")
    found, _ = _ask(capsys, *asked)
    assert found["file_name"].tolist() == [f"{LIONS}/000.jpg"]
    # A store that is named too is that whose encoder reads them.
    again, _ = _ask(capsys, *asked, "--store", "store")
    assert again.equals(found)
    assert run([*asked, "--model", "sketch", "--store", "none"]) == 0


@pytest.mark.parametrize("command", ["filter", "dedupe", "describe"])
def test_a_folder_is_asked_as_a_store_is(drawn: Path, capsys: Capture, command: str) -> None:
    table = str(drawn / "photos" / "pictures.csv")
    found, said = _ask(capsys, command, table)
    stored, _ = _ask(capsys, command)
    pd.testing.assert_frame_equal(found, stored, rtol=1e-2, atol=1e-3)
    assert "--mask" not in said


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["zeroshot", "x", "--store", "store"], "asked instead of a store; leave --store out"),
        (["filter", "x", "--mask", "half"], "--mask counts only with no SOURCES"),
        (["dedupe", "--model", "sketch"], "--model counts only with SOURCES"),
        (["describe", "--device", "cpu"], "--device counts only with SOURCES"),
    ],
    ids=str,
)
def test_what_does_not_count_for_pictures_is_misuse(
    capsys: Capture, arguments: list[str], reason: str
) -> None:
    assert run(arguments) == 2
    assert reason in capsys.readouterr().err


def test_what_cannot_be_asked_fails(capsys: Capture) -> None:
    assert run(["zeroshot", "none.jpg"]) == 1
    assert "no file or folder at none.jpg" in capsys.readouterr().err
    Path("bad.jpg").write_text("no picture")
    assert run(["describe", "bad.jpg"]) == 1
    assert "none of 1 pictures can be read; the first, bad.jpg" in capsys.readouterr().err
    assert run(["search", "none.jpg"]) == 2
    assert "no file or folder at none.jpg; to look for that text" in capsys.readouterr().err


def test_a_folder_is_kept_in_the_default_store_and_asked_there(
    drawn: Path, store: Path, capsys: Capture
) -> None:
    folder = Path("photos")
    shutil.copytree(drawn / "photos" / LIONS, folder)
    (snail,) = (one for one in read_species() if one.name == "Helix pomatia")
    draw_animal(snail, np.random.default_rng(0)).save(folder / "snail.jpg")
    (folder / "bad.jpg").write_text("no picture")
    n_before = len(EmbeddingStore.open(store))
    asked = ("zeroshot", str(folder), "--classes", "a lion,a snail", "-k", "1")
    found, said = _ask(capsys, *asked)
    # The lion has bytes that the store knows under another name.
    n_here = len(list(folder.iterdir())) - 1
    assert f"{n_here} pictures of photos in the store store, 1 of them new\n" in said
    assert said.startswith("skipped bad.jpg: not an image of a known kind\n")
    assert len(EmbeddingStore.open(store)) == n_before + n_here
    # Rows are those of the store, and nothing else that it holds is answered.
    answered = found[found["row"] != ""]
    assert sorted(answered["row"].astype(int)) == list(range(n_before, n_before + n_here))
    assert found["content"].tolist()[-1] == "unreadable"
    again, said = _ask(capsys, *asked)
    assert again.equals(found)
    assert ", 0 of them new\n" in said
    # Another command finds it there, and a condition chooses among these alone.
    found, _ = _ask(capsys, "search", str(folder), "a snail", "-k", "99")
    assert sorted(found["row"]) == list(range(n_before, n_before + n_here))
    found, _ = _ask(capsys, *asked, "--where", "path == 'snail.jpg'")
    assert found["file_name"].tolist() == ["snail.jpg"]


def test_a_folder_makes_the_store_where_there_is_none(drawn: Path, capsys: Capture) -> None:
    lions = str(drawn / "photos" / LIONS)
    asked = ("zeroshot", lions, "--model", "sketch", "--level", "family", "-k", "1")
    found, said = _ask(capsys, *asked, "--store", "new")
    assert set(found["family"]) == {"Felidae"}
    assert f"{len(found)} pictures of {lions} in the store new, {len(found)} of them new" in said
    # No label names a taxon there, so that the model's own list is asked for.
    assert "the candidates are those of the list sketch\n" in said
    Path("bad").mkdir()
    (Path("bad") / "bad.jpg").write_text("no picture")
    assert run(["describe", "bad", "--model", "sketch", "--store", "none"]) == 1
    assert "none of 1 pictures can be read; the first, bad.jpg" in capsys.readouterr().err
    assert not Path("none").exists()


@pytest.mark.shared
def test_a_store_of_another_model_is_left_alone_and_the_cache_serves(
    drawn: Path, store: Path, capsys: Capture, shared_dir: Path
) -> None:
    other = f"local-dir:{shared_dir / 'models' / 'wildlife-mini'}"
    before = (store / "manifest.json").read_bytes()
    lions = str(drawn / "photos" / LIONS)
    _, said = _ask(capsys, "zeroshot", lions, "--classes", "lion,wolf", "--model", other)
    assert f"{lions} are kept in the cache, as the store store is of sketch, not of {other}" in said
    assert (store / "manifest.json").read_bytes() == before


def test_a_store_that_cannot_be_written_is_left_alone(drawn: Path, capsys: Capture) -> None:
    Path("file").write_text("no folder")
    lions = str(drawn / "photos" / LIONS)
    asked = ("zeroshot", lions, "--classes", "lion,wolf", "--model", "sketch")
    found, said = _ask(capsys, *asked, "--store", "file/store")
    assert f"the vectors of {lions} are kept in the cache, as file/store cannot be written" in said
    assert len(found)


def test_arguments_of_search_are_folders_or_texts(drawn: Path, capsys: Capture) -> None:
    photos = str(drawn / "photos")
    named, _ = _ask(capsys, "search", "--in", photos, "--text", "a yellow fish", "-k", "3")
    for arguments in ([photos, "a yellow fish"], ["a yellow fish", photos]):
        found, _ = _ask(capsys, "search", *arguments, "-k", "3")
        assert found.equals(named)
    # Several texts, and those with a flag, add up; without a folder the store is asked.
    both, _ = _ask(capsys, "search", "--text", "a yellow fish", "--text", "a snail", "-k", "3")
    assert _ask(capsys, "search", "a yellow fish", "--text", "a snail", "-k", "3")[0].equals(both)
    assert run(["search", "photos/none", "a fish"]) == 2
    assert "no file or folder at photos/none" in capsys.readouterr().err


# What only a model needs; pictures and tables are read without.
_OF_MODELS = {"open_clip", "timm", "torch", "torch._dynamo", "transformers"}


def _load(*arguments: str) -> tuple[set[str], list[tuple[float, str]]]:
    """Run a command as a process; return the libraries of models it loaded, and what it said when.

    When is in seconds since it began.
    """
    command = [sys.executable, "-X", "importtime", "-m", "bioprobe", *arguments]
    began_s, loaded, said = time.monotonic(), set[str](), list[tuple[float, str]]()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("import time"):
                loaded.add(line.rpartition("|")[2].strip())
            else:
                said.append((time.monotonic() - began_s, line.rstrip()))
    assert process.returncode == 0, said
    return loaded & _OF_MODELS, said


@pytest.mark.parametrize(
    "folder",
    [pytest.param(False, id="picture", marks=pytest.mark.long), pytest.param(True, id="folder")],
)
def test_the_second_time_no_library_of_models_is_loaded(drawn: Path, folder: bool) -> None:
    lions = drawn / "photos" / LIONS
    source = str(lions if folder else lions / "000.jpg")
    text = f"lion{folder},a snail"
    asked = ("zeroshot", source, "--classes", text, "--model", "sketch", "-o", "a.csv")
    loaded, said = _load(*asked)
    # What it has no use for takes as long again.
    assert loaded == {"open_clip", "torch"}
    answer = Path("a.csv").read_bytes()
    assert sum("loading sketch …" in line for _, line in said) == 1
    # Within a second it says that it works: on a busy machine all takes longer, but the first line
    # stands long before the answer.
    (first_s, first), (last_s, last) = said[0], said[-1]
    assert first.startswith("loading")
    assert last.endswith(" s in all")
    assert first_s < last_s / 3
    loaded, said = _load(*asked)
    assert not loaded
    assert not any("loading sketch" in line for _, line in said)
    assert Path("a.csv").read_bytes() == answer


def test_a_model_that_was_exchanged_is_loaded_again(
    drawn: Path, capsys: Capture, tmp_path: Path
) -> None:
    lion = str(drawn / "photos" / LIONS / "000.jpg")
    model = tmp_path / "model"
    shutil.copytree(sketch_weights_dir(), model)
    asked = ("search", "--in", lion, "a lion", "--model", f"local-dir:{model}")
    first, _ = _ask(capsys, *asked)
    assert _ask(capsys, *asked)[0].equals(first)
    (weights,) = model.glob("*.safetensors")
    tensors = load_file(weights)
    name = next(one for one in tensors if one.startswith("visual") and tensors[one].ndim == 4)
    save_file({**tensors, name: tensors[name] * -1}, weights)
    assert not _ask(capsys, *asked)[0]["similarity"].equals(first["similarity"])
