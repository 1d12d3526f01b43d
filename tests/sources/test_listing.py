from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from bioprobe.embedding import embed_images
from bioprobe.images import ImageTable
from bioprobe.images.image_table import FACT_COLUMNS, LOCATION_COLUMNS
from bioprobe.images.regions import REGION
from bioprobe.sources.listing import Listing, Part, Said, find_said, is_same, join
from bioprobe.sources.source import SourceOptions, find_images
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Rank

if TYPE_CHECKING:
    from tests.conftest import PlainEncoder

N = 4
FOLDERS = ("Felidae", "Canidae")
LINEAGES: tuple[dict[str, str], ...] = (
    {},
    {"genus": "Panthera"},
    {"genus": "Puma", "species": "Puma concolor"},
    {"family": "Felidae", "genus": "Panthera", "species": "Panthera leo", "common_name": "lion"},
    {"kingdom": "Animalia"},
    {"common_name": "big cat"},
)
LABELS = ("kingdom", "family", "genus", "species", "common_name")
FREE: dict[str, tuple[Any, ...]] = {"site": ("", "north", "south"), "n": ("", 1, 2)}


@pytest.mark.parametrize("value", ["", None, float("nan"), pd.NA, pd.NaT])
def test_what_is_missing_says_nothing(value: object) -> None:
    assert find_said({"x": value, "y": "z"}) == {"y": "z"}


@pytest.mark.parametrize(
    "value", ["Felidae", 0, False, 2.5, pd.Timestamp("2024-05-01"), [1, 2], {"lat": 1.5}, []]
)
def test_any_value_that_a_table_holds_is_compared(value: object) -> None:
    assert list(find_said({"x": value})) == ["x"]
    assert is_same(value, value)
    assert not is_same(value, "other")


def test_values_are_compared_with_what_a_store_makes_of_them() -> None:
    assert is_same([1.0, 2.0], np.array([1.0, 2.0]))
    assert is_same([{"n": [1, 2]}], np.array([{"n": np.array([1, 2])}]))
    assert not is_same(np.array([1.0, 2.0]), np.array([1.0, 2.5]))
    assert is_same(7, 7.0)
    assert is_same(7, "7")
    assert not is_same("7", "07")


class Stores:
    """Embed sources, one run after the other, into new stores."""

    def __init__(self, make: Callable[..., EmbeddingStore], encoder: PlainEncoder) -> None:
        self._make, self._encoder = make, encoder
        self._n_made = 0

    def embed(self, *runs: Sequence[Path], rank: Rank | None = None) -> EmbeddingStore:
        store = self._make(self._encoder, f"store-{self._n_made}")
        self._n_made += 1
        for sources in runs:
            listing = find_images(sources, SourceOptions(folder_rank=rank))
            embed_images(listing, self._encoder, store, n_threads=1)
            store = EmbeddingStore.open(store.folder)
        return store


@pytest.fixture
def stores(make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder) -> Stores:
    return Stores(make_store, encoder)


def _read(store: EmbeddingStore) -> dict[str, dict[str, Any]]:
    """Return what is known of each current image, by its file."""
    rows = store.images.frame.iloc[store.rows].to_dict("records")
    found = {}
    for row in rows:
        said = find_said({str(name): value for name, value in row.items()})
        found[join(said.pop("root"), said.pop("path"))] = said
    assert len(found) == len(rows)
    return found


def _get_said(table: ImageTable) -> list[dict[str, Any]]:
    frame = table.frame.drop(columns=[*FACT_COLUMNS, *LOCATION_COLUMNS])
    return [find_said({str(k): v for k, v in row.items()}) for row in frame.to_dict("records")]


def _write_table(
    path: Path, random: np.random.Generator, names: Sequence[str], columns: Sequence[str]
) -> Path:
    """Write a table of pictures with holes."""
    rows = []
    for name in names:
        lineage = LINEAGES[random.integers(len(LINEAGES))]
        values = {column: random.choice(np.array(FREE[column], object)) for column in FREE}
        rows.append({"path": name} | dict.fromkeys(LABELS, "") | lineage | values)
    frame = pd.DataFrame(rows, dtype=object)
    frame[["path", *columns]].to_csv(path, index=False)
    return path


def test_a_second_table_over_the_same_files_takes_the_place_of_the_first(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(40 * N)]
    random = np.random.default_rng(0)
    n_withdrawn = 0
    # Rows are judged one by one: few tables of many rows tell what many of few would.
    for n_labels in range(1, len(LABELS) + 1):
        columns = [*LABELS[:n_labels], *FREE]
        tables = [_write_table(tmp_path / f"{name}.csv", random, names, columns) for name in "ab"]
        first, again = map(find_images, ([table] for table in tables))
        for old, new in zip(_get_said(first), _get_said(again), strict=True):
            said = again.says[str(tmp_path / names[0])]
            assert said.replace(old, new) == new
            n_withdrawn += len(old.keys() - new.keys())
    assert n_withdrawn > 200


