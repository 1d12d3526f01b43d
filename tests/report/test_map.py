from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import bioprobe as bp
from bioprobe.cli.app import run
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import StoreError
from bioprobe.mapping.classes import OTHERS, UNKNOWN, code_classes
from bioprobe.report.map import describe_map, draw_map
from bioprobe.store import EmbeddingStore
from tests.conftest import PlainEncoder

NAMES = ("cat & dog", "bird", "")


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what draws the map."""
    monkeypatch.setitem(sys.modules, "datamapplot", None)


@pytest.fixture
def store(make_store: Callable[..., EmbeddingStore]) -> bp.Store:
    numbers = np.arange(8)
    frame = pd.DataFrame(
        {
            "root": "photos",
            "path": [f"{number}.jpg" for number in numbers],
            "sha256": [f"{number:064x}" for number in numbers],
            "kind": [NAMES[number % 3] for number in numbers],
        }
    )
    vectors = np.random.default_rng(0).standard_normal((8, 4))
    encoder = PlainEncoder(dim=4)
    encoder.has_text_tower = False
    made = make_store(encoder).append(frame, normalise_rows(vectors))
    opened = bp.open(made.folder)
    opened.map()
    return opened


@pytest.mark.usefixtures("without")
def test_a_report_shows_the_map_or_how_to_see_it(
    store: bp.Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    section = describe_map(store.read_map(), store.map_classes())
    assert section.content["picture"] is None
    assert "bioprobe[map]" in section.content["missing"]
    assert section.content["n_images"] == 8
    labels = [one["label"] for one in section.content["facts"]]
    assert labels == ["trustworthiness", "continuity", "neighbours kept"]
    assert "kind: bird 3, cat & dog 3" in section.content["alt"]
    page = tmp_path / "report.html"
    store.report(output=page)
    assert "A map of the pictures" in page.read_text()
    assert "bioprobe[map]" in page.read_text()
    store.report(output=page, map="none")
    assert "A map of the pictures" not in page.read_text()
    for name in ("map.png", "map.pdf"):
        target = tmp_path / name
        assert run(["map", "--store", str(store.folder), "--picture", str(target)]) > 0
        assert not target.exists()
    assert "bioprobe[map]" in capsys.readouterr().err
    with pytest.raises(StoreError, match="no map 'other'"):
        store.report(output=page, map="other")


def test_the_commonest_classes_have_a_look_of_their_own() -> None:
    labels = np.array(["b", "a", "", "b", "c", "a", "b"], dtype=object)
    found = code_classes("kind", np.arange(7), labels, most=2)
    assert found.names == ("b", "a")
    assert found.codes.tolist() == [0, 1, UNKNOWN, 0, OTHERS, 1, 0]
    assert found.n_classes == 3
    assert found.to_frame()["n_images"].tolist() == [3, 2, 1, 1]


@pytest.mark.long
def test_names_stand_beside_their_classes_and_nothing_is_fetched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("datamapplot")
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("something was fetched"))
    random = np.random.default_rng(0)
    points = random.standard_normal((60, 2)) + np.repeat([[0, 0], [9, 0], [0, 9]], 20, axis=0)
    labels = np.repeat(np.array(["cats", "dogs", ""], dtype=object), 20)
    drawn = draw_map(points, code_classes("kind", np.arange(60), labels))
    pixels = np.asarray(Image.open(io.BytesIO(drawn)).convert("RGB")).reshape(-1, 3)
    seen = {tuple(int(number) for number in one) for one in np.unique(pixels, axis=0)}
    assert {(0xE6, 0x9F, 0x00), (0x56, 0xB4, 0xE9), (0xC4, 0xC8, 0xC5)} <= seen
    assert drawn == draw_map(points, code_classes("kind", np.arange(60), labels))
