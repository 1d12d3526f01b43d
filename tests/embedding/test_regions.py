from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from PIL import Image

from bioprobe.embedding import EmbedSummary, embed_images, preparation
from bioprobe.embedding.preparation import Listed, prepare_picture
from bioprobe.images.reading import decode_marked
from bioprobe.images.regions import REGION, Region, find_draft_side
from bioprobe.sources.listing import Listing, Part
from bioprobe.store import EmbeddingStore

if TYPE_CHECKING:
    from tests.conftest import PlainEncoder

LEFT, RIGHT = "0,0,0.5,1", "0.5,0,0.5,1"
Said = list[dict[str, Any]]


class Runs:
    """Runs over the pictures of one folder, one after the other."""

    def __init__(self, store: EmbeddingStore, encoder: PlainEncoder, folder: Path) -> None:
        self.store, self.encoder, self.folder = store, encoder, folder

    def embed(self, *tables: Said) -> EmbedSummary:
        frames = [
            pd.DataFrame([{"root": str(self.folder), **row} for row in rows], dtype=object)
            for rows in tables
        ]
        listing = Listing.merge(
            [Part(frame.fillna(""), f"{n}.csv") for n, frame in enumerate(frames)]
        )
        summary = embed_images(listing, self.encoder, self.store)
        self.store = EmbeddingStore.open(self.store.folder)
        return summary

    def rows(self, *columns: str) -> list[tuple[Any, ...]]:
        frame = self.store.images.frame.iloc[self.store.rows]
        return sorted(frame[["path", REGION, *columns]].itertuples(index=False, name=None))

    def vector(self, path: str, region: str) -> npt.NDArray[np.float32]:
        frame = self.store.images.frame
        is_it = (frame["path"] == path) & (frame[REGION] == region)
        rows = np.intersect1d(self.store.rows, np.flatnonzero(is_it))
        vector: npt.NDArray[np.float32] = self.store.read_vectors(rows)[0]
        return vector


@pytest.fixture
def runs(
    make_store: Callable[..., EmbeddingStore],
    encoder: PlainEncoder,
    write_pictures: Callable[..., Path],
) -> Runs:
    return Runs(make_store(encoder), encoder, write_pictures(2))


def _count(summary: EmbedSummary) -> tuple[int, int, int, int]:
    return summary.n_embedded, summary.n_reused, summary.n_kept, summary.n_failed


BOXES: Said = [
    {"path": "000.png", REGION: LEFT}, {"path": "001.png", REGION: LEFT},
    {"path": "000.png", REGION: RIGHT}, {"path": "000.png", REGION: f"{LEFT}#2"},
]  # fmt: skip


