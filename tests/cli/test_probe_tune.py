"""``bioprobe probe tune`` on drawn pictures."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pytest

from bioprobe.cli.app import run
from bioprobe.learning.keeping import read_calibration, read_probe
from bioprobe.learning.kept import list_probes
from bioprobe.splits import make_split, read_split, write_split
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Rank

Capture = pytest.CaptureFixture[str]

_QUICK = ("--level", "family", "--kinds", "lda,centroid,knn", "--n-trials", "3")


@pytest.fixture
def split(store: Path) -> EmbeddingStore:
    opened = EmbeddingStore.open(store)
    write_split(opened, make_split(opened, Rank.FAMILY, fractions=(0.5, 0.25, 0.25)))
    return opened


def _tune(capsys: Capture, *arguments: str) -> pd.DataFrame:
    capsys.readouterr()
    code = run(["probe", "tune", *arguments, "--quiet", "--format", "csv"])
    told = capsys.readouterr()
    assert code == 0, told.err
    assert not told.err, "no bar and no message where quiet was asked"
    return pd.read_csv(io.StringIO(told.out), keep_default_na=False)


def test_the_table_has_the_best_first_which_is_kept(split: EmbeddingStore, capsys: Capture) -> None:
    frame = _tune(capsys, *_QUICK)
    assert frame.columns.tolist()[:3] == ["kind", "settings", "accuracy"]
    assert sorted(frame["kind"]) == ["centroid", "knn", "lda"]
    assert frame["accuracy"].is_monotonic_decreasing
    kept = read_probe(split, "tuned")
    assert kept.kind == frame["kind"][0]
    assert json.loads(frame["settings"][0]).items() <= kept.settings.items()
    assert read_calibration(split, "tuned") is not None
    assert run(["probe", "predict", "tuned", "--split", "default:test", "--output", "a.csv"]) == 0


def test_it_says_that_the_score_is_of_the_rows_it_was_chosen_on(
    split: EmbeddingStore, capsys: Capture
) -> None:
    n = len(read_split(split).rows("validation"))
    assert run(["probe", "tune", *_QUICK, "--output", "tuned.json"]) == 0
    said = capsys.readouterr().err
    assert "3 trials, 32 settings compared" in said, "20 of lda, 11 of knn, 1 of centroid"
    # A part of so few chooses nothing by itself.
    assert f"the part validation has {n:,} images, fewer than 30: folds of train and valid" in said
    assert " held-out images (cross-validation)" in said
    assert "so too high; bioprobe evaluate" in said
    assert "trials/s" not in said, "no bar where standard error is no terminal"
    told = json.loads(Path("tuned.json").read_text())
    assert told["provenance"]["options"]["tuning"]["metric"] == "accuracy"
    assert len(told["rows"]) == 3


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--metric", "log_loss"),
        ("--n-trials", "2"),
        ("--timeout", "0"),
        ("--kinds", "ridge,centroid"),
        ("--split", "none"),
        ("--where", "order != 'Carnivora'"),
        ("--level", "order"),
        ("--mask", "filters/odd"),
    ],
)
def test_every_option_changes_what_is_tried_or_its_score(
    split: EmbeddingStore, capsys: Capture, option: str, value: str
) -> None:
    from bioprobe.store.selections import write_selection

    write_selection(split, "filters/odd", split.rows, split.rows % 3 > 0)
    plain, changed = _tune(capsys, *_QUICK), _tune(capsys, *_QUICK, option, value)
    columns = [name for name in plain if name not in {"seconds", "trial"}]
    kept = [name for name in columns if name in changed]
    assert columns != kept or not plain[columns].equals(changed[columns])


def test_the_name_the_calibration_and_the_chain(split: EmbeddingStore, capsys: Capture) -> None:
    asked = ("--level", "family", "--kinds", "hierarchical", "--n-trials", "1")
    for first in ("phylum", "order"):
        _tune(capsys, *asked, "--from", first, "--name", first, "--calibration", "none")
    assert list_probes(split) == ["order", "phylum"]
    assert read_calibration(split, "phylum") is None
    chains = [
        read_probe(split, one).provenance["options"]["first_rank"] for one in list_probes(split)
    ]
    assert chains == ["order", "phylum"]


@pytest.mark.usefixtures("split")
def test_the_seed_proposes_others(capsys: Capture) -> None:
    asked = ("--level", "family", "--kinds", "knn", "--n-trials", "2", "--metric", "macro_f1")
    tried = [tuple(_tune(capsys, *asked, "--seed", str(seed))["settings"]) for seed in (0, 0, 1, 2)]
    assert tried[0] == tried[1]
    assert len({frozenset(one) for one in tried}) > 1


def test_texts_are_chosen_from_what_is_given(
    split: EmbeddingStore, capsys: Capture, tmp_path: Path
) -> None:
    taxa = tmp_path / "taxa.csv"
    taxa.write_text("kingdom,family,common_name\nAnimalia,Ursidae,bear\n")
    few = ("--where", "class in ('Mammalia', 'Insecta')")
    asked = ("--level", "family", "--kinds", "prompt+probe", "--n-trials", "2", *few)
    given = ("--text-types", "sci", "--templates", "bare", "--templates", "a photo of {}.")
    frame = _tune(capsys, *asked, *given, "--taxa", str(taxa))
    settings = [json.loads(one) for one in frame["settings"]]
    assert {one["text_type"] for one in settings} == {"sci"}
    assert {one["templates"] for one in settings} <= {"bare", "a photo of {}."}
    assert "Ursidae" in {taxon.name for taxon in read_probe(split, "tuned").classes}
    _tune(capsys, *asked, "--n-trials", "1")
    assert "Ursidae" not in {taxon.name for taxon in read_probe(split, "tuned").classes}


def test_misuse_says_the_remedy(split: EmbeddingStore, capsys: Capture) -> None:
    for arguments, said in (
        (("--kinds", "forest"), "tuning compares lda, ridge"),
        (("--metric", "auroc"), "a metric of accuracy, macro_f1, log_loss"),
        (("--split", "other"), "bioprobe split --name other"),
        (("--name", "../up"), "cannot name a probe"),
    ):
        assert run(["probe", "tune", *_QUICK, *arguments]) == 1
        assert said in capsys.readouterr().err
    assert list_probes(split) == []
