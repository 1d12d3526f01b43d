"""An accuracy on the images that a mask keeps is not taken for that on all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bioprobe.cli.app import run
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import write_selection

Capture = pytest.CaptureFixture[str]

ADVICE = "not of all images: quote the accuracy without --mask"


@pytest.fixture
def n_kept(store: Path) -> int:
    """Keep a mask ``half``; return how many of its images have a label at class."""
    opened = EmbeddingStore.open(store)
    write_selection(opened, "half", opened.rows, opened.rows % 2 == 0)
    labels = opened.images.frame["class"].iloc[opened.rows[opened.rows % 2 == 0]]
    return int((labels != "").sum())


@pytest.mark.parametrize("way", [(), ("--roll-up",), ("--open-set",)], ids=str)
def test_the_accuracy_under_a_mask_is_said_to_be_of_what_it_keeps(
    n_kept: int, capsys: Capture, way: tuple[str, ...]
) -> None:
    asked = ["zeroshot", "--level", "class", "-k", "1", *way]
    assert run([*asked, "--mask", "half"]) == 0
    said = capsys.readouterr().err
    assert f"against the labels of {n_kept:,} images that the mask half keeps: top-1 " in said
    assert ADVICE in said
    assert run(asked) == 0
    said = capsys.readouterr().err
    assert re.search(r"against the labels of [\d,]+ images: top-1 ", said)
    assert ADVICE not in said


def test_so_is_the_share_of_right_answers_of_abstain(n_kept: int, capsys: Capture) -> None:
    asked = ["zeroshot", "--level", "class", "--abstain", "0.01"]
    assert run([*asked, "--mask", "half"]) == 0
    said = capsys.readouterr().err
    assert f"of {n_kept:,} answers to labelled images that the mask half keeps, " in said
    assert ADVICE in said
    assert run(asked) == 0
    assert ADVICE not in capsys.readouterr().err
