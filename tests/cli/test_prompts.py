from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioprobe.cli.app import run
from bioprobe.prompts import read_templates, shipped_templates
from bioprobe.splits import read_split
from bioprobe.store import EmbeddingStore

Capture = pytest.CaptureFixture[str]
Compare = Callable[..., pd.DataFrame]

pytestmark = pytest.mark.usefixtures("store")

ASKED = ["prompts", "compare", "--level", "class", "--text-types", "sci", "--template-sets", "bare"]


@pytest.fixture
def compare(capsys: Capture) -> Compare:
    """Run the smallest comparison with other options, of which the later count."""

    def ask(*options: str) -> pd.DataFrame:
        capsys.readouterr()
        assert run([*ASKED, *options, "--quiet", "--format", "csv"]) == 0
        captured = capsys.readouterr()
        assert not captured.err
        return pd.read_csv(io.StringIO(captured.out), keep_default_na=False)

    return ask


def test_every_option_that_asks_changes_the_answer(compare: Compare, tmp_path: Path) -> None:
    (tmp_path / "two.csv").write_text("phylum,class\n,Mammalia\n,Reptilia\n")
    usual = compare()
    assert list(usual["text_type"] + " " + usual["templates"]) == ["sci bare"]
    assert compare("--level", "order")["accuracy"].item() != usual["accuracy"].item()
    assert compare("--taxa", "two.csv")["accuracy"].item() < usual["accuracy"].item()
    assert set(compare("--text-types", "sci,taxon")["text_type"]) == {"sci", "taxon"}
    several = compare("--template-sets", "bare,field").set_index("templates")["n_templates"]
    assert several.to_dict() == {"bare": 1, "field": len(read_templates("field"))}
    some = compare("--where", "order == 'Carnivora'")
    assert 0 < some["n_images"].item() < usual["n_images"].item()