def test_a_store_holds_what_the_second_of_two_tables_says(
    stores: Stores, write_pictures: Callable[..., Path], tmp_path: Path
) -> None:
    write_pictures(3 * N)
    names = [f"pictures/{number:03d}.png" for number in range(3 * N)]
    random = np.random.default_rng(3)
    for _ in range(4):
        columns = [*LABELS[: random.integers(1, 6)], *FREE]
        first = _write_table(tmp_path / "a.csv", random, names, columns)
        again = _write_table(tmp_path / "b.csv", random, names, columns)
        assert _read(stores.embed([first], [again])) == _read(stores.embed([again]))


def _orders(sources: Sequence[Path]) -> list[list[list[Path]]]:
    """Return every way to give sources: in any order, in one run or in several."""
    ways = []
    for one in itertools.permutations(sources):
        ways += [[list(one)], [[source] for source in one], [list(one[:1]), list(one[1:])]]
    return ways


@pytest.mark.parametrize(
    ("rank", "every"),
    [
        pytest.param(None, 1, marks=pytest.mark.long),
        pytest.param(Rank.FAMILY, 1, marks=pytest.mark.long),
        (Rank.FAMILY, 7),  # another order at once, another one by one, and another in two runs
    ],
)
def test_sources_that_agree_are_one_table_in_any_order(
    stores: Stores,
    write_pictures: Callable[..., Path],
    tmp_path: Path,
    rank: Rank | None,
    every: int,
) -> None:
    (tmp_path / "p").mkdir()
    for number, folder in enumerate(FOLDERS):
        write_pictures(2, f"p/{folder}", first=2 * number)
    names = [
        f"p/{folder}/{2 * at + n:03d}.png" for at, folder in enumerate(FOLDERS) for n in (0, 1)
    ]
    random = np.random.default_rng(1)
    splits: list[tuple[list[str], list[str]]] = [
        ([*LABELS], [*FREE]),
        ([*LABELS[:-1]], [LABELS[-1]]),
        (["site", "n"], ["family"]),
    ]
    for mine, other in splits:
        first = _write_table(tmp_path / "a.csv", random, names[:3], mine)
        second = _write_table(tmp_path / "b.csv", random, names[1:], other)
        sources = [tmp_path / "p", first, second]
        expected = _read(stores.embed(sources, rank=rank))
        assert len(expected) == N
        for runs in _orders(sources)[::every]:
            got = _read(stores.embed(*runs, rank=rank))
            for file in got:
                assert got[file] == expected[file], (
                    mine,
                    other,
                    [[p.name for p in r] for r in runs],
                )


def test_sources_of_one_run_that_do_not_agree_are_counted_in_any_order(
    write_pictures: Callable[..., Path], tmp_path: Path
) -> None:
    write_pictures(N)
    names = [f"pictures/{number:03d}.png" for number in range(N)]
    random = np.random.default_rng(2)
    for _ in range(3):
        columns = [*LABELS, *FREE]
        tables = [_write_table(tmp_path / f"{name}.csv", random, names, columns) for name in "ab"]
        sources = [tmp_path / "pictures", *tables]
        listings = [find_images(one) for one in itertools.permutations(sources)]
        frames = [one.frame.sort_values("path", ignore_index=True) for one in listings]
        for listing, frame in zip(listings, frames, strict=True):
            pd.testing.assert_frame_equal(frame[frames[0].columns], frames[0])
            assert listing.notes == listings[0].notes
        rows = [find_images([table]).frame for table in tables]
        for name in FREE:
            filled = [
                find_said(dict(zip(frame["path"], frame[name], strict=True))) for frame in rows
            ]
            differ = [at for at in filled[0] if filled[0][at] != filled[1].get(at, filled[0][at])]
            said = [str(note) for note in listings[0].notes if f"conflicts in {name}:" in str(note)]
            assert bool(said) == bool(differ)
            assert not said or f": {len(differ)} pictures (" in said[0]


def test_of_two_lineages_the_one_that_says_more_wins_without_a_conflict(
    write_pictures: Callable[..., Path], tmp_path: Path
) -> None:
    write_pictures(1)
    (tmp_path / "a.csv").write_text("path,family\npictures/000.png,Felidae\n")
    (tmp_path / "b.csv").write_text("path,family,genus\npictures/000.png,Felidae,Puma\n")
    (tmp_path / "c.csv").write_text(
        "path,order,genus,species\npictures/000.png,Carnivora,Panthera,Panthera leo\n"
    )
    a, b, c = (tmp_path / f"{name}.csv" for name in "abc")
    listed = find_images([a, b])
    assert (listed.labels(Rank.GENUS).tolist(), listed.notes) == (["Puma"], ())
    listed = find_images([a, c, b])
    # Nobody wrote Carnivora > Felidae > Panthera, and nothing makes it.
    (row,) = listed.frame.to_dict("records")
    assert (row["order"], row["family"], row["genus"]) == ("Carnivora", "", "Panthera")
    assert [str(note) for note in listed.notes] == [
        "conflicts in label: 1 pictures (pictures/000.png: Carnivora > Panthera > "
        "Panthera leo, not Felidae or Felidae > Puma)"
    ]