def test_a_box_has_the_vector_of_what_is_cut_out(runs: Runs) -> None:
    assert _count(runs.embed(BOXES)) == (3, 1, 0, 0)
    with Image.open(runs.folder / "000.png") as image:
        width, height = image.size
        for region, box in (
            (LEFT, (0, 0, width // 2, height)),
            (RIGHT, (width // 2, 0, width, height)),
        ):
            expected = runs.encoder.encode_image([image.convert("RGB").crop(box)])[0]
            np.testing.assert_allclose(runs.vector("000.png", region), expected, atol=1e-6)
    np.testing.assert_array_equal(runs.vector("000.png", f"{LEFT}#2"), runs.vector("000.png", LEFT))
    assert _count(runs.embed(BOXES)) == (0, 0, 4, 0)
    assert runs.store.manifest.has_regions


def test_a_picture_is_decoded_once_for_all_of_its_boxes(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = []

    def decode(data: bytes, **options: Any) -> Any:  # noqa: ANN401
        decoded.append(len(data))
        return decode_marked(data, **options)

    monkeypatch.setattr(preparation, "decode_marked", decode)
    many = [{"path": "000.png", REGION: f"{n / 100:g},0,0.4,1"} for n in range(50)]
    mixed = [*many[:25], {"path": "001.png", REGION: LEFT}, *many[25:]]
    assert _count(runs.embed(mixed)) == (51, 0, 0, 0)
    assert len(decoded) == 2


def test_whole_pictures_give_way_to_their_regions_with_what_was_said(runs: Runs) -> None:
    runs.embed([{"path": "000.png", "genus": "Lynx", "site": "A"}, {"path": "001.png"}])
    summary = runs.embed([{"path": "000.png", REGION: LEFT}, {"path": "000.png", REGION: RIGHT}])
    assert (summary.n_given_way, summary.n_regions_retired) == (1, 0)
    assert [tuple(map(_write, row)) for row in runs.rows("genus", "site")] == [
        ("000.png", LEFT, "Lynx", "A"), ("000.png", RIGHT, "Lynx", "A"), ("001.png", "", "", ""),
    ]  # fmt: skip


def test_what_is_said_of_a_whole_picture_is_said_of_its_regions(runs: Runs) -> None:
    runs.embed([{"path": "000.png", REGION: LEFT}, {"path": "000.png", REGION: RIGHT}])
    summary = runs.embed([{"path": "000.png", "genus": "Lynx"}])
    assert _count(summary) == (0, 2, 0, 0)
    assert [row[1:] for row in runs.rows("genus")] == [(LEFT, "Lynx"), (RIGHT, "Lynx")]
    assert _count(runs.embed([{"path": "000.png", "genus": "Lynx"}])) == (0, 0, 2, 0)


def test_several_labels_of_a_picture_go_to_no_region_and_are_counted(runs: Runs) -> None:
    two = [{"path": "000.png", REGION: "", "genus": "Lynx"},
           {"path": "000.png", REGION: "#2", "genus": "Vulpes"}]  # fmt: skip
    assert _count(runs.embed(two)) == (1, 1, 0, 0)
    assert [row[1:] for row in runs.rows("genus")] == [("", "Lynx"), ("#2", "Vulpes")]
    summary = runs.embed([{"path": "000.png", REGION: LEFT}])
    assert (summary.n_unassigned, runs.rows("genus")) == (1, [("000.png", LEFT, "")])
    assert runs.embed(two).n_unassigned == 1


def test_a_box_that_is_cut_out_in_another_way_takes_the_place_of_the_old(runs: Runs) -> None:
    runs.embed([{"path": "000.png", REGION: LEFT, "genus": "Lynx"}])
    summary = runs.embed([{"path": "000.png", REGION: f"{LEFT}+0.1s"}])
    assert (summary.n_regions_retired, runs.rows("genus")) == (
        1, [("000.png", f"{LEFT}+0.1s", "Lynx")],
    )  # fmt: skip


def test_a_picture_with_other_bytes_is_whole_again(runs: Runs) -> None:
    runs.embed([{"path": "000.png", REGION: LEFT, "genus": "Lynx"}])
    (runs.folder / "000.png").write_bytes((runs.folder / "001.png").read_bytes())
    runs.embed([{"path": "000.png"}])
    assert runs.rows("genus") == [("000.png", "", "")]


def test_a_bad_box_fails_alone_and_is_named(runs: Runs) -> None:
    bad = [{"path": "000.png", REGION: "0.5,0.5,9"}, {"path": "000.png", REGION: LEFT}]
    assert _count(runs.embed(bad)) == (1, 0, 0, 1)
    failures = runs.store.read_failures()
    assert failures["path"].tolist() == ["000.png"]
    assert failures["reason"].iloc[0].startswith("region 0.5,0.5,9: no region is called")
    assert [row[1] for row in runs.rows()] == [LEFT]


def test_a_small_box_is_cut_from_enough_pixels(encoder: PlainEncoder, tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.effect_noise((1600, 1200), 90).convert("RGB").save(stream, "JPEG")
    (tmp_path / "a.jpg").write_bytes(stream.getvalue())
    sizes: list[tuple[int, int]] = []

    class Watching(type(encoder)):  # type: ignore[misc]
        draft_side_px = 100

        def preprocess(self, image: Image.Image) -> npt.NDArray[np.float32]:
            sizes.append(image.size)
            prepared: npt.NDArray[np.float32] = super().preprocess(image)
            return prepared

    boxes = ("", "0,0,0.5,0.5", "0,0,0.25,0.25")
    for names in (boxes[:1], boxes[1:]):
        prepare_picture([Listed(str(tmp_path), "a.jpg", {}, n) for n in names], set(), Watching())
    # The whole at an eighth; the small box, of 300 pixels, at a half, and the other with it.
    assert sizes == [(200, 150), (400, 300), (200, 150)]
    assert find_draft_side([Region(0, 0, 0.25, 0.25)], (1600, 1200), 0) == 0


def _write(cell: object) -> str:
    return "" if pd.isna(cell) else str(cell)  # type: ignore[call-overload]
