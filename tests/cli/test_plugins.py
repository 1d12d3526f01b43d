"""What another package adds works through the ordinary commands, and a broken one is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioprobe import registry
from bioprobe.cli.app import run
from bioprobe.face.prompts import shipped
from bioprobe.interchange import recognise_layout
from bioprobe.store import EmbeddingStore

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def diary(
    write_pictures: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    write_pictures(4)
    monkeypatch.chdir(tmp_path)
    lines = [f"pictures/{number:03d}.png | Felidae\n" for number in (2, 0, 1)]
    (tmp_path / "day.trip").write_text("".join(lines))
    return tmp_path / "day.trip"


@pytest.mark.usefixtures("example_package", "diary")
def test_a_source_an_encoder_and_a_layout_of_another_package(
    tmp_path: Path, capsys: Capture
) -> None:
    embed = ["embed", "--model", "tint:4", "--store", "tinted", "--quiet"]
    assert run([*embed, "day.trip", "pictures/003.png"]) == 0
    store = EmbeddingStore.open(tmp_path / "tinted")
    assert list(store.images.frame["path"])[:3] == [f"pictures/{n:03d}.png" for n in (2, 0, 1)]
    assert list(store.images.frame["family"]) == ["Felidae"] * 3 + [""]
    assert (store.manifest.encoder.backend, store.manifest.dim) == ("tint", 48)
    assert run(["embed", "trip:day.trip", "--store", "tinted"]) == 0  # by the store's own encoder
    assert "0 embedded, 0 reused, 3 already there" in capsys.readouterr().err

    search = ["search", "--image", "pictures/001.png", "--store", "tinted", "-k", "1"]
    assert run([*search, "--format", "json", "--output", "found.json", "--quiet"]) == 0
    assert "001.png" in (tmp_path / "found.json").read_text()

    export = ["store", "export", "some.jsonl", "--layout", "json-lines", "--store", "tinted"]
    assert run([*export, "--where", "family == 'Felidae'"]) == 0
    assert recognise_layout(tmp_path / "some.jsonl") == "json-lines"
    assert run(["store", "import", "some.jsonl", "--model", "tint:4", "--store", "copy"]) == 0
    copy = EmbeddingStore.open(tmp_path / "copy")
    np.testing.assert_allclose(copy.read_vectors(), store.read_vectors()[:3], atol=1e-6)


@pytest.mark.usefixtures("example_package")
def test_the_models_of_another_package_are_told_of_and_checked(capsys: Capture) -> None:
    assert run(["models", "check", "tint:4"]) == 0
    assert run(["models", "info", "tint:4"]) == 0
    assert "tint" in capsys.readouterr().out
    assert run(["models", "download", "tint:4"]) == 1
    assert "which fetches its models itself" in capsys.readouterr().err
    assert run(["models", "info", "tin:4"]) == 1
    assert "tint:name" in capsys.readouterr().err


@pytest.mark.usefixtures("example_package")
def test_a_method_of_another_package(store: Path, capsys: Capture) -> None:
    assert run(["split", "--level", "class", "--fractions", "0.5,0.25,0.25", "--quiet"]) == 0
    level = ["--level", "class"]
    assert run(["probe", "fit", "median", *level, "--setting", "sharpness=8"]) == 0
    assert run(["probe", "predict", "median", "-k", "1", "--output", "answers.csv"]) == 0
    answers = pd.read_csv("answers.csv")
    assert len(answers) == len(EmbeddingStore.open(store))
    assert run(["probe", "fit", "median", *level, "--setting", "colour=red"]) == 1
    assert "median has no setting 'colour'; it has sharpness" in capsys.readouterr().err
    methods = ["--methods", "centroid,median", "--n-resamples", "50"]
    assert run(["evaluate", *level, *methods, "--output", "figures.csv"]) == 0
    assert list(pd.read_csv("figures.csv")["method"]) == ["centroid", "median"]
    tune = ["probe", "tune", *level, "--kinds", "median,lda", "--n-trials", "2"]
    assert run([*tune, "--output", "trials.csv"]) == 0
    assert set(pd.read_csv("trials.csv")["kind"]) == {"median", "lda"}


@pytest.mark.usefixtures("example_package", "store")
def test_a_template_set_of_another_package() -> None:
    assert shipped().templates["postcard"][0] == "look, {}!"
    ask = ["zeroshot", "--level", "class", "-k", "1", "--format", "json", "--quiet"]
    for name, templates in (("named", "postcard"), ("plain", "plain")):
        assert run([*ask, "--templates", templates, "--output", f"{name}.json"]) == 0
    assert Path("named.json").read_text() != Path("plain.json").read_text()
    assert '"look, {}!"' in Path("named.json").read_text()


BROKEN = [
    ["embed", "day.broken", "--model", "sketch"],
    ["embed", "broken:day", "--model", "sketch"],
    ["embed", "pictures", "--model", "broken:b16"],
    ["models", "check", "broken:b16"],
    ["store", "export", "x.out", "--layout", "broken"],
    ["store", "import", "day.trip", "--layout", "broken", "--model", "m", "--store", "new"],
    ["zeroshot", "--level", "class", "--templates", "broken"],
    ["probe", "fit", "broken", "--level", "class"],
    ["evaluate", "--level", "class", "--methods", "centroid,broken"],
]


@pytest.mark.usefixtures("broken_package", "store", "diary")
def test_what_is_broken_is_named_where_it_is_asked_for(capsys: Capture) -> None:
    assert run(["split", "--level", "class", "--quiet"]) == 0
    for arguments in BROKEN:
        assert run(arguments) == 1, arguments
        said = capsys.readouterr().err
        assert "broken' of package_that_is_gone:thing cannot be loaded: ModuleNotFound" in said
        assert "mend or remove the package that adds it" in said
        assert "Traceback" not in said


@pytest.mark.usefixtures("broken_package", "example_package", "store", "diary")
def test_what_is_broken_stops_nothing_else(capsys: Capture) -> None:
    assert run(["embed", "day.trip", "--model", "tint:2", "--store", "tinted", "--quiet"]) == 0
    assert run(["prompts", "list", "--output", "sets.csv"]) == 0
    assert {"plain", "postcard"} <= set(pd.read_csv("sets.csv")["name"])
    assert "the template set 'broken' of" in capsys.readouterr().err
    assert run(["probe", "fit", "oracle", "--level", "class", "--split", "none"]) == 1
    assert (
        "prolip, attentive, adapter, clap, tip-adapter, median, broken" in capsys.readouterr().err
    )
    assert run(["probe", "fit", "centroid", "--level", "class", "--split", "none"]) == 0
    # None of the layouts is this one's; it might have been the broken one's.
    assert run(["store", "import", "day.trip", "--model", "m", "--store", "new"]) == 1
    said = capsys.readouterr().err
    assert "lines of JSON, named .jsonl (json-lines)" in said
    assert "'broken' of package_that_is_gone:thing cannot be loaded" in said


@pytest.mark.parametrize("command", ["", "embed", "evaluate", "probe fit", "store export"])
def test_help_looks_for_no_package(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(group: str, _path: tuple[str, ...]) -> None:
        raise AssertionError(group)

    monkeypatch.setattr(registry, "_find_entry_points", refuse)
    assert run([*command.split(), "--help"]) == 0