def test_a_folders_name_neither_replaces_a_written_label_nor_is_emptied() -> None:
    folder, table = Said(derives=True), Said(lineage=True)
    written = {"family": "Felidae"}
    derived = {"family": "Canidae", "labels_from": "folder"}
    assert folder.replace({}, derived) == derived
    assert folder.replace(written, derived) == written
    assert folder.replace(derived, derived | {"family": "Ursidae"})["family"] == "Ursidae"
    assert table.replace(derived, written) == written
    columns = dict.fromkeys("qwertyuiop", 1)
    assert list(Said(columns=frozenset(columns)).replace({}, columns)) == list(columns)
    assert table.replace(derived, {"family": ""}) == derived
    assert table.replace(written, {"family": ""}) == {}
    assert (table | folder).replace(written, derived) == derived


def test_a_name_of_folders_that_gives_way_is_counted(
    write_pictures: Callable[..., Path], tmp_path: Path
) -> None:
    write_pictures(2, "Felidae")
    (tmp_path / "t.csv").write_text("path,family\nFelidae/000.png,Canidae\nFelidae/001.png,\n")
    listed = find_images(
        [tmp_path / "Felidae", tmp_path / "t.csv"], SourceOptions(folder_rank=Rank.FAMILY)
    )
    assert listed.labels(Rank.FAMILY).tolist() == ["Canidae", "Felidae"]
    assert listed.frame["labels_from"].tolist() == ["", "folder"]
    assert [str(note) for note in listed.notes] == [
        "1 folder names give way to labels that a table wrote"
    ]


def test_what_is_said_of_a_picture_is_said_of_each_of_its_regions() -> None:
    boxes = pd.DataFrame({"root": "/p", "path": ["a.jpg", "a.jpg", "b.jpg"],
                          REGION: ["0,0,1,0.5", "0,0.5,1,0.5", "0,0,1,1"]})  # fmt: skip
    whole = pd.DataFrame(
        {"root": "/p", "path": ["a.jpg", "c.jpg"], "family": ["Felidae", "Ursidae"]}
    )
    for parts in itertools.permutations([Part(boxes, "boxes"), Part(whole, "table")]):
        listed = Listing.merge(parts)
        rows = set(listed.frame[["path", REGION, "family"]].itertuples(index=False, name=None))
        assert rows == {
            ("a.jpg", "0,0,1,0.5", "Felidae"), ("a.jpg", "0,0.5,1,0.5", "Felidae"),
            ("b.jpg", "0,0,1,1", ""), ("c.jpg", "", "Ursidae"),
        }  # fmt: skip
        assert not listed.notes


def test_two_labels_of_one_picture_are_two_rows() -> None:
    two = pd.DataFrame({"root": "/p", "path": "a.jpg", REGION: ["", "#2"],
                        "family": ["Felidae", "Canidae"]})  # fmt: skip
    site = pd.DataFrame({"root": "/p", "path": ["a.jpg"], "site": ["north"]})
    frame = Listing.merge([Part(two, "two"), Part(site, "site")]).frame
    assert frame[["family", "site"]].to_numpy().tolist() == [
        ["Felidae", "north"], ["Canidae", "north"],
    ]  # fmt: skip


def test_a_label_of_a_machine_gives_way_to_one_of_a_person_however_deep() -> None:
    made = pd.DataFrame({"root": "/p", "path": ["a.jpg", "b.jpg"], "genus": "Panthera",
                         "species": "Panthera pardus", "labels_from": "machine:X"})  # fmt: skip
    person = pd.DataFrame({"root": "/p", "path": ["a.jpg"], "genus": ["Felis"]})
    folder = Part(pd.DataFrame({"root": "/p", "path": ["b.jpg"], "genus": ["Lynx"]}),
                  is_derived=True)  # fmt: skip
    for parts in itertools.permutations([Part(made, "made"), Part(person, "person"), folder]):
        listed = Listing.merge(parts)
        frame = listed.frame[["path", "genus", "species", "labels_from"]]
        assert set(frame.itertuples(index=False, name=None)) == {
            ("a.jpg", "Felis", "", ""), ("b.jpg", "Lynx", "", "folder"),
        }  # fmt: skip
        assert "2 labels that a machine made give way" in "\n".join(map(str, listed.notes))


def test_a_later_run_of_a_machine_replaces_its_own_label_alone() -> None:
    new = {"genus": "Panthera", "common_name": "Lion", "labels_from": "machine:X", "score": 1.0}
    said = Said.infer(new)
    person = {"genus": "Felis", "common_name": "Cat"}
    assert said.replace(person, new) == {**person, "score": 1.0}
    assert said.replace({"genus": "Felis", "labels_from": "machine:W"}, new) == new
    assert said.replace({}, new) == new
    assert Said.infer(person).replace(new, person) == {**person, "score": 1.0}