def test_all_template_sets_are_compared(compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    # The 80 templates of openai take long.
    ours = [name for name in shipped_templates() if name != "openai"]
    monkeypatch.setattr("bioprobe.prompts.shipped_templates", lambda: ours)
    assert sorted(compare("--template-sets", "all")["templates"]) == ours


def test_a_part_of_a_split_is_asked(compare: Compare, store: Path, capsys: Capture) -> None:
    for name, fractions in [("default", "0.5,0.25,0.25"), ("halves", "0.5,0,0.5")]:
        arguments = ["--name", name, "--level", "class", "--fractions", fractions]
        assert run(["split", *arguments, "--quiet"]) == 0
    opened = EmbeddingStore.open(store)

    def count(name: str, part: str) -> int:
        rows = read_split(opened, name).rows(part)
        return int((opened.images.frame["class"].iloc[rows] != "").sum())

    def ask(split: str) -> int:
        return int(compare("--split", split)["n_images"].item())

    assert ask("default") == ask("default:validation") == count("default", "validation") > 0
    assert ask("default:train") == count("default", "train")
    assert ask("default:test") == count("default", "test")
    # Without a validation part the training images are asked, never those of the test.
    assert ask("halves") == ask("halves:train") == count("halves", "train")
    assert run([*ASKED, "--split", "halves"]) == 0
    assert f"part train of the split halves: {count('halves', 'train')}" in capsys.readouterr().err


def test_split_and_condition_both_count(compare: Compare) -> None:
    assert run(["split", "--level", "class", "--quiet"]) == 0
    part = compare("--split", "default:train")["n_images"].item()
    both = compare("--split", "default:train", "--where", "order == 'Carnivora'")
    assert 0 < both["n_images"].item() < part


@pytest.mark.parametrize(
    ("split", "column", "values"),
    [
        ("order=Carnivora", "order", ["Carnivora"]),
        ("order = Carnivora ", "order", ["Carnivora"]),
    ],
)
def test_images_with_a_value_in_a_column_are_asked(
    compare: Compare, store: Path, split: str, column: str, values: list[str]
) -> None:
    frame = EmbeddingStore.open(store).images.frame
    expected = int((frame[column].isin(values) & (frame["class"] != "")).sum())
    assert compare("--split", split)["n_images"].item() == expected > 0


@pytest.mark.parametrize("value", ["1", "1.0", "1e0"])
@pytest.mark.parametrize("column", ["whole", "fraction", "with_holes"])
def test_numbers_are_compared_as_numbers(
    monkeypatch: pytest.MonkeyPatch, compare: Compare, store: Path, column: str, value: str
) -> None:
    n_images = _add_columns(monkeypatch, store)
    assert compare("--split", f"{column}={value}")["n_images"].item() == n_images["1"]


@pytest.mark.parametrize("value", ["true", "True"])
def test_truth_is_compared_in_any_case(
    monkeypatch: pytest.MonkeyPatch, compare: Compare, store: Path, value: str
) -> None:
    n_images = _add_columns(monkeypatch, store)
    assert compare("--split", f"is_one={value}")["n_images"].item() == n_images["1"]


def test_text_is_compared_letter_by_letter(
    monkeypatch: pytest.MonkeyPatch, compare: Compare, store: Path
) -> None:
    n_images = _add_columns(monkeypatch, store)
    assert compare("--split", "text=1")["n_images"].item() == n_images["1"]
    assert run([*ASKED, "--split", "text=1.0"]) == 1


def _add_columns(monkeypatch: pytest.MonkeyPatch, store: Path) -> dict[str, int]:
    """Let stores open with more columns; return how many labelled images have each value."""
    images = EmbeddingStore.open(store).images
    numbers = np.arange(len(images.frame)) % 3
    frame = images.frame.assign(
        whole=numbers,
        fraction=numbers.astype(np.float64),
        with_holes=np.where(numbers == 2, np.nan, numbers),
        is_one=numbers == 1,
        text=numbers.astype(str),
    )
    monkeypatch.setattr(EmbeddingStore, "images", type(images).build(frame))
    labelled = frame[frame["class"] != ""]
    return {str(value): int(n) for value, n in labelled["text"].value_counts().items()}


@pytest.mark.parametrize(
    ("split", "code", "said"),
    [
        ("none", 1, "no split 'none'"),
        ("default:part", 2, "--split is NAME[:PART]"),
        (":test", 2, "--split is NAME[:PART]"),
        ("colour=red", 2, "no column 'colour'"),
        ("width_px=wide", 2, "holds numbers, got 'wide'"),
        ("order=Nothing", 1, "has a label at class"),
    ],
)
def test_what_is_no_part_is_refused(split: str, code: int, said: str, capsys: Capture) -> None:
    assert run([*ASKED, "--split", split]) == code
    assert said in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_the_recommended_one_is_tested_against_the_others(capsys: Capture) -> None:
    several = ["--text-types", "sci,asis,taxon", "--template-sets", "bare,a drawing of {}"]
    assert run([*ASKED, *several, "--format", "csv"]) == 0
    captured = capsys.readouterr()
    frame = pd.read_csv(io.StringIO(captured.out), keep_default_na=False, na_values={"p_value": ""})
    best = frame.iloc[0]
    assert f"--text-type {best['text_type']} --templates {best['templates']}" in captured.err
    assert list(frame["accuracy"]) == sorted(frame["accuracy"], reverse=True)
    assert np.allclose(frame["difference"], frame["accuracy"] - best["accuracy"], atol=1e-6)
    assert ((frame["low"] <= frame["accuracy"]) & (frame["accuracy"] <= frame["high"])).all()
    assert ((frame["p_value"] < 0.05) == frame["is_worse"]).all()
    tested = frame[(frame["same_texts_as"] == "") & frame["p_value"].notna()]
    assert len(tested) == 3
    assert f"{tested['is_worse'].sum()} of 3 others (p < 0.05; exact McNemar" in captured.err
    for one in tested[~tested["is_worse"]].itertuples():
        assert f"{one.text_type} {one.templates} (p = " in captured.err
    assert "asis bare asks by the same texts as sci bare" in captured.err


def test_the_rest_of_many_that_are_close_is_counted(capsys: Capture) -> None:
    templates = ",".join(f"{'very ' * n}fine {{}}" for n in range(8))
    assert run([*ASKED, "--template-sets", templates, "--where", "index < 3"]) == 0
    assert "and 2 more" in capsys.readouterr().err


def test_one_combination_has_nothing_to_be_tested_against(capsys: Capture) -> None:
    assert run(ASKED) == 0
    said = capsys.readouterr().err
    assert "recommended: --text-type sci --templates bare" in said
    assert "others" not in said.replace("measure it on others", "")


@pytest.mark.parametrize("options", [("--model", "local-dir:nowhere"), ("--device", "abacus")])
def test_the_encoder_and_device_asked_for_are_used(options: tuple[str, str]) -> None:
    assert run([*ASKED, *options]) == 1


def test_store_and_output_are_where_they_are_said(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BIOPROBE_STORE")
    assert run([*ASKED, "--output", "compared.json"]) == 1
    assert run([*ASKED, "--store", str(store), "--output", "compared.json"]) == 0
    assert len(pd.read_json(tmp_path / "compared.json")["rows"]) == 1


def test_the_sets_and_lists_that_ship_are_listed(capsys: Capture, tmp_path: Path) -> None:
    assert run(["prompts", "list", "--output", "sets.csv"]) == 0
    assert "rows to sets.csv" in capsys.readouterr().err
    frame = pd.read_csv(tmp_path / "sets.csv")
    sets = frame[frame["kind"] == "templates"].set_index("name")
    assert sorted(sets.index) == shipped_templates()
    assert (sets.loc["openai", "n"], sets.loc["plain", "first"]) == (80, "a photo of {}.")
    assert {"sketch", "rare-species"} <= set(frame[frame["kind"] == "taxonomy"]["name"])
    assert run(["prompts", "list", "--quiet", "--format", "json", "--output", "sets.txt"]) == 0
    assert not capsys.readouterr().err
    assert (tmp_path / "sets.txt").read_text().startswith("{")
