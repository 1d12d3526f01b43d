"""Clusters and orders as people ask for them: kept as a column that every question can name."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

import bioprobe as bp
from bioprobe.cli.app import run
from bioprobe.errors import MissingExtraError, MisuseError, SelectionError
from bioprobe.face.grouped_pages import Clusters
from bioprobe.store import EmbeddingStore

N_EACH, N_KINDS, DIM = 12, 5, 16


@pytest.fixture
def folder(make_store: Callable[..., EmbeddingStore], encoder: Any) -> Path:  # noqa: ANN401
    """Return a store of five kinds, whose first picture has ten copies and one burst."""
    random = np.random.default_rng(0)
    kinds = np.repeat(np.arange(N_KINDS), N_EACH)
    means = np.linalg.qr(random.normal(size=(DIM, DIM)))[0][:N_KINDS]
    vectors = means[kinds] + 0.12 * random.normal(size=(len(kinds), DIM))
    vectors = np.concatenate([vectors, np.repeat(vectors[:1], 10, axis=0)])
    numbers = [*range(len(kinds)), *[0] * 10]
    frame = pd.DataFrame(
        {
            "root": "/photos",
            "path": [f"{at}.jpg" for at in range(len(numbers))],
            "sha256": [f"{number:064x}" for number in numbers],
            "family": [f"Kind{kind}idae" for kind in [*kinds, *[0] * 10]],
            "burst": ["b" if 1 <= at < 4 else "" for at in range(len(numbers))],
        }
    )
    return make_store(encoder).append(frame, vectors).folder


def _said(found: Clusters) -> str:
    return "\n".join(str(note) for note in found.notes)


def test_kinds_are_found_and_kept_as_a_column(folder: Path) -> None:
    store = bp.open(folder)
    found = store.cluster(level="family")
    labels = store.labels("family")
    assert isinstance(found, Clusters)
    assert adjusted_rand_score(labels, found.numbers) == 1
    said = _said(found)
    assert said.startswith("70 pictures in 5 clusters by ward; of 12 to 22 pictures, median 12")
    assert "copies count as one: 60 of 70 pictures are independent" in said
    assert "stability: adjusted Rand 1.000" in said
    assert "use it as any: --where 'cluster == 1', --level cluster" in said
    assert "against 5 labels at family of 70 pictures: adjusted rand 1.000 [" in said
    # The same store sees it at once, another when it is opened.
    for opened in (store, bp.open(folder)):
        assert (opened.labels("cluster") == found.values).all()
        some = opened.where("cluster == 2")
        assert (opened.labels("cluster")[some.rows] == "2").all()
        assert len(some) == 12
    summary = found.summarise("family")
    assert summary["cluster"].tolist() == ["1", "2", "3", "4", "5"]
    assert summary["n_independent"].tolist() == [12] * 5
    assert sorted(summary["n_images"]) == [12] * 4 + [22]
    assert (summary["label_share"] == 1).all()
    assert set(summary["label"]) == set(labels)
    # A share is that of what has a label.
    few = np.where(np.arange(len(labels)) % 3 == 0, "", labels)
    assert found._name_by_labels(few)["label_share"].tolist() == [1] * 5
    frame = found.to_frame()
    assert list(frame.columns) == ["file_name", "cluster", "similarity", "row"]
    first = frame.groupby("cluster").head(1)
    assert sorted(first["row"]) == sorted(summary["row"])


def test_other_questions_name_the_column(folder: Path, tmp_path: Path) -> None:
    store = bp.open(folder)
    found = store.cluster(name="kind", draws=0)
    counts = store.describe("kind").to_frame()
    assert sorted(counts["n_images"]) == [12] * 4 + [22]
    store.split(level="family", group="burst")
    probe = store.fit("centroid", level="kind", name="kinds")
    answers = probe.predict(store)
    assert set(answers.to_frame()["classification"]) == set("12345")
    answers.write_page(tmp_path / "answers.html", by="kind")
    assert "22 pictures: " in (tmp_path / "answers.html").read_text()
    assert (store.images["kind"].astype(str) == found.values).all()


def test_each_option_has_an_effect(folder: Path) -> None:
    store = bp.open(folder)
    assert len(store.cluster(n_clusters=3, draws=0)) == 3
    assert len(store.cluster("agglomerative", threshold=0.99, draws=0)) > 20
    assert len(store.cluster("agglomerative", threshold=-1, draws=0)) == 1
    raw = store.cluster("ward", averaged=0, draws=0)
    assert raw.tried != store.cluster("ward", draws=0).tried
    by_burst = store.cluster(group="burst", draws=0)
    assert int(by_burst.n_units.sum()) == 58
    assert len(store.cluster(draws=3).rand) == 3
    seeds = [store.cluster(draws=1, seed=seed, n_clusters=8).rand.tolist() for seed in (0, 0, 1)]
    assert seeds[0] == seeds[1] != seeds[2]
    assert np.isnan(store.cluster(draws=0).stability).all()
    assert store.where("cluster != ''").cluster("kmeans", draws=0).method == "kmeans"


def test_columns_are_listed_and_forgotten(folder: Path) -> None:
    store = bp.open(folder)
    store.where("burst == ''").cluster(draws=0, name="a")
    store.cluster("kmeans", n_clusters=2, draws=0, name="b")
    assert store.clusters().to_frame().to_numpy().tolist() == [
        ["a", 5, 67, 3, "ward"], ["b", 2, 70, 0, "kmeans"]
    ]  # fmt: skip
    store.order()
    facts = bp.open(folder).info().to_dict()
    assert facts["computed_columns"] == {
        "a": "5 clusters of 67 images", "alike": "places of 70 images",
        "b": "2 clusters of 70 images",
    }  # fmt: skip
    assert facts["other_columns"] == ["burst"]
    store.remove_clusters("a")
    assert store.clusters().to_frame()["name"].tolist() == ["b"]
    with pytest.raises(SelectionError, match=r"no rank and no column 'a'"):
        store.labels("a")


def test_texts_propose_a_name_for_each_cluster(
    folder: Path,
    encoder: Any,  # noqa: ANN401
    loads: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = bp.open(folder)
    means = np.stack([store.where(f"family == 'Kind{at}idae'").X[0] for at in range(N_KINDS)])
    monkeypatch.setattr(
        encoder, "encode_text",
        lambda texts: means[[int(text.split("Kind")[1][0]) for text in texts]],
    )  # fmt: skip
    found = store.cluster(propose="family", draws=0)
    summary = found.summarise("family")
    assert summary["proposed"].tolist() == summary["label"].tolist()
    assert (summary["score"] > 0.5).all()
    assert "names are proposed by texts, of 5 at family; no label was asked" in _said(found)
    assert (store.labels("cluster_name") == store.labels("family")).all()
    assert set(found.to_frame()["proposed"]) == set(summary["label"])
    assert loads


def test_places_on_a_map_are_clustered_by_density(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bioprobe.mapping import result

    store = bp.open(folder)
    kinds = np.array([int(label[4]) for label in store.labels("family")])
    random = np.random.default_rng(0)
    points = np.stack([10.0 * kinds, 0 * kinds], axis=1) + random.normal(size=(70, 2))

    class Placed:
        rows = store.rows[:-1]

    Placed.points = points[:-1].astype(np.float32)  # type: ignore[attr-defined]
    monkeypatch.setattr(result, "open_map", lambda _view, name: {"mine": Placed}[name])
    found = store.cluster("hdbscan", map_name="mine", draws=2)
    assert adjusted_rand_score(kinds[:-1], found.numbers) > 0.9
    assert "1 pictures have no place on the map and are left out: bioprobe map --name mine" in (
        _said(found)
    )
    assert store.labels("cluster")[-1] == ""
    few = store.cluster("hdbscan", map_name="mine", least_size=30, draws=0)
    assert len(few) < 5


def test_later_pictures_are_given_the_nearest_cluster(folder: Path) -> None:
    store = bp.open(folder)
    found = store.cluster(draws=2)
    random = np.random.default_rng(1)
    kinds = np.repeat(np.arange(N_KINDS), 4)
    means = np.stack([store.where(f"family == 'Kind{at}idae'").X.mean(axis=0) for at in range(5)])
    later = means[kinds] + 0.08 * random.normal(size=(20, DIM))
    unlike = np.linalg.svd(means)[2][-1:]
    # One that is further off than most.
    later[4] = 0.84 * means[1] / np.linalg.norm(means[1]) + np.sqrt(1 - 0.84**2) * unlike[0]
    frame = pd.DataFrame(
        {
            "root": "/photos",
            "path": [f"later{at}.jpg" for at in range(21)],
            "sha256": [f"{1000 + at:064x}" for at in range(21)],
            "family": [*(f"Kind{kind}idae" for kind in kinds), "Other"],
        }
    )
    EmbeddingStore.open(folder).append(frame, np.concatenate([later, unlike]))
    grown = bp.open(folder)
    assert set(grown.labels("cluster")[70:]) == {""}
    given = grown.assign()
    assert (given.values[:70] == found.values).all()
    by_kind = dict(zip(store.labels("family"), found.values, strict=True))
    wanted = [by_kind[f"Kind{kind}idae"] for kind in kinds]
    placed = grown.labels("cluster")[70:]
    assert sum(one == other for one, other in zip(placed, wanted, strict=False)) >= 18
    assert set(placed[:20]) - set(wanted) <= {""}
    assert placed[20] == ""
    # No further from a cluster than all but one in a hundred of those that made it.
    names = np.unique(found.values)
    own = [store.X[found.values == name] for name in names]
    centres = [one.mean(axis=0) / np.linalg.norm(one.mean(axis=0)) for one in own]
    least = np.array([np.quantile(a @ b, 0.01) for a, b in zip(own, centres, strict=True)])
    near = grown.X[70:] @ np.transpose(centres)
    best = near.argmax(axis=1)
    expected = np.where(near.max(axis=1) >= least[best], names[best], "")
    assert placed.tolist() == expected.tolist()
    assert "are unlike all and stay in none" in _said(given)
    assert given.stability.tolist() == found.stability.tolist()
    assert run(["cluster", "--assign", "--store", str(folder), "--name", "other"]) == 1


def test_what_cannot_be_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = bp.open(folder)
    with pytest.raises(MisuseError, match=r"--map"):
        store.cluster(map_name="other")
    with pytest.raises(MisuseError, match=r"--least-size"):
        store.cluster(least_size=3)
    with pytest.raises(MisuseError, match=r"--clusters"):
        store.cluster("hdbscan", n_clusters=3)
    with pytest.raises(MisuseError, match=r"--threshold .* --method agglomerative"):
        store.cluster(threshold=0.5)
    with pytest.raises(SelectionError, match=r"either --clusters or --threshold"):
        store.cluster("agglomerative", threshold=0.5, n_clusters=3)
    with pytest.raises(SelectionError, match=r"61 clusters were asked for of 60 pictures"):
        store.cluster(n_clusters=61)
    with pytest.raises(SelectionError, match=r"have a column 'burst' already"):
        store.cluster(name="burst")
    monkeypatch.setitem(__import__("sys").modules, "evoc", None)
    with pytest.raises(MissingExtraError, match=r"bioprobe\[cluster\]"):
        store.cluster("evoc")


def test_pictures_in_order_have_their_like_beside_them(folder: Path) -> None:
    store = bp.open(folder)
    found = store.order(level="family")
    assert sorted(found.rows.tolist()) == store.rows.tolist()
    labels = np.array(store.labels("family"))[found.rows]
    assert (labels[1:] != labels[:-1]).sum() == 4
    frame = found.to_frame()
    assert frame["alike"].tolist() == list(range(1, 71))
    assert np.isnan(frame["similarity"].iloc[0])
    assert store.where(rows=found.rows.tolist()).labels("alike").tolist() == [
        str(place) for place in range(1, 71)
    ]
    assert len(store.where("alike <= 10")) == 10
    # Of 69 pairs 10 are of copies, 55 of the 59 others of one family.
    said = str(found.notes[1])
    assert said.startswith("neighbours are of one family in 0.932 [0.8")
    assert "the nearest of each picture is in 1.000" in said
    by_burst = str(store.order(level="family", group="burst", averaged=0).notes[1])
    assert not by_burst.startswith(said[:40])
    assert "70 pictures in order; mean similarity of neighbours 0." in str(found.notes[0])


def _list_rows(page: Path) -> list[int]:
    return [int(row) for row in re.findall(r"row (\d+) ·", page.read_text())]


def test_pages_stand_in_the_order_that_is_kept(folder: Path, tmp_path: Path) -> None:
    store, page = bp.open(folder), tmp_path / "page.html"
    line = store.order().rows.tolist()
    place = {row: at for at, row in enumerate(line)}
    found = store.search(row=0, k=20)
    found.write_page(page, order="alike")
    assert _list_rows(page)[1:] == sorted(found.rows.tolist(), key=place.__getitem__)
    found.write_page(page)
    assert _list_rows(page)[1:] == found.rows.tolist()
    store.split(level="family")
    answers = store.fit("centroid", level="family", name="p").predict(store)
    answers.write_page(page, "answer", "alike")
    shown = _list_rows(page)
    labels = dict(zip(store.rows.tolist(), store.labels("family"), strict=True))
    for kind in set(labels.values()):
        of_kind = [row for row in shown if labels[row] == kind]
        assert of_kind == sorted(of_kind, key=place.__getitem__)
    given = ["--store", str(folder), "--html", str(page), "--output", str(tmp_path / "a.csv")]
    assert run(["search", "--row", "0", "-k", "20", "--html-order", "alike", *given]) == 0
    assert _list_rows(page)[1:] == sorted(found.rows.tolist(), key=place.__getitem__)
    with pytest.raises(SelectionError, match=r"no rank and no column 'other'"):
        found.write_page(page, order="other")


def test_the_command_groups_or_sorts_and_writes_a_page(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, out = tmp_path / "clusters.html", tmp_path / "clusters.csv"
    given = ["--store", str(folder), "--output", str(out), "--html", str(page)]
    assert run(["cluster", "-n", "4", "--draws", "0", *given]) == 0
    assert pd.read_csv(out)["cluster"].nunique() == 4
    assert "70 images of" in page.read_text()
    assert page.read_text().count("from the nearest to their mean") == 4
    assert run(["cluster", "--order", *given]) == 0
    assert pd.read_csv(out)["alike"].tolist() == list(range(1, 71))
    assert "In order" in page.read_text()
    assert "pictures in order" in capsys.readouterr().err
    assert run(["cluster", "--order", "-n", "4", *given]) == 2
    assert "--clusters" in capsys.readouterr().err
