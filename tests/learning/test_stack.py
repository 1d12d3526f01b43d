"""Stacks of several stores: which images they share, what is learnt where, who may be asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from bioprobe.encoders.encoder import Fingerprint
from bioprobe.errors import MismatchError, ProbeError, StoreError
from bioprobe.learning.fit import fit_probe
from bioprobe.learning.keeping import read_probe, write_probe
from bioprobe.learning.stack import Stack, find_shared_images, fit_stack, read_stack
from bioprobe.probes.stacked import StackProbe
from bioprobe.splits import Split, write_split
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.task.method import make_probe
from bioprobe.task.task import Task
from bioprobe.taxonomy import Rank
from bioprobe.types import Rows
from tests.conftest import alter_images, make_parts

FAMILIES = np.array(["Canidae", "Felidae", "Ursidae"])
N, DIM = 120, 6
LDA = ("lda", {"shrinkage": 0.1})

Make = Callable[..., EmbeddingStore]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make the store of an encoder that confuses one family with the last."""

    def build(
        encoder: int, order: Rows | None = None, *, sha256: bool = True, name: str = ""
    ) -> EmbeddingStore:
        rows = np.arange(N) if order is None else order
        which = rows % 3
        means = np.random.default_rng(encoder).normal(size=(3, DIM + encoder))
        means[encoder % 3] = means[-1]
        noise = np.random.default_rng(encoder + 9).normal(size=(N, DIM + encoder))[rows]
        frame = pd.DataFrame(
            {
                "path": [f"{row}.jpg" for row in rows],
                "sha256": [f"{row:064d}" if sha256 else "" for row in rows],
                "family": FAMILIES[which],
                "number": rows,
            }
        )
        fingerprint = Fingerprint(
            model=f"plain-{encoder}", weights_sha256=str(encoder) * 64, backend="numpy"
        )
        folder = tmp_path / (name or f"store-{encoder}")
        store = EmbeddingStore.create(folder, fingerprint, dim=DIM + encoder)
        return store.append(frame, means[which] + 0.9 * noise)

    return build


@pytest.fixture
def stores(make: Make) -> list[EmbeddingStore]:
    """Return stores of the same images, those of the second in reverse."""
    return [make(0), make(1, np.arange(N)[::-1])]


