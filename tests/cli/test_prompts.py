from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioprobe.cli.app import run
from bioprobe.prompts import read_templates, shipped_templates
from bioprobe.splits import PARTS, read_split
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
    arguments = ["--level", "class", "--fractions", "0.5,0.25,0.25", "--quiet"]
    assert run(["split", *arguments]) == 0
    opened = EmbeddingStore.open(store)
    classes = opened.images.frame["class"]
    for part in PARTS:
        expected = int((classes.iloc[read_split(opened).rows(part)] != "").sum())
        assert compare("--split", f"default:{part}")["n_images"].item() == expected > 0
    assert run([*ASKED, "--split", "default: train"]) == 0
    n_images = len(read_split(opened).rows("train"))
    said = capsys.readouterr().err
    assert said.startswith(f"images of the part train of the split default: {n_images}\n")


def test_split_and_condition_both_count(compare: Compare) -> None:
    assert run(["split", "--level", "class", "--quiet"]) == 0
    part = compare("--split", "default:train")["n_images"].item()
    both = compare("--split", "default:train", "--where", "order == 'Carnivora'")
    assert 0 < both["n_images"].item() < part


@pytest.mark.parametrize(
    ("split", "code", "said"),
    [
        ("none:test", 1, "no split 'none'"),
        ("default:part", 2, "is NAME:PART, such as default:test (train, validation, test)"),
        (":test", 2, "is NAME:PART"),
        ("default", 2, "is NAME:PART"),
        ("order=Carnivora", 2, "give a condition: --where"),
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
    compared = json.loads((tmp_path / "compared.json").read_text())
    assert len(compared["rows"]) == 1
    assert compared["provenance"]["options"]["template_sets"] == ["bare"]


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
