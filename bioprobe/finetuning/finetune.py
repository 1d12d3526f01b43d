"""From labelled pictures to an encoder of one's own, written where its name loads it."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bioprobe import __version__
from bioprobe.encoders.families.torch_encoder import TorchEncoder
from bioprobe.encoders.saving import name_saved, save_model
from bioprobe.encoders.taught import CARD_FILE, TAUGHT_FILE, Training, read_training_of
from bioprobe.errors import ProbeError
from bioprobe.files import check_new_folder, replacing_folder
from bioprobe.finetuning.activations import Kept, holding_drafts, keep_activations
from bioprobe.finetuning.judging import Answered, Judged, judge
from bioprobe.finetuning.learner import Learner, find_means, open_learner
from bioprobe.finetuning.result import Finetuned
from bioprobe.finetuning.training import LAST, Epoch, Lesson, Plan, Trainer, autocasting
from bioprobe.learning.fit import fit
from bioprobe.progress import Progress
from bioprobe.provenance import Provenance
from bioprobe.task.target import Classes, hash_rows, label_rows
from bioprobe.task.task import Task
from bioprobe.types import Mask, Places, Rows, Vectors

#: Ways of answering that are judged beside the finetuned encoder.
FINETUNED, ZERO_SHOT, CENTROID, LINEAR = "finetuned", "zeroshot", "centroid", "linear"
# Of an encoder without texts: what turns the cosine of a class mean into a logit.
_SCALE_OF_MEANS = 20.0
_LIBRARIES = ("torch", "open_clip_torch", "transformers", "timm", "peft")


@dataclasses.dataclass(frozen=True, eq=False)
class _Pictures:
    """Which pictures teach, choose and judge, with their classes; rows are of the store.

    Parameters
    ----------
    classes : Classes
        Of all of them.
    learnt : ndarray of bool, shape (n_classes,)
        Those that are learnt.
    teaching, holding, judging : ndarray of int64
        Rows.
    of_teaching, of_holding, of_judging : ndarray of int64
        Their classes.
    method : str
        How rows are held out, as :class:`bioprobe.task.task.Inner` says it.
    reason : str
        Why so, where it is not by the part ``validation``.
    left_out : ndarray of int64
        Training rows of classes that are not learnt.
    """

    classes: Classes
    learnt: Mask
    teaching: Rows
    of_teaching: Places
    holding: Rows
    of_holding: Places
    judging: Rows
    of_judging: Places
    method: str
    reason: str
    left_out: Rows

    @property
    def rows(self) -> Rows:
        """All of them, ascending."""
        return np.unique(np.concatenate([self.teaching, self.holding, self.judging]))

    def keep(self, rows: Rows) -> _Pictures:
        """Return those of some rows only."""
        changed: dict[str, Any] = {}
        for name in ("teaching", "holding", "judging"):
            inside = np.isin(getattr(self, name), rows)
            changed[name] = getattr(self, name)[inside]
            changed[f"of_{name}"] = getattr(self, f"of_{name}")[inside]
        return dataclasses.replace(self, **changed)


def finetune(
    task: Task,
    encoder: TorchEncoder,
    to: Path,
    plan: Plan,
    *,
    n_blocks: int = 2,
    rank: int | None = None,
    n_views: int = 1,
    leave_out: float = 0.0,
    progress: Progress | None = None,
) -> Finetuned:
    """Let the last blocks of an encoder learn, judge it, and write it.

    What enters these blocks is computed once for each picture and kept in a folder beside the
    target until all is done, with a checkpoint of each epoch: a run that was stopped goes on, and
    gives the same as one that was not.

    Parameters
    ----------
    task : Task
        What is to be learnt; of an encoder that reads, with ``texts``.
    encoder : TorchEncoder
        That of the store, in fp32.
    to : Path
        New folder for the model.
    plan : Plan
    n_blocks : int
        Blocks that learn, from the last.
    rank : int, optional
        Of low-rank changes that learn instead of the weights.
    n_views : int
        Views of each picture that may teach, 1 for the whole alone.
    leave_out : float
        Share of the classes that are not learnt, to see what becomes of such.
    progress : callable, optional
        Told how far each part of the work is.

    Raises
    ------
    ProbeError
        If fewer than two classes have a picture that teaches.
    SourceError
        If the folder holds something.
    """
    check_new_folder(to)
    drafts = to.with_name(f".{to.name}.unfinished")
    with holding_drafts(drafts):
        learnt = learn(
            task, encoder, drafts, plan, n_blocks=n_blocks, rank=rank, n_views=n_views,
            leave_out=leave_out, progress=progress,
        )  # fmt: skip
    with replacing_folder(to) as draft:
        save_model(encoder.name, learnt.learner.finish(), draft)
        Training(learnt.card, learnt.hashes).write(draft)
        (draft / "README.md").write_text(write_card(learnt.card), encoding="utf-8")
    shutil.rmtree(drafts, ignore_errors=True)
    return Finetuned(
        model=name_saved(encoder.name, to.resolve()), folder=to, level=task.target.name,
        judged=learnt.judged, history=learnt.history, n_chosen=learnt.card["epoch"],
        provenance=learnt.card | {"reasons": learnt.reasons},
    )  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Learnt:
    """An encoder that has learnt and is not written yet.

    Parameters
    ----------
    learner : Learner
        With the weights of the epoch that is kept.
    judged : tuple of Judged
    history : tuple of Epoch
    card : dict
        JSON-ready: what it learnt from, how, and what that bought.
    hashes : frozenset of str
        SHA-256 of the pictures that taught or chose, and of those that taught what it began as.
    reasons : list of str
        Pictures that could not be read, and why.
    """

    learner: Learner
    judged: tuple[Judged, ...]
    history: tuple[Epoch, ...]
    card: dict[str, Any]
    hashes: frozenset[str]
    reasons: list[str]


def learn(
    task: Task,
    encoder: TorchEncoder,
    drafts: Path,
    plan: Plan,
    *,
    n_blocks: int = 2,
    rank: int | None = None,
    n_views: int = 1,
    leave_out: float = 0.0,
    progress: Progress | None = None,
) -> Learnt:
    """Let the last blocks of an encoder learn, and judge it; write nothing but what is kept.

    Parameters
    ----------
    drafts : Path
        Folder of activations and checkpoints; runs of other settings may share it.
    task, encoder, plan, n_blocks, rank, n_views, leave_out, progress
        As for :func:`finetune`.
    """
    pictures = _choose(task, plan, leave_out)
    learner = open_learner(encoder, n_blocks, rank, seed=plan.seed)
    device = learner.cut.blank.device

    def run(pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        with autocasting(device, plan.autocast):
            entering = learner.cut.run_frozen(torch.tensor(pixels).to(device))
        return np.asarray(entering.float().cpu().numpy())

    kept = keep_activations(
        drafts, task.store, pictures.rows, encoder, run,
        part=f"{learner.cut.trained_blocks[0]} in {plan.autocast}", n_views=n_views,
        progress=progress,
    )  # fmt: skip
    pictures = pictures.keep(kept.rows[kept.is_read])
    if len(np.unique(pictures.of_teaching)) < 2:
        msg = (
            f"{len(pictures.teaching):,} of the pictures that teach can be read, of fewer than two "
            "classes; a model is finetuned to tell classes apart"
        )
        raise ProbeError(msg)
    lesson, classes = _write_lesson(task, encoder, pictures, kept)
    trainer = Trainer(
        learner, lesson, plan, drafts, _describe_run(task, encoder, learner, pictures)
    )
    judging = kept.place(pictures.judging)
    before = trainer.embed(judging)
    history = trainer.run(progress)
    after = trainer.embed(judging)
    tuned = classes
    if lesson.learns_classes:
        tuned = find_means(trainer.embed(lesson.places), pictures.of_teaching, len(classes))
    judged = _judge(task, pictures, plan.seed, lesson, (before, classes), (after, tuned))
    card = _describe(task, encoder, learner, pictures, plan, trainer, n_views, rank)
    card["judged"] = [dataclasses.asdict(one) for one in judged]
    card["store_cosine"] = _compare_with_store(task, pictures, before)
    frame = task.store.images.frame
    taught = np.concatenate([pictures.teaching, pictures.holding])
    hashes = set(frame["sha256"].iloc[taught].astype(str)) - {""}
    if base := read_training_of(encoder.name):
        hashes |= base.hashes
    name = task.store.images.name_row
    reasons = [f"{name(row)}: {why}" for row, why in kept.reasons.items()]
    return Learnt(learner, tuple(judged), tuple(history), card, frozenset(hashes), reasons)


def _choose(task: Task, plan: Plan, leave_out: float) -> _Pictures:
    inner = task.inner()
    labelled = inner.labelled
    images = task.store.images
    has_class = labelled.positions >= 0
    held_out = np.zeros(len(labelled), dtype=bool)
    if plan.choose != LAST:
        held_out = (inner.folds == 0) & has_class
    teaches = inner.training & has_class & ~held_out
    judging = task.judged.rows if task.split is not None else np.zeros(0, dtype=np.int64)
    judging = judging[task.store.images.labels(task.target.name)[judging] != ""]
    everything = label_rows(images, np.concatenate([labelled.rows, judging]), task.target)
    positions = everything.positions
    own, of_judging = positions[: len(labelled)], positions[len(labelled) :]
    # A class is learnt although all that would teach it is held out.
    untaught = ~np.isin(own, own[teaches])
    teaches, held_out = teaches | (held_out & inner.training & untaught), held_out & ~untaught
    learnt = np.zeros(len(everything.classes), dtype=bool)
    learnt[own[teaches]] = True
    left = _leave_out(np.flatnonzero(learnt), leave_out, plan.seed)
    learnt[left] = False
    is_learnt = np.zeros(len(labelled), dtype=bool)
    is_learnt[own >= 0] = learnt[own[own >= 0]]
    known = of_judging >= 0
    return _Pictures(
        everything.classes, learnt, labelled.rows[teaches & is_learnt], own[teaches & is_learnt],
        labelled.rows[held_out & is_learnt], own[held_out & is_learnt], judging[known],
        of_judging[known], inner.method if plan.choose != LAST else "none", inner.reason,
        labelled.rows[np.isin(own, left)],
    )  # fmt: skip


def _leave_out(classes: Places, fraction: float, seed: int) -> Places:
    """Draw the classes that are not learnt; two at least are."""
    n = min(round(fraction * len(classes)), len(classes) - 2)
    if n < 1:
        return classes[:0]
    return np.sort(np.random.default_rng(seed).choice(classes, n, replace=False))


def _write_lesson(
    task: Task, encoder: TorchEncoder, pictures: _Pictures, kept: Kept
) -> tuple[Lesson, Vectors]:
    """Return what is taught, of the classes that are learnt, and the vectors of all classes."""
    learnt = np.flatnonzero(pictures.learnt)
    place = np.full(len(pictures.learnt), -1, dtype=np.int64)
    place[learnt] = np.arange(len(learnt))
    teaching, holding = kept.place(pictures.teaching), kept.place(pictures.holding)
    scale, learns = encoder.logit_scale, False
    if task.texts is not None:
        classes: Vectors = task.texts.embed(pictures.classes)["texts"]
    else:
        vectors = task.store.read_vectors(pictures.teaching)
        classes = find_means(vectors, pictures.of_teaching, len(pictures.learnt))
        scale, learns = _SCALE_OF_MEANS, True
    lesson = Lesson(
        kept, teaching, place[pictures.of_teaching], holding, place[pictures.of_holding],
        classes[learnt], scale, learns,
    )  # fmt: skip
    return lesson, classes


def _judge(
    task: Task, pictures: _Pictures, seed: int, lesson: Lesson,
    before: tuple[Vectors, Vectors], after: tuple[Vectors, Vectors],
) -> list[Judged]:  # fmt: skip
    if not len(pictures.judging):
        return []
    was = CENTROID if lesson.learns_classes else ZERO_SHOT
    answered = [Answered.by_vectors(was, *before), Answered.by_vectors(FINETUNED, *after)]
    if lesson.learns_classes:
        # Without texts nothing stands for a class that no picture taught.
        for one in answered:
            one.scores[:, ~pictures.learnt] = -np.inf
        answered = [dataclasses.replace(one, reads=False) for one in answered]
    # By the rows of the store, as a probe learns them.
    fitted = fit(task.without(pictures.left_out), LINEAR)
    found = fitted.ask(task.view.take(pictures.judging), len(fitted.classes))
    scores = np.full((len(pictures.judging), len(pictures.learnt)), -np.inf, dtype=np.float32)
    places = pictures.classes.place(fitted.classes)
    scores[:, places] = found.to_dense()
    answered.append(Answered(LINEAR, scores, reads=False))
    groups = np.full(len(pictures.judging), "", dtype=object)
    if task.split is not None:
        groups = task.split.groups[pictures.judging]
    return judge(answered, pictures.of_judging, pictures.learnt, groups, seed=seed)


def _compare_with_store(task: Task, pictures: _Pictures, before: Vectors) -> float | None:
    """Return the mean cosine of vectors made now to those of the store."""
    if not len(pictures.judging):
        return None
    stored = task.store.read_vectors(pictures.judging)
    return float((stored * before).sum(axis=1).mean())


def _describe_run(task: Task, encoder: TorchEncoder, learner: Learner, pictures: _Pictures) -> str:
    """Return what a run depends on beside its plan."""
    texts = task.texts.describe() if task.texts else None
    return json.dumps(
        [
            encoder.fingerprint.key, learner.cut.trained_blocks, sorted(learner.parameters),
            hash_rows(task.store.images, pictures.teaching), pictures.of_teaching.tolist(),
            hash_rows(task.store.images, pictures.holding), pictures.classes.hash, texts,
            {name: list(one.shape) for name, one in sorted(learner.parameters.items())},
        ],
        default=str,
    )  # fmt: skip


def _describe(
    task: Task, encoder: TorchEncoder, learner: Learner, pictures: _Pictures, plan: Plan,
    trainer: Trainer, n_views: int, rank: int | None,
) -> dict[str, Any]:  # fmt: skip
    images, split = task.store.images, task.split
    counts = np.bincount(pictures.of_teaching, minlength=len(pictures.learnt))
    provenance: Provenance = task.view.describe({}, n_rows=len(pictures.teaching))
    return {
        "base": encoder.fingerprint.to_dict(),
        "store": provenance.store,
        "condition": provenance.condition,
        "level": task.target.name,
        "split": split.name if split else "",
        "split_hash": split.hash if split else "",
        "split_method": str(split.provenance["method"]) if split else "",
        "n_images": len(pictures.teaching),
        "n_held_out": len(pictures.holding),
        "held_out_by": pictures.method,
        "held_out_because": pictures.reason,
        "n_judged": len(pictures.judging),
        "rows_sha256": hash_rows(images, pictures.teaching),
        "n_classes": int(pictures.learnt.sum()),
        "classes": {
            name: int(n)
            for name, n, is_learnt in zip(
                pictures.classes.names, counts, pictures.learnt, strict=True
            )
            if is_learnt
        },
        "n_not_learnt": int((~pictures.learnt).sum()),
        "texts": task.texts.describe() if task.texts else None,
        "settings": {
            **dataclasses.asdict(plan), "blocks": list(learner.cut.trained_blocks),
            "lora_rank": rank, "lora_layers": list(learner.adapted), "views": n_views,
            "n_parameters": learner.n_parameters,
        },
        "history": [one.to_dict() for one in trainer.history],
        "epoch": trainer.best.number,
        "command": provenance.command,
        "time": provenance.time,
        "versions": {"bioprobe": __version__} | _find_versions(),
    }  # fmt: skip


def _find_versions() -> dict[str, str]:
    found = {}
    for library in _LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def write_card(card: dict[str, Any]) -> str:
    """Write the model card, in Markdown."""
    rows = [
        f"| {one['pictures']} | {one['method']} | {one['n_images']:,} | "
        f"{one['accuracy']['estimate']:.3f} [{one['accuracy']['low']:.3f}, "
        f"{one['accuracy']['high']:.3f}] |"
        for one in card["judged"]
    ]
    settings = card["settings"]
    how = f"low-rank changes (rank {settings['lora_rank']}) of " if settings["lora_rank"] else ""
    lines = [
        f"# {card['base']['model']}, finetuned",
        "",
        f"By bioprobe {card['versions']['bioprobe']}, {card['time']}, from "
        f"`{card['base']['model']}` (weights {card['base']['weights_sha256'][:12]}): {how}the "
        f"last {len(settings['blocks'])} blocks and what follows them, on {card['n_images']:,} "
        f"pictures of {card['n_classes']:,} classes at {card['level']}, of `{card['store']}`, "
        f"split `{card['split'] or 'none'}` ({card['split_method'] or 'all pictures'}). Its texts "
        "are read as before. The licence of the weights that it began as, and the rights in the "
        "pictures, hold on.",
        "",
        f"The pictures that taught it stand in `{TAUGHT_FILE}` by the SHA-256 of their bytes, all "
        f"settings in `{CARD_FILE}`. bioprobe says where such a picture judges it.",
        "",
    ]
    if rows:
        lines += [
            "On pictures of the part test, with intervals of 95%:",
            "",
            "| pictures | method | images | accuracy |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    return "\n".join(lines)