def _split(*parts: str, folds: bool = True) -> Split:
    places = np.arange(N) // 3
    named = np.array([parts[place % len(parts)] for place in places], dtype=object)
    return make_parts(
        named, np.where(named == "train", places // len(parts) % 4, -1) if folds else -1
    )


def test_the_same_images_are_found_wherever_they_stand(stores: list[EmbeddingStore]) -> None:
    shared = find_shared_images(stores, np.array([0, 119, 3]))
    assert shared.rows.tolist() == [[0, 119], [119, 0], [3, 116]]
    assert shared.n_missing == (0,)


def test_images_that_a_store_lacks_are_left_out_and_counted(make: Make) -> None:
    stores = [make(0), make(1, np.arange(100)), make(2, np.arange(90, N))]
    shared = find_shared_images(stores, np.arange(N))
    assert shared.rows[:, 0].tolist() == list(range(90, 100))
    assert shared.n_missing == (20, 90)
    retired = [stores[0], stores[1].retire([95])]
    assert 95 not in find_shared_images(retired, np.arange(N)).rows[:, 0]


def test_bytes_that_nobody_saw_are_matched_by_path(make: Make) -> None:
    imported = make(1, np.arange(N)[::-1], sha256=False)
    assert find_shared_images([make(0), imported], np.array([5])).rows.tolist() == [[5, 114]]
    assert find_shared_images([imported, make(2)], np.array([5])).rows.tolist() == [[5, 114]]


def test_a_path_of_two_images_matches_neither(make: Make) -> None:
    imported = make(1, np.array([4, 5, 5]), sha256=False)
    shared = find_shared_images([make(0), imported], np.array([4, 5]))
    assert shared.rows.tolist() == [[4, 0]]
    backwards = find_shared_images([imported, make(2)], np.array([0, 1, 2]))
    assert backwards.rows.tolist() == [[0, 4]]


def test_a_path_whose_bytes_differ_is_another_image(make: Make) -> None:
    one, other = make(0), make(1)
    contents = other.images.column("sha256").copy()
    contents[3] = "e" * 64
    alter_images(other, sha256=contents)
    shared = find_shared_images([one, other], np.array([3, 4]))
    assert shared.rows.tolist() == [[4, 4]]


def test_no_image_in_common_is_refused(make: Make) -> None:
    with pytest.raises(MismatchError, match="none of the 60 images"):
        find_shared_images([make(0), make(1, np.arange(60, N))], np.arange(60))
    assert len(find_shared_images([make(2), make(3)], np.arange(0))) == 0


def test_a_stack_is_that_of_scikit_learn_on_answers_out_of_fold(
    stores: list[EmbeddingStore],
) -> None:
    split = _split("train", "train", "test")
    stack = fit_stack(
        Task.of(stores[0], Rank.FAMILY, split=split, others=tuple(stores[1:])), bases=[LDA], C=0.5
    )
    train, test = split.rows("train"), split.rows("test")
    matrices = [stores[0].read_vectors(), stores[1].read_vectors()[::-1]]
    labels = FAMILIES[np.arange(N) % 3]
    folds = PredefinedSplit(split.folds[train])
    answers, asked = [], []
    for matrix in matrices:
        base = make_probe(*LDA)
        answers.append(
            cross_val_predict(base, matrix[train], labels[train], cv=folds, method="predict_proba")
        )
        asked.append(base.fit(matrix[train], labels[train]).predict_proba(matrix[test]))
    reference = LogisticRegression(C=0.5, tol=1e-8, max_iter=5000)
    reference.fit(np.log(np.maximum(np.hstack(answers), 1e-4)), labels[train])
    expected = reference.predict_proba(np.log(np.maximum(np.hstack(asked), 1e-4)))
    found = stack.predict(find_shared_images(stores, test), k=3)
    assert [taxon.name for taxon in found.classes] == reference.classes_.tolist()
    np.testing.assert_allclose(found.to_dense(), expected, atol=3e-3)
    assert found.rows.tolist() == test.tolist()


def test_together_they_are_better_than_either_alone(stores: list[EmbeddingStore]) -> None:
    split = _split("train", "test")
    stack = fit_stack(Task.of(stores[0], Rank.FAMILY, split=split, others=tuple(stores[1:])))
    shared = find_shared_images(stores, split.rows("test"))
    right = stack.judge(shared)
    assert right.shape == (3, 60)
    assert right[0].mean() > max(right[1].mean(), right[2].mean()) + 0.05
    assert stack.base_names == ["lda of plain-0", "lda of plain-1"]
    # The base alone is the probe alone.
    alone = fit_probe(
        Task.of(stores[0], Rank.FAMILY, split=split), "lda", stack.probe.settings["bases"][0][1]
    )
    answers = alone.ask(View.of(stores[0]).take(split.rows("test")), k=1)
    assert right[1].tolist() == (answers.names[:, 0] == answers.truth).tolist()


def test_the_test_part_is_not_read_and_validation_only_measures(
    stores: list[EmbeddingStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    split = _split("train", "validation", "test")
    read: list[list[int]] = []
    original = EmbeddingStore.read_vectors

    def watch(self: EmbeddingStore, rows: Rows | None = None) -> npt.NDArray[np.float32]:
        assert rows is not None
        read.append(sorted(self.images.frame["number"].iloc[rows]))
        return original(self, rows)

    monkeypatch.setattr(EmbeddingStore, "read_vectors", watch)
    stack = fit_stack(Task.of(stores[0], Rank.FAMILY, split=split, others=tuple(stores[1:])))
    train, validation = split.rows("train").tolist(), split.rows("validation").tolist()
    assert read == [train, train, validation, validation]
    right = stack.judge(find_shared_images(stores, split.rows("validation")))[0]
    held_out = stack.probe.held_out
    assert (held_out.method, held_out.n_correct, held_out.n_images) == (
        "validation",
        right.sum(),
        39,
    )
    without = fit_stack(
        Task.of(stores[0], Rank.FAMILY, split=_split("train", "", "test"), others=tuple(stores[1:]))
    )
    assert without.probe.settings == stack.probe.settings


def test_groups_stay_whole_in_the_folds(
    stores: list[EmbeddingStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    split = _split("train", "test", folds=False)
    split.groups[:] = [f"burst {number // 12}" for number in range(N)]
    seen: list[Rows] = []
    original = StackProbe._answer_out_of_fold

    def watch(self: StackProbe, matrices: object, y: object, folds: Rows) -> object:
        seen.append(folds)
        return original(self, matrices, y, folds)  # type: ignore[arg-type]

    monkeypatch.setattr(StackProbe, "_answer_out_of_fold", watch)
    fit_stack(Task.of(stores[0], Rank.FAMILY, split=split, others=tuple(stores[1:])), bases=[LDA])
    groups = split.groups[split.rows("train")]
    assert len(np.unique(seen[0])) == 5
    for group in np.unique(groups):
        assert len(np.unique(seen[0][groups == group])) == 1


def _reorder(split: Split, rows: Rows) -> Split:
    parts, folds, groups = split.parts[rows], split.folds[rows], split.groups[rows]
    return Split("made", parts, folds, groups, split.provenance)


def test_what_is_open_is_chosen_on_folds_and_what_is_given_is_kept(
    stores: list[EmbeddingStore],
) -> None:
    split = _split("train", "test")
    bases = [("lda", {}), ("knn", {"k": 3}), ("centroid", {})]
    stack = fit_stack(
        Task.of(stores[0], Rank.FAMILY, split=split, others=tuple(stores[1:])), bases=bases
    )
    alone = [
        fit_probe(Task.of(store, Rank.FAMILY, split=_reorder(split, rows)), "lda").settings[
            "shrinkage"
        ]
        for store, rows in zip(stores, [np.arange(N), np.arange(N)[::-1]], strict=True)
    ]
    chosen = stack.probe.settings["bases"]
    assert [kind for kind, _ in chosen] == ["lda", "knn", "centroid"] * 2
    assert [chosen[0][1]["shrinkage"], chosen[3][1]["shrinkage"]] == alone
    assert chosen[1][1] == chosen[4][1] == {"k": 3}
    held_out = stack.probe.held_out
    assert (held_out.method, held_out.parameter, held_out.n_images) == ("cross-validation", "C", 60)
    best = held_out.values.index(stack.probe.settings["C"])
    assert held_out.accuracies[best] == max(held_out.accuracies)
    given = fit_stack(
        Task.of(stores[0], Rank.FAMILY, split=split, others=tuple(stores[1:])), bases=bases, C=7
    )
    assert given.probe.settings["C"] == 7
    assert given.probe.held_out.parameter == ""
    assert given.probe.held_out.n_images == 60
    assert stack.judge(find_shared_images(stores, split.rows("test"))).shape == (7, 60)


def test_a_condition_a_seed_and_no_split_have_their_effect(stores: list[EmbeddingStore]) -> None:
    every = fit_stack(
        Task.of(stores[0], Rank.FAMILY, split=None, others=tuple(stores[1:])), bases=[LDA], C=1
    )
    assert (every.probe.n_rows, every.probe.split_name) == (N, "")
    some = fit_stack(
        Task.of(
            View.of(stores[0], "number < 60"), Rank.FAMILY, split=None, others=tuple(stores[1:])
        ),
        bases=[LDA],
        C=1,
    )
    assert some.probe.n_rows == 60
    other = fit_stack(
        Task.of(stores[0], Rank.FAMILY, split=None, seed=1, others=tuple(stores[1:])),
        bases=[LDA],
        C=1,
    )
    assert not np.array_equal(other.estimator.weights_, every.estimator.weights_)


def test_missing_images_teach_nothing(make: Make) -> None:
    stores = [make(0), make(1, np.arange(90))]
    stack = fit_stack(
        Task.of(stores[0], Rank.FAMILY, split=None, others=tuple(stores[1:])), bases=[LDA], C=1
    )
    assert (stack.probe.n_rows, stack.n_missing) == (90, (30,))
    predictions = stack.predict(find_shared_images(stores, stores[0].rows), k=1)
    assert len(predictions) == 90
    assert predictions.provenance.options["n_missing"] == [30]


def test_a_stack_that_is_read_again_answers_the_same_for_stores_in_any_order(
    make: Make, stores: list[EmbeddingStore]
) -> None:
    stores = [*stores, make(2)]
    stack = fit_stack(
        Task.of(stores[0], Rank.FAMILY, split=None, others=tuple(stores[1:])), bases=[LDA], C=1
    )
    write_probe(stores[0], "mine", stack.probe)
    again = read_stack(stores[0], "mine")
    assert again.encoders == tuple(one.manifest.encoder for one in stores)
    arranged = again.arrange([stores[0], stores[2], stores[1]])
    assert arranged == stores
    shared = find_shared_images(arranged, stores[0].rows)
    np.testing.assert_array_equal(again.predict(shared).scores, stack.predict(shared).scores)
    with pytest.raises(MismatchError, match="another order"):
        again.predict(find_shared_images([stores[0], stores[2], stores[1]], stores[0].rows))


def test_vectors_of_another_encoder_are_refused(make: Make, stores: list[EmbeddingStore]) -> None:
    stack = fit_stack(
        Task.of(stores[0], Rank.FAMILY, split=None, others=tuple(stores[1:])), bases=[LDA], C=1
    )
    with pytest.raises(MismatchError, match=r"plain-1 .*got .*plain-3.*name the store of plain-1"):
        stack.arrange([stores[0], make(3)])
    with pytest.raises(MismatchError, match="got no store of it"):
        stack.arrange(stores[:1])
    with pytest.raises(MismatchError, match="one too many; leave it out"):
        stack.arrange([*stores, make(2)])
    with pytest.raises(MismatchError, match="plain-0"):
        stack.arrange(stores[::-1])
    with pytest.raises(MismatchError, match="plain-1"):
        stack.predict(find_shared_images([stores[0], make(4)], stores[0].rows))


def test_one_store_alone_cannot_be_asked(stores: list[EmbeddingStore]) -> None:
    stack = fit_stack(
        Task.of(stores[0], Rank.FAMILY, split=None, others=tuple(stores[1:])), bases=[LDA], C=1
    )
    write_probe(stores[0], "mine", stack.probe)
    with pytest.raises(MismatchError, match="probe stack predict NAME --with STORE"):
        read_probe(stores[0], "mine").ask(stores[0])


def test_other_probes_are_no_stack_of_encoders(stores: list[EmbeddingStore]) -> None:
    write_probe(stores[0], "lda", fit_probe(Task.of(stores[0], Rank.FAMILY, split=None), "lda"))
    with pytest.raises(ProbeError, match="kind lda is no stack"):
        read_stack(stores[0], "lda")
    write_probe(stores[0], "own", fit_probe(Task.of(stores[0], Rank.FAMILY, split=None), "stack"))
    with pytest.raises(ProbeError, match="stack of one encoder; ask it by bioprobe probe predict"):
        read_stack(stores[0], "own")


def test_damaged_encoders_are_told(stores: list[EmbeddingStore]) -> None:
    stack = fit_stack(
        Task.of(stores[0], Rank.FAMILY, split=None, others=tuple(stores[1:])), bases=[LDA], C=1
    )
    card = write_probe(stores[0], "mine", stack.probe) / "probe.json"
    fields = json.loads(card.read_text())
    del fields["provenance"]["options"]["encoders"]
    card.write_text(json.dumps(fields))
    with pytest.raises(StoreError, match="damaged: its encoders: KeyError"):
        read_stack(stores[0], "mine")


def test_a_stack_of_one_store_is_kept_and_asked_like_any_probe(
    stores: list[EmbeddingStore],
) -> None:
    fitted = Stack().fit(Task.of(stores[0], Rank.FAMILY, split=_split("train", "test")))
    assert [kind for kind, _ in fitted.settings["bases"]] == ["lda", "centroid"]
    write_probe(stores[0], "alone", fitted.probe)
    again = read_probe(stores[0], "alone").ask(stores[0], k=3)
    assert np.array_equal(again.scores, fitted.ask(View.of(stores[0]), k=3).scores)


def test_what_cannot_be_stacked_is_refused(stores: list[EmbeddingStore]) -> None:
    with pytest.raises(ProbeError, match="no kind of them was named"):
        fit_stack(Task.of(stores[0], Rank.FAMILY, split=None), bases=[])
    with pytest.raises(ProbeError, match="stack has no setting 'depth'"):
        Stack().fit(Task.of(stores[0], Rank.FAMILY, split=None), {"depth": 2})
    with pytest.raises(ProbeError, match="got 'hierarchical'"):
        fit_stack(
            Task.of(stores[0], Rank.FAMILY, split=None, others=tuple(stores[1:])),
            bases=[("hierarchical", {})],
        )
    with pytest.raises(ProbeError, match="no setting 'depth'"):
        fit_stack(
            Task.of(stores[0], Rank.FAMILY, split=None, others=tuple(stores[1:])),
            bases=[("lda", {"depth": 1})],
        )
    with pytest.raises(ProbeError, match="labels of 1 at family"):
        fit_stack(
            Task.of(
                View.of(stores[0], "family == 'Felidae'"),
                Rank.FAMILY,
                split=None,
                others=tuple(stores[1:]),
            )
        )
    with pytest.raises(ProbeError, match="C > 0"):
        fit_stack(
            Task.of(stores[0], Rank.FAMILY, split=None, others=tuple(stores[1:])), bases=[LDA], C=-1
        )


def test_it_is_judged_on_rows_that_it_did_not_learn_from(stores: list[EmbeddingStore]) -> None:
    split = _split("train", "test")
    write_split(stores[0], split)
    stack = fit_stack(
        Task.of(stores[0], Rank.FAMILY, split="made", others=tuple(stores[1:])), bases=[LDA], C=1
    )
    assert stack.find_judged_rows(stores[0], "test").tolist() == split.rows("test").tolist()
    with pytest.raises(ProbeError, match="no image of the part validation"):
        stack.find_judged_rows(stores[0], "validation")
    with pytest.raises(ProbeError, match="part 'train'"):
        stack.find_judged_rows(stores[0], "train")
    split.provenance["hash"] = "e" * 64
    write_split(stores[0], split)
    with pytest.raises(MismatchError, match="made again since"):
        stack.find_judged_rows(stores[0], "test")
    every = fit_stack(
        Task.of(stores[0], Rank.FAMILY, split=None, others=tuple(stores[1:])), bases=[LDA], C=1
    )
    with pytest.raises(ProbeError, match="the split 'none'"):
        every.find_judged_rows(stores[0], "test")
